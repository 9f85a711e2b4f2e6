"""Rows of windows or incidents, as JSON lines or csv, and their summary: to standard output, or to files."""

import contextlib
import csv
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from graphids.core.classifier import WindowScores
from graphids.wording import printable, utc_text

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

# What a spreadsheet takes for a formula (OWASP, "CSV injection"); names of captures and buses can start so.
_FORMULA = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}", "\N{FULLWIDTH COMMERCIAL AT}")

RowWriter = Callable[[dict[str, object]], None]


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


@contextmanager
def opened_rows(
    output: Path | None, output_format: str, columns: Sequence[str] = COLUMNS, *, names_captures: bool
) -> Iterator[RowWriter]:
    """A writer of rows with these columns; in csv one that a row does not have is empty, and a list is one text.

    Args:
        output: File, replaced as a whole if the block succeeds; it stays as it was if not. None: standard output.
        output_format: `jsonl` or `csv`.
        columns: By default those of windows.
        names_captures: Whether rows also have the field `capture`.

    Raises:
        OSError: If the output cannot be written; it names the output.
    """
    columns = ("capture", *columns) if names_captures else columns
    with _opened(output) as stream:
        table = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        if output_format == "csv":
            table.writeheader()

        def write(row: dict[str, object]) -> None:
            with _naming(output):
                if output_format == "jsonl":
                    print(json.dumps(row), file=stream)
                else:
                    table.writerow({name: _cell(value) for name, value in row.items()})

        yield write


def _cell(value: object) -> object:
    r"""A value that a spreadsheet shows and does not compute, in one line; numbers stay numbers.

    >>> _cell("can0"), _cell("=HYPERLINK(A1)"), _cell(-0.5), _cell("can\x1b[2J"), _cell(["1A4", "2B0"])
    ('can0', "'=HYPERLINK(A1)", -0.5, 'can\\x1b[2J', '1A4 2B0')
    """
    if isinstance(value, list):
        texts = [str(each) for each in value]
        value = (" | " if any(" " in text for text in texts) else " ").join(texts)
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


@contextmanager
def opened_summary(path: Path | None) -> Iterator[Callable[[dict[str, object]], None]]:
    """A writer of one JSON object to a file that is replaced as that of `opened_rows` is; None writes nothing.

    Raises:
        OSError: As `opened_rows`.
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
