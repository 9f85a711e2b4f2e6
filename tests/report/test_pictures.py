"""What a run puts into the UI: the same pictures and tables each time, as MLflow itself would have logged them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from graphids.assessment.assess import assess, measure
from graphids.assessment.tau_sweep import TauSweep
from graphids.core.callbacks import TauNormRecord
from graphids.outbox.durable_queue import DurableQueue
from graphids.outbox.outbox import Outbox
from graphids.plots.style import new_figure, png
from graphids.report import pictures as report
from graphids.report.findings import Findings
from graphids.report.pictures import (
    PICTURES_TAG,
    attack_kinds_table,
    confusion_table,
    log_evaluation_report,
    log_training_report,
)
from support.scored_windows import many, scored_windows, scoring
from support.stores import empty_store

PICTURES = {"kinds", "confusion", "roc", "precision_recall", "reliability", "score_over_time"}
OF_TRAINING = {"tau_sweep", "vram_drift"}
SWEEP = TauSweep(
    taus=(0.0, 1.0), metrics={"macro_f1": (0.5, 0.6)}, best=1.0, moved=(0, 2), windows=9, row_norms=(1.0, 2.0)
)

RECORD = TauNormRecord(0.5, "fc_layers.3.weight", torch.eye(2))


@dataclass
class Recorder:
    """The words of a report, kept."""

    files: dict[str, bytes] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)
    tables: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def log_bytes(self, data: bytes, name: str) -> None:
        self.files[name] = data

    def log_image(self, png: bytes, key: str) -> None:
        self.images[key] = png

    def log_table(self, columns: dict[str, list[Any]], name: str) -> None:
        self.tables[name] = columns

    def set_tags(self, tags: dict[str, str]) -> None:
        self.tags |= tags


def _of_training(outbox: Any) -> None:
    val, test = many(200, seed=1), many(200, seed=2)
    rules = {"val": val.score, "test": 1 - test.score}
    findings = Findings(assess(val, val, test, rules, 100.0), RECORD, SWEEP)
    log_training_report(outbox, findings, test, rules["test"], drift=None)


def _of_evaluation(outbox: Any) -> None:
    scored = many(100)
    log_evaluation_report(outbox, measure(scored, 0.6), scored, scored.classes)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not drawn: for tests of what is logged, whatever it looks like."""
    monkeypatch.setattr(report, "png", lambda _: b"PNG")


@pytest.fixture(scope="module")
def of_training() -> Recorder:
    outbox = Recorder()
    _of_training(outbox)
    return outbox


def test_a_run_that_made_a_model_has_every_picture_and_table(of_training: Recorder) -> None:
    outbox = of_training

    assert set(outbox.files) == {f"{name}.png" for name in PICTURES | OF_TRAINING}
    assert outbox.images == {name.removesuffix(".png"): data for name, data in outbox.files.items()}
    assert set(outbox.tables) == {"attack_kinds.json", "confusion.json", "tau_sweep.json"}
    assert outbox.tags == {PICTURES_TAG: "complete"}


@pytest.mark.usefixtures("quick")
def test_an_evaluation_has_the_pictures_of_detection_and_tables_with_the_same_columns(
    of_training: Recorder,
) -> None:
    evaluated = Recorder()

    _of_evaluation(evaluated)

    assert set(evaluated.files) == {f"{name}.png" for name in PICTURES}
    assert set(evaluated.tables) == {"attack_kinds.json", "confusion.json"}
    for name, columns in evaluated.tables.items():
        assert list(columns) == list(of_training.tables[name])


def test_the_sweep_has_the_same_columns_where_a_metric_is_undefined_on_validation(of_training: Recorder) -> None:
    assert of_training.tables["tau_sweep.json"] == {
        "tau": [0.0, 1.0],
        "macro_f1": [0.5, 0.6],
        "balanced_accuracy": [None, None],
        "accuracy": [None, None],
        "macro_auroc": [None, None],
        "all_recall": [None, None],
        "moved": [0, 2],
    }


def test_the_table_of_kinds_has_the_rules_beside_the_model_and_nothing_for_what_is_undefined() -> None:
    scored = scored_windows([0.9, 0.3, 0.1, 0.2], [1, 1, 0, 0], hours=0.25)

    table = attack_kinds_table(scored.classes, [scoring(scored, 0.5), scoring(scored, 0.15, "rules")])

    assert table["kind"] == ["dos", "spoof", "all"]
    assert table["windows"] == [2.0, 0.0, 2.0]
    assert table["recall"] == [0.5, None, 0.5]
    assert table["auroc"] == [1.0, None, 1.0]
    assert table["prevalence"] == [0.5, 0.0, 0.5]
    assert table["rule_recall"] == [1.0, None, 1.0]
    assert table["false_alarms_per_hour"] == [0.0, 0.0, 0.0]
    assert table["rule_false_alarms_per_hour"] == [4.0, 4.0, 4.0]


def test_the_table_of_confusions_has_a_row_per_cell_with_windows() -> None:
    table = confusion_table(np.array([[3, 1], [0, 0]]), ["normal", "new"], ["normal", "dos"])

    assert list(zip(*table.values(), strict=True)) == [("normal", "normal", 3, 0.75), ("normal", "dos", 1, 0.25)]


@pytest.mark.usefixtures("quick")
def test_a_picture_that_cannot_be_drawn_is_told_of_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a name that no font has")

    monkeypatch.setattr(report, "draw_roc", broken)
    outbox = Recorder()

    _of_training(outbox)

    assert outbox.tags == {PICTURES_TAG: "missing: roc (ValueError: a name that no font has)"}
    assert set(outbox.files) == {f"{name}.png" for name in (PICTURES | OF_TRAINING) - {"roc"}}
    assert "'roc' of this run could not be drawn" in caplog.text


@pytest.mark.usefixtures("quick")
def test_what_the_outbox_cannot_keep_is_not_taken_for_a_picture_that_cannot_be_drawn() -> None:
    class FullDisk(Recorder):
        def log_image(self, png: bytes, key: str) -> None:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        _of_training(FullDisk())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowClient, str, str]:
    folder = tmp_path_factory.mktemp("store")
    uri = empty_store(folder)
    client = MlflowClient(uri)
    return client, client.create_experiment("test", artifact_location=(folder / "artifacts").as_uri()), uri


def _sent(store: tuple[MlflowClient, str, str], folder: Path, *say: Callable[[Outbox], None]) -> str:
    client, experiment_id, uri = store
    run_id: str = client.create_run(experiment_id).info.run_id
    run = {"run_id": run_id, "experiment_id": experiment_id, "tracking_uri": uri}
    for number, words in enumerate(say):
        outbox = Outbox(run_id, experiment_id, DurableQueue(folder / str(number) / "outbox", run))
        words(outbox)
        assert outbox.close()
    return run_id


def _listed(client: MlflowClient, run_id: str) -> set[str]:
    """Names of images without the time and the random number that MLflow gives them."""
    names = {file.path for file in client.list_artifacts(run_id, "images")}
    return {re.sub(r"\+timestamp\+\d+\+[0-9a-f-]+", "+timestamp+_+_", name) for name in names}


def test_images_and_tables_are_there_as_if_mlflow_had_logged_them(
    store: tuple[MlflowClient, str, str], tmp_path: Path
) -> None:
    client, experiment_id, _ = store
    picture = png(new_figure())
    (tmp_path / "picture.png").write_bytes(picture)
    theirs = client.create_run(experiment_id).info.run_id
    client.log_image(theirs, Image.open(tmp_path / "picture.png"), key="figures/roc", step=3, synchronous=True)
    client.log_table(theirs, {"kind": ["dos", "spoof"], "auroc": [0.5, None]}, "kinds.json")
    client.log_table(theirs, {"tau": [0.0]}, "sweep.json")

    def say(outbox: Outbox) -> None:
        outbox.log_image(picture, "figures/roc", step=3)
        outbox.log_table({"kind": ["dos", "spoof"], "auroc": [0.5, None]}, "kinds.json")
        outbox.log_table({"tau": [0.0]}, "sweep.json")

    ours = _sent(store, tmp_path, say)

    def tags(run_id: str) -> dict[str, str]:
        return {k: v for k, v in client.get_run(run_id).data.tags.items() if k.startswith("mlflow.logged")}

    assert tags(ours) == tags(theirs)
    assert _listed(client, ours) == _listed(client, theirs)
    for name in ("kinds.json", "sweep.json"):
        tables = [json.loads(Path(client.download_artifacts(run, name)).read_text()) for run in (ours, theirs)]
        assert tables[0] == tables[1]


def test_the_grid_shows_the_picture_pixel_by_pixel_where_mlflow_would_shrink_it(
    store: tuple[MlflowClient, str, str], tmp_path: Path
) -> None:
    picture = png(new_figure())
    run_id = _sent(store, tmp_path, lambda outbox: outbox.log_image(picture, "figures/roc"))

    folder = Path(store[0].download_artifacts(run_id, "images"))
    shown, full = (Image.open(next(folder.glob(f"*.{kind}"))).convert("RGB") for kind in ("webp", "png"))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(full))


def test_a_report_that_is_made_again_by_a_run_that_was_resumed_is_there_once(
    store: tuple[MlflowClient, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_detection_pictures", lambda *_: {"kinds": new_figure, "roc": new_figure})
    client = store[0]
    once = _sent(store, tmp_path / "once", _of_evaluation)
    twice = _sent(store, tmp_path / "twice", _of_evaluation, _of_evaluation)

    for folder in ("", "images"):
        assert [(f.path, f.file_size) for f in client.list_artifacts(twice, folder)] == [
            (f.path, f.file_size) for f in client.list_artifacts(once, folder)
        ]
    assert client.get_run(twice).data.tags["mlflow.loggedArtifacts"] == json.dumps(
        [{"path": "attack_kinds.json", "type": "table"}, {"path": "confusion.json", "type": "table"}]
    )


def test_mlflow_lays_the_tables_of_runs_side_by_side(store: tuple[MlflowClient, str, str], tmp_path: Path) -> None:
    scored = many(100)
    table_of_kinds = attack_kinds_table(scored.classes, [scoring(scored, 0.5)])
    runs = [
        _sent(store, tmp_path / str(number), lambda outbox: outbox.log_table(table_of_kinds, "attack_kinds.json"))
        for number in range(2)
    ]
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store[2])
    try:
        table = store[0].load_table(store[1], "attack_kinds.json", run_ids=runs, extra_columns=["run_id"])
    finally:
        mlflow.set_tracking_uri(before)

    assert table.groupby("run_id")["kind"].agg(list).to_dict() == {run: ["dos", "spoof", "all"] for run in runs}


def test_a_key_that_mlflow_would_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match=r"key is 'roc\+1', expected only letters"):
        Outbox("run").log_image(png(new_figure()), "roc+1")


def test_a_metric_that_is_not_a_number_cannot_be_a_cell_of_a_table() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Outbox("run").log_table({"auroc": [float("nan")]}, "kinds.json")
