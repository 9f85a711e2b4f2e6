"""The captures that a command is given: a file, a folder, a glob, or standard input."""

import glob
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO, cast

from graphids.core.captures.read import find_captures
from graphids.core.frames import DataError
from graphids.wording import name_text

_STANDARD_INPUT = Path("-")


class CaptureSource(NamedTuple):
    """A file to read and the name that rows, lines and errors give it."""

    path: Path
    name: str


@contextmanager
def capture_sources(capture: Path) -> Iterator[list[CaptureSource]]:
    """Files of a capture argument, at least one.

    Standard input is copied to a temporary file, because a reader looks at the beginning twice; the copy is deleted
    when the block ends. Errors in the block name standard input, not the copy.

    Args:
        capture: A file, a folder or a glob as in `find_captures`, or `-` for standard input.

    Raises:
        DataError: If a link leads nowhere, or standard input is closed.
        FileNotFoundError: If a folder holds no capture, or a glob matches none.
        OSError: If standard input cannot be copied; it names the folder of temporary files.
    """
    if capture == _STANDARD_INPUT:
        with tempfile.TemporaryDirectory(prefix="graphids-") as folder:
            copy = Path(folder) / "standard-input"
            _copy_standard_input(copy)
            try:
                yield [CaptureSource(copy, "standard input")]
            except DataError as error:
                raise type(error)(str(error).replace(str(copy), "standard input")) from error
    elif capture.is_dir() or (glob.has_magic(str(capture)) and not capture.exists()):
        yield [CaptureSource(path, name_text(path)) for path, _ in find_captures(capture)]
    else:
        yield [CaptureSource(capture, name_text(capture))]


def _copy_standard_input(path: Path) -> None:
    # Python's stub has no None, which is what a process that starts without standard input (`<&-`) finds.
    if cast("TextIO | None", sys.stdin) is None:
        raise DataError("-: standard input is closed. Expected a capture from a pipe or a file, as in zcat FILE |")
    try:
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = f"a copy of standard input in {tempfile.gettempdir()}"
        raise
