"""A scoring server in a thread of this process, and a client that says exactly what goes over the wire."""

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pandas as pd

from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from mlflow_graphids.serving.request_head import AllowedHosts
from mlflow_graphids.serving.scoring_app import ServerLimits, scoring_app
from mlflow_graphids.serving.server import http_server, serve
from support.ports import free_port

T = TypeVar("T")
JSON, CSV = "application/json", "text/csv"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def message(self) -> str:
        return str(json.loads(self.text)["message"])

    @property
    def scores(self) -> pd.DataFrame:
        return pd.DataFrame(json.loads(self.text)["predictions"])


@contextlib.contextmanager
def running(
    model: VerifiedClassifier, limits: ServerLimits | None = None, hosts: AllowedHosts | None = None
) -> Iterator[str]:
    """Address of a server that ends with the block."""
    limits = limits or ServerLimits()
    server = http_server(scoring_app(model, limits, hosts), limits.timeout_s)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def while_served(client: Callable[[str], T], uri: str | Path, **trust: Any) -> T:
    """What `client` makes of the address at which `serve` serves a model in this thread, the main one.

    Afterwards the server is ended by SIGINT, unless the client did.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def use() -> T:
        try:
            until(lambda: accepts(url))
            return client(url)
        finally:
            if accepts(url):
                os.kill(os.getpid(), signal.SIGINT)

    with ThreadPoolExecutor(1) as other:
        used = other.submit(use)
        serve(uri, port=port, **trust)
        return used.result()


def accepts(url: str) -> bool:
    """Whether somebody listens there."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 0)).close()
    except ConnectionError:
        return False
    return True


def ask(
    url: str,
    body: bytes | str | Iterator[bytes] = b"",
    content_type: str | None = JSON,
    method: str = "POST",
    **headers: str,
) -> Answer:
    """Answer to one request on a connection of its own; a body that is an iterator is sent in chunks, unannounced."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        named["Content-Type"] = content_type
    with contextlib.closing(connection):
        path = (address.path or "/invocations") + (f"?{address.query}" if address.query else "")
        connection.request(method, path, body.encode() if isinstance(body, str) else body, named)
        return _answer(connection)


def raw(url: str, data: bytes, timeout_s: float = 30) -> bytes:
    """Whatever a server sends until it closes the connection; TimeoutError if it keeps it open."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=timeout_s) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                received += part
        return received


def burst(url: str, bodies: Sequence[bytes], num_requests: int, in_flight: int) -> Counter[int]:
    """How often each status came back, with `in_flight` clients that ask one request after another."""
    address = urlsplit(url)
    waiting = iter(range(num_requests))
    lock = threading.Lock()

    def client() -> Counter[int]:
        statuses: Counter[int] = Counter()
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        with contextlib.closing(connection):
            while True:
                with lock:
                    number = next(waiting, None)
                if number is None:
                    return statuses
                connection.request("POST", "/invocations", bodies[number % len(bodies)], {"Content-Type": JSON})
                statuses[_answer(connection).status] += 1

    with ThreadPoolExecutor(in_flight) as clients:
        return sum((future.result() for future in [clients.submit(client) for _ in range(in_flight)]), Counter())


def resident_mib(pid: int) -> float:
    """Resident memory of a process (Linux)."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 -- a file of the kernel's, not of the disk
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_resident_mib(pid: int) -> float:
    """The most memory that a process had resident (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


def children(pid: int) -> list[int]:
    """Processes that a process started and has not waited for (Linux)."""
    return sorted(
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    )


def split_body(table: pd.DataFrame, **params: Any) -> str:
    content: dict[str, Any] = {"dataframe_split": table.to_dict(orient="split", index=False)}
    return json.dumps(content | ({"params": params} if params else {}))


def until(condition: Any, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {timeout_s} s")
        time.sleep(0.02)


def _answer(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())
