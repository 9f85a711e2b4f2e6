"""Rows of windows, and where lines of them, of incidents and of a summary go: standard output, or files."""

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from graphids.core.classifier import WindowScores
from graphids.wording import csv_line, utc_text

UTC_FIELDS = ("start_utc", "end_utc")
COLUMNS = (
    "window",
    "channel",
    "start_s",
    "end_s",
    *UTC_FIELDS,
    "score",
    "alert",
    "kind",
    "arbitration_ids",
    "coverage",
    "id_coverage",
)
# Fields of every row; one of a capture with absolute times has `UTC_FIELDS` too.
FIELDS = tuple(name for name in COLUMNS if name not in UTC_FIELDS)

LineWriter = Callable[[str], None]
WINDOW_FORMATS = ("jsonl", "csv")


def rows_of(scores: WindowScores, windows_before: int) -> Iterator[dict[str, object]]:
    """A row for every window.

    Args:
        scores: Of one chunk.
        windows_before: Windows of the capture in the chunks before.
    """
    for i in range(len(scores)):
        start_s, end_s = float(scores.start_s[i]), float(scores.end_s[i])
        yield {
            "window": windows_before + i,
            "channel": str(scores.channel[i]),
            "start_s": start_s,
            "end_s": end_s,
            **_utc(start_s, end_s),
            "score": float(scores.score[i]),
            "alert": bool(scores.alert[i]),
            "kind": str(scores.kind[i]),
            "arbitration_ids": list(scores.arbitration_ids[i]),
            "coverage": float(scores.coverage[i]),
            "id_coverage": float(scores.id_coverage[i]),
        }


def _utc(start_s: float, end_s: float) -> dict[str, object]:
    times = (utc_text(start_s), utc_text(end_s))
    return dict(zip(UTC_FIELDS, times, strict=True)) if all(times) else {}


class WindowFormat(NamedTuple):
    """How windows are written: each row as one line, and the line before the first one, "" for none."""

    write: Callable[[dict[str, object]], str]
    head: str = ""


def window_format(name: str, *, names_captures: bool) -> WindowFormat:
    """The format of that name, one of `WINDOW_FORMATS`; in csv a column that a row does not have is empty.

    Args:
        name: Of the format.
        names_captures: Whether rows also have the field `capture`.
    """
    if name == "jsonl":
        return WindowFormat(json.dumps)
    columns = ("capture", *COLUMNS) if names_captures else COLUMNS
    return WindowFormat(lambda row: csv_line(row.get(column, "") for column in columns), csv_line(columns))


@contextmanager
def opened_lines(output: Path | None) -> Iterator[LineWriter]:
    """A writer of lines to a file that is replaced as a whole if the block succeeds and stays as it was if not.

    Args:
        output: None: standard output.

    Raises:
        OSError: If the output cannot be written; it names the output.
    """
    with _opened(output) as stream:

        def write(line: str) -> None:
            with _naming(output):
                print(line, file=stream)

        yield write


@contextmanager
def opened_summary(path: Path | None) -> Iterator[Callable[[dict[str, object]], None]]:
    """A writer of one JSON object to a file that is replaced as that of `opened_lines` is; None writes nothing.

    Raises:
        OSError: As `opened_lines`.
    """
    if path is None:
        yield lambda _content: None
        return
    with _opened(path) as stream:

        def write(content: dict[str, object]) -> None:
            with _naming(path):
                print(json.dumps(content, indent=2), file=stream)

        yield write


@contextmanager
def _naming(output: Path | None) -> Iterator[None]:
    """Name the file in an OSError: the system reports that a disk is full, not which file was being written."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = "standard output" if output is None else str(output)
        raise


def _opened(output: Path | None) -> AbstractContextManager[TextIO]:
    if output is None:
        return _standard_output()
    # A pipe or a device (/dev/stdout) is written to: a rename would replace it by a file.
    if output.exists() and not output.is_file():
        return output.open("w", encoding="utf-8", newline="")
    return _replacing(output.resolve())  # a link keeps pointing to the file


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    try:
        yield sys.stdout
    finally:
        try:
            with _naming(None):
                sys.stdout.flush()
        except OSError:
            # What could not be written stays in the buffer, and the interpreter would fail on it again at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            raise


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A temporary file that replaces `path` if the block succeeds, and is removed if it fails."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; create it, or name another file.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            yield stream
            with _naming(path):
                stream.flush()
                os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
