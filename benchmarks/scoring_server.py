"""Errors, memory and requests per second of `graphids serve` and of `mlflow models serve` with the same model.

    python benchmarks/scoring_server.py [--requests 10000] [--in-flight 64] [--frames 512] [--size small]

An untrained network of the given size (weights do not change what a request costs), windows of 256 frames with stride
128, requests of consecutive frames of a simulated drive as JSON (`dataframe_split`). Each server is started as an
operator would start it, on loopback, and queried by one client per request in flight, each on its own connection. Any
answer but 200 and any failed connection is an error. Memory is the resident memory of all processes of the server
(Linux): after a warm-up of a tenth of the requests, and at the end. Clients and server share the machine's cores, so
compare servers by the CPU time of their own processes; requests/s and latencies measure the neighbours too.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from graphids.core.classifier import WindowClassifier, format_arbitration_id
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.frames import Frames
from graphids.core.graphs.features import EDGE_FEATURES, NODE_FEATURES
from graphids.core.graphs.packed import build_graphs
from graphids.core.models.gat import GAT, SIZES
from graphids.core.simulation.simulate import simulate
from mlflow_graphids import save_model

WINDOW_SIZE, STRIDE = 256, 128


class Server(NamedTuple):
    """A server of the benchmark's own: `graphids` or `mlflow`."""

    name: str
    port: int
    pid: int


@dataclass
class Burst:
    """Answers to one burst of requests."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--frames", type=int, default=512, help="of one request")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--servers", nargs="*", choices=("graphids", "mlflow"), default=["graphids", "mlflow"])
    arguments = parser.parse_args()
    frames = simulate(seed=1, duration_s=30.0, attack="fuzzy").frames
    bodies = [body(frames, first, arguments.frames) for first in range(0, len(frames) - arguments.frames, 997)][:32]
    print(f"{arguments.requests} requests of {arguments.frames} frames, {len(bodies[0])} bytes; size {arguments.size}")
    heads = (
        ("errors", 8),
        ("CPU ms", 8),
        ("requests/s", 12),
        ("median ms", 11),
        ("p99 ms", 9),
        ("MiB before", 12),
        ("after", 8),
    )
    print(f"{'':10}{''.join(f'{head:>{width}}' for head, width in heads)}{'grown':>7}   answers")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        digest = save_model(classifier(frames, arguments.size), folder)
        for name in arguments.servers:
            with running(name, folder, digest) as server:
                measure(server, bodies, arguments.requests, arguments.in_flight)


def measure(server: Server, bodies: Sequence[bytes], num_requests: int, in_flight: int) -> None:
    ask(server.port, bodies, num_requests // 10, in_flight)
    before_mib, before_s = resident_mib(server.pid), cpu_s(server.pid)
    burst = ask(server.port, bodies, num_requests, in_flight)
    after_mib, spent_s = resident_mib(server.pid), cpu_s(server.pid) - before_s
    columns = (
        f"{num_requests - burst.statuses['200']:>8}",
        f"{spent_s / num_requests * 1e3:>8.1f}",
        f"{num_requests / burst.seconds:>12.0f}",
        f"{statistics.median(burst.latencies_s) * 1e3:>11.0f}",
        f"{statistics.quantiles(burst.latencies_s, n=100)[98] * 1e3:>9.0f}",
        f"{before_mib:>12.1f}{after_mib:>8.1f}{after_mib - before_mib:>7.1f}   {dict(burst.statuses)}",
    )
    print(f"{server.name:10}{''.join(columns)}", flush=True)


def classifier(frames: Frames, size: str) -> WindowClassifier:
    torch.manual_seed(0)
    graphs = build_graphs(frames, WINDOW_SIZE, STRIDE)
    preprocessing = Preprocessing.fit(graphs, window_size=WINDOW_SIZE, stride=STRIDE)
    gat = GAT(
        num_tokens=preprocessing.num_tokens,
        num_node_features=len(NODE_FEATURES),
        num_edge_features=len(EDGE_FEATURES),
        num_classes=len(preprocessing.classes),
        **SIZES[size],
    )
    return WindowClassifier(gat, preprocessing, threshold=0.5)


def body(frames: Frames, first: int, num_frames: int) -> bytes:
    rows = [
        [
            float(frames.timestamp[row]),
            format_arbitration_id(frames.node_key()[row]),
            frames.payload[row, : frames.dlc[row]].tobytes().hex(),
        ]
        for row in range(first, first + num_frames)
    ]
    table = {"columns": ["timestamp", "arbitration_id", "data_field"], "data": rows}
    return json.dumps({"dataframe_split": table}).encode()


@contextlib.contextmanager
def running(name: str, folder: Path, digest: str) -> Iterator[Server]:
    """A server of the model in `folder`, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = {
        "graphids": [
            "-m",
            "graphids",
            "serve",
            str(folder),
            "--expected-digest",
            digest,
        ],
        "mlflow": ["-m", "mlflow", "models", "serve", "--env-manager", "local", "--model-uri", str(folder)],
    }[name]
    # MLflow finds uvicorn by PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        env={**os.environ, "PATH": path, "GRAPHIDS_EXPECTED_DIGEST": digest},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                break
            time.sleep(0.2)
        yield Server(name, port, process.pid)
    finally:
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 15)
        process.wait(timeout=60)


def ask(port: int, bodies: Sequence[bytes], num_requests: int, in_flight: int) -> Burst:
    burst, numbers, lock = Burst(), iter(range(num_requests)), threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        with contextlib.closing(connection):
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                began = time.perf_counter()
                status = one(connection, bodies[number % len(bodies)])
                with lock:
                    burst.latencies_s.append(time.perf_counter() - began)
                    burst.statuses[status] += 1

    began = time.perf_counter()
    with ThreadPoolExecutor(in_flight) as clients:
        for future in [clients.submit(client) for _ in range(in_flight)]:
            future.result()
    burst.seconds = time.perf_counter() - began
    return burst


def one(connection: http.client.HTTPConnection, content: bytes) -> str:
    try:
        connection.request("POST", "/invocations", content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()  # the next request opens it again
        return type(error).__name__
    return str(response.status)


def resident_mib(pid: int) -> float:
    pages = (int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in descendants(pid))
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(pid: int) -> float:
    # User and system time, the 14th and 15th field; the second is a name in parentheses.
    fields = (Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in descendants(pid))
    return sum(int(part[11]) + int(part[12]) for part in fields) / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """A process and all that it started, itself first."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


if __name__ == "__main__":
    main()
