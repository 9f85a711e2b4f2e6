"""An evaluation says where its metrics flatter the model."""

from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from graphids.commands import evaluate as command
from graphids.commands.evaluate import evaluate
from graphids.core.classifier import WindowClassifier
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.dataset import dataset_digest, load_captures
from graphids.core.frames import Capture
from graphids.core.models.gat import GAT
from graphids.report import pictures
from graphids.report.summary import OWN_CAPTURES
from support.sketches import sketch


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    return load_captures("simulated", data_seed=3, duration_s=3.0, captures_per_kind=3)


@pytest.fixture(scope="module")
def classifier() -> WindowClassifier:
    data = CANDataModule(
        window_size=64, stride=32, simulated_duration_s=3.0, simulated_captures_per_kind=3, split="capture"
    )
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
