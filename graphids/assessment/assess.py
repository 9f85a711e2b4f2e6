"""Assessment: what a fitted detector finds, with a threshold from validation, beside the rule baseline.

The test split is measured after all choices are made: tau and threshold see validation alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from graphids.assessment.operating_point import Alarms, OperatingPoint
from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import choose_threshold, detection_metrics, undefined_metrics

# What is told of each vehicle, by the name of the metric over its windows.
PER_VEHICLE = {
    "windows": "all/windows",
    "auroc": "all/auroc",
    "macro_auroc": "macro/auroc",
    "average_precision": "all/average_precision",
    "recall": "all/recall",
    "false_alarms_per_hour": "false_alarms_per_hour",
}
# And of each kind of attack on a vehicle that was held out.
_PER_KIND = ("auroc", "recall")


class Vehicles(NamedTuple):
    """The vehicles of a test split.

    Attributes:
        of_window: Name of each window's, str [G].
        held_out: The one that no other split has; empty for none.
    """

    of_window: NDArray[np.str_]
    held_out: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """Metrics of one model on one data set.

    Attributes:
        threshold: Score from which a window alerts, chosen on validation.
        rule_threshold: The same for the rule baseline's score.
        false_alarms_per_hour: The rate that both were chosen for.
        before: Validation metrics with the raw head, at the threshold that the raw head would have got.
        after: Validation metrics with the tau-normalized head.
        test: Test metrics, `<kind>/auroc` and so on; of several vehicles also `vehicle/<name>/auroc`, and of one that
            was held out `vehicle/<name>/<kind>/auroc` and `recall`.
        rule: The same for the rule baseline, at its own threshold from validation.
        undefined: Names of test metrics that are undefined on this data set.
        kinds: Attack kinds in the order of the classes.
        normal_windows: Normal windows of the test split.
        normal_hours: Time in which live traffic brings as many.
        validation_hours: The same of the validation split.
    """

    threshold: float
    rule_threshold: float
    false_alarms_per_hour: float
    before: dict[str, float]
    after: dict[str, float]
    test: dict[str, float]
    rule: dict[str, float]
    undefined: list[str]
    kinds: tuple[str, ...]
    normal_windows: int
    normal_hours: float
    validation_hours: float

    @property
    def operating_point(self) -> OperatingPoint:
        """The rate of false alarms that was asked for, beside those of validation and test."""
        return OperatingPoint(
            self.false_alarms_per_hour,
            Alarms.at_rate(self.after.get("false_alarms_per_hour", 0.0), self.validation_hours),
            Alarms.at_rate(self.test.get("false_alarms_per_hour", 0.0), self.normal_hours),
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """A finished model on labelled windows, at its own threshold.

    Attributes:
        classes: `("normal", kind, ...)` of the labels.
        threshold: The model's.
        metrics: `detection_metrics` at that threshold.
        normal_hours: Time in which live traffic brings as many normal windows.
    """

    classes: tuple[str, ...]
    threshold: float
    metrics: dict[str, float]
    normal_hours: float


def assess(
    val: ScoredSplit,
    raw: ScoredSplit,
    test: ScoredSplit,
    rule_scores: Mapping[str, NDArray[np.float64]],
    false_alarms_per_hour: float,
    *,
    vehicles: Vehicles | None = None,
) -> Assessment:
    """Choose the threshold on validation, then measure on test.

    Args:
        val: Validation under the tau-normalized head.
        raw: Validation under the head as trained.
        test: Test under the tau-normalized head.
        rule_scores: The rule baseline's score per window of `val` and of `test`.
        false_alarms_per_hour: Of normal traffic, windows that alert per hour.
        vehicles: Of `test`, where they are told apart.
    """
    _, before = validate(raw, false_alarms_per_hour)
    threshold, after = validate(val, false_alarms_per_hour)
    rule_threshold = choose_threshold(rule_scores["val"], val.label, val.hours, false_alarms_per_hour)
    return Assessment(
        threshold=threshold,
        rule_threshold=rule_threshold,
        false_alarms_per_hour=false_alarms_per_hour,
        before=before,
        after=after,
        test=_test_metrics(threshold, test, test.score, vehicles),
        rule=_test_metrics(rule_threshold, test, rule_scores["test"], vehicles),
        undefined=undefined_metrics(test.label, test.classes),
        kinds=test.classes[1:],
        normal_windows=int((test.label == 0).sum()),
        normal_hours=test.hours,
        validation_hours=val.hours,
    )


def validate(scored: ScoredSplit, false_alarms_per_hour: float) -> tuple[float, dict[str, float]]:
    """The threshold that a validation split gives its head, and all metrics of the split at that threshold."""
    margin = choose_threshold(scored.margin, scored.label, scored.hours, false_alarms_per_hour)
    threshold = float(torch.tensor(margin, dtype=torch.float64).sigmoid())
    return threshold, {**_metrics_at(threshold, scored, scored.score), **classification_metrics(scored)}


def measure(scored: ScoredSplit, threshold: float) -> Measurement:
    """Measure a finished model on labelled windows, at its own threshold."""
    return Measurement(scored.classes, threshold, _metrics_at(threshold, scored, scored.score), scored.hours)


def classification_metrics(scored: ScoredSplit) -> dict[str, float]:
    """How often the likeliest class of a window is its true one: over all windows, averaged over classes, per class.

    Tau-normalization moves the boundaries between classes, which ranking metrics alone would not show. Means over
    classes leave out those without a window in the split.
    """
    known = scored.label >= 0
    predicted, label = scored.logits.argmax(dim=1).numpy()[known], scored.label[known]
    present = [i for i in range(len(scored.classes)) if (label == i).any()]
    recall = {scored.classes[i]: float((predicted[label == i] == i).mean()) for i in present}
    # F1 of a class: 2 true positives / (windows given the class + windows that have it).
    f1 = [2 * ((predicted == i) & (label == i)).sum() / ((predicted == i).sum() + (label == i).sum()) for i in present]
    return {
        "accuracy": float((predicted == label).mean()),
        "balanced_accuracy": float(np.mean(list(recall.values()))),
        "macro_f1": float(np.mean(f1)),
        **{f"{name}/class_recall": value for name, value in recall.items()},
    }


def _metrics_at(threshold: float, scored: ScoredSplit, scores: NDArray[np.float64]) -> dict[str, float]:
    return detection_metrics(scores, scored.label, scored.classes, threshold, scored.hours)


def _test_metrics(
    threshold: float, scored: ScoredSplit, scores: NDArray[np.float64], vehicles: Vehicles | None
) -> dict[str, float]:
    """Metrics of a split, and those of each vehicle's windows where there are several."""
    metrics = _metrics_at(threshold, scored, scores)
    of_window, held_out = vehicles or Vehicles(np.empty(0, np.str_))
    names = sorted(set(of_window.tolist()))
    lasting = np.where(scored.label == 0, (scored.graphs.end_s - scored.graphs.start_s).clip(min=0.0), 0.0)
    for name in names if len(names) > 1 else []:
        own = of_window == name
        hours = scored.hours * float(lasting[own].sum() / lasting.sum())
        if hours > 0.0:
            found = detection_metrics(scores[own], scored.label[own], scored.classes, threshold, hours)
            shown = {key: found.get(metric) for key, metric in PER_VEHICLE.items()}
            if name == held_out:
                keys = [f"{kind}/{metric}" for kind in scored.classes[1:] for metric in _PER_KIND]
                shown |= {key: found.get(key) for key in keys}
            metrics |= {f"vehicle/{name}/{key}": value for key, value in shown.items() if value is not None}
    return metrics
