"""`mlflow run` of this project records neither the password of a parameter nor the token of a clone."""

import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import mlflow
import mlflow.projects.backend.local as local
import pytest
from mlflow.tracking import MlflowClient

from graphids._mlflow_plugin.project_secrets import patch_recorded
from support.paths import ROOT
from support.stores import empty_store

SECRET = "hunter2-of-the-clone"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(empty_store(tmp_path))
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of this project whose remote has a token."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("MLproject", "conda.yaml"):
        shutil.copy(ROOT / name, folder)
    remote = f"https://x-access-token:{SECRET}@example.org/graphids.git"
    for words in (("init", "-q"), ("remote", "add", "origin", remote)):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder


def recorded(clone: Path, parameters: dict[str, str]) -> str:
    """Run id of what `mlflow run` records before the project starts."""
    run_id: str = local.get_or_create_run(None, str(clone), "0", str(clone), None, "verify", parameters).info.run_id
    return run_id


def test_what_mlflow_records_of_a_run_holds_no_secret(client: MlflowClient, clone: Path) -> None:
    parameters = {"model_uri": f"http://user:{SECRET}@host/model", "data": "drives"}

    run = client.get_run(recorded(clone, parameters))

    assert SECRET not in str(run.to_dictionary())
    assert run.data.params == {"model_uri": "http://host/model", "data": "drives"}
    assert parameters["model_uri"] == f"http://user:{SECRET}@host/model"  # what the command gets
    assert "https://example.org/graphids.git" in run.data.tags["mlflow.source.git.repoURL"]


def test_other_projects_are_recorded_as_mlflow_does(client: MlflowClient, clone: Path) -> None:
    (clone / "MLproject").write_text((clone / "MLproject").read_text().replace("name: graphids", "name: other"))

    assert SECRET in client.get_run(recorded(clone, {"model_uri": f"http://u:{SECRET}@h"})).data.params["model_uri"]


def test_a_change_in_mlflow_disables_the_patch_and_not_the_import(caplog: pytest.LogCaptureFixture) -> None:
    changed = ModuleType("changed")
    vars(changed)["get_or_create_run"] = before = lambda run_id: run_id

    with caplog.at_level(logging.WARNING):
        patch_recorded(changed, lambda _: True)

    assert changed.get_or_create_run is before
    assert "`mlflow run` records parameters as they are typed" in caplog.text
