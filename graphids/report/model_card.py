"""The model card: what a model is, what it was measured on, where it ends and how to load it, as markdown.

It travels in the model under the model's digest, so nothing in it may differ between two runs of the same training.
"""

from collections.abc import Mapping
from typing import Any

from graphids.assessment.assess import Assessment
from graphids.assessment.tau_sweep import TauSweep
from graphids.core.callbacks import TauNormRecord
from graphids.core.data.dataset import SIMULATED
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.data.splits import SPLITS
from graphids.report.summary import changed_by_tau, detection_table, false_alarms, figure
from graphids.wording import counted, time_words

# What every store of MLflow keeps of a tag; the card is one of the LoggedModel.
MAX_CHARACTERS = 6000
_MAX_TABLE_CHARACTERS = 2400
_MAX_CLASSES = 12
_MAX_NAME_CHARACTERS = 40


def model_card(
    assessment: Assessment,
    *,
    record: TauNormRecord,
    sweep: TauSweep,
    preprocessing: Preprocessing,
    data: str,
    dataset_digest: str,
    summary: Mapping[str, Any],
) -> str:
    """The card of one model, at most `MAX_CHARACTERS` long; the same inputs give the same text.

    Args:
        assessment: Figures and thresholds.
        record: Tau and the head before it.
        sweep: What other values of tau would do on validation.
        preprocessing: What was fitted on the training split.
        data: Name of the data set; no path, which would differ from machine to machine.
        dataset_digest: sha256 of the captures' content.
        summary: `CANDataModule.summary`.
    """
    return f"""# Intrusion detection on a CAN bus

A graph attention network. It cuts a capture into windows of {preprocessing.window_size:,} consecutive frames, turns \
each into a graph of arbitration IDs and scores it: 0 is normal traffic, 1 an attack. Classes: \
{_listed(preprocessing.classes)}.

## Data
{_data(data, dataset_digest, summary)}

## Detection on the test split
```
{_results(assessment)}
```
AP is average precision; compare it with the prevalence in its row, which is what guessing gets. The rule baseline \
knows which IDs there are, how often they come and which bytes they carry.

False alarms per hour of normal traffic: {figure(assessment.test.get("false_alarms_per_hour"), 1)}, \
rules {figure(assessment.rule.get("false_alarms_per_hour"), 1)}: {false_alarms(assessment, assessment.test):,} and \
{false_alarms(assessment, assessment.rule):,} of {assessment.normal_windows:,} normal windows, \
{time_words(assessment.normal_hours)}.

## Operating point
A window alerts at a score of {assessment.threshold:.6g} or more: the lowest that keeps the validation split within \
{assessment.false_alarms_per_hour:g} false alarms per hour, chosen after tau-normalization.

## Tau
{_tau(assessment, record, sweep)}

## Limits
{_limits(assessment, preprocessing, data)}

## Load and verify
```
graphids verify models:/MODEL_ID
python -c "import mlflow; print(mlflow.graphids.load_model('models:/MODEL_ID'))"
```
Both hold the files, this card among them, to the param `graphids.digest` of the LoggedModel. From a folder, give the \
digest: `load_model(folder, expected_digest=...)`.
"""


def _data(data: str, dataset_digest: str, summary: Mapping[str, Any]) -> str:
    captures = counted(summary["captures"], "capture")
    lines = [
        f"- {_plain(data)}, sha256 {dataset_digest}: {captures}, {summary['frames']:,} frames",
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
    return "\n".join(lines)


def _results(assessment: Assessment) -> str:
    """The table of the run's summary; where it would be too long, with the kinds that are detected worst."""
    detectors = {"": assessment.test, "rule ": assessment.rule}
    table = detection_table(assessment.kinds, detectors)
    if len(table) > _MAX_TABLE_CHARACTERS:
        width = table.index("\n") + 1
        fitting = max(0, _MAX_TABLE_CHARACTERS // width - 3)
        worst = sorted(assessment.kinds, key=lambda kind: assessment.test.get(f"{kind}/auroc", 0.0))[:fitting]
        left_out = len(assessment.kinds) - fitting
        table = f"{detection_table(worst, detectors)}\nnot shown: {left_out} kinds with a higher AUROC"
    return table.replace("`", "'")


def _tau(assessment: Assessment, record: TauNormRecord, sweep: TauSweep) -> str:
    """What tau is and what it changed on validation."""
    origin = "chosen on validation" if record.chosen else "as given"
    if not record.tau:
        return f"tau=0 ({origin}): the head is as trained. {sweep.sentence()}"
    return (
        f"The rows of the head's weight were divided by their norm to the power of tau={record.tau:g} ({origin}); the "
        f"bias was not. On validation: {changed_by_tau(assessment, digits=3)}. {sweep.sentence()}"
    )


def _limits(assessment: Assessment, preprocessing: Preprocessing, data: str) -> str:
    if data == SIMULATED:
        origin = "Vehicle, traffic and attacks are simulated: the figures say nothing about a real vehicle."
    else:
        origin = (
            "Whether the attacks were recorded on a vehicle or added to a recording (semi-synthetic) is not known: "
            "see where the data come from."
        )
    lines = [
        origin,
        f"It knows {len(preprocessing.vocabulary):,} arbitration IDs. On another vehicle nearly every window may "
        "alert: measure it there first (`graphids evaluate`).",
        "Kinds of attack that training did not hold may go unseen.",
        "An alert says that a window holds an attack, not which frames; what is left of a capture after its last full "
        "window is not scored.",
        f"False alarms were counted in {time_words(assessment.normal_hours)} of normal traffic; a rate from so short a "
        "time is rough.",
    ]
    if assessment.undefined:
        lines.append(f"Undefined on this test split: {len(assessment.undefined)} figures, `-` above.")
    return "\n".join(f"- {line}" for line in lines)


def _listed(names: tuple[str, ...]) -> str:
    shown = [_plain(name) for name in names[:_MAX_CLASSES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _plain(name: str) -> str:
    """A name from the data as one line of code in markdown."""
    text = " ".join(name.replace("`", "'").split())
    return f"`{text if len(text) <= _MAX_NAME_CHARACTERS else text[: _MAX_NAME_CHARACTERS - 1] + '…'}`"
