"""An evaluation says where its metrics flatter the model."""

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from graphids.assessment.captures_covered import captures_covered
from graphids.commands import evaluate as command
from graphids.commands.evaluate import evaluate
from graphids.core.classifier import WindowClassifier
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.dataset import dataset_digest, load_captures
from graphids.core.frames import Capture, DataError, num_attacked
from graphids.core.models.gat import GAT
from graphids.report import pictures
from graphids.report.summary import OWN_CAPTURES
from support.sketches import sketch


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    return load_captures("simulated", data_seed=3, duration_s=3.0, captures_per_kind=3)


@pytest.fixture(scope="module")
def classifier() -> WindowClassifier:
    data = CANDataModule("simulated", 64, 32, simulated_duration_s=3.0, simulated_captures_per_kind=3, split="capture")
    data.setup("fit")
    torch.manual_seed(0)
    fitted = data.preprocessing
    gat = GAT(fitted.num_tokens, fitted.node_mean.shape[1], len(fitted.edge_mean), len(fitted.classes))
    return WindowClassifier(gat, fitted, threshold=0.5)


@pytest.mark.parametrize("is_own", [True, False])
def test_an_evaluation_on_the_training_captures_says_so(
    is_own: bool,
    captures: list[Capture],
    classifier: WindowClassifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(pictures, "png", sketch)
    monkeypatch.setattr(command, "load_captures", lambda *_args, **_settings: captures)
    client = MlflowClient()
    trained = client.create_run("0", tags={"graphids.dataset_digest": dataset_digest(captures) if is_own else "d" * 64})
    model = client.create_logged_model("0", name="model", source_run_id=trained.info.run_id)

    evaluate(classifier, "models:/m", "simulated", model_id=model.model_id)

    run = client.search_runs(["0"])[0]
    assert run.data.tags["graphids.evaluated_on"] == ("training" if is_own else "other")
    for words in (run.data.tags["mlflow.note.content"], capsys.readouterr().out):
        assert (OWN_CAPTURES in words) == is_own


@pytest.mark.parametrize("strange", [0, 2], ids=["all captures of the vehicle", "two of another one"])
def test_captures_that_the_model_cannot_judge_are_noted_in_summary_metrics_and_tag(
    strange: int,
    captures: list[Capture],
    classifier: WindowClassifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(pictures, "png", sketch)
    moved = [
        replace(c, frames=replace(c.frames, arbitration_id=c.frames.arbitration_id ^ 0x400)) for c in captures[:strange]
    ]
    monkeypatch.setattr(command, "load_captures", lambda *_args, **_settings: [*moved, *captures[strange:]])

    evaluate(classifier, "models:/m", "simulated")

    run = MlflowClient().search_runs(["0"])[0]
    printed = " ".join(capsys.readouterr().out.split())
    assert run.data.tags["graphids.not_covered"] == f"{strange} of {len(captures)} captures"
    for words in (" ".join(run.data.tags["mlflow.note.content"].split()), printed):
        assert (f"Not covered: {strange} of {len(captures)} captures ({captures[0].name}, " in words) == bool(strange)
    assert (run.data.metrics["test/coverage"] < 0.99) == bool(strange)
    assert (run.data.metrics["test/id_coverage"] == 1.0) == (not strange)
    whole = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/coverage.json")
    assert whole["is_covered"] == (not strange)
    assert [known["capture"] for known in whole["captures"] if not known["is_covered"]] == [c.name for c in moved]
    assert sum(known["frames"] for known in whole["captures"]) == whole["frames"]


def test_frames_that_an_attack_injected_do_not_make_the_vehicle_another_one(
    captures: list[Capture], classifier: WindowClassifier
) -> None:
    (flooded,) = [c for c in captures if c.name == "dos-1"]
    attack = np.ones(len(flooded.frames), np.uint8)
    attack[:100] = 0
    ids = np.where(attack, 0x7FF, flooded.frames.arbitration_id).astype(np.uint32)
    flood = replace(flooded, frames=replace(flooded.frames, arbitration_id=ids, attack=attack))
    unlabelled = replace(flood, frames=replace(flood.frames, attack=None, attack_kind=None))

    assert captures_covered([flood], classifier.known_ids).not_covered == ()
    assert captures_covered([unlabelled], classifier.known_ids).not_covered == ("dos-1",)


@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "without labels"])
def test_recordings_without_any_attack_are_measured_by_false_alarms_alone(
    labelled: bool,
    captures: list[Capture],
    classifier: WindowClassifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(pictures, "png", sketch)
    quiet = [c for c in captures if not num_attacked(c.frames)]
    if not labelled:
        quiet = [replace(c, frames=replace(c.frames, attack=None, attack_kind=None)) for c in quiet]
    monkeypatch.setattr(command, "load_captures", lambda *_args, **_settings: quiet)

    evaluate(classifier, "models:/m", "simulated")

    run = MlflowClient().search_runs(["0"])[0]
    printed = " ".join(capsys.readouterr().out.split())
    assert "None of the captures holds an attack: only false alarms, time in alarm and coverage are measured" in printed
    assert ("No capture has labels, and all are taken for attack-free." in printed) != labelled
    measured = {name for name in run.data.metrics if name.startswith("test/")}
    assert {"test/false_alarms_per_hour", "test/incidents/false_alarms_per_hour", "test/incidents/time_in_alarm"} <= (
        measured
    )
    assert not [name for name in measured if "recall" in name or "all/" in name or "delay" in name]


def test_captures_of_which_only_some_have_labels_are_refused(
    captures: list[Capture], classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    bare = replace(captures[0], frames=replace(captures[0].frames, attack=None, attack_kind=None))
    monkeypatch.setattr(command, "load_captures", lambda *_args, **_settings: [bare, *captures[1:3]])

    with pytest.raises(DataError, match="found none in 1 of 3 captures"):
        evaluate(classifier, "models:/m", "simulated")
