"""Assessment: what a fitted detector finds, with a threshold from validation, beside the rule baseline.

Every figure of the test split comes after all choices: tau and threshold see validation alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import choose_threshold, detection_metrics, undefined_metrics


@dataclass(frozen=True, slots=True)
class Assessment:
    """Figures of one model on one data set.

    Attributes:
        threshold: Score from which a window alerts, chosen on validation.
        rule_threshold: The same of the rule baseline's score.
        false_alarms_per_hour: The budget that it was chosen for.
        before: Validation figures with the raw head, at the threshold that the raw head would have got.
        after: Validation figures with the tau-normalized head.
        test: Test figures, `<kind>/auroc` and so on.
        rule: The same of the rule baseline, at its own threshold from validation.
        undefined: Test figures that this data set cannot define.
        kinds: Attack kinds in the order of the classes.
        normal_windows: Normal windows of the test split.
        normal_hours: Time that a detector at work takes to score as many.
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


def assess(
    val: ScoredSplit,
    raw: ScoredSplit,
    test: ScoredSplit,
    rule_scores: Mapping[str, NDArray[np.float64]],
    false_alarms_per_hour: float,
) -> Assessment:
    """Choose the threshold on validation, then measure on test.

    Args:
        val: Validation under the tau-normalized head.
        raw: Validation under the head as trained.
        test: Test under the tau-normalized head.
        rule_scores: The rule baseline's score per window of `val` and of `test`.
        false_alarms_per_hour: Budget on normal traffic, windows that alert per hour.
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
        test=_figures(test, test.score, threshold),
        rule=_figures(test, rule_scores["test"], rule_threshold),
        undefined=undefined_metrics(test.label, test.classes),
        kinds=test.classes[1:],
        normal_windows=int((test.label == 0).sum()),
        normal_hours=test.hours,
    )


def validate(scored: ScoredSplit, false_alarms_per_hour: float) -> tuple[float, dict[str, float]]:
    """The threshold that a validation split gives its head, and all figures of the split at that threshold."""
    threshold = choose_threshold(scored.score, scored.label, scored.hours, false_alarms_per_hour)
    return threshold, {**_figures(scored, scored.score, threshold), **classification_figures(scored)}


def measure(scored: ScoredSplit, threshold: float) -> dict[str, float]:
    """Figures of a finished model on labelled windows, at its own threshold."""
    return _figures(scored, scored.score, threshold)


def classification_figures(scored: ScoredSplit) -> dict[str, float]:
    """How the likeliest class of a window agrees with its own: over all windows, per class on average, per class.

    Tau-normalization moves the boundaries between classes; ranking figures alone would not show it. Means over classes
    leave out those that no window of the split has.
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


def _figures(scored: ScoredSplit, scores: NDArray[np.float64], threshold: float) -> dict[str, float]:
    return detection_metrics(scores, scored.label, scored.classes, threshold, scored.hours)
