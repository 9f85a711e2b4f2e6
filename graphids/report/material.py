"""What a training was fed by vehicle: attacks that were injected, a vehicle that was held out, what is missing."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from graphids.assessment.assess import Assessment
from graphids.core.data.splits import SPLITS
from graphids.wording import counted, format_metric

# A model card has little room.
_MOST_IN_CARD, _MOST_IN_SUMMARY, _MOST_KINDS, _MOST_CHARACTERS = 2, 20, 4, 40
_RATE = "false_alarms_per_hour"

# By the splits that have injected attacks.
_INJECTED = {
    "every split": "Attacks were injected: none of their frames is in a profile, and none was recorded on a vehicle.",
    "training": "Attacks were injected into the training alone: those that are measured came with the captures.",
}


def material_lines(summary: Mapping[str, Any], *, most: int = _MOST_IN_CARD) -> list[str]:
    """Sentences for summary and card; none for labelled captures as they are.

    Args:
        summary: `CANDataModule.summary`.
        most: Vehicles that are named in each sentence.
    """
    if "vehicles" not in summary:
        return []
    lines = []
    if summary["injected"]:
        lines.append(_INJECTED[summary["injected"]])
    if summary["features"] == "deviations":
        lines.append("Nodes carry deviations from the profile of their vehicle, fitted on its training recordings.")
    if held := summary["held_out"]:
        windows = summary["vehicles"][held]["test"]
        carried = "" if summary["features"] == "raw" else " The model carries its profile."
        lines.append(
            f"{_shown(held)} was held out: all of its {sum(windows.values()):,} windows are in the test.{carried}"
        )
    told = {
        "Windows, normal + attack": [_split_counts(name, own) for name, own in summary["vehicles"].items()],
        "Kinds that a bus cannot suffer": [_listed(name, kinds) for name, kinds in summary["skipped"].items()],
        "Windows short of the number wanted": [
            _listed(name, [f"{kind} {missing:,}" for kind, missing in kinds.items()])
            for name, kinds in summary["short"].items()
        ],
        "Left out": [_listed(name, [reason]) for name, reason in summary["left_out"].items()],
    }
    return lines + [f"{what}: {_some(found, most)}." for what, found in told.items() if found]


def material_text(summary: Mapping[str, Any], assessment: Assessment) -> str:
    """The same for the run's summary, with what was detected on each vehicle, and of which kind on the one held out."""
    paragraphs = [fill(line, 118, break_on_hyphens=False) for line in material_lines(summary, most=_MOST_IN_SUMMARY)]
    tables = [vehicle_table(assessment), held_out_table(assessment, summary.get("held_out", ""))]
    return "".join(f"\n{text}" for text in paragraphs) + "".join(f"\n\n{table}" for table in tables if table)


def vehicle_table(assessment: Assessment) -> str:
    """A row for each vehicle of the test split; empty where they are not told apart."""
    prefix, suffix = "vehicle/", "/windows"
    names = [
        key[len(prefix) : -len(suffix)] for key in assessment.test if key.startswith(prefix) and key.endswith(suffix)
    ]
    if not names:
        return ""
    rows = [["vehicle", "windows", "AUROC", "macro AUROC", "baseline", "recall", "false alarms/h"]]
    for name in names:
        found, baseline = (
            [metrics.get(f"{prefix}{name}/{key}") for key in ("windows", "auroc", "macro_auroc", "recall", _RATE)]
            for metrics in (assessment.test, assessment.rule)
        )
        digits = (0, 3, 3, 3, 1)
        cells = [format_metric(value, places) for value, places in zip(found, digits, strict=True)]
        rows.append([name, *cells[:3], format_metric(baseline[2], 3), *cells[3:]])
    return _aligned(rows)


def held_out_table(assessment: Assessment, held_out: str) -> str:
    """A row for each kind of attack on the vehicle that was held out; empty where it is the only one of the test."""
    prefix = f"vehicle/{held_out}/"
    if not held_out or f"{prefix}windows" not in assessment.test:
        return ""
    rows = [[f"{_shown(held_out)}, held out", "AUROC", "baseline", "recall", "baseline"]]
    for kind in assessment.kinds:
        of_kind = [
            metrics.get(f"{prefix}{kind}/{name}")
            for name in ("auroc", "recall")
            for metrics in (assessment.test, assessment.rule)
        ]
        rows.append([kind, *(format_metric(value, 3) for value in of_kind)])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _split_counts(name: str, own: Mapping[str, Mapping[str, int]]) -> str:
    parts = []
    for split in SPLITS:
        windows = own.get(split, {})
        if total := sum(windows.values()):
            parts.append(f"{split} {windows['normal']:,} + {total - windows['normal']:,}")
    return _listed(name, parts)


def _listed(name: str, found: Sequence[str]) -> str:
    return f"{_shown(name)} ({_some(found, _MOST_KINDS)})"


def _shown(name: str) -> str:
    return name if len(name) <= _MOST_CHARACTERS else f"{name[: _MOST_CHARACTERS - 1]}…"


def _some(found: Sequence[str], most: int) -> str:
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {counted(more, 'other')}" if more > 0 else "")
