"""PCAN traces and the csv made of them: lines on which all others depend stand there once, before the first row."""

from pathlib import Path

import pytest

from graphids.core.captures.formats.text_format import HEAD_BYTES
from graphids.core.captures.parts import OnBadLine
from graphids.core.captures.read import read_captures
from graphids.core.frames import LogFormatError
from support.format_case import Frame, rows
from support.format_cases.peak_converter import HEAD as CSV_HEAD

VERSION, START, COLUMNS = b";$FILEVERSION=2.1\n", b";$STARTTIME=25569.5\n", b";$COLUMNS=N,O,T,B,I,d,R,L,D\n"
ROW = b"1 1000.0 DT 1 0100 Rx - 2 01 02\n"
TRACE = VERSION + START + COLUMNS + ROW
CSV = b"$STARTTIME=25569.5\nStart time: 1/1/1970 12:00:00\n" + CSV_HEAD + b"1 1000.0 1 Rx DT 0100 - 2 01 02\n"
FRAME = Frame(43201.0, 0x100, False, "0102", "1")
OTHER = (b";$FILEVERSION=2.0\n", b";$STARTTIME=25570.5\n", b";$COLUMNS=N,O,B,T,I,d,R,L,D\n")


def write(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / "drive.trc"
    path.write_bytes(text)
    return path


def read(tmp_path: Path, text: bytes, on_bad_line: OnBadLine = "raise") -> list[Frame]:
    (capture,) = read_captures(write(tmp_path, text), on_bad_line=on_bad_line)
    return rows(capture.frames)


def refusal(tmp_path: Path, text: bytes, on_bad_line: OnBadLine) -> str:
    with pytest.raises(LogFormatError) as caught:
        read(tmp_path, text, on_bad_line)
    return str(caught.value)


@pytest.mark.parametrize("text", [TRACE, CSV])
def test_the_start_of_the_recording_is_added_and_may_be_said_again(tmp_path: Path, text: bytes) -> None:
    start = next(line for line in text.splitlines(keepends=True) if b"$STARTTIME" in line)

    assert read(tmp_path, text) == read(tmp_path, text + start) == [FRAME]


@pytest.mark.parametrize("line", OTHER)
@pytest.mark.parametrize("on_bad_line", ["raise", "drop"])
def test_two_recordings_in_one_file_are_refused(tmp_path: Path, line: bytes, on_bad_line: OnBadLine) -> None:
    name = line.decode().split("=")[0].lstrip(";")
    first = next(setting for setting in (VERSION, START, COLUMNS) if name.encode() in setting)
    values = "` and `".join(text.decode().strip().split("=")[1] for text in (first, line))

    message = refusal(tmp_path, TRACE + line + ROW, on_bad_line)

    assert f"drive.trc: gives {name} twice, as `{values}`. Expected one recording in a file" in message


@pytest.mark.parametrize("line", [*OTHER, b";$StartTime=25570.5\n"])
@pytest.mark.parametrize("on_bad_line", ["raise", "drop"])
def test_and_so_they_are_where_the_second_begins_beyond_the_head(
    tmp_path: Path, line: bytes, on_bad_line: OnBadLine
) -> None:
    number = HEAD_BYTES // len(ROW) + 1
    text = VERSION + START + COLUMNS + number * ROW + VERSION + START + COLUMNS + line + ROW

    message = refusal(tmp_path, text, on_bad_line)

    assert f"drive.trc:{number + 7}: a header line that was missing before the first frame" in message
    assert f"found `{line.decode().strip()}`. Expected one recording in a file; cut a file" in message


@pytest.mark.parametrize("on_bad_line", ["raise", "drop"])
@pytest.mark.parametrize("text", [TRACE.replace(START, b";   Start time: 1.1.1970\n"), CSV.split(b"\n", 1)[1]])
def test_a_start_that_only_a_comment_says_is_refused(tmp_path: Path, text: bytes, on_bad_line: OnBadLine) -> None:
    message = refusal(tmp_path, text, on_bad_line)

    assert "drive.trc: says `Start time:` in a comment but has no line $STARTTIME" in message
    assert "put the line back, or remove the comment" in message


@pytest.mark.parametrize("text", [TRACE.replace(START, b""), CSV.split(b"\n", 2)[2]])
def test_without_either_times_count_from_the_start(tmp_path: Path, text: bytes) -> None:
    """Nothing in such a file says that it ever had one: converters write neither."""
    assert read(tmp_path, text) == [FRAME._replace(time=1.0)]


def test_a_trace_of_version_1_0_has_its_start_in_a_comment_alone(tmp_path: Path) -> None:
    text = b";   Start time: 1.1.1970 12:00:00\n1)  1000  0100  2  01 02\n"

    assert read(tmp_path, text) == [Frame(1.0, 0x100, False, "0102")]


@pytest.mark.parametrize("on_bad_line", ["raise", "drop"])
def test_a_frame_before_the_header_of_the_csv_is_refused_because_it_would_be_lost(
    tmp_path: Path, on_bad_line: OnBadLine
) -> None:
    first, second = b"1 0.100 1 Rx DT 0593 - 1 00\n", b"2 0.200 1 Rx DT 0594 - 1 00\n"

    message = refusal(tmp_path, b"\nOf my car\n" + first + CSV_HEAD + second, on_bad_line)

    assert f"drive.trc:3: a frame before the header line: found `{first.decode().strip()}`" in message
