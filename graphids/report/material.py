"""What a training was fed by vehicle: attacks that were injected, a vehicle that was held out, what is missing."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

from graphids.assessment.assess import Assessment
from graphids.core.data.splits import SPLITS
from graphids.wording import counted, format_metric

# As many vehicles as a model card has room for.
_MAX_NAMED = 6
_RATE = "false_alarms_per_hour"


def material_lines(summary: Mapping[str, Any]) -> list[str]:
    """Sentences for summary, card and MLflow's page of the data set; none for labelled captures as they are.

    Args:
        summary: `CANDataModule.summary`.
    """
    if "vehicles" not in summary:
        return []
    lines = []
    if summary["injected"]:
        lines.append("Attacks were injected: none of their frames is in a profile, and none was recorded on a vehicle.")
    if summary["features"] == "deviations":
        lines.append("Nodes carry deviations from the profile of their vehicle, fitted on its training recordings.")
    if held := summary["held_out"]:
        windows = summary["vehicles"][held]["test"]
        lines.append(f"{held} was held out: all of its {sum(windows.values()):,} windows are in the test.")
    lines.append(f"Vehicles: {_some([_split_counts(name, own) for name, own in summary['vehicles'].items()])}.")
    skipped = [f"{name} {', '.join(kinds)}" for name, kinds in summary["skipped"].items()]
    short = [f"{name} {kind} {n:,}" for name, kinds in summary["short"].items() for kind, n in kinds.items()]
    for what, found in (("Kinds that a bus cannot suffer", skipped), ("Windows short of the number wanted", short)):
        lines += [f"{what}: {_some(found)}."] if found else []
    lines += [f"Left out: {reason}" for reason in summary["left_out"].values()]
    return lines


def material_text(summary: Mapping[str, Any], assessment: Assessment) -> str:
    """The same for the run's summary, with what was detected on each vehicle."""
    paragraphs = [fill(line, 118, break_on_hyphens=False) for line in material_lines(summary)]
    table = vehicle_table(assessment)
    return "".join(f"\n{text}" for text in paragraphs) + (f"\n\n{table}" if table else "")


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
    return f"{name} ({', '.join(parts)} windows, normal + attack)"


def _some(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return "; ".join(names[:_MAX_NAMED]) + (f"; and {counted(more, 'other')}" if more > 0 else "")
