"""Captures: recordings of CAN buses, read from files of any format that is recognised from its content."""

import glob
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from graphids.core.captures.clock import Clock
from graphids.core.captures.formats.bridged.parquet import parts_of_table
from graphids.core.captures.index_file import index_entry
from graphids.core.captures.labels import Kinds, labels_for
from graphids.core.captures.parts import OnBadLine, frame_parts
from graphids.core.frames import Capture, DataError, Frames, GrowingFrames, LogFormatError

__all__ = ["OnBadLine", "find_captures", "read_captures", "stream_frames"]

_CHUNK_BYTES = 1 << 20  # of text that is parsed at once; a MiB stays in the cache
# Files beside captures that are not captures: labels, indexes, documents, code, digests.
_NOT_A_CAPTURE = re.compile(
    r"\..*|.*\.labels\.csv(\.gz)?|.*\.(json|jsonl|yaml|yml|md|rst|pdf|png|svg|py|ipynb|sh|sha256|zip|dbc)"
    r"|.*\.(db|sqlite3?)-(wal|shm|journal)|(readme|license|licence|changelog|citation)(\..*)?",
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
        Captures. `counts` that are taken line by line hold for the whole file and are in its first capture, so
        that sums over captures are right; `backward_timestamps` is counted per bus.

    Raises:
        LogFormatError: If the format is unknown, a line is bad, or labels do not fit the file.
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the format needs the extra `can` and it is not installed.
    """
    path = Path(path)
    _check_on_bad_line(on_bad_line)
    counts: dict[str, int] = {}
    clock = Clock(path)
    grown = GrowingFrames()
    for part in frame_parts(path, on_bad_line, _CHUNK_BYTES, counts, clock):
        grown.append(part)
    frames = grown.frames()
    if not len(frames) and not counts["error_frames"]:
        raise LogFormatError(
            f"{path}: holds no frame ({counts['bad_lines']} bad lines were dropped). "
            f"Expected a recording; check the export that made this file."
        )
    frames = labels_for(path, frames, kinds, is_complete=not counts.get("bad_lines"))
    entry = index_entry(path)
    name = name or path.name
    source = (entry and entry.source) or name
    captures = [
        Capture(name, bus, source, dict(clock.counts.get(index, {})), path)
        for index, bus in _split_buses(frames, sorted(clock.counts) or [0])
    ]
    if len(captures) > 1:
        captures = [replace(capture, name=f"{name}:{capture.frames.channels[0]}") for capture in captures]
    captures[0].counts.update(counts)
    return captures


def find_captures(data: str | Path) -> list[tuple[Path, str]]:
    """Capture files with their names: one file, a folder's (recursive, sorted), or those of a glob.

    A folder that is one Parquet table (`parts_of_table`) is one capture.

    In a folder, files whose names say that they are not captures are passed over: labels, `index.json` and other JSON,
    documents, code, hidden files; and what is not a regular file, such as a named pipe.

    Raises:
        FileNotFoundError: If nothing is there.
        DataError: If a link leads nowhere, or `data` itself is a named pipe or a device.
    """
    path = Path(data)
    if path.is_file() or parts_of_table(path):
        return [(path, path.name)]
    if path.is_dir():
        root, found = path, sorted(path.rglob("*"))
    else:
        root = Path(*_fixed_parts(path))
        found = sorted(map(Path, glob.glob(str(data), recursive=True)))  # noqa: PTH207  (Path.glob wants a relative one)
        if any(map(Path.is_dir, found)) and not any(map(Path.is_file, found)):
            found = sorted(file for folder in found for file in folder.rglob("*"))
    if os.path.lexists(path) and not path.is_dir():
        raise DataError(f"{data}: is not a regular file. Expected a capture file, a folder or a glob of them.")
    found = [file for file in found if not _is_passed_over(file.relative_to(root))]
    if missing := next((file for file in found if file.is_symlink() and not file.exists()), None):
        raise DataError(f"{missing}: a link to a file that is not there. Fetch the file, or remove the link.")
    tables = {folder for folder in {*found, *(file.parent for file in found)} if parts_of_table(folder)}
    files = sorted({*tables, *(file for file in found if file.is_file() and file.parent not in tables)})
    if not files:
        raise FileNotFoundError(
            f"{data}: no capture there. Expected a capture file, a folder that holds some, or a glob that matches some."
        )
    return [(file, file.relative_to(root).as_posix()) for file in files]


def stream_frames(
    path: str | Path,
    *,
    chunk_bytes: int = 1 << 22,
    on_bad_line: OnBadLine = "raise",
    counts: dict[str, int] | None = None,
    on_position: Callable[[int], object] | None = None,
) -> Iterator[Frames]:
    """Frames of a file of any size, chunk by chunk in bounded memory, with the labels in the file itself.

    `channel` is an index into `channels`, whose tuple grows as buses turn up; an index keeps its meaning. Formats
    that come through python-can are read in batches; MF4 is loaded as a whole by its library.

    Args:
        path: The file; `.gz` is recognised.
        chunk_bytes: Bytes of text per chunk, which is then cut at the last line's end.
        on_bad_line: As in `read_captures`.
        counts: Filled with the counts of the whole file, over all buses, once the iteration is at its end.
        on_position: Called before each chunk with the bytes of the file, as it lies on the disk, that were read.

    Raises:
        LogFormatError: As in `read_captures`, when the iteration reaches the place.
        ValueError: If `chunk_bytes` is below 1.
    """
    _check_on_bad_line(on_bad_line)
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes={chunk_bytes} is too small. Expected at least 1.")
    return _streamed(Path(path), on_bad_line, chunk_bytes, {} if counts is None else counts, on_position)


def _streamed(
    path: Path,
    on_bad_line: OnBadLine,
    chunk_bytes: int,
    counts: dict[str, int],
    on_position: Callable[[int], object] | None,
) -> Iterator[Frames]:
    clock = Clock(path)
    parts = frame_parts(path, on_bad_line, chunk_bytes, counts, clock, on_position)
    yield from (frames for frames in parts if len(frames))
    counts.update(clock.totals())


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


def _split_buses(frames: Frames, present: list[int]) -> list[tuple[int, Frames]]:
    """Index and frames of each bus of those `present`; a single part is not copied."""
    if len(present) == 1:
        frames.channel[:] = 0
        return [(present[0], replace(frames, channels=(frames.channels[present[0]],)))]
    parts = [(index, frames.take(frames.channel == index)) for index in present]
    return [
        (index, replace(part, channel=np.zeros_like(part.channel), channels=(frames.channels[index],)))
        for index, part in parts
    ]
