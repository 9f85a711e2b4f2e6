"""`runs:/<run id>/model` means the model of a run of graphids, and a registered version of it has its card."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException

from graphids._mlflow_plugin import registered_versions, run_models
from graphids.logged_model import ANY_NAME, DIGEST_KEY
from support.stores import empty_store

NAME = "gat-tau0_5-seed0-simulated"
CARD = "# Intrusion detection on a CAN bus"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(empty_store(tmp_path))
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


def log(client: MlflowClient, folder: Path, *, ours: bool = True, card: str = CARD, name: str = NAME) -> str:
    """Run id of a run with one model, which consists of one file."""
    run_id: str = client.create_run("0").info.run_id
    tags = {DIGEST_KEY: "d" * 64, "graphids.tau": "0.5", "mlflow.note.content": card} if ours else {}
    params = {DIGEST_KEY: "d" * 64} if ours else {}
    model = client.create_logged_model("0", name=name, source_run_id=run_id, tags=tags, params=params)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "MLmodel").write_text(f"run_id: {run_id}\n")
    client.log_model_artifacts(model.model_id, str(folder / "model"))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return run_id


def test_the_plugin_and_the_package_agree_on_words_that_it_cannot_import() -> None:
    assert (run_models.ANY_NAME, run_models.DIGEST_KEY) == (ANY_NAME, DIGEST_KEY)
    assert registered_versions.DIGEST_KEY == DIGEST_KEY


@pytest.mark.parametrize("name", [ANY_NAME, NAME])
def test_the_model_of_a_run_is_found_by_its_name_and_as_model(client: MlflowClient, tmp_path: Path, name: str) -> None:
    run_id = log(client, tmp_path)
    log(client, tmp_path)  # another run's model of the same name

    file = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{name}/MLmodel")

    assert Path(file).read_text() == f"run_id: {run_id}\n"
    version = mlflow.register_model(f"runs:/{run_id}/{name}", "detector")
    assert version.run_id == run_id


def test_a_model_that_is_really_called_model_is_meant_first(client: MlflowClient, tmp_path: Path) -> None:
    run_id = log(client, tmp_path, ours=False, name=ANY_NAME)

    file = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model/MLmodel")

    assert Path(file).read_text() == f"run_id: {run_id}\n"


def test_other_projects_models_are_found_by_their_names_alone(client: MlflowClient, tmp_path: Path) -> None:
    run_id = log(client, tmp_path, ours=False)

    with pytest.raises(MlflowException, match="Failed to download artifacts"):
        mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model/MLmodel")
    with pytest.raises(MlflowException, match="Unable to find a logged_model"):
        mlflow.register_model(f"runs:/{run_id}/model", "detector")


def test_a_version_has_card_and_tags_of_its_model_however_it_is_registered(
    client: MlflowClient, tmp_path: Path
) -> None:
    run_id = log(client, tmp_path)
    (output,) = client.get_run(run_id).outputs.model_outputs
    client.create_registered_model("by-button")
    source = client.get_logged_model(output.model_id).artifact_location

    version = mlflow.register_model(f"models:/{output.model_id}", "by-code", tags={"graphids.tau": "mine"})
    button = client.create_model_version("by-button", source, run_id, model_id=output.model_id)

    assert (version.description, button.description) == (CARD, CARD)
    assert button.tags == {DIGEST_KEY: "d" * 64, "graphids.tau": "0.5"}
    assert version.tags["graphids.tau"] == "mine"


def test_a_description_that_someone_gives_stays_and_others_models_get_none(
    client: MlflowClient, tmp_path: Path
) -> None:
    client.create_registered_model("detector")
    ours, theirs = (
        client.get_run(log(client, tmp_path, ours=ours)).outputs.model_outputs[0].model_id for ours in (True, False)
    )

    def described(model_id: str, **given: str) -> tuple[str | None, dict[str, str]]:
        version = client.create_model_version("detector", f"models:/{model_id}", model_id=model_id, **given)
        return version.description, version.tags

    assert described(ours, description="Mine.")[0] == "Mine."
    assert described(theirs) == (None, {})


def test_a_card_that_is_longer_than_a_description_ends_at_a_line(client: MlflowClient, tmp_path: Path) -> None:
    run_id = log(client, tmp_path, card="a line of the card\n" * 300)

    description = mlflow.register_model(f"runs:/{run_id}/model", "detector").description

    assert len(description) <= 5000
    kept, end = description.split("\n\n")
    assert set(kept.splitlines()) == {"a line of the card"}
    assert end == "The rest is in MODEL_CARD.md, one of the model's files."


def test_a_change_in_mlflow_disables_the_patches_and_not_the_import(caplog: pytest.LogCaptureFixture) -> None:
    class Changed:
        create_model_version = _get_logged_model_artifact_repo = None

    module = ModuleType("changed")
    vars(module).update(SqlAlchemyStore=Changed, RunsArtifactRepository=Changed)

    with caplog.at_level(logging.WARNING):
        registered_versions.patch_registry_store(module)
        run_models.patch_runs_repository(module)
        run_models.patch_registration(module)

    assert Changed.create_model_version is None
    assert len(caplog.records) == 3
