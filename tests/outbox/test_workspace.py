"""Runs in a workspace of a server that holds several: a real server, and a training that it misses the end of."""

import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from graphids._mlflow.tracked_run import tracked_run
from graphids.commands import train as command
from graphids.commands.cli import main
from graphids.commands.publication import links_of
from graphids.exit_codes import EXIT_NOT_SENT
from graphids.outbox.outbox import Outbox
from support.resumed_run import TinyRuns, at_step
from support.tracking_server import TrackingServer

TOLD = "its run is in MLflow's workspace 'team-a', and MLFLOW_WORKSPACE is not set; set MLFLOW_WORKSPACE=team-a"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrackingServer]:
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    server = TrackingServer(tmp_path).start()
    yield server
    server.kill()


def test_a_run_stays_in_its_workspace(server: TrackingServer) -> None:
    runs = TinyRuns(server.folder, server.uri, max_epochs=1)
    assert runs.call(lambda: mlflow.create_workspace("team-a")) == 0, runs.log()

    def train() -> None:
        mlflow.set_workspace("team-a")
        mlflow.set_experiment("drives")  # a new workspace has none
        with at_step(2, server.kill_from_a_fork).armed():
            command.train(runs.config, runs.overrides)

    assert runs.call(train) == EXIT_NOT_SENT, runs.log()
    (run,) = (runs.folder / "graphids_runs").iterdir()
    assert f"/runs/{run.name}?workflowType=machine_learning&workspace=team-a" in runs.log()
    server.kill()
    server.start()

    assert runs.call(lambda: main(["sync"])) == 2
    assert TOLD in runs.log()

    def sync() -> None:
        mlflow.set_workspace("team-a")
        main(["sync"])

    assert runs.call(sync) == 0, runs.log()
    assert runs.call(lambda: sys.exit(status_in("team-a", run.name) != "FINISHED")) == 0, runs.log()


def test_a_workspace_without_an_experiment_gets_the_one_that_runs_go_to_by_default(server: TrackingServer) -> None:
    runs = TinyRuns(server.folder, server.uri, max_epochs=1)
    assert runs.call(lambda: mlflow.create_workspace("team-b")) == 0, runs.log()

    def begin_twice() -> None:
        mlflow.set_workspace("team-b")
        ids = set()
        for _ in range(2):
            with tracked_run(server.folder / "runs") as outbox:
                ids.add(outbox.experiment_id)
        (default,) = mlflow.search_experiments()
        sys.exit((default.name, {default.experiment_id}) != ("Default", ids))

    assert runs.call(begin_twice) == 0, runs.log()


def status_in(workspace: str, run_id: str) -> str:
    mlflow.set_workspace(workspace)
    return str(mlflow.get_run(run_id).info.status)


def test_links_of_the_default_workspace_name_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_WORKSPACE", "default")

    assert "workspace=" not in links_of(Outbox("a" * 32, "1")).lines()
