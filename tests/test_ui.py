"""What a person reads in MLflow's own pages about four runs: two taus, with and without drift of GPU memory."""

import re
from collections.abc import Iterator

import pytest

from support import browser
from support.browser import Window, browser_window
from support.stores import empty_store
from support.tracking_server import TrackingServer
from support.ui_runs import OK, TAUS, WARNING, FourRuns, train_four

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())
NUMBER = re.compile(r"\d+(\.\d+)?")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FourRuns]:
    folder = tmp_path_factory.mktemp("ui")
    empty_store(folder)
    server = TrackingServer(folder).start()
    try:
        yield train_four(server, max_epochs=2)
    finally:
        server.kill()


@pytest.fixture(scope="module")
def window(runs: FourRuns) -> Iterator[Window]:  # noqa: ARG001 the runs are forks: they come before the browser
    with browser_window() as opened:
        yield opened


def test_the_saved_view_shows_tau_drift_and_detection_of_each_run_without_any_configuration(
    runs: FourRuns, window: Window
) -> None:
    window.open(runs.view, "Drift and tau", "graphids.vram_drift").settle()

    rows = window.table("Run Name", "graphids.tau", "graphids.vram_drift", "vram/drift_max", "test/macro/auroc")
    assert sorted((float(row["graphids.tau"]), row["graphids.vram_drift"]) for row in rows) == sorted(runs.run_ids)
    assert {row["Run Name"] for row in rows} == set(runs.names.values())
    for row in rows:
        assert NUMBER.fullmatch(row["test/macro/auroc"])
        assert (float(row["vram/drift_max"]) > 0.2) == (row["graphids.vram_drift"] == WARNING)
    window.require_whole()


def test_the_front_page_shows_the_description_in_words(runs: FourRuns, window: Window) -> None:
    window.open(f"{runs.uri}/#/", "Recent Experiments", re.compile("^Runs that train or measure")).settle()

    # The page has all of a description, and shows as much as its column holds.
    _, _, description = window.text().partition("Runs that train")
    assert description.find("](") > 150
    assert "ownTags" not in window.text()


def test_the_link_of_the_description_leads_to_model_training(runs: FourRuns, window: Window) -> None:
    window.open(f"{runs.uri}/#/experiments/{runs.experiment_id}/runs?workflowType=machine_learning")
    window.expect("under Views on the page").settle()

    link = window.page.get_by_role("link", name="Drift and tau").first.get_attribute("href")
    assert link is not None
    assert "workflowType=machine_learning" in link


def test_the_view_s_charts_are_in_a_section_for_each_prefix_and_its_pictures_are_those_that_the_runs_have(
    runs: FourRuns, window: Window
) -> None:
    window.open(runs.charts, re.compile("^vram$")).settle()

    for section in ("test", "tau", "vram", "val", "train"):
        window.expect(re.compile(f"^{section}$"))
    window.scroll_to("vram").settle().expect("vram/drift", "vram/free_mib", "Step", runs.names[1.0, WARNING])
    window.scroll_to("tau").settle().expect("tau vs. test/macro/auroc")
    window.scroll_to("figures").settle()
    assert "No images found" not in window.text()
    assert window.num_pictures() >= len(runs.run_ids)
    window.require_whole()


def test_the_compare_page_lays_taus_and_drift_side_by_side(runs: FourRuns, window: Window) -> None:
    window.open(
        runs.compare(*runs.run_ids.values()), "Comparing 4 Runs", "Parallel Coordinates", *runs.names.values()
    ).settle()

    assert [float(tau) for tau in window.line("tau")] == [tau for tau, _ in runs.run_ids]
    assert window.line("graphids.vram_drift") == [status for _, status in runs.run_ids]
    window.expect(*runs.names.values(), "best_epoch", "test/all/auroc")
    window.require_whole()


def test_the_compare_page_lays_a_picture_of_two_runs_side_by_side(runs: FourRuns, window: Window) -> None:
    # Of more than two runs MLflow's previews leave no room for the list of files, in a window of this width.
    window.open(runs.compare(*(runs.run_ids[TAUS[0], status] for status in (OK, WARNING))), "Comparing 2 Runs")

    window.expect("vram_drift.png").settle().click("vram_drift.png").settle()
    assert window.num_pictures() == 2
    window.require_whole()


def test_a_run_s_page_begins_with_its_summary_and_says_what_drifted(runs: FourRuns, window: Window) -> None:
    window.open(runs.run(TAUS[1], WARNING), "prevalence", "tau-normalization with tau=1").settle()

    window.expect(re.compile("^WARNING: GPU memory drifted, first after epoch"))
    window.expect("graphids.vram_drift", WARNING, "mostly another process on the card")
    window.require_whole()


def test_a_run_s_charts_are_grouped(runs: FourRuns, window: Window) -> None:
    window.open(runs.run(TAUS[0], OK, "/model-metrics"), "Auto-refresh").settle()

    for section in ("val", "vram", "test"):
        window.expect(re.compile(f"^{section}$"))
    window.require_whole()


def test_a_run_s_pictures_are_shown_among_its_artifacts(runs: FourRuns, window: Window) -> None:
    window.open(runs.run(TAUS[0], OK, "/artifacts"), "confusion.png", "attack_kinds.json").settle()

    window.click("confusion.png").settle()
    assert window.num_pictures() >= 1
    window.require_whole()


def test_the_models_are_called_what_they_are(runs: FourRuns, window: Window) -> None:
    window.open(runs.models, "Model name", "Source run").settle()

    rows = window.table("Model name", "Source run")
    assert {row["Model name"] for row in rows} == {"gat-tau0-seed0-simulated", "gat-tau1-seed0-simulated"}
    assert {row["Source run"] for row in rows} == set(runs.names.values())


def test_the_model_s_page_shows_its_card(runs: FourRuns, window: Window) -> None:
    window.open(runs.model, "graphids.digest", "prevalence", "false alarms").settle()

    window.expect("load_model")
    window.require_whole()


def test_a_page_that_is_broken_is_told_from_a_whole_one(runs: FourRuns, window: Window) -> None:
    window.open(f"{runs.uri}/#/no/such/page").settle()

    with pytest.raises(AssertionError, match="expected a whole page"):
        window.require_whole()
