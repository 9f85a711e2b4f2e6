"""How a run ends, and what it says of itself."""

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from graphids._mlflow.tracked_run import Terminated, tracked_run
from graphids.options import OptionError
from graphids.outbox import durable_queue
from graphids.outbox.outbox import Outbox
from support.main_job import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store")).create()


@pytest.fixture
def selected(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    before = mlflow.get_tracking_uri()
    store.select()
    mlflow.set_experiment("test")
    monkeypatch.chdir(tmp_path)  # runs keep their outbox below it
    yield store
    mlflow.set_tracking_uri(before)


def _newest_status(store: Store) -> str:
    return str(store.runs()[0].info.status)


def test_a_run_that_returns_is_finished(selected: Store) -> None:
    with tracked_run():
        pass

    assert _newest_status(selected) == "FINISHED"


def test_a_run_that_raises_is_failed_with_the_reason_beside_it(selected: Store) -> None:
    with pytest.raises(ZeroDivisionError), tracked_run() as outbox:
        1 / 0  # noqa: B018 the exception is the point

    run = selected.client().get_run(outbox.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["graphids.error"] == "ZeroDivisionError: division by zero"
    assert [file.path for file in selected.client().list_artifacts(outbox.run_id)] == ["error.txt"]


def test_a_disk_too_full_for_a_file_still_takes_the_line_that_says_why_the_run_failed(
    selected: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, _: bytes, *, mode: int) -> None:
        assert mode == 0o600
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with pytest.raises(OSError, match="No space left"), tracked_run() as outbox:  # noqa: PT012 it is full from then on
        monkeypatch.setattr(durable_queue, "publish_bytes", full)
        outbox.log_bytes(b"a picture", "roc.png")

    run = selected.client().get_run(outbox.run_id)
    assert run.info.status == "FAILED"
    assert "No space left on device" in run.data.tags["graphids.error"]
    assert "not all of why the run failed could be recorded" in capsys.readouterr().err


def test_an_interrupted_run_is_killed(selected: Store) -> None:
    with pytest.raises(KeyboardInterrupt), tracked_run():
        raise KeyboardInterrupt

    assert _newest_status(selected) == "KILLED"


def test_the_sigterm_that_mlflow_run_sends_after_ctrl_c_does_not_keep_the_end_from_mlflow(
    selected: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Outbox.close

    def close_under_sigterm(outbox: Outbox) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return close(outbox)

    monkeypatch.setattr(Outbox, "close", close_under_sigterm)
    with pytest.raises(KeyboardInterrupt), tracked_run() as outbox:
        raise KeyboardInterrupt

    assert _newest_status(selected) == "KILLED"
    assert not Path("graphids_runs", outbox.run_id, "outbox").exists()


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


def test_other_ranks_open_no_run_and_what_they_log_goes_nowhere(
    selected: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("graphids._mlflow.tracked_run.rank_zero_only.rank", 1)
    runs = len(selected.runs())

    with tracked_run() as outbox:
        assert mlflow.active_run() is None
        outbox.log_metrics({"val/loss": 0.25})

    assert len(selected.runs()) == runs
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("selected")
def test_a_run_whose_end_mlflow_has_leaves_no_folder_and_no_active_run(tmp_path: Path) -> None:
    with tracked_run() as outbox:
        assert (tmp_path / "graphids_runs" / outbox.run_id / "outbox").is_dir()

    assert list(tmp_path.iterdir()) == []
    assert mlflow.active_run() is None


def test_the_first_status_of_a_run_stands(selected: Store) -> None:
    """After Ctrl-C Lightning leaves by `exit(1)`, and its callback has said KILLED."""
    with pytest.raises(SystemExit), tracked_run() as outbox:  # noqa: PT012 both belong to the run
        outbox.set_terminated("KILLED")
        raise SystemExit(1)

    assert _newest_status(selected) == "KILLED"


def test_what_mlflow_refuses_ends_the_run_with_mlflows_reason(selected: Store) -> None:
    with pytest.raises(mlflow.MlflowException, match="Names may only contain"), tracked_run() as outbox:
        outbox.log_metrics({"not a name!": 1.0})

    assert _newest_status(selected) == "FAILED"
    assert "Names may only contain" in selected.runs()[0].data.tags["graphids.error"]


def test_a_parameter_that_stands_is_not_logged_in_another_spelling(selected: Store) -> None:
    with tracked_run() as outbox:
        mlflow.log_param("tau", "0.50")
        outbox.log_params({"tau": 0.5, **{f"model.p{i}": i for i in range(120)}})

    params = selected.client().get_run(outbox.run_id).data.params
    assert params["tau"] == "0.50"
    assert params["model.p119"] == "119"


def test_metrics_of_a_step_arrive_together(selected: Store) -> None:
    with tracked_run() as outbox:
        outbox.log_metrics({"val/loss": 0.25, "train/loss": 0.5}, step=3)

    points = [selected.client().get_metric_history(outbox.run_id, name)[0] for name in ("val/loss", "train/loss")]
    assert [point.step for point in points] == [3, 3]
    assert points[0].timestamp == points[1].timestamp


def test_a_continued_run_has_no_step_twice(selected: Store) -> None:
    with tracked_run() as outbox:
        for step in range(3):
            outbox.log_metrics({"train/loss": step / 4}, step=step)
    with tracked_run(run_id=outbox.run_id) as continued:
        for step in range(2, 5):
            continued.log_metrics({"train/loss": step / 4}, step=step)

    history = selected.client().get_metric_history(outbox.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(step, step / 4) for step in range(5)]
    assert selected.client().get_run(outbox.run_id).info.status == "FINISHED"


def test_a_run_that_is_finished_is_not_written_over_by_a_variable_that_was_left_in_a_shell(
    selected: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracked_run() as outbox:
        outbox.log_metrics({"test/macro/auroc": 0.75})
    monkeypatch.setenv("MLFLOW_RUN_ID", outbox.run_id)

    expected = f"MLFLOW_RUN_ID: run {outbox.run_id} is FINISHED, expected one that has not ended"
    with pytest.raises(OptionError, match=expected), tracked_run():
        pytest.fail("it is somebody's result")

    assert _newest_status(selected) == "FINISHED"


def test_a_store_that_is_away_before_the_run_is_told_in_one_sentence(tmp_path: Path) -> None:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://user:secret@127.0.0.1:9")
    began = time.monotonic()
    try:
        expected = r"MLflow at http://127.0.0.1:9 gives no run .* start it"
        with pytest.raises(OptionError, match=expected) as caught, tracked_run(tmp_path):
            pytest.fail("there is no run")
    finally:
        mlflow.set_tracking_uri(before)

    assert time.monotonic() - began < 10
    assert "secret" not in str(caught.value)
