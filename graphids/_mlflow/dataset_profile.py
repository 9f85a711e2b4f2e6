"""The captures of a run, as MLflow's page of a data set shows them."""

from collections.abc import Mapping
from typing import Any

from graphids.core.data.splits import SPLITS
from graphids.wording import counted, time_words


def dataset_profile(summary: Mapping[str, Any]) -> dict[str, Any]:
    """`CANDataModule.summary` as MLflow's page of a data set shows it: one short line each, nothing nested."""
    profile = {"captures": summary["captures"], "frames": summary["frames"], "split": summary["split_reason"]}
    profile |= {f"reader: {what}": count for what, count in summary["reader"].items()}
    if held_out := summary.get("held_out"):
        profile["held out"] = held_out
    if injected := summary.get("injected"):
        profile["attacks"] = f"injected into {injected}"
    for name in SPLITS:
        part = summary[name]
        time = time_words(part["seconds"] / 3600)
        profile[name] = f"{counted(part['captures'], 'capture')}, {part['frames']:,} frames, {time}"
        profile[f"{name} windows"] = ", ".join(f"{kind} {count:,}" for kind, count in part["windows"].items())
    return profile
