"""Every line parser against the slow reader of its format's case, on damaged and arbitrary lines.

Whole lines are those of `test_random_frames`.

100 examples for each parser and property; `GRAPHIDS_HYPOTHESIS_EXAMPLES=2000` runs more.
"""

import io
import math
import os
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphids.core.captures.capture_file import whole_lines
from graphids.core.captures.formats.registry import recognise
from graphids.core.captures.formats.text_format import Recognised
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import LogFormatError
from support.format_case import Frame, Reference, rows, text_cases

many = settings(
    max_examples=int(os.environ.get("GRAPHIDS_HYPOTHESIS_EXAMPLES", "100")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
PATH = Path("drive.log")
# Of one size: hypothesis decides byte by byte whether one more follows, which took a quarter of the time.
TAPE = st.binary(min_size=120, max_size=120)
CASES = text_cases()


def parsed(text: bytes, name: str, *, drop: bool, chunk_bytes: int = 1 << 20) -> tuple[list[Frame], int]:
    """Frames after the head of the format, and the lines counted, frames included."""
    parser = TextParser(PATH, recognised(name), drop_bad_lines=drop)
    stream = io.BytesIO(text)
    stream.seek(recognised(name).data_start)
    found = [row for lines in whole_lines(stream, chunk_bytes) for part in parser.parse(lines) for row in rows(part)]
    return found, int(parser.counts.sum()) + parser.bad_lines


@cache
def recognised(name: str) -> Recognised:
    found = recognise(CASES[name].head)
    assert isinstance(found, Recognised), f"no format of the registry recognises the head of {name}'s case"
    return found


def names_its_line(error: LogFormatError) -> None:
    assert re.match(r"drive\.log:\d+: ", str(error))


def close(found: Frame, expected: Frame | None) -> bool:
    return expected is not None and found[1:] == expected[1:] and math.isclose(found[0], expected[0], rel_tol=4e-16)


class Tape:
    """Decisions read from random bytes: far cheaper to generate than structured data."""

    def __init__(self, tape: bytes) -> None:
        self.stream = io.BytesIO(tape)

    def number(self, below: int) -> int:
        return int.from_bytes(self.stream.read(4)) % below

    def line(self, reference: Reference) -> bytes:
        is_extended = bool(self.number(2))
        identifier = self.number(0x2000_0000) | 0x800 if is_extended else self.number(0x800)
        return reference.write(self.number(2**31), identifier, is_extended, self.stream.read(self.number(9)))

    def damaged(self, line: bytes) -> bytes:
        at = self.number(len(line) + 1)
        byte = bytes([(self.number(256), *b" \t,.:x#R09aF-\n\0")[self.number(16)]])
        kinds = (line[:at] + byte + line[at + 1 :], line[:at] + line[at + 1 :], line[:at] + byte + line[at:], line[:at])
        return kinds[self.number(len(kinds))]


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@many
@given(tape=TAPE)
def test_a_damaged_line_is_an_error_or_what_the_reference_reads(name: str, tape: bytes) -> None:
    head, reference, decisions = CASES[name].head, CASES[name].reference, Tape(tape)
    begin = parsed(head, name, drop=False)[0]

    damaged = decisions.damaged(decisions.damaged(decisions.line(reference)))

    for line in damaged.split(b"\n"):
        try:
            read = parsed(head + line, name, drop=False)[0][len(begin) :]
        except LogFormatError as error:
            names_its_line(error)
            continue
        assert len(read) <= 1
        assert not read or close(read[0], reference.frame(line)), line


@many
@given(tape=TAPE, noise=st.binary(max_size=200))
def test_any_bytes_give_frames_and_counts_that_add_up_to_the_lines_however_they_are_cut(
    name: str, tape: bytes, noise: bytes
) -> None:
    head, reference, decisions = CASES[name].head, CASES[name].reference, Tape(tape)
    text = head + decisions.line(reference) + b"\n" + noise + b"\n" + decisions.line(reference)
    in_data = text[recognised(name).data_start :]

    found, counted = parsed(text, name, drop=True)

    assert counted == len(in_data.split(b"\n"))
    assert len(found) >= 2
    assert parsed(text, name, drop=True, chunk_bytes=16) == (found, counted)
    try:
        parsed(text, name, drop=False)
    except LogFormatError as error:
        names_its_line(error)
