"""Delivery in the background: in order, again and again while the other side is away, at no cost to the writer."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from graphids.outbox import sender
from graphids.outbox.sender import Entry, Sender, UnreachableError

SHORT_S = 0.2


class Receiver:
    """The other side: `away` until its event is set, and in no mood for what it `refuses`."""

    def __init__(self, *, refuses: tuple[int, ...] = ()) -> None:
        self.received: list[int] = []
        self.refused: list[int] = []
        self.outages: list[str] = []
        self.attempts = 0
        self.here = threading.Event()
        self.here.set()
        self.hang = threading.Event()
        self.hang.set()
        self.gone = threading.Event()
        self._refuses = refuses

    def deliver(self, entry: Entry) -> None:
        self.attempts += 1
        self.hang.wait()
        if not self.here.is_set():
            raise UnreachableError("connection refused")
        if entry["n"] in self._refuses:
            raise ValueError(entry["n"])

    def settled(self, entry: Entry, refusal: Exception | None) -> None:
        (self.received if refusal is None else self.refused).append(entry["n"])


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Receiver], Sender]]:
    monkeypatch.setattr(sender, "PATIENCE_S", SHORT_S)
    monkeypatch.setattr(sender, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(sender, "_LONGEST_PAUSE_S", 0.02)
    started = []

    def start(to: Receiver) -> Sender:
        made = Sender(to.deliver, settled=to.settled, outage=to.outages.append, on_exit=to.gone.set, patience_s=SHORT_S)
        started.append((made, to))
        return made

    yield start
    for made, to in started:
        to.hang.set()
        made.stop()


def elapsed_s(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_entries_are_delivered_in_order(start: Callable[[Receiver], Sender]) -> None:
    to = Receiver()
    made = start(to)
    for n in range(50):
        made.put({"n": n})

    assert made.flush()
    assert to.received == list(range(50))


def test_writing_does_not_wait_for_a_side_that_hangs(start: Callable[[Receiver], Sender]) -> None:
    to = Receiver()
    to.hang.clear()
    made = start(to)

    assert elapsed_s(lambda: [made.put({"n": n}) for n in range(1000)]) < SHORT_S


@pytest.mark.parametrize("fault", ["hang", "here"])
def test_the_end_waits_its_patience_once_in_an_outage_and_what_is_left_is_known(
    start: Callable[[Receiver], Sender], fault: str
) -> None:
    to = Receiver()
    getattr(to, fault).clear()
    made = start(to)
    made.put({"n": 1})

    assert SHORT_S <= elapsed_s(made.flush) < 3 * SHORT_S
    assert elapsed_s(made.flush) < SHORT_S / 2
    assert [entry["n"] for entry in made.waiting()] == [1]


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_is_over_and_nothing_is_lost(
    start: Callable[[Receiver], Sender],
) -> None:
    to = Receiver()
    to.here.clear()
    made = start(to)
    for n in range(3):
        made.put({"n": n})
    while to.attempts < 4:
        time.sleep(0.005)
    to.here.set()

    assert made.flush()
    assert to.received == [0, 1, 2]
    assert to.outages == ["connection refused", ""]


def test_patience_is_renewed_by_a_delivery(start: Callable[[Receiver], Sender]) -> None:
    to = Receiver()
    to.here.clear()
    made = start(to)
    made.put({"n": 1})
    assert not made.flush()
    to.here.set()
    while made.waiting():
        time.sleep(0.005)
    to.here.clear()
    made.put({"n": 2})

    assert elapsed_s(made.flush) >= SHORT_S


def test_a_large_entry_is_given_a_second_per_megabyte(start: Callable[[Receiver], Sender]) -> None:
    to = Receiver()
    to.hang.clear()
    made = start(to)
    made.put({"n": 1, "bytes": 400_000})

    assert elapsed_s(made.flush) >= SHORT_S + 0.4


def test_a_refused_entry_does_not_hold_up_those_behind_it(start: Callable[[Receiver], Sender]) -> None:
    to = Receiver(refuses=(2,))
    made = start(to)
    for n in (1, 2, 3):
        made.put({"n": n})

    assert made.flush()
    assert (to.received, to.refused) == ([1, 3], [2])


def test_stopping_in_the_middle_of_a_delivery_says_so_and_the_thread_signs_off_later(
    start: Callable[[Receiver], Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_STOP_S", 0.05)
    to = Receiver()
    to.hang.clear()
    made = start(to)
    made.put({"n": 1})
    while not to.attempts:
        time.sleep(0.005)

    assert not made.stop()
    assert not to.gone.is_set()
    to.hang.set()
    assert to.gone.wait(2)


@pytest.fixture
def late_server() -> Iterator[str]:
    """Answers every request after a quarter of the sender's patience."""

    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(SHORT_S / 4)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("in_a_pool", [False, True], ids=["in its thread", "in a pool of threads"])
def test_an_entry_of_many_requests_that_are_all_answered_late_is_no_outage(
    start: Callable[[Receiver], Sender], late_server: str, in_a_pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = Receiver()

    def deliver(_: Entry) -> None:
        with ThreadPoolExecutor(2) as pool:
            for answer in (pool.map if in_a_pool else map)(requests.get, [late_server] * 16):
                assert answer.status_code == 204

    monkeypatch.setattr(to, "deliver", deliver)
    made = start(to)
    made.put({"n": 1})

    assert made.flush()
    assert (to.received, to.outages) == ([1], [])


def test_requests_of_others_do_not_prolong_an_outage(start: Callable[[Receiver], Sender], late_server: str) -> None:
    to = Receiver()
    to.here.clear()
    made = start(to)
    made.put({"n": 1})
    asking = threading.Thread(target=lambda: [requests.get(late_server, timeout=5) for _ in range(8)])
    asking.start()

    waited_s = elapsed_s(made.flush)

    asking.join()
    assert SHORT_S <= waited_s < 3 * SHORT_S
