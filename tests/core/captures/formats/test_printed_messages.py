"""Messages that python-can itself prints, field by field."""

from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import read_captures

can = pytest.importorskip("can", reason="needs python-can: pip install -c constraints.txt -e '.[can]'")


def drawn_messages(number: int) -> list["can.Message"]:
    """Of one bus; some remote, some error frames, some of letters alone."""
    rng = np.random.default_rng(7)
    messages = []
    for time in np.cumsum(rng.exponential(0.001, number)):
        is_extended = bool(rng.integers(2))
        is_remote = rng.random() < 0.05
        low, high = (48, 58) if rng.random() < 0.2 else (0, 256)
        data = bytes(rng.integers(low, high, rng.integers(9)).tolist())
        messages.append(
            can.Message(
                timestamp=round(1.7e9 + time, 6),
                arbitration_id=int(rng.integers(1 << (29 if is_extended else 11))),
                is_extended_id=is_extended,
                is_remote_frame=is_remote,
                is_error_frame=not is_remote and rng.random() < 0.05,
                is_rx=rng.random() < 0.8,
                dlc=len(data),
                data=None if is_remote else data,
                channel="can0",
            )
        )
    return messages


def test_what_python_can_prints_reads_back(tmp_path: Path) -> None:
    messages = drawn_messages(3000)
    path = tmp_path / "drive.txt"
    with can.Printer(path) as printer:
        for message in messages:
            printer(message)

    (capture,) = read_captures(path)

    frames = capture.frames
    expected = [message for message in messages if not message.is_error_frame]
    assert frames.channels == ("can0",)
    assert frames.timestamp.tolist() == [message.timestamp for message in expected]
    assert frames.arbitration_id.tolist() == [message.arbitration_id for message in expected]
    assert frames.is_extended.tolist() == [message.is_extended_id for message in expected]
    payloads = [bytes(row[:dlc]) for row, dlc in zip(frames.payload, frames.dlc, strict=True)]
    assert payloads == [b"" if message.is_remote_frame else bytes(message.data) for message in expected]
    assert capture.counts["error_frames"] == len(messages) - len(expected)
    assert capture.counts["remote_frames"] == sum(message.is_remote_frame for message in messages)
    assert capture.counts["comment_lines"] == 0
