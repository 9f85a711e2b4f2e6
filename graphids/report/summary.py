"""The closing words of a run, for the terminal and as an artifact."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill

from graphids._mlflow.saved_view import run_page, view_page
from graphids.assessment.assess import Assessment
from graphids.assessment.tau_sweep import TauSweep
from graphids.core.callbacks import TauNormRecord
from graphids.wording import time_words

OWN_CAPTURES = "The model was trained on these captures: most of its windows are not unseen, the figures flatter it."
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
    record: TauNormRecord,
    sweep: TauSweep,
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
    origin = f"chosen on validation by macro-F1 from {len(sweep.taus)} values" if record.chosen else "as given"
    unchanged = "" if record.tau else ": the head as trained"
    alarms, rule_alarms = (false_alarms(assessment, figures) for figures in (test, rule))
    return f"""
{split_note}

{detection_table(assessment.kinds, {"": test, "rule ": rule})}
{undefined}
false alarms: {alarms} in the test split's {assessment.normal_windows:,} normal windows, \
{time_words(assessment.normal_hours)} (rules {rule_alarms})
threshold: {assessment.threshold:.6g}, chosen on validation after tau-normalization for at most \
{assessment.false_alarms_per_hour:g} an hour
tau-normalization with tau={record.tau:g} ({origin}){unchanged}, on validation:
  {changed_by_tau(assessment, digits=4)}
{fill(sweep.sentence(), 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)}

run     {run_id}
model   {model_uri}
digest  {digest}

{_look(tracking_uri, experiment_id, run_id)}
load    python -c "import mlflow; print(mlflow.graphids.load_model('{model_uri}'))"
serve   graphids serve {model_uri}"""


def false_alarms(assessment: Assessment, figures: Mapping[str, float]) -> int:
    """Normal windows of the test split that alert, by `assessment.test` or `assessment.rule`."""
    return round(figures.get("false_alarms_per_hour", 0.0) * assessment.normal_hours)


def headline(figures: Mapping[str, float], *, rule: Mapping[str, float] | None = None, tau: float | None = None) -> str:
    """The figures that a person asks for first, in one sentence.

    >>> headline({"macro/auroc": 0.996, "all/recall": 0.86, "false_alarms_per_hour": 35.6}, rule={}, tau=0.5)
    'Macro AUROC 0.996 (rules -), recall 0.860 (rules -), 35.6 false alarms per hour (rules -); tau=0.5.'
    """
    words = (
        ("Macro AUROC {}", "macro/auroc", 3),
        ("recall {}", "all/recall", 3),
        ("{} false alarms per hour", "false_alarms_per_hour", 1),
    )
    parts = [
        words.format(figure(figures.get(name), digits))
        + ("" if rule is None else f" (rules {figure(rule.get(name), digits)})")
        for words, name, digits in words
    ]
    return f"{', '.join(parts)}{'' if tau is None else f'; tau={tau:g}'}."


def evaluation_summary(
    figures: Mapping[str, float],
    classes: Sequence[str],
    *,
    threshold: float,
    model_uri: str,
    normal_hours: float,
    is_own: bool,
    run_id: str,
    experiment_id: str,
    tracking_uri: str,
) -> str:
    """What a finished model detects on captures that it was given, and where to look at it.

    `is_own` says that the model was trained on these captures.
    """
    return f"""{OWN_CAPTURES if is_own else ""}
{detection_table(classes[1:], {"": figures})}

false alarms: {figure(figures.get("false_alarms_per_hour"), 1)} an hour, in {time_words(normal_hours)} of normal traffic
threshold: {threshold:.6g}, the model's own

run     {run_id}
model   {model_uri}

{_look(tracking_uri, experiment_id, run_id)}"""


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
        rows.append([kind, *map(figure, figures, digits)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def changed_by_tau(assessment: Assessment, *, digits: int) -> str:
    """What tau-normalization changed on validation: figures before and after, in one line."""
    return ", ".join(
        f"{words} {figure(assessment.before.get(name), digits)} -> {figure(assessment.after.get(name), digits)}"
        for name, words in (
            ("macro/auroc", "macro AUROC"),
            ("macro_f1", "macro-F1"),
            ("balanced_accuracy", "balanced accuracy"),
            ("all/recall", "recall"),
        )
    )


def figure(value: float | None, digits: int = 3) -> str:
    """A figure as text; `-` where it is undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def _look(tracking_uri: str, experiment_id: str, run_id: str) -> str:
    """How to open the run's page and the view of all runs; the UI's own front page shows another kind of experiment."""
    server, how = "http://127.0.0.1:5000", f"look    mlflow ui --backend-store-uri {tracking_uri}\n        and open "
    if tracking_uri.startswith("http"):
        server, how = tracking_uri.rstrip("/"), "look    "
    return f"{how}{server}/{run_page(experiment_id, run_id)}\ncompare {server}/{view_page(experiment_id)}"
