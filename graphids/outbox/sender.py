"""A thread that delivers entries in order, while their writer carries on.

The writer waits for it only at the end, and not for long if the receiver is unreachable.
"""

import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

Entry = Mapping[str, Any]

THREAD_NAME = "graphids-sender"
# How long the writer waits in total during one outage: longer than a server takes to restart, shorter than the grace
# period of a job scheduler.
PATIENCE_S = 8.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_STOP_S = 1.0
_at_work: set["Sender"] = set()


class UnreachableError(Exception):
    """The receiver did not answer, or only failed for now; the entry is retried."""


class Sender:
    """Delivers entries one at a time and in order, in a daemon thread.

    Args:
        deliver: Called with an entry. After `UnreachableError` it is retried with a pause; any other exception is a
            refusal, and the next entry is delivered.
        settled: Called in the thread after each delivery, with the entry and either None or the refusal.
        outage: Called in the thread when an outage begins, with its reason, and with an empty string when it is over.
        on_exit: Called in the thread when it ends: nothing is being delivered any more.
        patience_s: How long `flush` waits for a delivery that neither succeeds nor fails, nor sends another HTTP
            request, plus a second per megabyte.
    """

    def __init__(
        self,
        deliver: Callable[[Entry], None],
        *,
        settled: Callable[[Entry, Exception | None], None],
        outage: Callable[[str], None],
        on_exit: Callable[[], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._deliver, self._settled, self._outage, self._on_exit = deliver, settled, outage, on_exit
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._queue: deque[Entry] = deque()
        self._stopping = False
        self._pause_s = 0.0  # above 0 during an outage
        self._stalled_s = 0.0  # spent in `flush` since the last delivery or request
        _listen_to_requests()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry; returns at once."""
        with self._changed:
            self._queue.append(entry)
            self._changed.notify_all()

    def waiting(self) -> tuple[Entry, ...]:
        """Entries that are not delivered yet."""
        with self._changed:
            return tuple(self._queue)

    def flush(self) -> bool:
        """Wait while deliveries succeed and requests are answered, however slowly; returns whether no entry is left.

        During an outage it waits `PATIENCE_S` in total until one succeeds again: a second call during the same outage
        returns at once.
        """
        with self._changed:
            if self._pause_s:
                self._pause_s = _FIRST_PAUSE_S
                self._changed.notify_all()  # try again now
            while self._queue and self._stalled_s < self._allowance_s():
                before = time.monotonic()
                self._changed.wait(0.1)
                self._stalled_s += time.monotonic() - before
            return not self._queue

    def stop(self) -> bool:
        """Stop after the delivery under way; returns whether the thread has ended within a second."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(_STOP_S)
        return not self._thread.is_alive()

    def _allowance_s(self) -> float:
        if self._pause_s:
            return PATIENCE_S
        size_bytes: int = self._queue[0].get("bytes", 0)
        return self._patience_s + size_bytes / 1e6

    def _run(self) -> None:
        try:
            while (entry := self._next()) is not None:
                self._try(entry)
        finally:
            self._on_exit()

    def _next(self) -> Entry | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            return None if self._stopping else self._queue[0]

    def _try(self, entry: Entry) -> None:
        refusal: Exception | None = None
        _at_work.add(self)
        try:
            self._deliver(entry)
        except UnreachableError as error:
            self._pause(str(error))
            return
        except Exception as error:  # whatever is wrong with one entry, the next ones are delivered
            refusal = error
        finally:
            _at_work.discard(self)
        self._settled(entry, refusal)
        if self._pause_s:
            self._outage("")
        with self._changed:
            self._queue.popleft()
            self._pause_s = self._stalled_s = 0.0
            self._changed.notify_all()

    def _go_on_waiting(self) -> None:
        with self._changed:
            if not self._pause_s:
                self._stalled_s = 0.0

    def _pause(self, reason: str) -> None:
        if not self._pause_s:
            self._outage(reason)
        with self._changed:
            self._pause_s = min(self._pause_s * 2 or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
            if not self._stopping:
                self._changed.wait(self._pause_s)


def _note_request(event: str, _arguments: object) -> None:
    if event == "http.client.send":
        for sender in tuple(_at_work):
            sender._go_on_waiting()


@functools.cache
def _listen_to_requests() -> None:
    """Learn of requests: the next one is sent when the last one was answered.

    A model takes dozens of them, in several threads of MLflow's. Every HTTP client of Python's raises this audit event.
    """
    sys.addaudithook(_note_request)
