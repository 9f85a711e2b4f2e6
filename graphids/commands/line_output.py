"""Where lines of windows, of incidents and of a summary go: standard output, or files."""

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

LineWriter = Callable[[str], None]


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
