"""The summary of a run, for the terminal and as an artifact."""

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import NamedTuple

from graphids._mlflow.saved_view import run_page, view_page
from graphids.assessment.assess import Assessment, Measurement
from graphids.core.callbacks.vram_drift import OK, WARNING, VRAMDriftCallback
from graphids.report.findings import RULES, Findings
from graphids.wording import aligned, format_metric, time_words

OWN_CAPTURES = "The model was trained on these captures: it has seen most of their windows, and the numbers flatter it."
NO_PROFILE = (
    "It has no profile of a vehicle and scores nothing until it is given one: `graphids adapt MODEL CAPTURE ...`, with "
    "attack-free captures."
)
_NAMES = {
    "windows": "windows",
    "prevalence": "prevalence",
    "auroc": "AUROC",
    "average_precision": "AP",
    "recall": "recall",
}


class RunLinks(NamedTuple):
    """Where a run is found in MLflow."""

    run_id: str
    experiment_id: str
    tracking_uri: str

    def lines(self) -> str:
        """How to open the run's page and the view of all runs; the UI's own front page does not show the view."""
        server, how = "http://127.0.0.1:5000", "look    "
        if self.tracking_uri.startswith("http"):
            server = self.tracking_uri.rstrip("/")
        else:
            how += f"mlflow ui --backend-store-uri {self.tracking_uri}\n        and open "
        run, view = run_page(self.experiment_id, self.run_id), view_page(self.experiment_id)
        return f"{how}{server}/{run}\ncompare {server}/{view}"


class ModelLink(NamedTuple):
    """A logged model and the root digest that it is verified against."""

    uri: str
    digest: str


def training_summary(
    findings: Findings,
    split_note: str,
    model: ModelLink,
    run: RunLinks,
    *,
    drift: VRAMDriftCallback | None = None,
    material: str = "",
) -> str:
    """What drifted, what was detected, what tau-normalization changed, which model it is, and what to type next.

    Args:
        findings: What was measured.
        split_note: How the captures were split.
        model: Where it is.
        run: Where the run is.
        drift: What watched the GPU's memory, where the run trained.
        material: What it was trained and measured on, by vehicle; see `material_text`.
    """
    assessment, record, sweep = findings.assessment, findings.record, findings.sweep
    test, rule = assessment.test, assessment.rule
    undefined = f"undefined on this test split: {', '.join(assessment.undefined)}\n" if assessment.undefined else ""
    origin = f"chosen on validation by macro-F1 from {len(sweep.taus)} values" if record.chosen else "as given"
    unchanged = "" if record.tau else ": the head as trained"
    alarms, rule_alarms = (false_alarms(assessment, metrics) for metrics in (test, rule))
    warning, note = (
        f"\n{fill(words, 118)}" if (words := drift_sentence(drift, status)) else "" for status in (WARNING, OK)
    )
    # A line wider than the window pushes the end of the headline out of it, on the run's page.
    return f"""{warning}
{fill(split_note, 118)}{material}

{detection_table(assessment.kinds, {"": test, baseline_prefix(findings): rule})}
{undefined}
false alarms: {alarms} in the test split's {assessment.normal_windows:,} normal windows, \
{time_words(assessment.normal_hours)} ({findings.baseline} {rule_alarms})
threshold: {assessment.threshold:.6g}, chosen on validation after tau-normalization for \
{assessment.false_alarms_per_hour:g} false alarms an hour
{_operating_point(assessment)}
tau-normalization with tau={record.tau:g} ({origin}){unchanged}, on validation:
  {changed_by_tau(assessment, digits=4)}
{fill(sweep.sentence(), 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)}{note}

run     {run.run_id}
model   {model.uri}
digest  {model.digest}

{run.lines()}
load    python -c "import mlflow; print(mlflow.graphids.load_model('{model.uri}'))"
serve   graphids serve {model.uri}"""


def _operating_point(assessment: Assessment) -> str:
    """What validation says of the threshold, and a second paragraph where the test split contradicts it."""
    point = assessment.operating_point
    return "\n".join(
        fill(text, 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        for text in (point.sentence(), point.note())
        if text
    )


def baseline_prefix(findings: Findings) -> str:
    """What the baseline's columns of a table begin with."""
    return "rule " if findings.baseline == RULES else "baseline "


def false_alarms(assessment: Assessment, metrics: Mapping[str, float]) -> int:
    """Normal windows of the test split that alert, by `assessment.test` or `assessment.rule`."""
    return round(metrics.get("false_alarms_per_hour", 0.0) * assessment.normal_hours)


def drift_sentence(drift: VRAMDriftCallback | None, *statuses: str) -> str:
    """What became of the GPU's memory, in words; empty where nothing was watched or the status is another one.

    Args:
        drift: What watched it.
        statuses: Of which there is something to say.
    """
    if drift is None or drift.status not in statuses:
        return ""
    gone = f"{max(drift.drift_max or 0.0, 0.0):.0%} of the usable memory gone"
    if drift.status == OK:
        return f"No drift of GPU memory: at most {gone}."
    # The numbers and the advice after it are in the tag.
    cause = drift.cause.partition(":")[0]
    return f"WARNING: GPU memory drifted, first after epoch {drift.first_drift_epoch}: up to {gone}, {cause}."


def headline(
    metrics: Mapping[str, float],
    *,
    rule: Mapping[str, float] | None = None,
    tau: float | None = None,
    drift: VRAMDriftCallback | None = None,
    baseline: str = RULES,
) -> str:
    """The metrics that a person asks for first, and what drifted; a warning stands before them.

    >>> headline({"macro/auroc": 0.996, "all/recall": 0.86, "false_alarms_per_hour": 35.6}, rule={}, tau=0.5)
    'Macro AUROC 0.996 (rules -), recall 0.860 (rules -), 35.6 false alarms per hour (rules -); tau=0.5.'
    """
    words = (
        ("Macro AUROC {}", "macro/auroc", 3),
        ("recall {}", "all/recall", 3),
        ("{} false alarms per hour", "false_alarms_per_hour", 1),
    )
    parts = [
        words.format(format_metric(metrics.get(name), digits))
        + ("" if rule is None else f" ({baseline} {format_metric(rule.get(name), digits)})")
        for words, name, digits in words
    ]
    sentence = f"{', '.join(parts)}{'' if tau is None else f'; tau={tau:g}'}."
    return " ".join(filter(None, (drift_sentence(drift, WARNING), sentence, drift_sentence(drift, OK))))


def evaluation_summary(
    measured: Measurement, *, notes: Iterable[str], model_uri: str, run: RunLinks, incidents: str
) -> str:
    """What a finished model detects on captures that it was given, and where to look at it.

    Args:
        measured: Its metrics on them.
        notes: Sentences on what the metrics do not show, if there are any.
        model_uri: Where it came from.
        run: Of the evaluation.
        incidents: `incident_summary`.
    """
    said = "\n".join(fill(note, 118) for note in notes if note)
    rate = format_metric(measured.metrics.get("false_alarms_per_hour"), 1)
    table = f"{detection_table(kinds, {'': measured.metrics})}\n\n" if (kinds := measured.classes[1:]) else ""
    return f"""{said}
{table}{incidents}

false alarms: {rate} windows an hour, in {time_words(measured.normal_hours)} of normal traffic
threshold: {measured.threshold:.6g}, the model's own

run     {run.run_id}
model   {model_uri}

{run.lines()}"""


def detection_table(kinds: Iterable[str], metrics: Mapping[str, Mapping[str, float]]) -> str:
    """One line per attack kind; `-` where a metric is undefined.

    Args:
        kinds: Attack kinds; `all` and the macro average follow them.
        metrics: `detection_metrics` by prefix of the column's title, the model's first with an empty prefix.
    """
    columns = [
        (prefix, name) for name in _NAMES for prefix in metrics if not prefix or name not in ("windows", "prevalence")
    ]
    rows = [["kind", *(prefix + _NAMES[name] for prefix, name in columns)]]
    for kind in (*kinds, "all", "macro"):
        values = [metrics[prefix].get(f"{kind}/{name}") for prefix, name in columns]
        digits = [0 if name == "windows" else 3 for _, name in columns]
        rows.append([kind, *map(format_metric, values, digits)])
    return aligned(rows)


def changed_by_tau(assessment: Assessment, *, digits: int) -> str:
    """What tau-normalization changed on validation: metrics before and after, in one line."""
    words = {
        "macro/auroc": "macro AUROC",
        "macro_f1": "macro-F1",
        "balanced_accuracy": "balanced accuracy",
        "all/recall": "recall",
    }
    before, after = (
        {name: format_metric(metrics.get(name), digits) for name in words}
        for metrics in (assessment.before, assessment.after)
    )
    return ", ".join(f"{word} {before[name]} -> {after[name]}" for name, word in words.items())
