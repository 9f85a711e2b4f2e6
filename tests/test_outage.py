"""A real training whose store fails in its middle and stays away: it goes on, and nothing is lost or there twice.

The oracle is the same training that nothing disturbed, in the same store.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

from mlflow import MlflowClient

from graphids.outbox import EXIT_NOT_SENT, Outbox
from mlflow_graphids import load_model
from resumed_run import TinyRuns, at_step
from tracking_server import TrackingServer, content

MID_TRAINING = 14 + 5  # in the second of three epochs


@contextmanager
def stall_written_to(path: Path) -> Iterator[None]:
    """The seconds that a process spends in telling its run anything; nothing else in it waits for MLflow."""
    spent_s = 0.0

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal spent_s
            began = time.monotonic()
            try:
                return method(*arguments, **named)
            finally:
                spent_s += time.monotonic() - began
                path.write_text(str(spent_s))

        return call

    with ExitStack() as patched:
        for name in ("_append", "_keep", "flush", "close"):  # none calls another
            patched.enter_context(mock.patch.object(Outbox, name, timed(getattr(Outbox, name))))
        yield


def comparable(runs: TinyRuns, run_id: str) -> dict[str, Any]:
    """What the store has of the run, but for what names the run itself."""

    def question(client: MlflowClient) -> dict[str, Any]:
        found = content(client, run_id)
        loaded = load_model(f"runs:/{run_id}/model")
        return {**found, "loads": (loaded.anchored, loaded.digest)}

    found: dict[str, Any] = runs.ask(question)
    del found["tags"]["graphids.folder"], found["artifacts"]["summary.txt"]
    return found


def assert_an_outage_costs_nothing(runs: TinyRuns, begin: Callable[[], object], end: Callable[[], object]) -> None:
    first, code = runs.train()
    assert code == 0, runs.log()
    undisturbed = comparable(runs, first)
    assert undisturbed["status"] == "FINISHED"
    assert undisturbed["loads"][0]

    with stall_written_to(runs.folder / "stall_s"):
        run_id, code = runs.train(at_step(MID_TRAINING, begin))

    assert code == EXIT_NOT_SENT, runs.log()
    assert "the model among them" in runs.log()
    assert float((runs.folder / "stall_s").read_text()) <= 10
    end()
    assert runs.sync() == 0, runs.log()
    assert comparable(runs, run_id) == undisturbed


def test_a_server_that_is_killed_in_mid_training(tmp_path: Path) -> None:
    server = TrackingServer(tmp_path).start()
    runs = TinyRuns(tmp_path, server.uri)

    def start_again() -> None:
        server.kill()
        server.start()

    try:
        runs.ask(lambda client: len(client.search_experiments()))  # the first request has the server make its tables
        assert_an_outage_costs_nothing(runs, server.kill_from_a_fork, start_again)
    finally:
        server.kill()


def test_a_sqlite_store_that_is_locked_in_mid_training(tmp_path: Path) -> None:
    others = []

    def lock() -> None:  # goes with the process that trains
        others.append(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None))
        others[0].execute("BEGIN EXCLUSIVE")

    assert_an_outage_costs_nothing(TinyRuns(tmp_path), lock, lambda: None)
