"""The closing words of a run."""

from graphids.assessment import Assessment
from graphids.summary import detection_table, evaluation_summary, training_summary

DOS = {
    "dos/windows": 12.0,
    "dos/prevalence": 0.25,
    "dos/auroc": 0.9876,
    "dos/average_precision": 0.5,
    "dos/recall": 1.0,
}


def _summary(tracking_uri: str = "sqlite:///mlflow.db", **changed: object) -> str:
    parts = {
        "threshold": 0.75,
        "rule_threshold": 2.0,
        "false_alarms_per_hour": 60.0,
        "before": {"macro/auroc": 0.9, "balanced_accuracy": 0.5, "all/recall": 0.25},
        "after": {"macro/auroc": 0.95, "balanced_accuracy": 0.625, "all/recall": 0.5},
        "test": {**DOS, "false_alarms_per_hour": 20.0},
        "rule": {"dos/auroc": 0.75, "false_alarms_per_hour": 0.0},
        "undefined": [],
        "kinds": ("dos",),
        "normal_windows": 36,
        "normal_hours": 0.1,
        **changed,
    }
    return training_summary(
        Assessment(**parts),  # type: ignore[arg-type]
        tau=0.5,
        split_note="Split by capture.",
        model_uri="models:/m-1",
        digest="d" * 64,
        run_id="r1",
        experiment_id="7",
        tracking_uri=tracking_uri,
    )


def test_a_kind_has_one_line_with_the_rules_beside_the_model() -> None:
    (line,) = [line for line in _summary().splitlines() if line.startswith("dos")]

    assert line.split() == ["dos", "12", "0.250", "0.988", "0.750", "0.500", "-", "1.000", "-"]


def test_false_alarms_are_counted_with_the_time_that_they_were_counted_in() -> None:
    assert "false alarms: 2 in the test split's 36 normal windows, 6.0 minutes (rules 0)" in _summary()


def test_what_tau_changed_stands_before_and_after() -> None:
    assert "macro AUROC 0.9000 -> 0.9500, balanced accuracy 0.5000 -> 0.6250, recall 0.2500 -> 0.5000" in _summary()


def test_undefined_figures_are_dashes_and_named() -> None:
    summary = _summary(test={}, undefined=["dos/auroc"])

    assert "undefined on this test split: dos/auroc" in summary
    assert next(line for line in summary.splitlines() if line.startswith("dos")).split().count("-") == 7


def test_the_runs_page_is_named_for_a_server_and_for_a_file() -> None:
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in _summary()
    assert "http://127.0.0.1:5000/#/experiments/7/runs/r1" in _summary()
    assert "look    https://tracking/#/experiments/7/runs/r1" in _summary(tracking_uri="https://tracking/")


def test_an_evaluation_has_no_column_of_rules() -> None:
    summary = evaluation_summary(DOS, ("normal", "dos"), threshold=0.5, model_uri="models:/m-1")

    assert "rule" not in summary
    assert "0.988" in summary


def test_columns_line_up() -> None:
    table = detection_table(["dos", "a_long_kind_of_attack"], {"": DOS})

    assert len({len(line) for line in table.splitlines()}) == 1
