"""Requests per second that the server's forked process scores, beside the same scoring in a thread of the server.

    python benchmarks/scoring_process.py [--requests 300] [--frames 512] [--size small]

The same bodies as `scoring_server.py`, without HTTP: one request after another, to the process and to a thread, in
turn, so that both meet the same neighbours. The difference is two copies of the body and the answer over a socket.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from scoring_server import body, classifier

from graphids.core.models.gat import SIZES
from graphids.core.simulation.simulate import simulate
from mlflow_graphids import load_model, save_model
from mlflow_graphids.serving import scoring_app
from mlflow_graphids.serving.scoring_process import Reply, ScoringProcess


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--frames", type=int, default=512, help="of one request")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    arguments = parser.parse_args()
    frames = simulate(seed=1, duration_s=30.0, attack="fuzzy").frames
    bodies = [body(frames, first, arguments.frames) for first in range(0, len(frames) - arguments.frames, 997)][:32]
    with tempfile.TemporaryDirectory() as scratch:
        digest = save_model(classifier(frames, arguments.size), Path(scratch) / "model")
        model = load_model(Path(scratch) / "model", expected_digest=digest)

    def score(_: int, content: bytes) -> Reply:
        return scoring_app._score(model, scoring_app.PARSERS["application/json"], content)

    asyncio.run(measure(score, bodies, arguments.requests))


async def measure(score: Callable[[int, bytes], Reply], bodies: list[bytes], num_requests: int) -> None:
    process = ScoringProcess(score, timeout_s=60.0)
    ways: dict[str, Callable[[bytes], Awaitable[Reply]]] = {
        "process": lambda content: process.score(0, bytearray(content)),
        "thread": lambda content: asyncio.to_thread(score, 0, content),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-10, num_requests):  # the first ten are a warm-up
        answers = set()
        for name, way in ways.items():
            began = time.perf_counter()
            answers.add((await way(bodies[number % len(bodies)])).body)
            if number >= 0:
                seconds[name].append(time.perf_counter() - began)
        assert len(answers) == 1, "both ways give the same answer"
    process.kill()
    print(f"{num_requests} requests, bodies of {len(bodies[0])} bytes\n{'':10}{'median ms':>11}{'requests/s':>12}")
    for name, taken in seconds.items():
        print(f"{name:10}{statistics.median(taken) * 1e3:>11.1f}{num_requests / sum(taken):>12.0f}")
    ratio = statistics.median(seconds["process"]) / statistics.median(seconds["thread"])
    print(f"process / thread: {ratio:.2f} (medians)")


if __name__ == "__main__":
    main()
