"""Captures: recordings of CAN buses, read from files of any format that is recognised from its content."""

import glob
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np

from graphids.core.data.formats.line_records import BLANK_LINE, COMMENT, ERROR_FRAME, REMOTE_FRAME
from graphids.core.data.formats.python_can import (
    PYTHON_CAN_FORMATS,
    PythonCanCounts,
    read_with_python_can,
    recognise_python_can,
)
from graphids.core.data.formats.text_formats import HEAD_BYTES, TEXT_FORMATS, Recognised, recognise
from graphids.core.data.formats.text_parser import TextParser
from graphids.core.data.frames import Capture, Frames, LogFormatError, concat
from graphids.core.data.labels import Kinds, index_entry, labels_for

OnBadLine = Literal["raise", "drop"]
_GZIP_MAGIC = b"\x1f\x8b"
# Files that lie beside captures and are none: labels, indexes, documents, code, digests.
_NOT_A_CAPTURE = re.compile(
    r"\..*|.*\.labels\.csv(\.gz)?|.*\.(json|jsonl|yaml|yml|md|rst|pdf|png|svg|py|ipynb|sh|sha256|zip|dbc)"
    r"|(readme|license|licence|changelog|citation)(\..*)?",
    re.IGNORECASE,
)


def read_captures(
    path: str | Path, *, on_bad_line: OnBadLine = "raise", kinds: Kinds = "auto", name: str | None = None
) -> list[Capture]:
    """Captures of one file, one per bus that it holds, in the order in which the buses first appear.

    The format is recognised from the content, `.gz` by its first bytes. Labels come from the file, from
    `<file>.labels.csv[.gz]` beside it or from an `index.json`; see `labels_for`. A recording that holds nothing but
    error frames gives one capture without frames.

    Args:
        path: The file.
        on_bad_line: `"raise"` at the first bad line, or `"drop"` bad lines and count them in `counts["bad_lines"]`.
        kinds: Where names of attack kinds come from: `"auto"`, `"filename"` or `"none"`.
        name: Name for the capture; the file's name where none is given.

    Returns:
        Captures. `counts` that are taken line by line hold for the whole file and stand in its first capture, so
        that sums over captures are right; `backward_timestamps` is counted per bus.

    Raises:
        LogFormatError: If the format is unknown, a line is bad, or labels do not fit the file.
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the format needs the extra `can` and it is not installed.
    """
    path = Path(path)
    _check_on_bad_line(on_bad_line)
    counts: dict[str, int] = {}
    # A negative size reads the whole file as one chunk: columns are then allocated once and never joined.
    parts = list(_frames(path, on_bad_line, chunk_bytes=-1, counts=counts))
    if not sum(map(len, parts)) and not counts["error_frames"]:
        raise LogFormatError(
            f"{path}: holds no frame ({counts['bad_lines']} bad lines were dropped). "
            f"Expected a recording; check the export that made this file."
        )
    frames = parts[0] if len(parts) == 1 else concat([replace(part, channels=parts[-1].channels) for part in parts])
    frames = labels_for(path, frames, kinds, is_complete=not counts.get("bad_lines"))
    entry = index_entry(path)
    name = name or path.name
    source = (entry and entry.source) or name
    captures = [Capture(name, bus, source, _backward(bus), path) for bus in _split_channels(frames)]
    if len(captures) > 1:
        captures = [replace(capture, name=f"{name}:{capture.frames.channels[0]}") for capture in captures]
    captures[0].counts.update(counts)
    return captures


def find_captures(data: str | Path) -> list[tuple[Path, str]]:
    """Capture files with their names: one file, a folder's (recursive, sorted), or those of a glob.

    In a folder, files that are no captures by their name are passed over: labels, `index.json` and other JSON,
    documents, code, hidden files.

    Raises:
        FileNotFoundError: If nothing is there.
    """
    path = Path(data)
    if path.is_file():
        return [(path, path.name)]
    if path.is_dir():
        root, found = path, sorted(path.rglob("*"))
    else:
        root = Path(*_fixed_parts(path))
        found = sorted(map(Path, glob.glob(str(data), recursive=True)))  # noqa: PTH207  (Path.glob wants a relative one)
        if any(map(Path.is_dir, found)) and not any(map(Path.is_file, found)):
            found = sorted(file for folder in found for file in folder.rglob("*"))
    files = [file for file in found if file.is_file() and not _is_passed_over(file.relative_to(root))]
    if not files:
        raise FileNotFoundError(
            f"{data}: no capture there. Expected a capture file, a folder that holds some, or a glob that matches some."
        )
    return [(file, file.relative_to(root).as_posix()) for file in files]


def stream_frames(
    path: str | Path, *, chunk_bytes: int = 1 << 24, on_bad_line: OnBadLine = "raise"
) -> Iterator[Frames]:
    """Frames of a file of any size, chunk by chunk in bounded memory, with the labels that stand in the file itself.

    `channel` is an index into `channels`, whose tuple grows as buses turn up; an index keeps its meaning. Formats
    that come through python-can are read in batches; MF4 is loaded as a whole by its library.

    Args:
        path: The file; `.gz` is recognised.
        chunk_bytes: Bytes of text per chunk, which is then cut at the last line's end.
        on_bad_line: As in `read_captures`.

    Raises:
        LogFormatError: As in `read_captures`, when the iteration reaches the place.
        ValueError: If `chunk_bytes` is below 1.
    """
    _check_on_bad_line(on_bad_line)
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes={chunk_bytes} is too small. Expected at least 1.")
    return (frames for frames in _frames(Path(path), on_bad_line, chunk_bytes, {}) if len(frames))


def _check_on_bad_line(on_bad_line: str) -> None:
    if on_bad_line not in ("raise", "drop"):
        raise ValueError(f"on_bad_line={on_bad_line!r} is not known. Expected 'raise' or 'drop'.")


def _is_passed_over(relative: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    return hidden or _NOT_A_CAPTURE.fullmatch(relative.name) is not None


def _fixed_parts(pattern: Path) -> list[str]:
    """Leading parts of a glob that hold no wildcard."""
    parts = list(pattern.parts)
    wild = next((i for i, part in enumerate(parts) if glob.has_magic(part)), max(len(parts) - 1, 0))
    return parts[:wild]


def _frames(path: Path, on_bad_line: OnBadLine, chunk_bytes: int, counts: dict[str, int]) -> Iterator[Frames]:
    """Frames in chunks (one chunk where `chunk_bytes` is negative); `counts` is complete once it is exhausted."""
    is_dropping = on_bad_line == "drop"
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if is_gzip else raw
        try:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            format_name = recognise_python_can(head)
            if format_name:
                met = PythonCanCounts()
                yield from read_with_python_can(path, stream, format_name, met, drop_bad_lines=is_dropping)
                counts.update(error_frames=met.error_frames, remote_frames=met.remote_frames, bad_lines=met.bad_lines)
                return
            recognised = recognise(head)
            if recognised is None:
                raise _unknown_format(path, head)
            yield from _text_frames(path, stream, recognised, is_dropping, chunk_bytes, counts)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise LogFormatError(
                f"{path}: the gzip stream is damaged or cut off ({error}). "
                f"Expected a whole .gz file; copy it again from where it came."
            ) from error


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
    rest = b""
    while chunk := stream.read(chunk_bytes):
        if chunk_bytes < 0:
            rest = chunk
            break
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield parser.parse(rest + chunk[:cut])
            rest = b""
        rest += chunk[cut:]
    yield parser.parse(rest)
    # A candump line or a name that was cut off at the file's end can still be well formed: say that it may have been.
    counts["unterminated_last_line"] = int(bool(rest) and not rest.endswith(b"\n"))
    counts.update(
        error_frames=int(parser.counts[ERROR_FRAME]),
        remote_frames=int(parser.counts[REMOTE_FRAME]),
        comment_lines=int(parser.counts[COMMENT]),
        blank_lines=int(parser.counts[BLANK_LINE]),
        bad_lines=parser.bad_lines,
    )


def _split_channels(frames: Frames) -> list[Frames]:
    """One part per channel that has frames, in the order of `channels`; a single part is not copied."""
    present = [index for index in range(len(frames.channels)) if np.any(frames.channel == index)]
    if len(present) <= 1:
        channel = frames.channels[present[0] if present else 0]
        return [replace(frames, channel=np.zeros_like(frames.channel), channels=(channel,))]
    parts = [(frames.channels[index], frames.take(frames.channel == index)) for index in present]
    return [replace(part, channel=np.zeros_like(part.channel), channels=(name,)) for name, part in parts]


def _backward(frames: Frames) -> dict[str, int]:
    return {"backward_timestamps": int(np.count_nonzero(np.diff(frames.timestamp) < 0))}


def _unknown_format(path: Path, head: bytes) -> LogFormatError:
    known = ", ".join([text_format.name for text_format in TEXT_FORMATS] + list(PYTHON_CAN_FORMATS))
    first = head.split(b"\n", 1)[0].strip()[:120].decode("ascii", "backslashreplace")
    if not head.strip():
        return LogFormatError(f"{path}: the file is empty. Expected a capture in one of the formats {known}.")
    if re.match(rb"\s*ID,DATA_0,|\s*\S*can\d+\s+[0-9a-fA-F]+\s+\[\d\]", head, re.IGNORECASE):
        return LogFormatError(
            f"{path}:1: found `{first}`: frames without timestamps. Expected the time of every frame, without which "
            f"there is no order and no gap to learn from; record again with timestamps (candump -l)."
        )
    hint = " The file is UTF-16 text; save it as UTF-8." if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
    return LogFormatError(
        f"{path}:1: found `{first}`, which is no known capture format.{hint} Expected one of {known}; "
        f"convert the capture, for example with python-can's can_logconvert, to candump -l."
    )
