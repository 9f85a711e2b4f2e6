"""How a run ends, and what it says of itself."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from graphids._mlflow import Terminated, log_metrics, log_new_params, tracked_run
from main_job import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store")).create()


@pytest.fixture
def selected(store: Store) -> Iterator[Store]:
    before = mlflow.get_tracking_uri()
    store.select()
    mlflow.set_experiment("test")
    yield store
    mlflow.set_tracking_uri(before)


def _newest_status(store: Store) -> str:
    return str(store.runs()[0].info.status)


def test_a_run_that_returns_is_finished(selected: Store) -> None:
    with tracked_run():
        pass

    assert _newest_status(selected) == "FINISHED"


def test_a_run_that_raises_is_failed_with_the_reason_beside_it(selected: Store) -> None:
    with pytest.raises(ZeroDivisionError), tracked_run() as run_id:
        1 / 0  # noqa: B018 the exception is the point

    run = selected.client().get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["graphids.error"] == "ZeroDivisionError: division by zero"
    assert [file.path for file in selected.client().list_artifacts(run_id)] == ["error.txt"]


def test_an_interrupted_run_is_killed(selected: Store) -> None:
    with pytest.raises(KeyboardInterrupt), tracked_run():
        raise KeyboardInterrupt

    assert _newest_status(selected) == "KILLED"


def test_sigterm_at_any_time_kills_the_run_and_leaves_with_143(selected: Store) -> None:
    with pytest.raises(Terminated) as caught, tracked_run():
        os.kill(os.getpid(), signal.SIGTERM)

    assert caught.value.code == 143
    assert _newest_status(selected) == "KILLED"


def test_a_fit_that_lightning_stopped_after_sigterm_leaves_with_143(selected: Store) -> None:
    # Lightning's exception is a SystemExit without a code: a scheduler would take the run for completed.
    with pytest.raises(Terminated), tracked_run():
        raise SIGTERMException

    assert _newest_status(selected) == "KILLED"


@pytest.mark.usefixtures("selected")
def test_the_callers_handler_of_sigterm_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with tracked_run():
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_other_ranks_open_no_run(selected: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphids._mlflow.rank_zero_only.rank", 1)
    runs = len(selected.runs())

    with tracked_run():
        assert mlflow.active_run() is None

    assert len(selected.runs()) == runs


def test_a_parameter_that_stands_is_not_logged_in_another_spelling(selected: Store) -> None:
    with tracked_run() as run_id:
        mlflow.log_param("tau", "0.50")
        log_new_params(run_id, {"tau": 0.5, **{f"model.p{i}": i for i in range(120)}})

    params = selected.client().get_run(run_id).data.params
    assert params["tau"] == "0.50"
    assert params["model.p119"] == "119"


def test_metrics_of_a_step_arrive_together(selected: Store) -> None:
    with tracked_run() as run_id:
        log_metrics(run_id, {"val/loss": 0.25, "train/loss": 0.5}, step=3)

    points = [selected.client().get_metric_history(run_id, name)[0] for name in ("val/loss", "train/loss")]
    assert [point.step for point in points] == [3, 3]
    assert points[0].timestamp == points[1].timestamp


def test_the_commit_is_unknown_where_there_is_no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from graphids._mlflow import _git_commit

    monkeypatch.setenv("PATH", str(tmp_path))

    assert _git_commit() == "unknown"
