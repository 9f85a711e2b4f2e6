"""Handlers of signals, where there can be any. Standard library only."""

import signal
import threading
from typing import Any


def set_handler(number: signal.Signals, handler: Any) -> Any:
    """Handle a signal from now on, as `signal.signal` does; returns the handler before.

    Nothing changes in any thread but the main one, the only one that Python lets set handlers and gives signals to, nor
    for a handler that was not set from Python (None).
    """
    if handler is None or threading.current_thread() is not threading.main_thread():
        return signal.getsignal(number)
    return signal.signal(number, handler)
