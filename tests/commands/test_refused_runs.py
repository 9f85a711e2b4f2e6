"""Runs of `mlflow run` that are refused: their name and their page say why, and no door lets one through."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from graphids.failure import is_random_name, record_failure
from support.main_job import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store(tmp_path).create()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    store.select()
    return store


@pytest.fixture
def client(store: Store) -> MlflowClient:
    return store.client()


@pytest.mark.parametrize(
    ("entry_point", "parameter", "name", "reason"),
    [
        # As the next, without the configuration.
        pytest.param(
            *("main", "tua=0.5", "refused: tua", "--tua: no such option; did you mean --tau?"), marks=pytest.mark.slow
        ),
        ("main", "model.haeds=8", "refused: model.haeds", "--model.haeds: no such key; did you mean --model.heads?"),
        # argparse refuses it
        ("evaluate", "on_bad_line=ignore", "refused: on-bad-line", "invalid choice: 'ignore'"),
        ("verify", "model_uri=--help", "refused: verify", "--help: there is no such folder"),
    ],
)
def test_a_refused_run_is_named_by_what_was_refused(
    store: Store, entry_point: str, parameter: str, name: str, reason: str
) -> None:
    given = [parameter, *(["model_uri=models:/m-0"] if entry_point == "evaluate" else [])]

    answer = store.mlflow_run(*given, entry_point=entry_point)

    (run,) = store.runs()
    assert answer.returncode != 0
    assert (run.info.run_name, run.info.status) == (name, "FAILED")
    assert reason in run.data.tags["mlflow.note.content"]


def test_a_name_that_somebody_gave_stays(client: MlflowClient) -> None:
    run_id = client.create_run("0", run_name="mine").info.run_id

    record_failure(run_id, "graphids train: --tua: no such option", name="refused: tua")

    assert client.get_run(run_id).info.run_name == "mine"


def test_a_run_that_has_ended_is_not_touched(client: MlflowClient) -> None:
    """MLFLOW_RUN_ID may be left over from a run that was finished long before a wrong option was typed."""
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id, "FINISHED")

    record_failure(run_id, "graphids inspect: --tua: no such option", name="refused: tua")

    run = client.get_run(run_id)
    assert is_random_name(run.info.run_name)
    assert "mlflow.note.content" not in run.data.tags
