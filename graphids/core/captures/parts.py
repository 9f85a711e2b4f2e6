"""The frames of a capture part by part, from the format that is recognised in it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Literal

from graphids.core.captures.capture_file import bytes_read, open_capture, whole_lines
from graphids.core.captures.clock import Clock
from graphids.core.captures.formats.bridged.bridge import BridgeCounts, BridgedFormat, read_bridged
from graphids.core.captures.formats.bridged.parquet import ParquetReader, TableFormat, parts_of_table
from graphids.core.captures.formats.line_records import BLANK_LINE, COMMENT, ERROR_FRAME, REMOTE_FRAME
from graphids.core.captures.formats.preamble import require_frames_after_header
from graphids.core.captures.formats.registry import recognise, unknown_format
from graphids.core.captures.formats.relative_times import require_absolute
from graphids.core.captures.formats.text_format import HEAD_BYTES, Recognised
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import Frames, LogFormatError

OnBadLine = Literal["raise", "drop"]
OnPosition = Callable[[int], object]


def frame_parts(
    path: Path,
    on_bad_line: OnBadLine,
    chunk_bytes: int,
    counts: dict[str, int],
    clock: Clock,
    on_position: OnPosition | None = None,
) -> Iterator[Frames]:
    """Frames of a capture, their times judged; `counts` is complete once it is exhausted.

    Args:
        path: A file, or the folder of a table.
        on_bad_line: As in `read_captures`.
        chunk_bytes: As in `stream_frames`.
        counts: What was met beside frames.
        clock: Judges the times.
        on_position: As in `stream_frames`.
    """
    is_dropping = on_bad_line == "drop"
    report = on_position or (lambda _position: None)
    if files := parts_of_table(path):
        parts = _table_frames(files, is_dropping, counts, report)
    else:
        parts = _file_frames(path, is_dropping, chunk_bytes, counts, report)
    for frames in parts:
        clock.observe(frames)
        yield frames


def files_of(capture: Path) -> list[Path]:
    """The files that a capture consists of: itself, or the parts of a folder that is one table.

    Raises:
        LogFormatError: If it is a partitioned table.
    """
    return parts_of_table(capture) or [capture]


def format_name(path: Path) -> str:
    """The format of a capture, as users know it.

    Raises:
        LogFormatError: If it is unknown, or not a file or a table.
    """
    with open_capture(files_of(path)[0]) as stream:
        recognised = _recognised(path, stream.read(HEAD_BYTES))
    return (recognised.format if isinstance(recognised, Recognised) else recognised).name


def _file_frames(
    path: Path, is_dropping: bool, chunk_bytes: int, counts: dict[str, int], report: OnPosition
) -> Iterator[Frames]:
    with open_capture(path) as stream:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        recognised = _recognised(path, head)
        if isinstance(recognised, TableFormat):
            yield from _table_frames([path], is_dropping, counts, report)
            return
        if isinstance(recognised, BridgedFormat):
            parts = _bridged_frames(path, stream, recognised, is_dropping, counts)
        else:
            require_frames_after_header(path, recognised, head)
            require_absolute(path, recognised, head)
            parts = _text_frames(path, stream, recognised, is_dropping, chunk_bytes, counts)
        for frames in parts:
            report(bytes_read(stream))
            yield frames


def _table_frames(files: list[Path], is_dropping: bool, counts: dict[str, int], report: OnPosition) -> Iterator[Frames]:
    reader, before = ParquetReader(is_dropping), 0
    for file in files:
        size = file.stat().st_size
        with open_capture(file) as stream:
            for frames in reader.frames(file, stream):
                report(before + min(bytes_read(stream), size))  # its end, which is read first, is no progress
                yield frames
        before += size
    counts.update(asdict(reader.counts))


def _recognised(path: Path, head: bytes) -> Recognised | BridgedFormat | TableFormat:
    try:
        recognised = recognise(head)
    except LogFormatError as error:
        raise LogFormatError(f"{path}: {error}") from error
    if recognised is None:
        raise unknown_format(path, head)
    return recognised


def _bridged_frames(
    path: Path, stream: BinaryIO, bridged: BridgedFormat, is_dropping: bool, counts: dict[str, int]
) -> Iterator[Frames]:
    met = BridgeCounts()
    yield from read_bridged(path, stream, bridged, met, drop_bad_lines=is_dropping)
    counts.update(asdict(met))


def _text_frames(
    path: Path,
    stream: BinaryIO,
    recognised: Recognised,
    is_dropping: bool,
    chunk_bytes: int,
    counts: dict[str, int],
) -> Iterator[Frames]:
    parser = TextParser(path, recognised, is_dropping)
    stream.seek(recognised.data_start)
    is_terminated = True
    for text in whole_lines(stream, chunk_bytes):
        is_terminated = text.endswith(b"\n")
        yield from parser.parse(text)
    # A candump line or a name that was cut off at the file's end can still be well formed: say that it may have been.
    counts["unterminated_last_line"] = int(not is_terminated)
    counts.update(
        error_frames=int(parser.counts[ERROR_FRAME]),
        remote_frames=int(parser.counts[REMOTE_FRAME]),
        comment_lines=int(parser.counts[COMMENT]),
        blank_lines=int(parser.counts[BLANK_LINE]),
        bad_lines=parser.bad_lines,
    )
