"""A run that is interrupted, at whatever point and by whatever means, and resumed ends as if it had not been."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar

from graphids.commands import publication, train
from graphids.core.callbacks import Sha256ModelCheckpoint, TauNormCallback
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector
from graphids.outbox import durable_queue, sender
from graphids.outbox.sender import UnreachableError
from graphids.report import pictures as report
from support.damage import flip_bit
from support.resumed_run import ALWAYS, Interruption, Result, TinyRuns, at_step, send
from support.tracking_server import FaultyProxy


def fail() -> None:
    raise RuntimeError("planted")


def unreachable() -> None:
    raise UnreachableError("planted")


# From the first entry on: the thread that sends tries it again until its process ends.
without_sending = Interruption(durable_queue, "deliver", ALWAYS, unreachable)
SIGTERM, SIGINT, SIGKILL = (send(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL))
MID_EPOCH = 14 + 5  # in the second of three epochs
# Where, and the exit code. A method that an epoch calls once is interrupted in the second epoch.
POINTS: dict[str, tuple[Interruption, int]] = {
    "SIGTERM while data are read": (Interruption(CANDataModule, "setup", 0, SIGTERM), 143),
    "SIGTERM while the fit is set up": (Interruption(Detector, "configure_optimizers", 0, SIGTERM), 143),
    "SIGTERM in the first step": (at_step(0, SIGTERM), 143),
    "SIGTERM in mid-epoch": (at_step(MID_EPOCH, SIGTERM), 143),
    "SIGTERM in a validation": (Interruption(Detector, "validation_step", 4, SIGTERM), 143),
    "SIGTERM at an epoch's end": (Interruption(Sha256ModelCheckpoint, "_save_last_checkpoint", 1, SIGTERM), 143),
    "SIGTERM in tau-normalization": (Interruption(TauNormCallback, "on_fit_end", 0, SIGTERM), 143),
    "SIGTERM after the fit": (Interruption(publication, "assess", 0, SIGTERM), 143),
    "Ctrl-C in mid-epoch": (at_step(MID_EPOCH, SIGINT), 1),
    "Ctrl-C in a validation": (Interruption(Detector, "validation_step", 4, SIGINT), 1),
    "kill -9 in the first epoch": (at_step(3, SIGKILL), -9),
    "kill -9 in mid-epoch": (at_step(MID_EPOCH, SIGKILL), -9),
    "kill -9 in a validation": (Interruption(Detector, "on_validation_epoch_end", 1, SIGKILL), -9),
    "kill -9 between best and last": (Interruption(Sha256ModelCheckpoint, "_save_last_checkpoint", 1, SIGKILL), -9),
    "kill -9 before tau-normalization": (Interruption(TauNormCallback, "on_fit_end", 0, SIGKILL), -9),
    "kill -9 after the fit": (Interruption(publication, "assess", 0, SIGKILL), -9),
    "kill -9 after the model is logged": (Interruption(publication, "log_training_report", 0, SIGKILL), -9),
    "kill -9 between two pictures": (Interruption(report, "log_picture", 3, SIGKILL), -9),
    "kill -9 at the last words": (Interruption(publication, "training_summary", 0, SIGKILL), -9),
    "error in a step": (at_step(MID_EPOCH, fail), 1),
    "error within an optimizer step": (Interruption(Detector, "configure_gradient_clipping", MID_EPOCH, fail), 1),
    "error of a callback after a step": (Interruption(TQDMProgressBar, "on_train_batch_end", MID_EPOCH, fail), 1),
    "error in a validation": (Interruption(Detector, "on_validation_epoch_end", 1, fail), 1),
    "error before an epoch's checkpoint": (Interruption(Sha256ModelCheckpoint, "_save_topk_checkpoint", 1, fail), 1),
    "error between best and last": (Interruption(Sha256ModelCheckpoint, "_save_last_checkpoint", 1, fail), 1),
    "error in tau-normalization": (Interruption(TauNormCallback, "on_fit_end", 0, fail), 1),
}


# Those that differ from another only in the way that leads to the same lines.
SLOW = {
    "SIGTERM while the fit is set up",
    "SIGTERM at an epoch's end",
    "kill -9 in the first epoch",
    "error of a callback after a step",
    "error between best and last",
    "SIGTERM in the first step",
    "SIGTERM in a validation",
    "SIGTERM after the fit",
    "Ctrl-C in a validation",
    "kill -9 in a validation",
    "kill -9 before tau-normalization",
    "error before an epoch's checkpoint",
    "error within an optimizer step",
    "error in a validation",
    "error in tau-normalization",
    "kill -9 at the last words",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    runs = TinyRuns(tmp_path_factory.mktemp("runs"))
    # Also warms what the children inherit. The points above are meant for epochs of this length.
    assert runs.steps_per_epoch() == 14
    return runs


@pytest.fixture(scope="module")
def uninterrupted(runs: TinyRuns) -> Result:
    run_id, code = runs.train()
    assert code == 0, runs.log()
    result = runs.result(run_id)
    assert [step for step, _ in result.metrics["train/loss"]] == [0, 1, 2]
    return result


@pytest.mark.parametrize("point", [pytest.param(p, marks=[pytest.mark.slow] if p in SLOW else []) for p in POINTS])
def test_a_resumed_run_ends_as_the_one_that_was_not_interrupted(
    runs: TinyRuns, uninterrupted: Result, point: str
) -> None:
    interruption, expected_code = POINTS[point]
    run_id, code = runs.train(interruption)
    assert code == expected_code, runs.log()
    assert (f"graphids resume {run_id}" in runs.log()) == (code > 0)
    if code == 143 or point.startswith("Ctrl-C"):
        assert runs.ask(lambda client: client.get_run(run_id).info.status) == "KILLED"

    assert runs.resume(run_id) == 0, runs.log()

    assert runs.result(run_id) == uninterrupted


def test_a_run_may_be_interrupted_again_and_again(runs: TinyRuns, uninterrupted: Result) -> None:
    run_id, _ = runs.train(at_step(3, SIGTERM))
    assert runs.resume(run_id, at_step(4, fail)) == 1
    assert runs.resume(run_id, Interruption(Detector, "validation_step", 1, SIGINT)) == 1
    assert runs.resume(run_id, at_step(9, SIGKILL)) == -9

    assert runs.resume(run_id) == 0, runs.log()

    assert runs.result(run_id) == uninterrupted


def test_a_run_that_had_stopped_early_does_not_train_on(runs: TinyRuns) -> None:
    # Weights hardly move, so no epoch is better than the first, and the third is not trained.
    runs = TinyRuns(runs.folder, max_epochs=6, patience=1, lr=1e-9)
    run_id, code = runs.train(Interruption(publication, "assess", 0, SIGKILL))
    assert code == -9

    assert runs.resume(run_id) == 0, runs.log()

    assert [step for step, _ in runs.result(run_id).metrics["train/loss"]] == [0, 1]


def test_a_run_is_resumed_in_the_folder_that_it_was_moved_to(runs: TinyRuns) -> None:
    here, elsewhere = runs.folder / "graphids_runs", runs.folder / "elsewhere"
    run_id, _ = runs.train(at_step(MID_EPOCH, SIGTERM))
    elsewhere.mkdir()
    shutil.move(here / run_id, elsewhere / run_id)

    assert runs.resume(run_id, words=("--folder", f"elsewhere/{run_id}")) == 0, runs.log()
    shutil.move(elsewhere / run_id, here / run_id)

    last = torch.load(runs.checkpoints(run_id) / "last.ckpt", weights_only=True)
    paths = [state["best_model_path"] for state in last["callbacks"].values() if "best_model_path" in state]
    assert [Path(path).parent for path in paths] == [elsewhere / run_id / "checkpoints"]
    assert [step for step, _ in runs.ask(lambda client: _points(client, run_id, "train/loss"))] == [0, 1, 2]


SLURM = {
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "train",
}


@pytest.fixture
def _on_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


def kill_after_requeue(step: int) -> Callable[[], None]:
    """SIGUSR1 in `step`, which is still taken, and the kill two steps later."""
    steps = iter(range(1000))

    def act() -> None:
        number = next(steps)
        if number == step:
            send(signal.SIGUSR1)()
        elif number == step + 2:
            SIGKILL()

    return act


def resumed_steps(runs: TinyRuns, run_id: str) -> int:
    """Resume to the end; returns how many steps that took."""
    steps = runs.folder / "steps"
    steps.unlink(missing_ok=True)

    def count() -> None:
        with steps.open("a") as file:
            file.write(".")

    assert runs.resume(run_id, at_step(ALWAYS, count)) == 0, runs.log()
    return len(steps.read_text())


@pytest.mark.usefixtures("_on_slurm")
@pytest.mark.parametrize("step", [pytest.param(5, marks=pytest.mark.slow), MID_EPOCH])
def test_a_job_that_slurm_requeues_goes_on_from_what_was_saved_for_that(
    runs: TinyRuns, uninterrupted: Result, step: int
) -> None:
    run_id, code = runs.train(at_step(ALWAYS, kill_after_requeue(step)))
    assert code == -9, runs.log()
    assert (runs.checkpoints(run_id) / "hpc_ckpt_1.ckpt").exists()

    assert resumed_steps(runs, run_id) == 3 * 14 - (step + 1)

    assert runs.result(run_id) == uninterrupted
    assert list(runs.checkpoints(run_id).glob("hpc*")) == []


@pytest.mark.usefixtures("_on_slurm")
def test_what_was_saved_for_a_requeue_and_does_not_verify_is_not_resumed_from(
    runs: TinyRuns, uninterrupted: Result
) -> None:
    run_id, _ = runs.train(at_step(ALWAYS, kill_after_requeue(5)))
    flip_bit(runs.checkpoints(run_id) / "hpc_ckpt_1.ckpt", offset=5000)

    assert resumed_steps(runs, run_id) == 3 * 14
    assert runs.result(run_id) == uninterrupted


def _points(client: Any, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run_id, key)]


def test_a_save_that_fails_leaves_the_first_error_and_the_last_epochs_checkpoint(
    runs: TinyRuns, uninterrupted: Result
) -> None:
    def disk_is_full() -> None:
        raise OSError(28, "No space left on device")

    # Before it: the state held before the epoch's last batch, the first epoch's best and its last.
    fourth_state = Interruption(Sha256ModelCheckpoint, "state_dict", 3, disk_is_full)
    run_id, code = runs.train(at_step(MID_EPOCH, fail), fourth_state)

    assert code == 1
    assert "RuntimeError: planted" in runs.log().splitlines()[-1]
    assert not (runs.checkpoints(run_id) / "interrupted.ckpt").exists()
    assert runs.resume(run_id) == 0, runs.log()
    assert runs.result(run_id) == uninterrupted


def test_what_cannot_be_resumed_is_refused_with_the_reason(runs: TinyRuns, tmp_path: Path) -> None:
    assert runs.resume("0" * 32) == 2
    assert "expected a run that was interrupted" in runs.log()

    run_id, _ = runs.train(at_step(3, SIGTERM))
    assert runs.resume(run_id, words=("--folder", str(tmp_path))) == 2
    assert f"expected an existing folder named after the run's id, {run_id}" in runs.log()

    config = runs.checkpoints(run_id).parent / "config.json"
    with config.with_name(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert runs.resume(run_id) == 2
    assert f"{run_id}: another process is at work on this run; wait for it, or end it." in runs.log()

    other_captures = json.loads(config.read_text())
    other_captures["data"]["data_seed"] = 1
    config.write_text(json.dumps(other_captures))
    assert runs.resume(run_id) == 3
    assert "Put those captures back, or train anew." in runs.log()

    config.unlink()
    assert runs.resume(run_id) == 0, runs.log()  # from the artifact
    assert runs.resume(run_id) == 2
    assert f"run {run_id} is FINISHED, expected one that was interrupted" in runs.log()


@pytest.mark.parametrize(
    ("owner", "method"),
    [(train, "attach_to"), pytest.param(Detector, "training_step", marks=pytest.mark.slow)],
    ids=["before it begins", "at work"],
)
def test_of_two_that_resume_a_run_the_second_is_refused_and_the_run_is_the_firsts(
    runs: TinyRuns, uninterrupted: Result, owner: Any, method: str
) -> None:
    run_id, _ = runs.train(at_step(MID_EPOCH, SIGTERM))
    second = runs.folder / "second.json"

    def resume_too() -> None:
        command = [sys.executable, "-m", "graphids", "resume", run_id]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": runs.tracking_uri, "PYTHONPATH": os.pathsep.join(sys.path)}
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        second.write_text(json.dumps([answer.returncode, answer.stderr]))

    assert runs.resume(run_id, Interruption(owner, method, 0, resume_too)) == 0, runs.log()

    code, said = json.loads(second.read_text())
    folder = runs.checkpoints(run_id).parent
    assert said == f"graphids resume: {folder}: another process is at work on this run; wait for it, or end it.\n"
    assert code == 2
    assert runs.result(run_id) == uninterrupted


@pytest.mark.parametrize("fault", ["hang", "refuse"])
def test_a_server_that_is_away_is_told_at_once_and_in_one_line(tmp_path: Path, fault: str) -> None:
    proxy = FaultyProxy(to_port=9)
    proxy.fail(fault)
    away = TinyRuns(tmp_path, proxy.uri.replace("//", "//user:secret@"))
    began = time.monotonic()

    assert away.resume("0" * 32, MLFLOW_HTTP_REQUEST_TIMEOUT="2") == 2

    proxy.close()
    assert time.monotonic() - began < 20
    (line,) = [line for line in away.log().splitlines() if line.startswith("graphids")]
    assert line.startswith(f"graphids resume: MLflow at {proxy.uri} gives no run (")
    assert "Traceback" not in away.log()
    assert "secret" not in away.log()


def test_how_a_run_ended_reaches_mlflow_before_the_run_is_resumed(
    runs: TinyRuns, uninterrupted: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PATIENCE_S", 1.0)
    run_id, _ = runs.train(without_sending, at_step(MID_EPOCH, fail))
    assert runs.ask(lambda client: client.get_run(run_id).info.status) == "RUNNING"

    assert runs.resume(run_id, without_sending) == 2
    assert f"MLflow still lacks how run {run_id} ended. Run `graphids sync " in runs.log()

    stopped_again = at_step(4, SIGKILL)
    assert runs.resume(run_id, stopped_again) == -9
    status, tags = runs.ask(lambda client: (client.get_run(run_id).info.status, client.get_run(run_id).data.tags))
    assert status == "RUNNING"
    assert "graphids.error" not in tags
    assert runs.resume(run_id) == 0, runs.log()
    assert runs.result(run_id) == uninterrupted


def test_a_run_that_finished_unknown_to_mlflow_is_not_resumed(
    runs: TinyRuns, uninterrupted: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PATIENCE_S", 1.0)
    run_id, code = runs.train(without_sending)
    assert code == 75

    assert runs.resume(run_id) == 2

    assert f"run {run_id} is FINISHED" in runs.log()
    assert runs.result(run_id) == uninterrupted


def test_the_run_that_mlflow_makes_around_a_resume_says_what_it_resumed(runs: TinyRuns) -> None:
    run_id, _ = runs.train(at_step(MID_EPOCH, fail))
    around = runs.ask(lambda client: client.create_run("0").info.run_id)

    assert runs.resume(run_id, MLFLOW_RUN_ID=around) == 0, runs.log()

    tags, metrics = runs.ask(lambda client: (client.get_run(around).data.tags, client.get_run(around).data.metrics))
    assert tags["graphids.resumed_run"] == run_id
    assert metrics == {}
    assert "graphids.error" not in runs.ask(lambda client: client.get_run(run_id).data.tags)
