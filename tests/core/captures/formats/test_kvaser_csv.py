"""In which base the numbers of Kvaser's csv are, where no line of the file says so."""

from pathlib import Path

import pytest

from graphids.core.captures.formats.text_format import HEAD_BYTES
from graphids.core.captures.read import read_captures
from graphids.core.frames import LogFormatError
from support.format_cases.kvaser_csv import COLUMNS, DECIMAL, preamble

HEXADECIMAL_BYTE = b"0.5,1,1000,2,2,0a,10,,,,,,,1\n"


def read(tmp_path: Path, text: bytes) -> list[int]:
    """The ID of the first frame, and its bytes."""
    path = tmp_path / "drive.csv"
    path.write_bytes(text)
    frames = read_captures(path)[0].frames
    return [int(frames.arbitration_id[0]), *frames.payload[0, : frames.dlc[0]].tolist()]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"0.5,1,100,2,2,10,11,,,,,,,1\n", "whose first IDs are possible both as decimal and as hexadecimal"),
        (b"0.5,1,1001,2,2,10,11,,,,,,,1\n", "whose first data bytes are possible both as decimal and as hexadecimal"),
        (b"0.5,1,1001,2,2,200,7f,,,,,,,1\n", "whose first data bytes contradict one another"),
        (b"0.5,1,1001,2,1,200,,,,,,,,1\n0.6,1,1a2,2,1,0,,,,,,,,1\n", "whose first IDs contradict one another"),
        (b"0.5,1,,32,,,,,,,,,,1\n", "possible both"),
    ],
    ids=["ID", "bytes", "bytes of both kinds", "IDs of both kinds", "error frames alone"],
)
def test_numbers_that_do_not_settle_their_base_are_refused(tmp_path: Path, rows: bytes, message: str) -> None:
    with pytest.raises(LogFormatError, match=rf"drive\.csv.*Kvaser csv that .*{message}.*Expected .*free converter"):
        read(tmp_path, COLUMNS + rows)


@pytest.mark.parametrize(
    ("identifier", "flags", "number"),
    [("7f", 2, 0x7F), ("0x100", 2, 0x100), ("800", 2, 800), ("20000000", 4, 20_000_000), ("418381679", 4, 418381679)],
)
def test_an_id_is_read_in_the_only_base_that_gives_it_its_number_of_bits(
    tmp_path: Path, identifier: str, flags: int, number: int
) -> None:
    row = f"0.5,1,{identifier},{flags},2,0a,10,,,,,,,1\n"

    assert read(tmp_path, COLUMNS + row.encode()) == [number, 0x0A, 0x10]


@pytest.mark.parametrize(("byte", "number"), [("0a", 0x0A), ("f0", 0xF0), ("07", 7), ("100", 100), ("010", 10)])
def test_a_byte_is_read_in_the_only_base_that_it_is_written_in(tmp_path: Path, byte: str, number: int) -> None:
    assert read(tmp_path, COLUMNS + f"0.5,1,1000,2,1,{byte},,,,,,,,1\n".encode()) == [1000, number]


def test_what_a_line_says_is_not_doubted(tmp_path: Path) -> None:
    assert read(tmp_path, DECIMAL + b"0.5,1,100,2,2,10,11,,,,,,,1\n") == [100, 10, 11]


def test_a_number_that_the_end_of_the_head_cuts_off_says_nothing(tmp_path: Path) -> None:
    first, cut_off = b"0.5,1,1001,2,1,100,,,,,,,,1\n", b"0.6,1,1001,2,1,01"
    blank_lines = b"\n" * (HEAD_BYTES - len(COLUMNS + first + cut_off))

    assert read(tmp_path, COLUMNS + first + blank_lines + cut_off + b"0,,,,,,,,2\n") == [1001, 100]


def test_a_later_row_in_the_other_base_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    rows = HEXADECIMAL_BYTE * (HEAD_BYTES // 25) + b"0.6,1,1000,2,2,200,10,,,,,,,1\n"

    with pytest.raises(LogFormatError, match=rf"drive\.csv:{rows.count(b'0.5') + 2}: the payload is not whole bytes"):
        read(tmp_path, COLUMNS + rows)


@pytest.mark.parametrize("field", ["id", "data"])
def test_a_joined_file_in_the_other_base_is_refused_even_where_bad_lines_are_dropped(
    tmp_path: Path, field: str
) -> None:
    path = tmp_path / "drive.csv"
    joined = preamble(b"HEX", b"DEC") if field == "data" else preamble(b"DEC", b"HEX")
    row = b"0.5,1,100,2,2,10,11,,,,,,,1\n"
    path.write_bytes(DECIMAL + row + joined + COLUMNS + row)

    with pytest.raises(LogFormatError, match=rf"Format of {field} field,HEX`\. Expected one base"):
        read_captures(path, on_bad_line="drop")


def test_a_joined_file_in_the_same_base_costs_its_header(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv"
    row = b"0.5,1,100,2,2,10,11,,,,,,,1\n"
    path.write_bytes(DECIMAL + row + DECIMAL + row)

    (capture,) = read_captures(path, on_bad_line="drop")

    assert len(capture.frames) == 2
    assert capture.counts["bad_lines"] == 7
