"""The closing words of a run, for the terminal and as an artifact."""

from collections.abc import Iterable, Mapping, Sequence

from graphids.assessment import Assessment

_NAMES = {
    "windows": "windows",
    "prevalence": "prevalence",
    "auroc": "AUROC",
    "average_precision": "AP",
    "recall": "recall",
}


def training_summary(
    assessment: Assessment,
    *,
    tau: float,
    split_note: str,
    model_uri: str,
    digest: str,
    run_id: str,
    experiment_id: str,
    tracking_uri: str,
) -> str:
    """What was detected, what tau-normalization changed, which model it is, and what to type next."""
    test, rule = assessment.test, assessment.rule
    undefined = f"undefined on this test split: {', '.join(assessment.undefined)}\n" if assessment.undefined else ""
    changed = ", ".join(
        f"{words} {_figure(assessment.before.get(name), 4)} -> {_figure(assessment.after.get(name), 4)}"
        for name, words in (
            ("macro/auroc", "macro AUROC"),
            ("balanced_accuracy", "balanced accuracy"),
            ("all/recall", "recall"),
        )
    )
    alarms, rule_alarms = (
        _figure(figures.get("false_alarms_per_hour", 0.0) * assessment.normal_hours, 0) for figures in (test, rule)
    )
    return f"""
{split_note}

{detection_table(assessment.kinds, {"": test, "rule ": rule})}
{undefined}
false alarms: {alarms} in the test split's {assessment.normal_windows:,} normal windows, \
{assessment.normal_hours * 60:.1f} minutes (rules {rule_alarms})
threshold: {assessment.threshold:.6g}, chosen on validation for at most {assessment.false_alarms_per_hour:g} an hour
tau-normalization with tau={tau:g}, on validation:
  {changed}

run     {run_id}
model   {model_uri}
digest  {digest}

look    {_look(tracking_uri, experiment_id, run_id)}
load    python -c "import mlflow; print(mlflow.graphids.load_model('{model_uri}'))"
serve   graphids serve {model_uri}"""


def evaluation_summary(
    figures: Mapping[str, float], classes: Sequence[str], *, threshold: float, model_uri: str
) -> str:
    """What a finished model detects on captures that it was given."""
    return f"""
{detection_table(classes[1:], {"": figures})}
threshold {threshold:.6g} of {model_uri}: {_figure(figures.get("false_alarms_per_hour"), 1)} false alarms an hour"""


def detection_table(kinds: Iterable[str], detectors: Mapping[str, Mapping[str, float]]) -> str:
    """One line per attack kind; `-` where a figure is undefined.

    Args:
        kinds: Attack kinds; `all` and the macro average follow them.
        detectors: `detection_metrics` by prefix of the column's title, the model first with an empty prefix.
    """
    columns = [
        (prefix, name) for name in _NAMES for prefix in detectors if not prefix or name not in ("windows", "prevalence")
    ]
    rows = [["kind", *(prefix + _NAMES[name] for prefix, name in columns)]]
    for kind in (*kinds, "all", "macro"):
        figures = [detectors[prefix].get(f"{kind}/{name}") for prefix, name in columns]
        digits = [0 if name == "windows" else 3 for _, name in columns]
        rows.append([kind, *map(_figure, figures, digits)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _look(tracking_uri: str, experiment_id: str, run_id: str) -> str:
    """How to open the run's page; the UI's own front page shows another kind of experiment."""
    page = f"#/experiments/{experiment_id}/runs/{run_id}"
    if tracking_uri.startswith("http"):
        return f"{tracking_uri.rstrip('/')}/{page}"
    return f"mlflow ui --backend-store-uri {tracking_uri}\n        and open http://127.0.0.1:5000/{page}"
