"""The saved view and the description of an experiment: what the UI reads, and what a person did stays done."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from graphids._mlflow.saved_view import PICTURES, VIEW_KEY, asked_first, experiment_tags, run_page, view_page
from graphids._mlflow.tracked_run import tracked_run
from graphids.commands.config import render_config
from graphids.commands.evaluate import evaluate
from graphids.commands.retau import retau
from graphids.commands.train import train
from graphids.core.frames import DataError
from graphids.options import OPTIONS, OptionError
from graphids.outbox.delivery import OWN_TAGS
from support.stores import empty_store
from support.tiny_model import tiny_classifier

VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
NOTE_TAG = "mlflow.note.content"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store, opened once; each test has an experiment of its own."""
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def experiment(
    uri: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """Id of an experiment of the test's own, which its runs go to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield str(MlflowClient(uri).create_experiment(request.node.name))
    mlflow.set_tracking_uri(before)


def tags_of(experiment_id: str) -> dict[str, str]:
    return dict(MlflowClient().get_experiment(experiment_id).tags)


def run() -> str:
    with tracked_run() as outbox:
        pass
    return outbox.run_id


def view_state() -> dict[str, Any]:
    """As MLflow's UI decodes it."""
    envelope = json.loads(experiment_tags("7")[VIEW_TAG])
    assert set(envelope) == {"name", "createdAt", "updatedAt", "state"}
    method, _, packed = envelope["state"].partition(";")
    assert (envelope["name"], method) == ("Drift and tau", "deflate")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def test_the_views_columns_are_tau_drift_and_detection_with_the_rules_beside() -> None:
    columns = view_state()["selectedColumns"]

    assert columns[:2] == ["tags.`graphids.tau`", "tags.`graphids.vram_drift`"]
    assert {"metrics.`test/macro/auroc`", "metrics.`test_rule/macro/auroc`", "metrics.`vram/drift_max`"} <= set(columns)
    # Names of runs begin alike: the width that MLflow gives them shows no more than that.
    assert view_state()["columnOrder"] == ["attributes.`Run Name`", *columns]
    assert view_state()["columnWidths"]["attributes.`Run Name`"] > 200


def test_every_chart_is_in_a_section_of_the_view_and_none_is_there_twice() -> None:
    state = view_state()
    charts = state["compareRunCharts"]

    assert {chart["metricSectionId"] for chart in charts} == {
        section["uuid"] for section in state["compareRunSections"]
    }
    assert len({chart["uuid"] for chart in charts}) == len(charts)
    assert state["compareRunSections"][-1]["name"] == "test_rule"


def test_the_views_pictures_are_those_that_a_run_logs() -> None:
    shown = {key for chart in view_state()["compareRunCharts"] for key in chart.get("imageKeys", ())}

    assert shown == {*PICTURES, "tau_sweep", "tau_study", "vram_drift"}


def test_what_a_person_asks_for_comes_first_and_nothing_is_lost() -> None:
    metrics = {"dos/auroc": 1.0, "all/auroc": 0.5, "macro/auroc": 0.75}

    assert list(asked_first(metrics).items()) == [("macro/auroc", 0.75), ("all/auroc", 0.5), ("dos/auroc", 1.0)]


def test_an_experiments_tags_are_within_what_mlflow_keeps_and_the_same_for_every_run() -> None:
    tags = experiment_tags("7")

    assert max(map(len, tags.values())) < 5000
    assert tags == experiment_tags("7")


def test_the_description_begins_with_words_that_need_no_markdown() -> None:
    """MLflow's front page prints as much of it as there is room for, and does not render it."""
    words, links = experiment_tags("7")[NOTE_TAG].split("\n\n")

    assert len(words) > 150  # more than a column of the front page holds
    assert not set("*_[]()<>#`|") & set(words)
    assert "Drift and tau, under Views" in words  # all that the experiment's own page shows unasked
    for page in (view_page("7"), view_page("7", charts=True)):
        assert f"]({page})" in links


def test_the_front_page_shows_no_tag_of_the_experiment() -> None:
    """It shows every tag that is not MLflow's own, however long."""
    assert all(tag.startswith("mlflow.") for tag in (*experiment_tags("7"), OWN_TAGS))


def test_an_experiment_is_one_of_training() -> None:
    assert experiment_tags("7")["mlflow.experimentKind"] == "custom_model_development"


def test_the_addresses_open_the_pages_of_a_training() -> None:
    for page in (view_page("7"), view_page("7", charts=True), run_page("7", "r1")):
        assert page.startswith("#/experiments/7/runs")
        assert "workflowType=machine_learning" in page


def test_a_run_gives_its_experiment_the_view_and_a_second_run_leaves_it_as_it_is(experiment: str) -> None:
    run()
    once = tags_of(experiment)
    run()

    assert once[VIEW_TAG] == experiment_tags(experiment)[VIEW_TAG]
    assert tags_of(experiment) == once


def test_what_a_person_wrote_changed_or_removed_stays_so(experiment: str) -> None:
    client = MlflowClient()
    client.set_experiment_tag(experiment, NOTE_TAG, "Ours, for the paper.")
    run()
    assert tags_of(experiment)[NOTE_TAG] == "Ours, for the paper."

    client.set_experiment_tag(experiment, VIEW_TAG, "another view")
    run()
    assert tags_of(experiment)[VIEW_TAG] == "another view"

    client.delete_experiment_tag(experiment, VIEW_TAG)
    run()
    assert VIEW_TAG not in tags_of(experiment)


def test_what_an_earlier_graphids_wrote_is_renewed(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("graphids._mlflow.tracked_run.experiment_tags", lambda _: {NOTE_TAG: "as it was once"})
        run()
    assert tags_of(experiment)[NOTE_TAG] == "as it was once"

    run()

    assert tags_of(experiment)[NOTE_TAG] == experiment_tags(experiment)[NOTE_TAG]
    assert set(json.loads(tags_of(experiment)[OWN_TAGS])) == set(experiment_tags(experiment))


def test_what_a_run_wrote_that_ended_in_the_middle_of_it_is_known_as_graphids_own(
    experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    client.set_experiment_tag(experiment, VIEW_TAG, experiment_tags(experiment)[VIEW_TAG])
    run()
    assert set(json.loads(tags_of(experiment)[OWN_TAGS])) == set(experiment_tags(experiment))

    monkeypatch.setattr("graphids._mlflow.tracked_run.experiment_tags", lambda _: {VIEW_TAG: "of a later graphids"})
    run()
    assert tags_of(experiment)[VIEW_TAG] == "of a later graphids"


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize("code", ["INVALID_PARAMETER_VALUE", "INTERNAL_ERROR"])
def test_a_store_that_does_not_take_the_view_costs_a_line_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    def refuse(*_: object) -> None:
        raise MlflowException("no such tag here", error_code=ErrorCode.Value(code))

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)

    run_id = run()  # a run that MLflow does not have all of leaves by SystemExit

    assert MlflowClient().get_run(run_id).info.status == "FINISHED"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no such tag here" in line]
    assert "(experiment) was refused by MLflow" in line


@pytest.mark.parametrize("given", [None, "my-run-1", "nightly"])
def test_a_run_that_nobody_named_says_what_it_is(
    experiment: str, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """MLflow makes up a name of three words where it is given none, as by `mlflow run` without --run-name."""
    run_id = MlflowClient().create_run(experiment, run_name=given).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)

    with tracked_run() as outbox:
        outbox.name_run("tau=0.5 seed=0 drives")

    assert MlflowClient().get_run(run_id).info.run_name == (given or "tau=0.5 seed=0 drives")


@pytest.mark.usefixtures("experiment")
def test_a_name_is_no_longer_than_every_store_keeps() -> None:
    with tracked_run() as outbox:
        outbox.name_run("tau=0.5 " + 300 * "a")

    assert len(MlflowClient().get_run(outbox.run_id).info.run_name) == 250


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(
    ("command", "name", "tau"),
    [
        ("train", "tau=0.25 seed=7 {id} quiet.log", "0.25"),
        ("retau", "refused: run_id", "1.0"),
        ("evaluate", "evaluate quiet.log", "0.5"),
    ],
)
def test_a_run_that_fails_before_anything_is_read_says_what_it_was_to_be(
    tmp_path: Path, command: str, name: str, tau: str
) -> None:
    captures = tmp_path / "quiet.log"
    captures.write_text("(1.000000) can0 123#00\n")  # no labels: neither training nor evaluation can begin
    defaults = {option.name: option.default for option in OPTIONS}
    config = render_config({**defaults, "data": str(captures), "tau": 0.25, "seed": 7})
    commands: dict[str, Callable[[], None]] = {
        "train": lambda: train(config, [f"--trainer.default_root_dir={tmp_path}"]),
        "retau": lambda: retau("nosuchrun", 1.0, load_model=Mock(), save_model=Mock()),
        "evaluate": lambda: evaluate(tiny_classifier(), "models:/m-1", str(captures)),
    }

    with pytest.raises((DataError, OptionError)):
        commands[command]()

    (failed,) = mlflow.search_runs(search_all_experiments=False, output_format="list")
    assert failed.info.status == "FAILED"
    assert failed.info.run_name == name.format(id=failed.info.run_id[:4])
    assert failed.data.tags["graphids.tau"] == tau
    assert failed.data.tags["graphids.vram_drift"] == "not-watched"
