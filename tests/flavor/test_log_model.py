"""Logging to a real sqlite store: the anchor, the ways to it, and what no writer of the artifact can change."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.models.model import ModelInfo

from graphids.core.classifier import WindowClassifier
from graphids.options import OptionError
from mlflow_graphids import IntegrityError, load_model, log_model, save_model, verify_model
from support.damage import flip_bit
from support.tampering import TAMPERING

Saved = tuple[Path, str]

pytestmark = pytest.mark.usefixtures("store")


def artifact_folder(model_id: str) -> Path:
    location = MlflowClient().get_logged_model(model_id).artifact_location
    return Path(unquote(urlparse(location).path))


def anchor_of(model_id: str) -> str | None:
    digest: str | None = MlflowClient().get_logged_model(model_id).params.get("graphids.digest")
    return digest


def test_a_logged_model_is_anchored_to_the_digest_that_saving_it_gives(logged: ModelInfo, pristine: Saved) -> None:
    assert anchor_of(logged.model_id) == pristine[1]


def test_a_model_loads_verified_by_every_uri_that_leads_to_its_anchor(
    classifier: WindowClassifier, table: pd.DataFrame
) -> None:
    name = "by-every-uri"
    with mlflow.start_run() as run:
        info = log_model(classifier, "detector", registered_model_name=name)
    MlflowClient().set_registered_model_alias(name, "champion", info.registered_model_version)
    MlflowClient().copy_model_version(f"models:/{name}/{info.registered_model_version}", f"{name}-copy")
    expected = load_model(info.model_uri).predict(table)

    for uri in (
        f"runs:/{run.info.run_id}/detector",
        f"models:/{name}/1",
        f"models:/{name}/latest",
        f"models:/{name}@champion",
        f"models:/{name}-copy/1",
    ):
        loaded = load_model(uri)
        assert (loaded.digest, loaded.anchored) == (anchor_of(info.model_id), True), uri
        pd.testing.assert_frame_equal(loaded.predict(table), expected)
        pd.testing.assert_frame_equal(mlflow.pyfunc.load_model(uri).predict(table), expected)


def test_a_version_without_a_model_id_is_followed_by_its_source(logged: ModelInfo) -> None:
    client = MlflowClient()
    client.create_registered_model("by-source")
    location = client.get_logged_model(logged.model_id).artifact_location
    version = client.create_model_version("by-source", source=location)
    assert not version.model_id

    assert load_model(f"models:/by-source/{version.version}").digest == anchor_of(logged.model_id)


def test_the_version_is_registered_with_the_digest_as_a_tag(classifier: WindowClassifier) -> None:
    with mlflow.start_run():
        info = log_model(classifier, registered_model_name="tagged", tags={"vehicle": "truck"})

    version = MlflowClient().get_model_version("tagged", str(info.registered_model_version))
    assert version.source == f"models:/{info.model_id}"
    assert version.tags == {"vehicle": "truck", "graphids.digest": anchor_of(info.model_id)}


def test_the_card_is_in_the_model_and_describes_it_and_its_version(classifier: WindowClassifier) -> None:
    with mlflow.start_run():
        info = log_model(classifier, registered_model_name="described", model_card="# Detects\n")

    client = MlflowClient()
    assert (artifact_folder(info.model_id) / "MODEL_CARD.md").read_text() == "# Detects\n"
    assert client.get_logged_model(info.model_id).tags["mlflow.note.content"] == "# Detects\n"
    assert client.get_model_version("described", str(info.registered_model_version)).description == "# Detects\n"


def test_tampering_in_the_store_is_refused_even_where_the_folder_agrees_with_itself(
    classifier: WindowClassifier, logged: ModelInfo, tmp_path: Path
) -> None:
    """The artifact is replaced by another whole and valid model."""
    other = tmp_path / "other"
    save_model(type(classifier)(classifier.gat, classifier.preprocessing, threshold=2.0), other)
    shutil.copytree(other, artifact_folder(logged.model_id), dirs_exist_ok=True)

    with pytest.raises(IntegrityError, match=rf"from param graphids.digest of LoggedModel {logged.model_id}"):
        load_model(logged.model_uri)


def test_one_flipped_bit_in_the_store_is_refused(logged: ModelInfo) -> None:
    flip_bit(artifact_folder(logged.model_id) / "weights.safetensors", offset=1000)

    with pytest.raises(IntegrityError, match=r"weights.safetensors: expected sha256"):
        verify_model(logged.model_uri)


def test_the_anchor_cannot_be_overwritten(logged: ModelInfo) -> None:
    before = anchor_of(logged.model_id)

    with pytest.raises(mlflow.MlflowException):
        MlflowClient().log_model_params(logged.model_id, {"graphids.digest": "0" * 64})

    assert anchor_of(logged.model_id) == before


def test_a_model_without_an_anchor_is_refused_before_it_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlflow.create_external_model(name="foreign")
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda *_, **__: pytest.fail("downloaded"))

    with pytest.raises(IntegrityError, match="nothing outside the artifact says what its digest should be"):
        load_model(f"models:/{model.model_id}")


def test_a_run_param_named_like_the_anchor_fails_the_model(classifier: WindowClassifier) -> None:
    """MLflow copies the run's params to the model's, so the anchor would be whatever the run says."""
    with mlflow.start_run() as run:
        mlflow.log_param("graphids.digest", "0" * 64)
        with pytest.raises(IntegrityError, match=f"graphids.digest to be [0-9a-f]{{64}}, found {'0' * 64}"):
            log_model(classifier, registered_model_name="never")

    (output,) = MlflowClient().get_run(run.info.run_id).outputs.model_outputs
    assert MlflowClient().get_logged_model(output.model_id).status == "FAILED"
    assert not MlflowClient().search_registered_models("name = 'never'")


def test_a_model_that_failed_is_no_anchor(classifier: WindowClassifier, tmp_path: Path) -> None:
    """Its param is not what was logged but what somebody wished; the artifact can be made to match it afterwards."""
    other = save_model(replace(classifier, threshold=2.0), tmp_path / "other")
    with mlflow.start_run() as run:
        mlflow.log_param("graphids.digest", other)
        with pytest.raises(IntegrityError, match="is marked FAILED"):
            log_model(classifier)
    (output,) = MlflowClient().get_run(run.info.run_id).outputs.model_outputs
    shutil.copytree(tmp_path / "other", artifact_folder(output.model_id), dirs_exist_ok=True)

    for uri in (f"models:/{output.model_id}", f"runs:/{run.info.run_id}/model"):
        with pytest.raises(IntegrityError, match=rf"\(LoggedModel {output.model_id} is FAILED"):
            load_model(uri)


def test_params_may_not_name_the_anchor(classifier: WindowClassifier) -> None:
    with pytest.raises(ValueError, match=r"'graphids.digest', which log_model sets itself"):
        log_model(classifier, params={"graphids.digest": "0" * 64})


def test_a_run_s_model_is_meant_by_model_whatever_it_is_called(classifier: WindowClassifier) -> None:
    with mlflow.start_run() as run:
        info = log_model(classifier, "gat-tau0_5-seed0-simulated")

    for name in ("model", "gat-tau0_5-seed0-simulated"):
        loaded = load_model(f"runs:/{run.info.run_id}/{name}")
        assert (loaded.model_id, loaded.anchored) == (info.model_id, True)


def test_a_run_uri_that_names_no_model_says_so(logged: ModelInfo) -> None:
    with pytest.raises(IntegrityError, match="logged no model named 'other'"):
        load_model(f"runs:/{logged.run_id}/other")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/m-0", "Logged model with ID 'm-0' not found"),
        ("runs:/abc/model", "Run with id=abc not found"),
        ("models:/nobody/1", r"name=nobody.* not found"),
        ("models:/nobody@champion", "name=nobody not found"),
        ("models:/", "Not a proper models:/ URI"),
    ],
)
def test_a_uri_that_leads_nowhere_is_told_from_a_model_that_does_not_verify(uri: str, message: str) -> None:
    with pytest.raises(mlflow.MlflowException, match=message):
        verify_model(uri)


def test_a_run_uri_means_the_model_of_the_last_step_and_is_refused_between_equals(
    classifier: WindowClassifier,
) -> None:
    with mlflow.start_run() as run:
        for step in (1, 2):
            last = log_model(classifier, "detector", step=step)
        uri = f"runs:/{run.info.run_id}/detector"
        last_id = last.model_id
        assert verify_model(uri) == anchor_of(last_id)
        log_model(classifier, "detector", step=2)

    with pytest.raises(IntegrityError, match=rf"means 2 models .*{last_id}.*expected one"):
        load_model(uri)


def test_the_download_can_be_kept_and_verifies_again(logged: ModelInfo, tmp_path: Path) -> None:
    digest = load_model(logged.model_uri, dst_path=tmp_path / "kept").digest

    assert verify_model(tmp_path / "kept", expected_digest=digest) == digest


def test_what_is_kept_is_what_was_verified_and_never_mixed_with_other_files(logged: ModelInfo, tmp_path: Path) -> None:
    load_model(logged.model_uri, dst_path=tmp_path / "kept")

    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "MLmodel", "manifest.json", "model.json", "weights.safetensors", "wheels",
    }  # fmt: skip
    with pytest.raises(OptionError, match="expected an empty folder, found files in it"):
        load_model(logged.model_uri, dst_path=tmp_path / "kept")


@pytest.mark.parametrize(
    "tampering", ["weights sparse and oversized", "undeclared pipe", "weights a link to the right bytes"]
)
def test_a_store_on_this_machine_is_read_in_place(
    logged: ModelInfo, tampering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow would copy the folder first: follow the link, wait for the pipe, write a terabyte."""
    folder = artifact_folder(logged.model_id)
    before = sorted(folder.iterdir())
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda *_, **__: pytest.fail("copied"))

    verify_model(logged.model_uri)
    assert sorted(folder.iterdir()) == before
    TAMPERING[tampering](folder)
    for uri, digest in ((logged.model_uri, None), (f"runs:/{logged.run_id}/detector", anchor_of(logged.model_id))):
        with pytest.raises(IntegrityError, match="is not the model that was saved"):
            load_model(uri, expected_digest=digest)


def test_an_input_example_is_scored_when_the_model_is_logged(
    classifier: WindowClassifier, table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), mlflow.start_run():
        info = log_model(classifier, input_example=(table, {"threshold": 0.9}))

    assert "Failed to validate serving input" not in caplog.text
    assert "files match their own manifest" not in caplog.text
    assert load_model(info.model_uri).anchored


def test_pyfunc_gives_the_same_rows_and_obeys_the_pinned_digest(
    logged: ModelInfo, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load_model(logged.model_uri).predict(table, params={"top_k": 1})

    found = mlflow.pyfunc.load_model(logged.model_uri).predict(table, params={"top_k": 1})
    assert "Set GRAPHIDS_EXPECTED_DIGEST" in caplog.text
    pd.testing.assert_frame_equal(found, expected)

    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", anchor_of(logged.model_id) or "")
    pinned = mlflow.pyfunc.load_model(logged.model_uri).get_raw_model()
    assert (pinned.digest, pinned.anchored) == (anchor_of(logged.model_id), True)
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", "0" * 64)
    with pytest.raises(IntegrityError, match="from GRAPHIDS_EXPECTED_DIGEST"):
        mlflow.pyfunc.load_model(logged.model_uri)


def test_pyfunc_takes_defaults_from_model_config_and_refuses_numeric_identifiers(
    logged: ModelInfo, table: pd.DataFrame
) -> None:
    model = mlflow.pyfunc.load_model(logged.model_uri, model_config={"threshold": 1.0})

    assert not model.predict(table)["alert"].any()
    assert model.predict(table, params={"threshold": 0.0})["alert"].all()
    with pytest.raises(mlflow.MlflowException, match="schema"):
        model.predict(table.assign(arbitration_id=range(len(table))))


def test_pyfunc_loads_code_that_travels_with_the_model_again_and_again(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python writes bytecode into the model's folder when it imports from there."""
    (tmp_path / "vehicle_reader.py").write_text("name = 'truck'\n")
    digest = save_model(classifier, tmp_path / "m", code_paths=[str(tmp_path / "vehicle_reader.py")])
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    monkeypatch.setattr("sys.dont_write_bytecode", False)

    mlflow.pyfunc.load_model(str(tmp_path / "m"))
    assert __import__("vehicle_reader").name == "truck"
    assert list((tmp_path / "m" / "code" / "__pycache__").iterdir())
    mlflow.pyfunc.load_model(str(tmp_path / "m"))
    # Anybody could have put it there, and Python would run it the next time.
    with pytest.raises(IntegrityError, match=r"vehicle_reader.*\.pyc: undeclared bytecode.*Delete __pycache__"):
        load_model(tmp_path / "m", expected_digest=digest)
