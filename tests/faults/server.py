"""The scoring server under requests of every kind, with its scoring process killed and its answers left unread.

A real server in a process of its own. Every answer has to be a refusal in one sentence or the scores that the model
gives in this process to the last bit, within the server's timeout; its memory stays bounded, and between the attempts a
whole request is answered. A hit is a refusal, a closed connection, or a killed process.
"""

import contextlib
import json
import os
import random
import signal
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd

from faults.crew import Shard, fork
from faults.damage import write_files
from faults.requests import CLOSED, Attempt, attempts, whole
from faults.table import Tally, Wrong
from graphids.core.frames import DataError
from mlflow_graphids import ServerLimits, serve
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from support.ports import free_port
from support.scoring_client import accepts, children, peak_resident_mib, resident_mib, until

TIMEOUT_S = 1.0
# What an answer may take beyond the timeout on a busy machine.
SLACK_S = 9.0
MAX_BODY_BYTES = 1 << 20
# Eight bodies in flight and what their tables take, beyond the process that loaded the model.
_MORE_MIB = 512
# Requests whose answers fill the buffers between the server and a client that does not read: 250 kB each.
_UNREAD, _UNREAD_FRAMES = 24, 2000
# Until the requests that a client has sent without reading are scored, and the timeout has passed after them.
_UNREAD_LIMIT_S = 60.0


@dataclass(frozen=True)
class Served:
    """A server, the model that it serves, and where its standard error goes."""

    port: int
    pid: int
    model: VerifiedClassifier
    log: Path
    resident_mib: float


def server(shard: Shard) -> Tally:
    """`cases` attempts of every kind in turn; after each dozen a whole request, a killed process, an unread answer."""
    tally, chance = Tally(), shard.random()
    with _served(shard) as served:
        for number, attempt in enumerate(attempts(chance, shard.cases)):
            _try(tally, served, attempt, f"case {number}, {attempt.name}")
            if number % 12 == 11:
                _try(tally, served, whole(chance), f"after case {number}")
        for number in range(max(shard.cases // 40, 1)):
            _kill(tally, served, chance, f"kill {number}")
        _leave_unread(tally, served, chance)
        more = peak_resident_mib(served.pid) - served.resident_mib
        tally.add(
            hit=False,
            wrong="other_errors" if more > _MORE_MIB else None,
            example=f"the server took {more:.0f} MiB more at its peak, expected at most {_MORE_MIB}",
        )
        tally.notes.add(f"the scoring server took {more:.0f} MiB more at its peak")
    return tally


@contextmanager
def _served(shard: Shard) -> Iterator[Served]:
    folder, log, port = shard.folder / "model", shard.folder / "log", free_port()
    write_files(shard.subjects.old.model, folder)
    digest = shard.subjects.old.digest

    def work() -> None:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        limits = ServerLimits(max_body_bytes=MAX_BODY_BYTES, timeout_s=TIMEOUT_S)
        serve(folder, expected_digest=digest, port=port, limits=limits)

    pid = fork(work)
    try:
        until(lambda: accepts(f"http://127.0.0.1:{port}"), timeout_s=60)
        model = mlflow.graphids.load_model(str(folder), expected_digest=digest)
        yield Served(port, pid, model, log, resident_mib(pid))
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def _try(tally: Tally, served: Served, attempt: Attempt, case: str, more: frozenset[int] = frozenset()) -> int:
    began = time.monotonic()
    try:
        received = _exchange(served.port, attempt)
    except TimeoutError:
        received = None
    took_s = time.monotonic() - began
    status, wrong, why = _judged(served, attempt, received, attempt.answers | more)
    if wrong is None and took_s > TIMEOUT_S + SLACK_S:
        wrong, why = "other_errors", f"the answer took {took_s:.1f} s"
    tally.add(hit=status != 200, wrong=wrong, example=f"{case}: {why}")
    return status


def _exchange(port: int, attempt: Attempt) -> bytes:
    """All that the server sends until it closes the connection."""
    limit_s = TIMEOUT_S + SLACK_S
    with socket.create_connection(("127.0.0.1", port), timeout=limit_s) as connection:
        received = b""
        # A server that has refused a head may close before it has read the rest.
        with contextlib.suppress(ConnectionError):
            connection.sendall(attempt.data)
            if attempt.half_closed:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                received += part
        return received


def _judged(
    served: Served, attempt: Attempt, received: bytes | None, answers: frozenset[int]
) -> tuple[int, Wrong | None, str]:
    """Status of an answer, and what is wrong with it."""
    if received is None:
        return CLOSED, "other_errors", "no answer, and the connection was kept open"
    if not received:
        return CLOSED, None if CLOSED in answers else "other_errors", "the connection was closed without an answer"
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status == 200:
        return status, *_scores_differ(served, attempt, body)
    if status not in answers:
        wrong: Wrong = "false_refusals" if answers == {200} else "other_errors"
        return status, wrong, f"{status}, expected one of {sorted(answers)}: {body[:200]!r}"
    is_json = b"application/json" in head.lower()
    message = str(json.loads(body)["message"]) if is_json else body.decode(errors="replace")
    if "Traceback" in message or len(message.splitlines()) != 1:
        return status, "other_errors", f"{status} not in one sentence: {message[:200]!r}"
    return status, None, ""


def _scores_differ(served: Served, attempt: Attempt, body: bytes) -> tuple[Wrong | None, str]:
    if attempt.table is None:
        return "undetected", f"scores for what is not a table: {body[:200]!r}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = served.model.predict(attempt.table)
    except (DataError, TypeError, ValueError) as error:
        return "undetected", f"scores for a table that the model refuses: {error}"
    found = pd.DataFrame(json.loads(body)["predictions"])
    if found["score"].tolist() != expected["score"].tolist() or found["alert"].tolist() != expected["alert"].tolist():
        return "undetected", "other scores than the model's"
    return None, ""


def _kill(tally: Tally, served: Served, chance: random.Random, case: str) -> None:
    """Kill the process that scores: the next request may fail in one sentence, the one after it may not."""
    for child in children(served.pid):
        os.kill(child, signal.SIGKILL)
    _try(tally, served, whole(chance), case, more=frozenset({500, 503}))
    tally.hits += 1
    _try(tally, served, whole(chance), f"after {case}")


def _leave_unread(tally: Tally, served: Served, chance: random.Random) -> None:
    """A client that sends and never reads: others are answered meanwhile, and it is closed after the timeout."""
    attempt = whole(chance, _UNREAD_FRAMES)
    data = attempt.data.replace(b"Connection: close\r\n", b"") * _UNREAD
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while sent < len(data):
                sent += client.send(data[sent : sent + 65536])
        # It waits for its turn, perhaps for too long.
        _try(tally, served, whole(chance), "beside a client that does not read", more=frozenset({503}))
        wrong: Wrong | None = None
        try:
            until(lambda: _is_closed(served.port, client), timeout_s=_UNREAD_LIMIT_S)
        except TimeoutError:
            wrong = "other_errors"
        tally.add(hit=wrong is None, wrong=wrong, example="a client that does not read was not closed")


def _is_closed(port: int, client: socket.socket) -> bool:
    """Whether the server has given up a connection, as the kernel lists it: reading from it would help it along."""
    ours = client.getsockname()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if int(local.split(":")[1], 16) == port and int(remote.split(":")[1], 16) == ours:
            return state != "01"
    return True
