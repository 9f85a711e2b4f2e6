"""The summary of a run."""

from dataclasses import replace

import torch

from graphids.assessment.assess import Assessment, Measurement
from graphids.assessment.tau_sweep import TauSweep
from graphids.core.callbacks import TauNormRecord, VRAMDriftCallback
from graphids.report.findings import Findings
from graphids.report.summary import (
    ModelLink,
    RunLinks,
    detection_table,
    evaluation_summary,
    headline,
    training_summary,
)

DOS = {
    "dos/windows": 12.0,
    "dos/prevalence": 0.25,
    "dos/auroc": 0.9876,
    "dos/average_precision": 0.5,
    "dos/recall": 1.0,
}


RECORD = TauNormRecord(tau=0.5, key="fc_layers.3.weight", raw_head=torch.eye(2))
SWEEP = TauSweep(
    taus=(0.0, 0.5, 1.0),
    metrics={"macro_f1": (0.5, 0.75, 0.625)},
    best=0.5,
    moved=(0, 3, 4),
    windows=40,
    row_norms=(1.0, 4.0),
)


def _summary(
    tracking_uri: str = "sqlite:///mlflow.db",
    *,
    record: TauNormRecord = RECORD,
    sweep: TauSweep = SWEEP,
    drift: VRAMDriftCallback | None = None,
    split_note: str = "Split by capture.",
    **changed: object,
) -> str:
    parts = {
        "threshold": 0.75,
        "rule_threshold": 2.0,
        "false_alarms_per_hour": 60.0,
        "before": {"macro/auroc": 0.9, "macro_f1": 0.5, "balanced_accuracy": 0.5, "all/recall": 0.25},
        "after": {
            "macro/auroc": 0.95,
            "macro_f1": 0.75,
            "balanced_accuracy": 0.625,
            "all/recall": 0.5,
            "false_alarms_per_hour": 60.0,
        },
        "test": {**DOS, "false_alarms_per_hour": 20.0},
        "rule": {"dos/auroc": 0.75, "false_alarms_per_hour": 0.0},
        "undefined": [],
        "kinds": ("dos",),
        "normal_windows": 36,
        "normal_hours": 0.1,
        "validation_hours": 0.1,
        **changed,
    }
    return training_summary(
        Findings(Assessment(**parts), record, sweep),  # type: ignore[arg-type]
        split_note,
        ModelLink("models:/m-1", "d" * 64),
        RunLinks("r1", "7", tracking_uri),
        drift=drift,
    )


def _watched(*shares: float, cause: str = "") -> VRAMDriftCallback:
    """What watched a fit of as many epochs; with a cause it warned after the last."""
    drift = VRAMDriftCallback()
    drift.history = [{"epoch": epoch, "drift": share} for epoch, share in enumerate(shares)]
    drift.cause, drift.first_drift_epoch = cause, len(shares) - 1 if cause else None
    return drift


LOST = "WARNING: GPU memory drifted, first after epoch 1: up to 47% of the usable memory gone, mostly another process."
KEPT = "No drift of GPU memory: at most 3% of the usable memory gone."


def test_a_kind_has_one_line_with_the_rules_beside_the_model() -> None:
    (line,) = [line for line in _summary().splitlines() if line.startswith("dos")]

    assert line.split() == ["dos", "12", "0.250", "0.988", "0.750", "0.500", "-", "1.000", "-"]


def test_false_alarms_are_counted_with_the_time_that_they_were_counted_in() -> None:
    assert "false alarms: 2 in the test split's 36 normal windows, 6.0 minutes (rules 0)" in _summary()


def test_a_time_that_would_read_as_0_minutes_is_given_in_seconds() -> None:
    assert "36 normal windows, 1.8 seconds (rules 0)" in _summary(normal_hours=0.0005)


def test_with_tau_0_the_head_is_said_to_be_as_trained() -> None:
    zero = replace(RECORD, tau=0.0, chosen=True)

    assert "from 3 values): the head as trained, on validation:" in _summary(record=zero)


def test_what_tau_changed_stands_before_and_after() -> None:
    assert (
        "macro AUROC 0.9000 -> 0.9500, macro-F1 0.5000 -> 0.7500, balanced accuracy 0.5000 -> 0.6250, "
        "recall 0.2500 -> 0.5000"
    ) in _summary()


def test_a_tau_that_was_chosen_says_by_what_and_from_how_many() -> None:
    chosen = "tau-normalization with tau=0.5 (chosen on validation by macro-F1 from 3 values), on validation:"

    assert "tau-normalization with tau=0.5 (as given), on validation:" in _summary()
    assert chosen in _summary(record=replace(RECORD, chosen=True))


def test_the_sweeps_sentence_stands_under_what_tau_changed() -> None:
    assert SWEEP.sentence() in " ".join(_summary().split())


def test_a_tau_that_changes_nothing_is_said_to_and_why() -> None:
    idle = replace(SWEEP, metrics={"macro_f1": (0.5,) * 3}, best=0.0, moved=(0, 0, 0), row_norms=(2.0, 2.0))

    text = " ".join(_summary(sweep=idle).split())

    assert "Of 3 values of tau from 0 to 1 none changes the class of any of the 40 validation windows." in text
    assert "Two logits get opposite gradients" in text


def test_the_threshold_is_said_to_come_after_tau_and_for_which_rate_with_its_uncertainty() -> None:
    assert (
        "threshold: 0.75, chosen on validation after tau-normalization for 60 false alarms an hour\n"
        "  On validation 6 false alarms in 6.0 minutes: 22.0 to 130.6 an hour with 95 % confidence.\n"
    ) in _summary()


def test_a_test_split_that_contradicts_the_rate_is_said_to_in_one_sentence() -> None:
    flooded = " ".join(_summary(test={**DOS, "false_alarms_per_hour": 900.0}).split())

    assert "60 an hour were asked for and the test split saw 900.0 (90 in 6.0 minutes), more than chance" in flooded
    assert "were asked for" not in _summary()


def test_undefined_metrics_are_dashes_and_named() -> None:
    summary = _summary(test={}, undefined=["dos/auroc"])

    assert "undefined on this test split: dos/auroc" in summary
    assert next(line for line in summary.splitlines() if line.startswith("dos")).split().count("-") == 7


def test_the_runs_page_is_named_for_a_server_and_for_a_file() -> None:
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in _summary()
    assert "http://127.0.0.1:5000/#/experiments/7/runs/r1" in _summary()
    assert "look    https://tracking/#/experiments/7/runs/r1" in _summary(tracking_uri="https://tracking/")


def _evaluation(normal_hours: float = 1.0) -> str:
    measured = Measurement(("normal", "dos"), 0.5, DOS, normal_hours)
    run = RunLinks("r1", "7", "https://tracking/")
    return evaluation_summary(measured, notes=(), model_uri="models:/m-1", run=run, incidents="found 2 of 3")


def test_an_evaluation_has_no_column_of_rules() -> None:
    summary = _evaluation()

    assert "rule" not in summary
    assert "0.988" in summary


def test_an_evaluation_says_in_how_much_traffic_alarms_were_counted_and_where_its_run_is() -> None:
    summary = _evaluation(normal_hours=3.1 / 3600)

    assert "false alarms: - windows an hour, in 3.1 seconds of normal traffic" in summary
    assert "look    https://tracking/#/experiments/7/runs/r1" in summary
    assert "compare https://tracking/#/experiments/7/runs?viewStateShareKey=" in summary


def test_no_line_of_words_is_wider_than_a_window() -> None:
    lost = _watched(0.0, 0.47, cause="mostly growth of live tensors of this process, which is a long story")

    words = _summary(drift=lost, split_note="Split by time: " + "found dos in 1, " * 20).partition("kind ")[0]

    assert max(map(len, words.splitlines())) <= 118


def test_columns_line_up() -> None:
    table = detection_table(["dos", "a_long_kind_of_attack"], {"": DOS})

    assert len({len(line) for line in table.splitlines()}) == 1


def test_the_headline_has_a_dash_for_what_is_undefined_and_leaves_out_rules_where_there_are_none() -> None:
    assert headline({"all/recall": 0.5}) == "Macro AUROC -, recall 0.500, - false alarms per hour."
    assert headline({"macro/auroc": 1.0}, rule={"macro/auroc": 0.75}, tau=0.25) == (
        "Macro AUROC 1.000 (rules 0.750), recall - (rules -), - false alarms per hour (rules -); tau=0.25."
    )


def test_a_drift_stands_before_all_else_in_headline_and_summary() -> None:
    lost = _watched(0.0, 0.47, cause="mostly another process: memory used by others +16,384 MiB; `nvidia-smi` names it")

    assert headline(DOS, tau=0.5, drift=lost).startswith(f"{LOST} Macro AUROC")
    assert " ".join(_summary(drift=lost).split()).startswith(f"{LOST} Split by capture.")


def test_memory_that_was_watched_and_did_not_drift_is_said_to_have_kept_after_tau() -> None:
    kept = _watched(0.03, 0.02)

    assert headline(DOS, tau=0.5, drift=kept).endswith(f"tau=0.5. {KEPT}")
    tau, drift = (_summary(drift=kept).index(words) for words in ("with tau=0.5", KEPT))
    assert tau < drift
    assert "at most 0% of the usable memory gone" in headline({}, drift=_watched(-0.25))  # memory came back


def test_nothing_is_said_of_memory_that_nobody_watched() -> None:
    assert "memory" not in headline(DOS, tau=0.5, drift=VRAMDriftCallback()) + _summary() + headline(DOS)
