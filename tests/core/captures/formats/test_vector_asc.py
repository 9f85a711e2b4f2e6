"""Vector ASC: no line that looks like a frame is passed over, and python-can reads the same frames."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME, FRAME, REMOTE_FRAME
from graphids.core.captures.formats.registry import recognise
from graphids.core.captures.formats.text_format import HEAD_BYTES, Recognised, quoted
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.captures.read import read_captures
from graphids.core.frames import LogFormatError
from support.format_case import Frame, rows

FRAMES = b"1.0 1 123 Rx d 1 E3\n1.5 1 18FEF100x Tx d 2 01 02\n"
HEADER = (
    b"date Mon Jan 1 00:00:00 2024\n",
    b"base hex  timestamps absolute\n",
    b"internal events logged\n",
    b"// version 9.0.0\n",
    b"Begin Triggerblock Mon Jan 1 00:00:00 2024\n",
    b"0.000000 Start of measurement\n",
)
# What python-can's reader and the manuals of Vector call frames, as words and without any of the parser's code.
NO_FRAME = re.compile(r"//|\S+\s+(?:\d+\s+(?:\w+\s+TxRq\b|J1939TP\b|Statistic:)|CANFD\s+\d+\s+TxRq\b)", re.ASCII | re.I)
LOOKS_LIKE_A_FRAME = re.compile(
    r"-?\d+(?:\.\d+)?\s+(?:\d+\s+(?:[0-9a-f]+x?\s+(?:rx|tx)(?!\S)|errorframe(?!\S))|canfd(?!\S))", re.ASCII | re.I
)


def looks_like_a_frame(line: bytes) -> bool:
    text = line.decode("latin-1").strip()
    return bool(LOOKS_LIKE_A_FRAME.match(text)) and not NO_FRAME.match(text)


def parser(text: bytes, *, drop: bool = False) -> TextParser:
    found = recognise(text[:HEAD_BYTES])
    assert isinstance(found, Recognised)
    assert found.format.name == "Vector ASC"
    return TextParser(Path("drive.asc"), found, drop)


def frames_of(text: bytes) -> list[Frame]:
    return [row for part in parser(text).parse(text) for row in rows(part)]


@settings(max_examples=100, deadline=None, database=None)
@given(
    order=st.permutations(range(len(HEADER))),
    dropped=st.sets(st.integers(0, len(HEADER) - 1)),
    doubled=st.sets(st.integers(0, len(HEADER) - 1)),
    inserted=st.integers(0, len(HEADER) - 1),
)
def test_header_lines_dropped_doubled_or_in_another_order_change_no_frame(
    order: list[int], dropped: set[int], doubled: set[int], inserted: int
) -> None:
    header = b"".join(HEADER[i] * (1 + (i in doubled)) for i in order if i not in dropped)
    first, second = FRAMES.splitlines(keepends=True)

    assert frames_of(header + first + HEADER[inserted] + second) == frames_of(FRAMES)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"base dec", "changes the base of the numbers"),
        (b" Base Oct", "changes the base of the numbers"),
        (b"base", "changes the base of the numbers"),
        (b"base hex timestamps\trelative", "times are relative"),
        (b"base hex timestamps", "times are relative"),
    ],
)
@pytest.mark.parametrize("frames_before", [0, 1, HEAD_BYTES // 20], ids=["at first", "in the head", "beyond the head"])
@pytest.mark.parametrize("drop", [False, True])
def test_a_base_line_that_leaves_the_numbers_or_times_open_is_never_dropped(
    line: bytes, problem: str, frames_before: int, drop: bool
) -> None:
    frame = b"1.0 1 123 Rx d 1 00\n"
    text = b"base hex\n" + frame * frames_before + line + b"\n" + frame

    where = rf"drive\.asc:{frames_before + 2}"
    with pytest.raises(LogFormatError, match=rf"{where}: .*{problem}.*: found `{re.escape(quoted(line))}`"):
        list(parser(text, drop=drop).parse(text))


def test_a_base_line_that_the_head_cuts_is_read_from_the_data() -> None:
    text = b"1.0 1 123 Rx d 1 00\n" * (HEAD_BYTES // 20) + b"           base hex\n1.0 1 123 Rx d 1 00\n"
    assert text[:HEAD_BYTES].endswith(b"base ")

    assert len(frames_of(text)) == HEAD_BYTES // 20 + 1


def test_every_line_that_looks_like_a_frame_is_a_frame_or_bad(captures_dir: Path) -> None:
    found = sorted(captures_dir.rglob("*.asc"))
    for path in found:
        text = path.read_bytes()
        expected = sum(map(looks_like_a_frame, text.splitlines()))
        read = parser(text, drop=True)

        list(read.parse(text))

        assert read.counts[[FRAME, REMOTE_FRAME, ERROR_FRAME]].sum() + read.bad_lines == expected > 0, path.name
    assert len(found) == 10


@settings(max_examples=300, deadline=None, database=None)
@given(data=st.data())
def test_a_damaged_line_that_still_looks_like_a_frame_is_not_passed_over(data: st.DataObject) -> None:
    lines = (
        b"2.5 1 6F9 Rx d 2 05 0C",
        b"2.5 1 6F9x Tx r 8",
        b"2.5 1 ErrorFrame",
        b"1.0 CANFD 1 Rx 123 0 0 1 1 11 0 0 0 0 0 0 0 0",
        b"0.4 1 400 TxRq d 1 0C",
    )
    line = bytearray(data.draw(st.sampled_from(lines)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from([b"", b" ", b"x", b"0", b"R", b"."]))
    text = FRAMES + bytes(line)
    read = parser(text, drop=True)

    list(read.parse(text))

    assert not (read.counts[COMMENT] and looks_like_a_frame(bytes(line))), bytes(line)


def test_3000_random_frames_are_those_that_python_can_reads(tmp_path: Path) -> None:
    can = pytest.importorskip("can", reason="compares with python-can")
    random = np.random.default_rng(10)
    path = tmp_path / "drive.asc"
    with can.Logger(path) as logger:
        for i in range(3_000):
            kind = random.choice(["data", "data", "data", "remote", "error"])
            is_extended = bool(random.integers(2))
            logger(
                can.Message(
                    timestamp=1.7e9 + i / 1000,
                    arbitration_id=int(random.integers(1 << (29 if is_extended else 11))),
                    is_extended_id=is_extended,
                    is_remote_frame=kind == "remote",
                    is_error_frame=kind == "error",
                    data=b"" if kind != "data" else random.bytes(int(random.integers(9))),
                    channel=int(random.integers(3)),
                )
            )
    with can.ASCReader(path) as reader:
        expected = list(reader)

    captures = read_captures(path)

    found = sorted(row for capture in captures for row in rows(capture.frames))
    assert found == sorted(
        Frame(
            m.timestamp,
            m.arbitration_id,
            m.is_extended_id or m.arbitration_id > 0x7FF,
            m.data.hex(),
            f"{m.channel + 1}",
        )
        for m in expected
        if not m.is_error_frame
    )
    assert captures[0].counts["error_frames"] == sum(m.is_error_frame for m in expected) > 400
    assert captures[0].counts["remote_frames"] == sum(m.is_remote_frame for m in expected) > 400


def test_the_recordings_hold_what_python_can_reads(captures_dir: Path) -> None:
    """But for `TxRq`, and CAN FD, which graphids drops.

    python-can takes every CANFD event for CAN FD, which has no remote frames.
    """
    can = pytest.importorskip("can", reason="compares with python-can")
    for path in sorted(captures_dir.rglob("*.asc")):
        text = path.read_bytes()
        requests = [line.split()[0] for line in text.splitlines() if b"TxRq" in line]
        with can.ASCReader(path) as reader:
            expected = [m for m in reader if not m.is_error_frame]

        found = sorted(row[:4] for part in parser(text, drop=True).parse(text) for row in rows(part))

        assert found == sorted(
            (m.timestamp, m.arbitration_id, m.is_extended_id, m.data.hex())
            for m in expected
            if not m.is_fd or (m.is_remote_frame and not m.error_state_indicator)
            if f"{m.timestamp:.6f}".encode() not in requests
        ), path.name
