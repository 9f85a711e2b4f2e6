"""A tiny untrained model and a readable table of frames; training is not what the flavor's tests are about."""

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from graphids.core.classifier import WindowClassifier
from graphids.core.data.features import EDGE_FEATURES, NODE_FEATURES
from graphids.core.data.frames import Frames
from graphids.core.data.graphs import build_graphs
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.models.gat import GAT
from mlflow_graphids import save_model

WINDOW, STRIDE = 4, 2
CLASSES = ("normal", "dos", "spoof")


def three_ids(num_frames: int, *, seed: int = 0) -> Frames:
    """Three identifiers, one of them with 29 bits, in turn every millisecond, with seeded payloads."""
    generator = np.random.default_rng(seed)
    ids = np.array([0x1A4, 0x2B0, 0x18FEF100], np.uint32)[generator.integers(0, 3, num_frames)]
    return Frames(
        timestamp=np.arange(num_frames) * 1e-3,
        arbitration_id=ids,
        dlc=np.full(num_frames, 8, np.uint8),
        payload=generator.integers(0, 256, (num_frames, 8), dtype=np.uint8),
        is_extended=ids > 0x7FF,
        channel=np.zeros(num_frames, np.uint8),
    )


def as_table(frames: Frames) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "timestamp": frames.timestamp,
            "arbitration_id": [f"{value:X}" for value in frames.arbitration_id],
            "data_field": [bytes(row[:dlc]).hex().upper() for row, dlc in zip(frames.payload, frames.dlc, strict=True)],
        }
    )


def tiny_classifier(seed: int = 0) -> WindowClassifier:
    torch.manual_seed(seed)
    frames = three_ids(64)
    fitted = Preprocessing.fit(build_graphs(frames, WINDOW, STRIDE), window_size=WINDOW, stride=STRIDE)
    preprocessing = Preprocessing.from_dict({**fitted.to_dict(), "classes": list(CLASSES)})
    gat = GAT(
        num_tokens=preprocessing.num_tokens,
        num_node_features=len(NODE_FEATURES),
        num_edge_features=len(EDGE_FEATURES),
        num_classes=len(CLASSES),
        hidden=8,
        layers=1,
        heads=2,
    )
    head = gat.state_dict()["fc_layers.3.weight"]
    record = {"tau": 0.5, "key": "fc_layers.3.weight", "raw_head": head * 2, "row_norms": (head * 2).norm(dim=1)}
    return WindowClassifier(gat, preprocessing, threshold=0.5, tau_record=record)


@pytest.fixture(scope="session")
def classifier() -> WindowClassifier:
    return tiny_classifier()


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return as_table(three_ids(12, seed=1))


@pytest.fixture
def saved(classifier: WindowClassifier, tmp_path: Path) -> tuple[Path, str]:
    """A saved model and its root digest."""
    return tmp_path / "saved", save_model(classifier, tmp_path / "saved")


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty sqlite store, made once: creating its schema takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def store(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow's tracking and registry on that store, with artifacts in a folder of the test's own."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    mlflow.set_tracking_uri(tracking_uri)
    name = os.fspath(tmp_path)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(name, artifact_location=(tmp_path / "art").as_uri()))
    yield tracking_uri
    mlflow.set_tracking_uri(before)
