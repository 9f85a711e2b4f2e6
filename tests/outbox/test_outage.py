"""A real training whose store fails in its middle or at its end and stays away: nothing is lost or there twice.

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

import pytest
from mlflow import MlflowClient

from graphids.exit_codes import EXIT_NOT_SENT
from graphids.outbox.outbox import Outbox
from graphids.report import pictures as report
from mlflow_graphids import load_model
from support.resumed_run import Act, Interruption, TinyRuns, at_step
from support.tracking_server import TrackingServer, content


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
    """What the store has of the run, but for what names the run itself; the model can be loaded."""

    def question(client: MlflowClient) -> dict[str, Any]:
        found = content(client, run_id)
        loaded = load_model(f"runs:/{run_id}/model")
        return {**found, "loads": (loaded.anchored, loaded.digest)}

    found: dict[str, Any] = runs.ask(question)
    assert found["artifacts"].keys() >= {"summary.txt", "roc.png", "tau_sweep.json"}
    return found


def undisturbed_training(runs: TinyRuns) -> dict[str, Any]:
    """The oracle."""
    run_id, code = runs.train()
    assert code == 0, runs.log()
    undisturbed = comparable(runs, run_id)
    assert undisturbed["status"] == "FINISHED"
    assert undisturbed["loads"][0]
    return undisturbed


def assert_an_outage_costs_nothing(
    runs: TinyRuns,
    undisturbed: dict[str, Any],
    when: Callable[[Act], Interruption],
    begin: Callable[[], object],
    end: Callable[[], object],
) -> None:
    with stall_written_to(runs.folder / "stall_s"):
        run_id, code = runs.train(when(begin))

    assert code == EXIT_NOT_SENT, runs.log()
    assert ("the model among them" in runs.log()) == (when is in_mid_training)
    assert float((runs.folder / "stall_s").read_text()) < 20  # 8 s and a busy machine's disk; each of three waits: 24
    end()
    assert runs.sync() == 0, runs.log()
    assert comparable(runs, run_id) == undisturbed


def in_mid_training(act: Act) -> Interruption:
    """In the second of three epochs."""
    return at_step(14 + 5, act)


def between_two_pictures(act: Act) -> Interruption:
    """Once MLflow has the model; what the experiment, the model's page and the grids of pictures show is on its way."""

    def act_after_the_model() -> None:
        while not any("model_id" in path.read_text() for path in Path("graphids_runs").glob("*/outbox/sent.jsonl")):
            time.sleep(0.01)
        act()

    return Interruption(report, "log_picture", 3, act_after_the_model)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("server")).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def served_runs(server: TrackingServer) -> TinyRuns:
    runs = TinyRuns(server.folder, server.uri)
    runs.ask(lambda client: len(client.search_experiments()))  # the first request has the server open its store
    return runs


@pytest.fixture(scope="module")
def undisturbed(served_runs: TinyRuns) -> dict[str, Any]:
    return undisturbed_training(served_runs)


@pytest.mark.parametrize("when", [in_mid_training, between_two_pictures])
def test_a_server_that_is_killed(
    server: TrackingServer,
    served_runs: TinyRuns,
    undisturbed: dict[str, Any],
    when: Callable[[Act], Interruption],
) -> None:
    def start_again() -> None:
        server.kill()
        server.start()

    assert_an_outage_costs_nothing(served_runs, undisturbed, when, server.kill_from_a_fork, start_again)


def test_a_sqlite_store_that_is_locked_in_mid_training(tmp_path: Path) -> None:
    others = []

    def lock() -> None:  # goes with the process that trains
        others.append(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None))
        others[0].execute("BEGIN EXCLUSIVE")

    runs = TinyRuns(tmp_path)
    assert_an_outage_costs_nothing(runs, undisturbed_training(runs), in_mid_training, lock, lambda: None)
