"""What the scoring server takes on: bodies, requests in flight, time and memory, each with its bound."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from graphids.options import OptionError
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from mlflow_graphids.serving.scoring_app import Reply, ServerLimits
from support.ports import free_port
from support.scoring_client import (
    Answer,
    accepts,
    ask,
    burst,
    raw,
    resident_mib,
    running,
    split_body,
    until,
    while_served,
)

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
POST = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Held:
    """Scoring that says when it started and waits until it may end."""

    started: threading.Event
    may_end: threading.Event


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    events = Held(threading.Event(), threading.Event())

    def score(*_: object) -> Reply:
        events.started.set()
        events.may_end.wait(30)
        return Reply(b"{}", is_covered=True)

    monkeypatch.setattr("mlflow_graphids.serving.scoring_app._score", score)
    yield events
    events.may_end.set()


@contextlib.contextmanager
def uploading(url: str, num_bytes: int) -> Iterator[None]:
    """A client that has sent this much of a body that is one byte longer, and then does nothing."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % (num_bytes + 1) + b"x" * num_bytes)
        yield


def test_a_body_above_the_limit_is_413_and_the_next_request_is_served(
    model: VerifiedClassifier, table: pd.DataFrame
) -> None:
    body = split_body(table)
    with running(model, ServerLimits(max_body_bytes=len(body))) as url:
        fits, too_large, next_one = ask(url, body), ask(url, body + " "), ask(url, body)

    assert (fits.status, too_large.status, next_one.status) == (200, 413, 200)
    assert f"has {len(body) + 1} bytes, expected at most {len(body)} bytes: send fewer frames" in too_large.message


def test_a_body_is_counted_while_it_arrives_where_no_length_is_announced(model: VerifiedClassifier) -> None:
    with running(model, ServerLimits(max_body_bytes=1000)) as url:
        answer = ask(url, iter([b"x" * 600] * 2))

    assert answer.status == 413
    assert "has more, expected at most 1000 bytes" in answer.message


def test_a_body_shorter_than_announced_is_never_scored(model: VerifiedClassifier, table: pd.DataFrame) -> None:
    """A whole table in fewer bytes than Content-Length says was cut off somewhere."""
    body = split_body(table).encode()
    with running(model, ServerLimits(timeout_s=1)) as url:
        answer = raw(url, POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (len(body) + 10) + body)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body did not arrive within 1 s." in answer


def test_more_bytes_than_announced_are_no_part_of_the_body(model: VerifiedClassifier, table: pd.DataFrame) -> None:
    body = split_body(table).encode()
    with running(model, ServerLimits(timeout_s=1)) as url:
        answer = raw(url, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"garbage\r\n\r\n")

    first, _, rest = answer.partition(b"}HTTP/1.1 ")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert rest.startswith(b"400 ")


@pytest.mark.parametrize(
    "sent", [b"", POST, POST + b"X: " + b"y" * 100], ids=["nothing", "half a head", "half a header"]
)
def test_a_client_that_never_ends_its_head_is_cut_off(model: VerifiedClassifier, sent: bytes) -> None:
    with running(model, ServerLimits(timeout_s=0.5)) as url:
        assert raw(url, sent, timeout_s=10) == b""


def test_a_head_without_end_is_refused(model: VerifiedClassifier) -> None:
    with running(model) as url:
        assert raw(url, POST + b"X: " + b"y" * 100_000).startswith(b"HTTP/1.1 400 ")


def test_ping_answers_while_a_request_is_scored(model: VerifiedClassifier, held: Held) -> None:
    with running(model) as url, ThreadPoolExecutor(1) as client:
        scored = client.submit(ask, url, "{}")
        assert held.started.wait(30)
        assert ask(f"{url}/ping", method="GET").status == 200
        held.may_end.set()
        assert scored.result().status == 200


def test_requests_beyond_the_places_are_told_to_come_back(model: VerifiedClassifier, table: pd.DataFrame) -> None:
    body = split_body(table)
    with running(model, ServerLimits(max_waiting=2)) as url:
        with uploading(url, 10), uploading(url, 10):
            until(lambda: ask(url, body).status == 503)
            refused = ask(url, body)
        until(lambda: ask(url, body).status == 200)  # clients that leave give their places back

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.message == "Not now: 2 requests are waiting already."


def test_the_bodies_in_flight_are_bounded_together(model: VerifiedClassifier, table: pd.DataFrame) -> None:
    body = split_body(table)
    with running(model, ServerLimits(max_body_bytes=len(body))) as url:
        with contextlib.ExitStack() as clients:
            for _ in range(8):
                clients.enter_context(uploading(url, len(body) - 1))
            until(lambda: ask(url, body).status == 503)
            refused = ask(url, body)
        until(lambda: ask(url, body).status == 200)

    assert refused.message.startswith("Not now: the bodies in flight hold ")


def test_a_request_that_takes_too_long_is_503_and_gives_its_place_back(model: VerifiedClassifier, held: Held) -> None:
    with running(model, ServerLimits(max_waiting=1, timeout_s=0.3)) as url:
        answers = [ask(url, "{}") for _ in range(3)]
        held.may_end.set()
        until(lambda: ask(url, "{}").status == 200)

    assert {answer.status for answer in answers} == {503}
    assert answers[0].message == "Not now: no answer within 0.3 s; send fewer frames."


@pytest.mark.parametrize("name", ["max_body_bytes", "max_waiting", "timeout_s"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_limit_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"{name} is {value}, expected a finite number above 0"):
        ServerLimits(**{name: value})


@contextlib.contextmanager
def graphids_serve(folder: Path, digest: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    port = free_port()
    command = [
        sys.executable,
        "-c",
        "import graphids.commands.cli; graphids.commands.cli.main()",
        "serve",
        str(folder),
        "--expected-digest",
        digest,
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert digest in process.stdout.readline()
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


@NEEDS_PROC
def test_hundreds_of_requests_with_64_in_flight_all_succeed_memory_stays_and_sigterm_is_an_orderly_end(
    saved: tuple[Path, str], table: pd.DataFrame
) -> None:
    bodies = [split_body(table.head(rows)).encode() for rows in (4, 8, 12)]
    with graphids_serve(*saved) as (url, process):
        warm_up = burst(url, bodies, num_requests=128, in_flight=64)
        before_mib = resident_mib(process.pid)
        statuses = burst(url, bodies, num_requests=256, in_flight=64)
        growth_mib = resident_mib(process.pid) - before_mib
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(timeout=30)

    assert (warm_up, statuses, exit_code) == ({200: 128}, {200: 256}, 0)
    assert growth_mib < 4  # 16 KiB a request


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_once_the_request_under_way_is_answered(
    saved: tuple[Path, str], held: Held, number: signal.Signals
) -> None:
    def client(url: str) -> Answer:
        with ThreadPoolExecutor(1) as other:
            answer = other.submit(ask, url, "{}")
            assert held.started.wait(30)
            os.kill(os.getpid(), number)
            until(lambda: not accepts(url))
            held.may_end.set()
            return answer.result()

    before = signal.getsignal(number)

    answer = while_served(client, saved[0], expected_digest=saved[1])

    assert (answer.status, answer.text) == (200, "{}")
    assert signal.getsignal(number) is before
