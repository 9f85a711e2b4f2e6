"""Every text format by its case: what a few lines by hand are read as, and what each malformed line is told."""

from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.formats.registry import recognise
from graphids.core.captures.formats.text_format import Recognised, TextFormat, header, quoted
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import NORMAL, Frames, GrowingFrames, LogFormatError
from support.format_case import FormatCase, Frame, Malformed, Sample, rows, text_cases

CAN_TRAIN_AND_TEST = b"timestamp,arbitration_id,data_field,attack\n"
CASES = text_cases()
SAMPLES = {f"{module}: {title}": (module, s) for module, case in CASES.items() for title, s in case.samples.items()}
MALFORMED = {
    f"{module}: {title}": (case.head if bad.head is None else bad.head, bad)
    for module, case in CASES.items()
    for title, bad in case.malformed.items()
}


def parser(text: bytes, *, drop_bad_lines: bool = False) -> TextParser:
    recognised = recognise(text)
    assert isinstance(recognised, Recognised)
    return TextParser(Path("drive.log"), recognised, drop_bad_lines)


def frames_of(found: TextParser, text: bytes) -> Frames:
    """All frames of `text`, from where `found` says that its data begin."""
    grown = GrowingFrames()
    for part in found.parse(text[found.recognised.data_start :]):
        grown.append(part)
    return grown.frames()


def parse(text: bytes) -> Frames:
    return frames_of(parser(text), text)


@pytest.mark.parametrize(("module", "sample"), SAMPLES.values(), ids=SAMPLES)
def test_a_file_written_by_hand_is_read_as_its_frames(module: str, sample: Sample) -> None:
    found = parser(sample.text)

    frames = frames_of(found, sample.text)

    assert found.recognised.format.parse_line.__name__ == module
    assert rows(frames) == sample.frames
    assert {code: found.counts[code] for code in sample.counts} == sample.counts
    assert not (frames.payload.astype(bool) & (np.arange(8) >= frames.dlc[:, None])).any()
    marked = None if frames.attack is None else frames.attack.tolist()
    assert marked == (None if sample.frames[0].kind == "" else [int(f.kind != NORMAL) for f in sample.frames])


@pytest.mark.parametrize(("head", "bad"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_line_is_an_error_that_names_file_line_and_what_was_found(head: bytes, bad: Malformed) -> None:
    text = head + bad.line
    found = parser(text)
    line_number = text.count(b"\n") + 1

    with pytest.raises(LogFormatError, match=rf"drive\.log:{line_number}: .*(?:{bad.message})") as error:
        frames_of(found, text)

    assert f"found `{quoted(bad.line)}`" in str(error.value)
    assert "on_bad_line='drop'" in str(error.value)


@pytest.mark.parametrize(("head", "bad"), MALFORMED.values(), ids=MALFORMED)
def test_dropping_skips_the_malformed_line_alone_and_counts_it(head: bytes, bad: Malformed) -> None:
    text = head + bad.line
    found = parser(text, drop_bad_lines=True)

    frames = frames_of(found, text)

    assert found.bad_lines == 1
    assert rows(frames) == rows(parse(head))


def test_frames_after_a_dropped_line_carry_nothing_of_it() -> None:
    text = CAN_TRAIN_AND_TEST + b"0.5,1E5,0102030405060708,9\n0.6,1E5,AA,0\n"
    found = parser(text, drop_bad_lines=True)

    frames = frames_of(found, text)

    assert rows(frames) == [Frame(0.6, 0x1E5, False, "aa", kind="normal")]
    assert frames.payload[0, 1:].tolist() == [0] * 7


@pytest.mark.parametrize(("module", "case"), CASES.items(), ids=CASES)
def test_the_example_in_an_error_message_is_a_line_of_its_format(module: str, case: FormatCase) -> None:
    known = parser(case.head).recognised.format

    frames = parse(case.head + known.example.encode())

    assert known.parse_line.__name__ == module
    assert len(frames) == len(parse(case.head)) + 1


def test_timestamps_equal_those_of_python() -> None:
    texts = ["1700000000.000023", "0.1", "123456789.012345678", "5e-05", "2.3E-05", "1700000058", "-0.25", "7.10"]
    body = "".join(f"{text},1E5,46,0\n" for text in texts).encode()

    found = parse(CAN_TRAIN_AND_TEST + body).timestamp

    expected = np.array([float(text) for text in texts])
    assert np.array_equal(found[[0, 1, 3, 4, 5, 6, 7]], expected[[0, 1, 3, 4, 5, 6, 7]])
    assert abs(found[2] - expected[2]) <= np.spacing(expected[2])  # 18 digits: within one unit in the last place


def test_a_format_is_recognised_although_its_first_line_is_damaged() -> None:
    assert parser(b"0758.7) can0 123#00\n(1700000058.8) can0 123#00\n").recognised.format.name == "candump -l"


@pytest.mark.parametrize("text", [b"", b"\n\n", b"hello world\n1,2,3\n", b"\x00\x01\x02\x03" * 50])
def test_what_is_not_a_capture_is_not_recognised(text: bytes) -> None:
    assert recognise(text) is None


def test_a_pcan_trace_of_an_unknown_version_is_an_error() -> None:
    with pytest.raises(LogFormatError, match=r"version 9\.9 without a usable \$COLUMNS"):
        recognise(b";$FILEVERSION=9.9\n")


def test_a_format_is_recognised_by_one_thing() -> None:
    with pytest.raises(ValueError, match=r"x: has to be recognised by a header or by a line\. Give one"):
        TextFormat(lambda: 0, name="x", example="")
    with pytest.raises(ValueError, match="Give one"):
        TextFormat(lambda: 0, name="x", example="", header=header("a"), line=header("b"))
