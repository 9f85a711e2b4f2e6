"""What the scoring server takes on: bodies, requests in flight, time and memory, each with its bound."""

import contextlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from graphids.options import OptionError
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from mlflow_graphids.serving.request_head import AllowedHosts
from mlflow_graphids.serving.scoring_app import ServerLimits
from mlflow_graphids.serving.scoring_process import Reply
from support.ports import free_port
from support.scoring_client import (
    CSV,
    JSON,
    Answer,
    accepts,
    ask,
    burst,
    children,
    peak_resident_mib,
    raw,
    resident_mib,
    running,
    split_body,
    until,
    while_served,
)

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
POST = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Held:
    """Scoring that says when it started and waits until it may end: by files, since its process can be killed."""

    started: Path
    may_end: Path


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Held]:
    files = Held(tmp_path / "started", tmp_path / "may end")

    def score(*_: object) -> Reply:
        files.started.touch()
        until(files.may_end.exists)
        return Reply(b"{}", is_covered=True)

    monkeypatch.setattr("mlflow_graphids.serving.scoring_app._score", score)
    yield files
    files.may_end.touch()


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
        until(held.started.exists)
        assert ask(f"{url}/ping", method="GET").status == 200
        held.may_end.touch()
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
        held.may_end.touch()
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
            until(held.started.exists)
            os.kill(os.getpid(), number)
            until(lambda: not accepts(url))
            held.may_end.touch()
            return answer.result()

    before = signal.getsignal(number)

    answer = while_served(client, saved[0], expected_digest=saved[1])

    assert (answer.status, answer.text) == (200, "{}")
    assert signal.getsignal(number) is before


def scoring_process(server: "subprocess.Popen[str]") -> int:
    """Its id, once it runs: the server announces itself before that."""
    until(lambda: children(server.pid))
    return children(server.pid)[0]


def many_windows(table: pd.DataFrame) -> str:
    """A body whose answer is larger than what a connection buffers."""
    return split_body(pd.concat([table] * 600, ignore_index=True), stride=1, threshold=0.0)


def test_a_client_that_never_reads_its_answers_is_closed_at_the_timeout(
    model: VerifiedClassifier, table: pd.DataFrame
) -> None:
    """The second answer waits until the first is read; then neither comes to an end."""
    body = many_windows(table).encode()
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with running(model, ServerLimits(timeout_s=3)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            client.sendall(request * 2)
            client.settimeout(30)
            watch = select.poll()
            watch.register(client, select.POLLHUP | select.POLLERR | select.POLLRDHUP)
            assert watch.poll(30_000), "the server keeps a connection on which it can send nothing"


def test_health_fails_while_a_request_is_stuck_and_ping_does_not(model: VerifiedClassifier, held: Held) -> None:
    with running(model, ServerLimits(timeout_s=8)) as url, ThreadPoolExecutor(1) as client:
        stuck = client.submit(ask, url, "{}")
        until(held.started.exists)
        assert ask(f"{url}/health", method="GET").status == 200
        until(lambda: ask(f"{url}/health", method="GET").status == 503)
        assert ask(f"{url}/ping", method="GET").status == 200
        held.may_end.touch()
        assert stuck.result().status == 200
        assert ask(f"{url}/health", method="GET").status == 200


def test_a_scoring_process_that_was_killed_is_replaced(model: VerifiedClassifier, held: Held) -> None:
    """As the kernel does where memory runs out."""
    with running(model) as url, ThreadPoolExecutor(1) as client:
        lost = client.submit(ask, url, "{}")
        until(held.started.exists)
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        assert lost.result().status == 500
        held.may_end.touch()
        assert ask(url, "{}").status == 200


def test_no_scoring_process_outlives_its_server(model: VerifiedClassifier, table: pd.DataFrame) -> None:
    before = children(os.getpid())
    with running(model) as url:
        assert ask(url, split_body(table)).status == 200
        assert len(children(os.getpid())) == len(before) + 1

    assert children(os.getpid()) == before


@NEEDS_PROC
def test_sigterm_ends_the_server_within_ten_seconds_whatever_its_clients_and_its_scoring_do(
    saved: tuple[Path, str], table: pd.DataFrame
) -> None:
    body = many_windows(table).encode()
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with graphids_serve(*saved) as (url, process), contextlib.ExitStack() as clients:
        worker = scoring_process(process)
        host, port = url.removeprefix("http://").split(":")
        idle, uploading, deaf, stuck = (
            clients.enter_context(socket.create_connection((host, int(port)))) for _ in range(4)
        )
        uploading.sendall(request[:-10])
        deaf.sendall(request * 2)
        answered = select.poll()  # not select(), which takes no descriptor past 1023
        answered.register(deaf, select.POLLIN)
        until(lambda: answered.poll(0))
        os.kill(worker, signal.SIGSTOP)
        stuck.sendall(request)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(timeout=20)
        idle.close()

    assert time.monotonic() - began < 15  # its 10 s, and a busy machine
    assert exit_code == 0
    assert not Path(f"/proc/{worker}").exists()


def test_a_header_of_as_many_columns_as_fit_is_refused_at_once(model: VerifiedClassifier) -> None:
    names = [f"c{number}" for number in range(500_000)]
    header = json.dumps(names)
    bodies = {
        "csv": (CSV, ",".join(names)),
        "split": (JSON, f'{{"dataframe_split": {{"columns": {header}, "data": []}}}}'),
        "records": (JSON, json.dumps({"instances": [dict.fromkeys(names, 0)]})),
        "columns": (JSON, json.dumps({"inputs": {name: [] for name in names}})),
        "the last key twice": (JSON, json.dumps(dict.fromkeys(names, 0))[:-1] + ', "c499999": 0}'),
        "digits": (CSV, "timestamp,arbitration_id,data_field\n" + f"{'1' * 130_000}x,1A4,\n" * 20),
    }
    with running(model, ServerLimits(timeout_s=20)) as url:
        for name, (content_type, body) in bodies.items():
            assert ask(url, body, content_type).status == 400, name


@NEEDS_PROC
def test_a_body_of_nothings_stays_within_the_documented_memory(saved: tuple[Path, str]) -> None:
    size = 16 * 2**20 - 64
    with graphids_serve(*saved) as (url, process):
        worker = scoring_process(process)
        for content_type, begin, filler, end in (
            (CSV, b"", b"\n", b""),
            (JSON, b'{"instances": [', b"{},", b"{}]}"),
            (JSON, b'{"instances": [', b"[],", b"{}]}"),
        ):
            assert ask(url, begin + filler * (size // len(filler)) + end, content_type).status == 400
        grown_mib = peak_resident_mib(worker) - resident_mib(process.pid)

    assert grown_mib < 500


def test_two_lengths_in_one_head_are_400_and_the_connection_is_closed(model: VerifiedClassifier) -> None:
    body = b"4\r\nabcd\r\n0\r\n\r\nGET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running(model) as url:
        answer = raw(url, POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Transfer-Encoding beside Content-Length" in answer


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:5001", "[::1]:5001", "ids.example."])
def test_a_request_for_this_host_is_answered(model: VerifiedClassifier, host: str) -> None:
    with running(model, hosts=AllowedHosts.of("127.0.0.1", ["IDS.example"])) as url:
        assert raw(url, b"GET /ping HTTP/1.1\r\nConnection: close\r\nHost: %s\r\n\r\n" % host.encode()).startswith(
            b"HTTP/1.1 200 "
        )


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.0.2.1", "", "localhost@evil", "::1"])
@pytest.mark.parametrize("path", ["/ping", "/health", "/version", "/invocations"])
def test_a_request_for_another_host_is_400_on_every_path(model: VerifiedClassifier, host: str, path: str) -> None:
    with running(model) as url:
        answer = raw(url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Start it with --allowed-hosts, or set GRAPHIDS_ALLOWED_HOSTS" in answer


def test_a_server_on_every_address_answers_to_addresses_and_not_to_other_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRAPHIDS_ALLOWED_HOSTS", "ids.example, can.example")

    hosts = AllowedHosts.of("0.0.0.0")

    assert all(map(hosts.accepts, ["10.1.2.3:5001", "[2001:db8::1]", "can.example", socket.gethostname()]))
    assert not hosts.accepts("evil.example")


def test_an_allowed_host_with_a_scheme_or_port_is_refused() -> None:
    for host in ("http://ids.example", "ids.example:80", "*", ""):
        with pytest.raises(OptionError, match="expected a name or an address without scheme and port"):
            AllowedHosts.of("127.0.0.1", [host])
