"""The csv of python-can, as its own writer writes it and its own reader reads it."""

import random
from pathlib import Path

import pytest

from graphids.core.captures.read import read_captures
from support.format_case import Frame, rows

can = pytest.importorskip("can", reason="needs python-can: pip install -c constraints.txt -e '.[can]'")
NUM_FRAMES = 3_000


def write_random_frames(path: Path) -> None:
    rng = random.Random(0)
    with can.CSVWriter(path) as writer:
        for number in range(NUM_FRAMES):
            is_extended, length, kind = rng.random() < 0.4, rng.randrange(9), rng.choice("dddddre")
            writer.on_message_received(
                can.Message(
                    timestamp=1_700_000_000 * (number > 1_500) + number / 3_000,
                    arbitration_id=rng.randrange(1 << (29 if is_extended else 11)),
                    is_extended_id=is_extended,
                    is_remote_frame=kind == "r",
                    is_error_frame=kind == "e",
                    dlc=length,
                    data=None if kind == "r" else rng.randbytes(length),
                )
            )


def test_every_frame_that_python_can_wrote_and_reads_is_read_and_every_error_frame_counted(tmp_path: Path) -> None:
    write_random_frames(tmp_path / "drive.csv")
    messages = list(can.CSVReader(tmp_path / "drive.csv"))
    expected = [
        Frame(m.timestamp, m.arbitration_id, m.is_extended_id, "" if m.is_remote_frame else m.data.hex())
        for m in messages
        if not m.is_error_frame
    ]

    (capture,) = read_captures(tmp_path / "drive.csv")

    found = rows(capture.frames)
    assert [frame[1:] for frame in found] == [frame[1:] for frame in expected]
    assert [frame.time for frame in found] == pytest.approx([frame.time for frame in expected], rel=4e-16, abs=0.0)
    assert capture.counts["remote_frames"] == sum(m.is_remote_frame for m in messages)
    assert len(expected) + capture.counts["error_frames"] == NUM_FRAMES
