"""Evaluation from Python, through MLflow itself: a run of the caller's, and windows as MLflow's static data set."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

import mlflow_graphids
from graphids.core.frames import DataError, Frames
from graphids.report import pictures
from mlflow_graphids import evaluate, evaluation_windows, save_model
from support.sketches import sketch
from support.stores import empty_store
from support.tiny_model import STRIDE, WINDOW, three_ids, tiny_classifier, tiny_profile_classifier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folder of a saved model, and its digest."""
    folder = tmp_path_factory.mktemp("model") / "saved"
    return str(folder), save_model(tiny_classifier(), folder)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _store: str) -> Iterator[MlflowClient]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setattr(pictures, "png", sketch)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(_store)
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(tmp_path.name, (tmp_path / "artifacts").as_uri()))
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return empty_store(tmp_path_factory.mktemp("store"))


def labelled(num_frames: int = 40, attacked: slice = slice(20, 40), kind: str = "dos") -> pd.DataFrame:
    frames: Frames = three_ids(num_frames, seed=1)
    attack = np.zeros(num_frames, np.int64)
    attack[attacked] = 1
    return pd.DataFrame(
        {
            "timestamp": frames.timestamp,
            "arbitration_id": [f"{value:X}" for value in frames.arbitration_id],
            "data_field": [bytes(row).hex() for row in frames.payload],
            "attack": attack,
            "attack_kind": np.where(attack, kind, "normal").astype(object),
        }
    )


def test_an_active_run_gets_the_metrics_and_the_report_and_stays_the_callers(
    model: tuple[str, str], store: MlflowClient
) -> None:
    with mlflow.start_run(run_name="mine", description="my words") as run:
        found = evaluate(model[0], labelled(), expected_digest=model[1])
        mlflow.log_metric("mine", 1.0)

    logged = store.get_run(run.info.run_id)
    assert (found.run_id, logged.info.run_name, logged.info.status) == (run.info.run_id, "mine", "FINISHED")
    assert logged.data.tags["mlflow.note.content"] == "my words"
    assert found.metrics == {name: value for name, value in logged.data.metrics.items() if name != "mine"}
    assert {"test/dos/auroc", "test/all/recall", "test/coverage"} <= found.metrics.keys()
    assert {"summary.txt", "assessment.json", "coverage.json", "attack_kinds.json", "roc.png"} <= found.artifacts.keys()
    assert {"test/incidents/attacks", "test/incidents/recall", "test/incidents/dos/recall"} <= found.metrics.keys()
    assert "false-alarm incidents: " in found.summary
    record = mlflow.artifacts.load_dict(found.artifacts["incidents.json"])
    assert [attack["kind"] for attack in record["attacks"]] == ["dos"]
    assert "dos" in mlflow.artifacts.load_text(found.artifacts["summary.txt"])
    assert len(found.windows) == (40 - WINDOW) // STRIDE + 1


def test_a_model_with_a_profile_is_measured_by_its_deviations_from_it(tmp_path: Path) -> None:
    classifier = tiny_profile_classifier()
    digest = save_model(classifier, tmp_path / "car")
    windows = evaluation_windows(str(tmp_path / "car"), {"a": labelled(), "b": labelled()}, expected_digest=digest)
    found = evaluate(str(tmp_path / "car"), labelled(), expected_digest=digest)

    expected = classifier.score(three_ids(40, seed=1)).score
    assert np.std(expected) > 0
    np.testing.assert_allclose(
        windows["score"], [*expected, *expected]
    )  # each recording is followed from its beginning
    np.testing.assert_allclose(found.windows["score"], expected)
    assert found.metrics["test/coverage"] == 1.0


def test_a_model_without_a_profile_is_not_measured_and_says_what_it_needs(tmp_path: Path) -> None:
    digest = save_model(replace(tiny_profile_classifier(), profile=None), tmp_path / "any car")

    with pytest.raises(DataError, match=r"no profile of a vehicle.*`graphids adapt`"):
        evaluation_windows(str(tmp_path / "any car"), labelled(), expected_digest=digest)


def test_without_an_active_run_it_has_one_of_its_own(model: tuple[str, str], store: MlflowClient) -> None:
    found = evaluate(model[0], {"drive 7": labelled()}, expected_digest=model[1])

    assert mlflow.active_run() is None
    run = store.get_run(found.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "evaluate table")
    assert set(found.windows["capture"]) == {"drive 7"}


def test_a_failed_evaluation_leaves_the_callers_run_to_the_caller(model: tuple[str, str], store: MlflowClient) -> None:
    with mlflow.start_run() as run:
        with pytest.raises(DataError, match="no column 'attack'; an evaluation needs labels"):
            evaluate(model[0], labelled().drop(columns="attack"), expected_digest=model[1])
        assert mlflow.active_run() is not None

    assert store.get_run(run.info.run_id).info.status == "FINISHED"


def test_the_windows_are_a_static_data_set_that_mlflow_evaluates(model: tuple[str, str]) -> None:
    windows = evaluation_windows(model[0], labelled(), expected_digest=model[1])

    with mlflow.start_run():
        result = mlflow.models.evaluate(
            data=windows, targets="label", predictions="prediction", model_type="classifier"
        )

    assert result.metrics["accuracy_score"] == (windows["label"] == windows["prediction"]).mean()
    assert result.metrics["example_count"] == len(windows)


def test_the_windows_have_the_truth_and_what_predict_says(model: tuple[str, str]) -> None:
    table = labelled(attacked=slice(0, 7), kind="spoof")
    loaded = mlflow_graphids.load_model(model[0], model[1])

    windows = evaluation_windows(loaded, table)

    served = loaded.predict(table)
    np.testing.assert_array_equal(windows["score"], served["score"])
    np.testing.assert_array_equal(windows["prediction"] == 1, served["alert"])
    np.testing.assert_array_equal(windows["predicted_kind"], served["kind"])
    assert windows["label"].tolist()[:5] == [1, 1, 1, 1, 0]
    assert windows["kind"].tolist()[3:5] == ["spoof", "normal"]


def test_each_bus_of_a_table_is_a_capture(model: tuple[str, str]) -> None:
    table = labelled()
    table["channel"] = ["can0", "can1"] * 20

    assert set(evaluation_windows(model[0], table, expected_digest=model[1])["capture"]) == {"table:can0", "table:can1"}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("attack", 2, "table: row 3: attack is 2, expected 0 or 1"),
        ("attack", None, "table: row 3: attack is .*, expected 0 or 1"),
        ("attack_kind", None, "table: row 3: attack_kind is .* where attack is 0, expected a name"),
    ],
)
def test_a_label_that_is_none_is_refused_with_its_row(
    column: str, value: object, message: str, model: tuple[str, str]
) -> None:
    table = labelled()
    table[column] = table[column].astype(object)
    table.loc[3, column] = value

    with pytest.raises(DataError, match=message):
        evaluation_windows(model[0], table, expected_digest=model[1])


def test_another_digest_than_the_loaded_models_is_refused(model: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="but the model was loaded with"):
        evaluation_windows(mlflow_graphids.load_model(model[0], model[1]), labelled(), expected_digest="0" * 64)


@pytest.mark.parametrize("as_uri", [True, False])
def test_mlflows_own_evaluation_of_the_model_says_what_to_call_instead(as_uri: bool, model: tuple[str, str]) -> None:
    given = model[0] if as_uri else mlflow.pyfunc.load_model(model[0])
    with mlflow.start_run(), pytest.raises(DataError, match=r"call mlflow\.graphids\.evaluate\(model_uri, captures\)"):
        mlflow.models.evaluate(given, labelled(), targets="attack", model_type="classifier")


def test_a_function_that_makes_rows_of_predictions_may_be_evaluated(model: tuple[str, str]) -> None:
    served = mlflow.pyfunc.load_model(model[0])
    drives = pd.DataFrame({"drive": [0, 1], "attacked": [1, 0]})

    def is_attacked(rows: pd.DataFrame) -> list[int]:
        frames = labelled().drop(columns=["attack", "attack_kind"])
        return [int(served.predict(frames)["alert"].any()) for _ in rows["drive"]]

    with mlflow.start_run():
        result = mlflow.models.evaluate(is_attacked, drives, targets="attacked", model_type="classifier")

    assert result.metrics["example_count"] == 2
