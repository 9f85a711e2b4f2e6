"""The model card: what a model is, what it was measured on, its limits and how to load it, as markdown.

It travels in the model under the model's digest, so nothing in it may differ between two runs of the same training.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphids.assessment.assess import Assessment
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.data.splits import SPLITS
from graphids.core.profile.profile import Profile
from graphids.options import FLEET, SIMULATED
from graphids.report.findings import RULES, Findings
from graphids.report.material import material_lines
from graphids.report.summary import NO_PROFILE, baseline_prefix, changed_by_tau, detection_table, false_alarms
from graphids.wording import counted, format_metric, time_words

# As much of a tag as every store of MLflow keeps; the card becomes a tag of the LoggedModel.
MAX_CHARACTERS = 6000
_MAX_TABLE_CHARACTERS = 2400
_MAX_CLASSES = 12
_MAX_NAME_CHARACTERS = 40


class DataUsed(NamedTuple):
    """The captures that a model was trained and measured on.

    Attributes:
        name: Of the data set; not a path, which would differ from machine to machine.
        digest: sha256 of the captures' content.
        summary: `CANDataModule.summary`.
    """

    name: str
    digest: str
    summary: Mapping[str, Any]


def model_card(findings: Findings, preprocessing: Preprocessing, data: DataUsed, profile: Profile | None = None) -> str:
    """The card of one model, at most `MAX_CHARACTERS` long; the same inputs give the same text.

    Args:
        findings: What was measured.
        preprocessing: What was fitted on the training split.
        data: What it was fitted and measured on.
        profile: Of the vehicle that the model is for, if it has one.
    """
    assessment = findings.assessment
    both = (assessment.test, assessment.rule)
    rate, rule_rate = (format_metric(metrics.get("false_alarms_per_hour"), 1) for metrics in both)
    alarms, rule_alarms = (false_alarms(assessment, metrics) for metrics in both)
    return f"""# Intrusion detection on a CAN bus

A graph attention network. It cuts a capture into windows of {preprocessing.window_size:,} consecutive frames, turns \
each into a graph of arbitration IDs and scores it: 0 is normal traffic, 1 an attack. Classes: \
{_listed(preprocessing.classes)}.

## Data
{_data(data)}

## Detection on the test split
```
{_results(findings)}
```
AP is average precision; compare it with the prevalence in its row, which is what guessing would get. \
{_baseline(findings)}

False alarms per hour of normal traffic: {rate}, {findings.baseline} {rule_rate}: {alarms:,} and {rule_alarms:,} of \
{assessment.normal_windows:,} normal windows, {time_words(assessment.normal_hours)}.

## Operating point
A window alerts at a score of {assessment.threshold:.6g} or more, chosen on validation after tau-normalization for \
{assessment.false_alarms_per_hour:g} false alarms per hour. {_operating_point(assessment)}

## Tau
{_tau(findings)}

## Limits
{_limits(assessment, data, _known(preprocessing, profile))}

## Load and verify
```
graphids verify models:/MODEL_ID
python -c "import mlflow; print(mlflow.graphids.load_model('models:/MODEL_ID'))"
```
Both verify the files, this card included, against the param `graphids.digest` of the LoggedModel. To load from a \
folder, give the digest: `load_model(folder, expected_digest=...)`.
"""


def _data(data: DataUsed) -> str:
    summary = data.summary
    captures = counted(summary["captures"], "capture")
    lines = [
        f"- {_plain(data.name)}, sha256 {data.digest}: {captures}, {summary['frames']:,} frames",
        f"- {summary['split_reason']}",
    ]
    for name in SPLITS:
        part = summary[name]
        windows = part["windows"]
        attacks = sum(windows.values()) - windows["normal"]
        lines.append(
            f"- {name}: {counted(part['captures'], 'capture')}, {time_words(part['seconds'] / 3600)}, "
            f"{windows['normal']:,} normal windows, {attacks:,} with an attack"
        )
    return "\n".join([*lines, *(f"- {line}" for line in material_lines(summary))])


def _baseline(findings: Findings) -> str:
    if findings.baseline == RULES:
        return "The rule baseline knows which IDs occur, how often, and which bytes they carry."
    return f"The baseline is the {findings.baseline} of a window, which learns nothing from attacks."


def _results(findings: Findings) -> str:
    """The table of the run's summary; where that is too long, only the kinds that are detected worst."""
    assessment = findings.assessment
    columns = {"": assessment.test, baseline_prefix(findings): assessment.rule}
    table = detection_table(assessment.kinds, columns)
    if len(table) > _MAX_TABLE_CHARACTERS:
        width = table.index("\n") + 1
        fitting = max(0, _MAX_TABLE_CHARACTERS // width - 3)
        worst = sorted(assessment.kinds, key=lambda kind: assessment.test.get(f"{kind}/auroc", 0.0))[:fitting]
        left_out = len(assessment.kinds) - fitting
        table = f"{detection_table(worst, columns)}\nnot shown: {left_out} kinds with a higher AUROC"
    return table.replace("`", "'")


def _operating_point(assessment: Assessment) -> str:
    point = assessment.operating_point
    return " ".join(filter(None, (point.sentence(), point.note())))


def _tau(findings: Findings) -> str:
    """What tau is and what it changed on validation."""
    record, sweep = findings.record, findings.sweep
    origin = "chosen on validation" if record.chosen else "as given"
    if not record.tau:
        return f"tau=0 ({origin}): the head is as trained. {sweep.sentence()}"
    return (
        f"The rows of the head's weight were divided by their norm to the power of tau={record.tau:g} ({origin}); the "
        f"bias was not. On validation: {changed_by_tau(findings.assessment, digits=3)}. {sweep.sentence()}"
    )


def _known(preprocessing: Preprocessing, profile: Profile | None) -> str:
    """Which traffic it can judge."""
    if preprocessing.features != "raw" and profile is None:
        return NO_PROFILE
    known = len(preprocessing.vocabulary) if profile is None else len(profile.node_key)
    return (
        f"It knows {known:,} arbitration IDs. On traffic with other IDs, such as another "
        "vehicle's, every window may alert or none, and neither means anything: `graphids predict` and `graphids "
        "evaluate` then say that the capture is not covered."
    )


def _limits(assessment: Assessment, data: DataUsed, known: str) -> str:
    if data.name in (SIMULATED, FLEET):
        origin = "Vehicle, traffic and attacks are simulated: the numbers say nothing about a real vehicle."
    elif data.summary.get("injected") == "every split":
        origin = "The attacks were injected into recordings: what was measured of them says little about recorded ones."
    else:
        origin = (
            "Whether the attacks were recorded on a vehicle or added to a recording (semi-synthetic) is not known: "
            "see the source of the data."
        )
    lines = [
        origin,
        known,
        "Kinds of attack that were not in the training data may go undetected.",
        "An alert says that a window contains an attack, not in which frames; what is left of a capture after its "
        "last full window is not scored.",
        f"False alarms were counted in {time_words(assessment.normal_hours)} of normal traffic: a rate from so short a "
        "time is a rough estimate.",
    ]
    if assessment.undefined:
        lines.append(f"Undefined on this test split: {counted(len(assessment.undefined), 'metric')}, `-` above.")
    return "\n".join(f"- {line}" for line in lines)


def _listed(names: tuple[str, ...]) -> str:
    shown = [_plain(name) for name in names[:_MAX_CLASSES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _plain(name: str) -> str:
    """A name from the data as one line of code in markdown."""
    text = " ".join(name.replace("`", "'").split())
    return f"`{text if len(text) <= _MAX_NAME_CHARACTERS else text[: _MAX_NAME_CHARACTERS - 1] + '…'}`"
