"""Header lines dropped, doubled or moved: the same frames, or an error or a count that says so."""

from itertools import combinations, pairwise
from pathlib import Path

import pytest

from graphids.core.captures.read import read_captures, stream_frames
from graphids.core.frames import DataError
from support.format_case import Frame, Layout, layouts, rows
from support.random_frames import drawn

NUM_FRAMES = 24
LAYOUTS = {name: layout for name, layout in layouts().items() if layout.head}


def damaged(header: list[bytes], data: list[bytes]) -> dict[bytes, str]:
    """Files whose header was damaged, and what was done to it."""
    files: dict[bytes, str] = {}

    def add(what: str, *parts: list[bytes]) -> None:
        files.setdefault(b"".join(line for part in parts for line in part), what)

    middle = len(data) // 2
    add("the header twice", header, header, data)
    add("the header again within the data", header, data[:middle], header, data[middle:])
    add("the header after the data", data, header)
    add("no header", data)
    for number, line in enumerate(header):
        what, rest = f"`{line.decode().rstrip()}`", [*header[:number], *header[number + 1 :]]
        add(f"{what} dropped", rest, data)
        for place in range(len(header) + 1):
            add(f"{what} again at line {place + 1}", header[:place], [line], header[place:], data)
        for place in (1, middle, len(data)):
            add(f"{what} again after frame {place}", header, data[:place], [line], data[place:])
            add(f"{what} moved after frame {place}", rest, data[:place], [line], data[place:])
    for first, second in combinations(range(len(header)), 2):
        swapped = list(header)
        swapped[first], swapped[second] = header[second], header[first]
        add(f"lines {first + 1} and {second + 1} swapped", swapped, data)
    return files


def read(path: Path, text: bytes) -> tuple[list[Frame], int] | None:
    """Frames and bad lines, which are errors by default; None where the file is refused either way."""
    path.write_bytes(text)
    counts: dict[str, int] = {}
    try:
        frames = [r for part in stream_frames(path, on_bad_line="drop", counts=counts) for r in rows(part)]
        if not frames:
            read_captures(path, on_bad_line="drop")  # a file without a frame is an error of this door
    except DataError:
        return None
    return frames, counts["bad_lines"]


def lines_of(layout: Layout, number: int = NUM_FRAMES) -> list[bytes]:
    return [frame.line(layout.reference) + b"\n" for frame in drawn(layout, number)]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_header_line_dropped_doubled_or_moved_changes_no_frame_unless_an_error_or_a_bad_line_says_so(
    tmp_path: Path, layout: Layout
) -> None:
    header, data = layout.head.splitlines(keepends=True), lines_of(layout)
    whole = read(tmp_path / "drive", b"".join([*header, *data]))
    assert whole
    assert (len(whole[0]), whole[1]) == (NUM_FRAMES, 0)

    changed = [
        what
        for text, what in damaged(header, data).items()
        if (found := read(tmp_path / "drive", text)) and not found[1] and found[0] != whole[0]
    ]

    assert changed == []


@pytest.mark.parametrize("layout", layouts().values(), ids=layouts())
def test_a_byte_order_mark_and_crlf_change_no_frame(tmp_path: Path, layout: Layout) -> None:
    text = b"".join([layout.head, *lines_of(layout)])

    found = read(tmp_path / "drive", b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))

    assert found == read(tmp_path / "drive", text)
    assert found is not None


RELATIVE = {"busmaster: hexadecimal": (b"SYSTEM", b"RELATIVE"), "vector_asc: of CANalyzer": (b"absolute", b"relative")}


@pytest.mark.parametrize("name", RELATIVE)
def test_times_since_the_frame_before_are_refused_even_where_the_line_that_says_so_was_lost(
    tmp_path: Path, name: str
) -> None:
    layout = LAYOUTS[name]
    header = layout.head.replace(*RELATIVE[name]).replace(b"   0.000000 Start of measurement\n", b"")
    frames = drawn(layout, NUM_FRAMES)
    gaps = [after.microseconds - before.microseconds for before, after in pairwise(frames)]
    data = [
        frame._replace(microseconds=gap).line(layout.reference) + b"\n"
        for frame, gap in zip(frames, gaps, strict=False)
    ]

    for text, what in damaged(header.splitlines(keepends=True), data).items():
        assert read(tmp_path / "drive", text) is None, what


@pytest.mark.parametrize("name", ["busmaster: decimal", "vector_asc: decimal"])
def test_decimal_identifiers_are_hexadecimal_where_neither_a_header_nor_a_byte_says_otherwise(
    tmp_path: Path, name: str
) -> None:
    """A limit: decimal bytes are not hexadecimal ones, but frames of no bytes may have lost the line unnoticed."""
    write = LAYOUTS[name].reference.write
    lines = [write(45_000_000_000, 100, False, data) + b"\n" for data in (b"", bytes([7, 200]))]

    found, with_bytes = read(tmp_path / "drive", lines[0]), read(tmp_path / "drive", b"".join(lines))

    assert found
    assert ([frame.identifier for frame in found[0]], found[1]) == ([0x100], 0)
    assert with_bytes
    assert with_bytes[1] == 1
