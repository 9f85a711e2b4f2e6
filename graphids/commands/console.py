"""Between a command and its reader: no line that nobody could act upon, and a quiet end once the reader has gone.

For the command line only: a program that imports graphids keeps every warning and every line of a log.
"""

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from graphids.exit_codes import EXIT_READER_GONE

# Lines of Lightning's logs, by their loggers.
_UNWANTED_LINES = re.compile(
    r"""
    💡\ Tip:                                       # advertisements of litlogger and litmodels
    |TPU\ available:                               # graphids trains on CPU and CUDA
    |Loading\ `train_dataloader`\ to\ estimate     # how Lightning counts the steps
    |You\ are\ using\ a\ CUDA\ device\ .*Tensor\ Cores  # advice to program; --precision is the option
    """,
    re.VERBOSE,
)
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")
# Beginnings of warnings, and the modules that they are issued for.
_UNWANTED_WARNINGS = (
    # torch renamed what Lightning 2.6 uses.
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", r"lightning\.pytorch\.utilities\._pytree"),
    # Our own parser has read the command line; Lightning warns that its own does not.
    (r"LightningCLI's args parameter", r"lightning\.pytorch\.cli"),
)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Leave out, within the block, what libraries say that no user of a command can act upon."""
    if not sys.stderr.isatty():  # MLflow's bars are drawn into files too
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        for message, module in _UNWANTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message, module=module)
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addFilter(_is_wanted)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    return _UNWANTED_LINES.match(record.getMessage()) is None


class ReaderGoneError(BrokenPipeError):
    """Nobody reads standard output or standard error any more."""


class Reader:
    """Who reads what a command prints; `is_needed` is whether the command ends once they have gone."""

    is_needed = True
    has_gone = False


@contextmanager
def watched_reader() -> Iterator[Reader]:
    """End quietly, within the block, when standard output or standard error is a pipe that its reader has closed.

    Raises:
        SystemExit: With EXIT_READER_GONE, where the reader is needed; else what is printed is lost.
    """
    reader, before = Reader(), (sys.stdout, sys.stderr)
    streams = [stream and _Watched(stream, reader) for stream in before]  # None where it is closed (`>&-`)
    sys.stdout, sys.stderr = streams
    try:
        try:
            yield reader
        finally:
            for stream in filter(None, streams):
                stream.flush()
            if reader.has_gone and reader.is_needed:  # argparse passes over what keeps it from printing
                raise ReaderGoneError
    except ReaderGoneError:
        raise SystemExit(EXIT_READER_GONE) from None
    finally:
        sys.stdout, sys.stderr = before


class _Watched:
    """A text stream that notices that its reader has gone, and is the stream itself in all else."""

    def __init__(self, stream: TextIO, reader: Reader) -> None:
        self._stream = stream
        self._reader = reader

    def write(self, text: str) -> int:
        """Write the text; returns its length."""
        self._do(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream."""
        self._do(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _do(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:
            # What could not be written stays in the buffer, and the interpreter would fail on it again at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._reader.has_gone = True
            if self._reader.is_needed:
                raise ReaderGoneError from None
