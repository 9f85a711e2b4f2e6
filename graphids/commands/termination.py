"""What a command leaves when it is told to end: nothing half done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from graphids.signals import set_handler

# A job scheduler or a service manager; a terminal that is closed.
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def orderly_termination() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the block, so that its temporary files are removed, and end the process as ever.

    That is SystemExit with the code that a shell reports for a program that the signal ended. A signal that the caller
    handles or ignores (`nohup`) stays as it is, as do all where this is not the main thread.
    """
    ours = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        set_handler(number, _end)
    try:
        yield
    finally:
        for number in ours:
            set_handler(number, signal.SIG_DFL)


def _end(number: int, _frame: object) -> None:
    for each in _SIGNALS:  # a second one must not cut the unwinding short
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)
