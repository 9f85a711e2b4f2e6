"""The tiny model as a saved one, a table of frames, and a tracking store."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlparse

import mlflow
import pandas as pd
import pytest
from mlflow.models.model import ModelInfo

from graphids.core.classifier import WindowClassifier
from graphids.core.frames import Frames
from mlflow_graphids import load_model, log_model, save_model
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from support.tiny_model import three_ids, tiny_classifier


def as_table(frames: Frames) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "timestamp": frames.timestamp,
            "arbitration_id": [f"{value:X}" for value in frames.arbitration_id],
            "data_field": [bytes(row[:dlc]).hex().upper() for row, dlc in zip(frames.payload, frames.dlc, strict=True)],
        }
    )


@pytest.fixture(scope="session")
def classifier() -> WindowClassifier:
    return tiny_classifier()


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return as_table(three_ids(12, seed=1))


@pytest.fixture(scope="session")
def pristine(classifier: WindowClassifier, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A saved model that no test changes, and its root digest."""
    folder = tmp_path_factory.mktemp("model") / "saved"
    return folder, save_model(classifier, folder)


@pytest.fixture
def saved(pristine: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """A saved model of the test's own, and its root digest."""
    return shutil.copytree(pristine[0], tmp_path / "saved"), pristine[1]


@pytest.fixture(scope="session")
def model(pristine: tuple[Path, str]) -> VerifiedClassifier:
    """That model, loaded."""
    return load_model(pristine[0], expected_digest=pristine[1])


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty sqlite store, made once: creating its schema takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@contextmanager
def tracking_to(tracking_uri: str, folder: Path) -> Iterator[None]:
    """MLflow's tracking and registry on a store, in a new experiment with its artifacts below `folder`."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    artifacts = (folder / "art").as_uri()
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(os.fspath(folder), artifact_location=artifacts))
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@pytest.fixture
def store(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The store, with artifacts in a folder of the test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    with tracking_to(tracking_uri, tmp_path):
        yield tracking_uri


@pytest.fixture(scope="session")
def logged_once(
    classifier: WindowClassifier, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelInfo, Path, Path]:
    """A logged model, its artifacts, and a copy of them."""
    folder = tmp_path_factory.mktemp("logged")
    with tracking_to(tracking_uri, folder), mlflow.start_run():
        info = log_model(classifier, "detector")
        location = mlflow.get_logged_model(info.model_id).artifact_location
    artifacts = Path(unquote(urlparse(location).path))
    return info, artifacts, shutil.copytree(artifacts, folder / "copy")


@pytest.fixture
def logged(logged_once: tuple[ModelInfo, Path, Path]) -> ModelInfo:
    """A model that `store` has as "detector"; whatever another test did to its artifacts is undone."""
    info, artifacts, copy = logged_once
    shutil.rmtree(artifacts)
    shutil.copytree(copy, artifacts)
    return info
