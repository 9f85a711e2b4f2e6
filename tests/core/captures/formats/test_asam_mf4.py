"""ASAM MF4: files as loggers leave them, and as many frames as a walk over the blocks counts."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.formats.bridged.mf4_blocks import count_frames
from graphids.core.captures.read import read_captures
from graphids.core.frames import LogFormatError
from support.format_case import Frame, rows
from support.mf4_files import Mf4Frame, write_mf4

pytest.importorskip("can", reason="needs python-can: pip install -c constraints.txt -e '.[can]'")
pytest.importorskip("asammdf", reason="needs asammdf: pip install -c constraints.txt -e '.[can]'")

FRAMES = [
    Mf4Frame(0.0, 0x123, False, b"\x11\x22"),
    Mf4Frame(0.25, 0x18FEF100, True, b""),
    Mf4Frame(0.5, 0x7FF, False, bytes(range(8))),
]
EXPECTED = [
    Frame(1_700_000_000.0, 0x123, False, "1122", "1"),
    Frame(1_700_000_000.25, 0x18FEF100, True, "", "1"),
    Frame(1_700_000_000.5, 0x7FF, False, "0001020304050607", "1"),
]


@pytest.mark.parametrize("is_finalised", [False, True])
def test_a_file_is_read_whether_its_logger_finalised_it_or_not_and_stays_as_it_is(
    tmp_path: Path, is_finalised: bool
) -> None:
    path = tmp_path / "00000001.MF4"
    write_mf4(path, FRAMES, is_finalised=is_finalised)
    before = path.read_bytes()
    assert before.startswith(b"MDF     " if is_finalised else b"UnFinMF ")
    path.chmod(0o444)

    (capture,) = read_captures(path)

    assert rows(capture.frames) == EXPECTED
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("is_finalised", [False, True])
def test_frames_that_python_can_passes_over_are_an_error(tmp_path: Path, is_finalised: bool) -> None:
    """It leaves out groups of frames that name no source."""
    path = tmp_path / "a.mf4"
    write_mf4(path, FRAMES, has_source=False, is_finalised=is_finalised)

    with pytest.raises(LogFormatError, match=r"a\.mf4: python-can reads 0 of the 3 CAN frames in this ASAM MF4 file"):
        read_captures(path)


@pytest.mark.parametrize("cut", [1, 12])  # of the last payload; of the record before it
def test_a_file_that_ends_within_a_record_is_refused_by_default(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.mf4"
    write_mf4(path, FRAMES)
    path.write_bytes(path.read_bytes()[:-cut])

    with pytest.raises(LogFormatError, match=r"a\.mf4: the ASAM MF4 file ends within the record at byte .*on_bad_line"):
        read_captures(path)


def test_the_record_within_which_a_file_ends_can_be_dropped_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.mf4"
    write_mf4(path, FRAMES)
    path.write_bytes(path.read_bytes()[: -len(FRAMES[-1].payload) - 6])

    (capture,) = read_captures(path, on_bad_line="drop")

    assert rows(capture.frames) == EXPECTED[:2]
    assert capture.counts["bad_lines"] == 1


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (64, b"##XX", "no ##HD block at byte 64"),
        (64 + 8, bytes(8), "no ##HD block at byte 64"),
        (64 + 24, struct.pack("<Q", 64), "no ##DG block at byte 64"),
        (64 + 24, struct.pack("<Q", 1 << 40), "the file ends within a block"),
        (-len(FRAMES[-1].payload) - 5, b"\x09", "no group has the ID of the record"),
    ],
)
def test_a_block_that_is_not_what_its_place_says_is_named(tmp_path: Path, at: int, value: bytes, message: str) -> None:
    path = tmp_path / "a.mf4"
    write_mf4(path, FRAMES)
    raw = bytearray(path.read_bytes())
    at %= len(raw)
    raw[at : at + len(value)] = value

    with pytest.raises(ValueError, match=message):
        count_frames(io.BytesIO(raw))


def test_blocks_that_follow_one_another_in_a_circle_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mf4"
    write_mf4(path, FRAMES)
    raw = bytearray(path.read_bytes())
    first = raw.index(b"##DG")
    raw[first + 24 : first + 32] = struct.pack("<Q", first)

    with pytest.raises(ValueError, match=f"the block at byte {first} follows itself"):
        count_frames(io.BytesIO(raw))


def test_3000_random_frames_come_back(tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    extended = random.integers(2, size=3_000).astype(bool)
    frames = [
        Mf4Frame(i / 1024, int(random.integers(1 << (29 if x else 11))), bool(x), random.bytes(int(random.integers(9))))
        for i, x in enumerate(extended)
    ]
    write_mf4(tmp_path / "a.mf4", frames)

    (capture,) = read_captures(tmp_path / "a.mf4")

    assert [row[1:4] for row in rows(capture.frames)] == [
        (frame.identifier, frame.is_extended or frame.identifier > 0x7FF, frame.payload.hex()) for frame in frames
    ]
    assert (capture.frames.timestamp - 1.7e9).tolist() == [frame.seconds for frame in frames]


def test_every_recording_has_as_many_frames_as_its_groups_count(captures_dir: Path) -> None:
    found = sorted(captures_dir.rglob("*.mf4"))
    for path in found:
        raw = path.read_bytes()
        # Cycles of all groups, found by their signature alone; these files hold groups of CAN frames and no others.
        groups = [at for at in range(0, len(raw), 8) if raw[at : at + 4] == b"##CG"]
        cycles = sum(struct.unpack_from("<Q", raw, at + 24 + 48 + 8)[0] for at in groups)

        captures = read_captures(path)

        assert sum(len(c.frames) + c.counts.get("error_frames", 0) for c in captures) == cycles > 0, path.name
    assert len(found) == 1
