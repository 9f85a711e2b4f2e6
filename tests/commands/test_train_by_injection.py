"""`graphids train` on recordings without any attack, end to end: a real fit, its model, and what is derived from it."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from graphids.commands.cli import main
from graphids.core.injection.inject import KINDS
from graphids.core.simulation.fleet import simulated_fleet
from graphids.core.simulation.text_writer import candump_text
from graphids.report import pictures
from support.sketches import sketch
from support.stores import empty_store

VEHICLES, DRIVES = ("vehicle-1", "vehicle-2"), ("drive-1", "drive-2", "drive-3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("injection")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[MlflowClient]:
    """A store of its own, and drives of two vehicles that nothing labels."""
    for capture in simulated_fleet(duration_s=3.0):
        vehicle, drive = capture.name.split("/")
        if vehicle in VEHICLES and drive in DRIVES:
            path = folder / "drives" / vehicle / f"{drive}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(candump_text(capture.frames))
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
        patch.setattr(pictures, "png", sketch)
        uri = empty_store(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        yield MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def trained(client: MlflowClient, folder: Path) -> Run:
    settings = [
        "--max_epochs=6",
        "--batch_size=16",
        "--lr=0.01",
        "--window=64",
        "--stride=64",
        "--accelerator=cpu",
        "--data.injected_windows=12",
    ]
    main(["train", f"--data={folder / 'drives'}", "--tau=0.5", "--hold_out=vehicle-2", *settings])
    (run,) = client.search_runs(["0"])
    return run


def derived(client: MlflowClient, *words: str) -> Run:
    main(list(words))
    return client.search_runs(["0"], max_results=1)[0]


def test_the_run_finishes_with_a_model_and_metrics_of_every_kind_and_vehicle(trained: Run) -> None:
    metrics = trained.data.metrics

    assert trained.info.status == "FINISHED"
    assert {f"test/{kind}/auroc" for kind in KINDS} <= metrics.keys()
    assert {f"test/vehicle/{name}/auroc" for name in VEHICLES} <= metrics.keys()
    assert trained.data.params["hold_out"] == "vehicle-2"
    assert trained.data.params["inject"] == "auto"


def test_it_learns_something_that_holds_for_a_vehicle_that_it_has_never_seen(trained: Run) -> None:
    assert trained.data.metrics["test/macro/auroc"] > 0.6
    assert trained.data.metrics["test/vehicle/vehicle-2/auroc"] > 0.6


def test_summary_and_card_say_what_was_injected_and_held_out(client: MlflowClient, trained: Run) -> None:
    summary = mlflow.artifacts.load_text(f"runs:/{trained.info.run_id}/summary.txt")
    (model,) = client.search_logged_models(["0"], filter_string=f"source_run_id='{trained.info.run_id}'")

    for text in (" ".join(summary.split()), model.tags["mlflow.note.content"]):
        assert "all are taken for attack-free" in text
        assert "Attacks were injected: none of their frames is in a profile" in text
        assert "vehicle-2 was held out" in text
        assert "largest deviation" in text


def test_the_model_judges_by_deviations(client: MlflowClient, trained: Run) -> None:
    (model,) = client.search_logged_models(["0"], filter_string=f"source_run_id='{trained.info.run_id}'")

    assert mlflow.graphids.load_model(f"models:/{model.model_id}").preprocessing.features == "deviations"  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [("retau", "--tau=1"), ("retune", "--false-alarms-per-hour=600")])
def test_another_tau_or_threshold_is_measured_on_the_same_injected_attacks(
    client: MlflowClient, trained: Run, command: tuple[str, str]
) -> None:
    run = derived(client, command[0], trained.info.run_id, command[1])

    assert run.info.status == "FINISHED"
    assert run.data.tags["graphids.dataset_digest"] == trained.data.tags["graphids.dataset_digest"]
    for name in ("test/all/windows", "test/vehicle/vehicle-2/windows", "test_rule/macro/auroc"):
        assert run.data.metrics[name] == trained.data.metrics[name]


def test_its_configuration_repeats_it(client: MlflowClient, trained: Run, tmp_path: Path) -> None:
    config = mlflow.artifacts.load_dict(f"runs:/{trained.info.run_id}/config.json")
    (tmp_path / "config.json").write_text(json.dumps(config))

    again = derived(client, "train", "--config", str(tmp_path / "config.json"))

    for name in ("val/loss", "test/macro/auroc", "threshold"):
        assert again.data.metrics[name] == trained.data.metrics[name]
