"""Kills and failing calls in whole fits and in `save_model`, where other writers than ours take part.

`fit_kills`, `fit_failures`: a fit that saves after every step, keeps the best alone and its last by a link; so a save,
a removal and a link follow each other. What it leaves has to load as one of the states that the fit went through; a
failing call has to end the fit with an OSError that names the path, and leave no process or thread.
`model_kills`, `model_failures`: `save_model` into a new folder. What it leaves is refused, or is the whole model; the
model that lay beside it loads as before.
"""

import signal
from pathlib import Path
from typing import Any

import mlflow
import torch

from faults import doors
from faults.crew import Shard, in_child
from faults.damage import write_files
from faults.failing_calls import failures_of
from faults.kills import MOMENTS, killer
from faults.scenes import fresh, settled
from faults.subjects import Saved, classifier_of, new_detector, quiet, restored, same, trained
from faults.table import Tally, Wrong
from faults.trace import interposed, record
from graphids._fs import settle
from graphids.core.callbacks import Sha256ModelCheckpoint


def fit_kills(shard: Shard) -> Tally:
    """kill -9 at a random call of a fit on its checkpoints. A hit is a kill that fell inside the fit."""
    tally, chance = Tally(), shard.random()
    truths, length = _states_of_a_fit(fresh(shard.folder / "truth"))
    for case in range(shard.cases):
        folder, index, moment = fresh(shard.folder / "fit"), chance.randrange(length), chance.choice(MOMENTS)

        def fit(folder: Path = folder, index: int = index, moment: str = moment) -> None:
            with interposed(folder, killer(index, moment)):
                _fit(folder)

        code = in_child(fit)
        wrong, why = _judge_fit(folder, truths, must_exist=False)
        tally.add(hit=code == -signal.SIGKILL, wrong=wrong, example=f"case {case}, {moment} call {index}: {why}")
    return tally


def fit_failures(shard: Shard) -> Tally:
    """Each call of a fit on its checkpoints failing once. A hit is a call that was failed."""
    tally, chance = Tally(), shard.random()
    truths, _ = _states_of_a_fit(fresh(shard.folder / "truth"))
    calls = record(fresh(shard.folder / "fit"), lambda: _fit(shard.folder / "fit"))
    for failure in failures_of(calls, shard.cases, chance):
        folder = fresh(shard.folder / "fit")
        met, raised = failure.play(folder, lambda folder=folder: _fit(folder))
        wrong, why = failure.judge(raised, folder)
        if wrong is None:
            wrong, why = _judge_fit(folder, truths, must_exist=raised is None)
        tally.add(hit=met, wrong=wrong, example=f"{failure}: {why}")
    return tally


def model_kills(shard: Shard) -> Tally:
    """kill -9 at a random call of `save_model` on its folder. A hit is a kill that fell inside the save."""
    tally, chance, saved = Tally(), shard.random(), shard.subjects.old
    first = fresh(shard.folder / "first")
    length = len(record(first / "new", lambda: _save_model(first, saved)))
    for case in range(shard.cases):
        folder, index, moment = fresh(shard.folder / "models"), chance.randrange(length), chance.choice(MOMENTS)
        write_files(shard.subjects.new.model, folder / "beside")

        def save(folder: Path = folder, index: int = index, moment: str = moment) -> None:
            with interposed(folder / "new", killer(index, moment)):
                _save_model(folder, saved)

        code = in_child(save)
        wrong, why = _judge_models(folder, shard)
        tally.add(hit=code == -signal.SIGKILL, wrong=wrong, example=f"case {case}, {moment} call {index}: {why}")
    return tally


def model_failures(shard: Shard) -> Tally:
    """Each call of `save_model` on its folder failing once. A hit is a call that was failed."""
    tally, chance, saved = Tally(), shard.random(), shard.subjects.old
    first = fresh(shard.folder / "models")
    calls = record(first / "new", lambda: _save_model(first, saved))
    for failure in failures_of(calls, shard.cases, chance):
        folder = fresh(shard.folder / "models")
        write_files(shard.subjects.new.model, folder / "beside")
        met, raised = failure.play(folder / "new", lambda folder=folder: _save_model(folder, saved))
        wrong, why = failure.judge(raised, folder)
        if wrong is None:
            wrong, why = _judge_models(folder, shard, must_be_whole=raised is None)
        tally.add(hit=met, wrong=wrong, example=f"{failure}: {why}")
    return tally


def _fit(folder: Path) -> None:
    callback = Sha256ModelCheckpoint(
        dirpath=folder,
        filename="{step}",
        every_n_train_steps=1,
        save_top_k=1,
        save_last="link",
        enable_version_counter=False,
    )
    trained(folder, callbacks=(callback,))


def _states_of_a_fit(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """What a fit can be resumed from, after each of its steps, and how many calls it makes on its folder."""
    callback = Sha256ModelCheckpoint(dirpath=folder / "all", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trained(folder, callbacks=(callback,))
    states = [restored(torch.load(path, weights_only=True)) for path in sorted((folder / "all").glob("*.ckpt"))]
    one = fresh(folder / "one")
    return states, len(record(one, lambda: _fit(one)))


def _judge_fit(folder: Path, truths: list[dict[str, Any]], *, must_exist: bool) -> tuple[Wrong | None, str]:
    """What is wrong with the checkpoints of a fit: for a reader, and after a new start."""
    for path in sorted(folder.glob("*.ckpt")):
        answer = doors.read_checkpoint(path)
        if answer.kind == "failed":
            return "other_errors", f"{path.name}: {answer.message}"
        if answer.kind != "loaded":
            return "lost", f"{path.name}: {answer.message}"
        if not any(same(restored(answer.used), truth) for truth in truths):
            return "undetected", f"{path.name} holds what the fit never was"
    if must_exist and not (folder / "last.ckpt").exists():
        return "lost", "the fit ended well and left no last.ckpt"
    settle(folder)
    return settled(folder)


def _save_model(folder: Path, saved: Saved) -> None:
    """Save anew the model that `saved` is, so that its digest is known."""
    detector = new_detector()
    detector.load_state_dict(saved.checkpoint_truth["weights"])
    with quiet():
        mlflow.graphids.save_model(classifier_of(detector, saved.model_truth["threshold"]), folder / "new")


def _judge_models(folder: Path, shard: Shard, *, must_be_whole: bool = False) -> tuple[Wrong | None, str]:
    beside = doors.load_model(folder / "beside", shard.subjects.new.digest)
    if beside.kind != "loaded":
        return "lost", f"the model beside it: {beside.message}"
    answer = doors.load_model(folder / "new", shard.subjects.old.digest)
    if answer.kind == "failed":
        return "other_errors", answer.message
    if answer.kind == "loaded":
        right = shard.subjects.model_of(answer.used) is shard.subjects.old
        return (None, "") if right else ("undetected", "loaded what was never saved")
    return ("lost", answer.message) if must_be_whole else (None, "")
