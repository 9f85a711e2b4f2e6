"""Assessment: what a fitted detector finds, with a threshold from validation, beside the rule baseline.

Every figure of the test split comes after all choices: tau and threshold see validation alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graphids.core.classifier import WindowClassifier, classify, represent
from graphids.core.data.graphs import PackedGraphs
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.evaluation import attack_margin, choose_threshold, detection_metrics, undefined_metrics
from graphids.core.models.gat import GAT


@dataclass(frozen=True, slots=True)
class Assessment:
    """Figures of one model on one data set.

    Attributes:
        threshold: Score from which a window alerts, chosen on validation.
        false_alarms_per_hour: The budget that it was chosen for.
        before: Validation figures with the raw head, at the threshold that the raw head would have got.
        after: Validation figures with the tau-normalized head.
        test: Test figures, `<kind>/auroc` and so on.
        rule: The same of the rule baseline, at its own threshold from validation.
        undefined: Test figures that this data set cannot define.
        kinds: Attack kinds in the order of the classes.
        normal_windows: Normal windows of the test split.
        normal_hours: Time that they cover.
    """

    threshold: float
    false_alarms_per_hour: float
    before: dict[str, float]
    after: dict[str, float]
    test: dict[str, float]
    rule: dict[str, float]
    undefined: list[str]
    kinds: tuple[str, ...]
    normal_windows: int
    normal_hours: float


def normal_hours(graphs: PackedGraphs, preprocessing: Preprocessing) -> float:
    """Hours of normal traffic that a split's windows cover, overlap counted once."""
    duration_s = (graphs.end_s - graphs.start_s)[graphs.label == 0].clip(min=0.0)
    new_share = min(1.0, preprocessing.stride / preprocessing.window_size)
    return float(duration_s.sum()) * new_share / 3600


def _scores(logits: Tensor) -> NDArray[np.float64]:
    """1 - P(normal) per window, float64 [G]."""
    score: NDArray[np.float64] = attack_margin(logits).sigmoid().numpy()
    return score


def assess(
    gat: GAT,
    raw_head: Tensor,
    preprocessing: Preprocessing,
    graphs: Mapping[str, PackedGraphs],
    rule_scores: Mapping[str, NDArray[np.float64]],
    false_alarms_per_hour: float,
) -> Assessment:
    """Choose the threshold on validation, then measure on test.

    Args:
        gat: The network with the tau-normalized head.
        raw_head: float [C, hidden], the head's weight before tau-normalization.
        preprocessing: What was fitted on the training split.
        graphs: `val` and `test`.
        rule_scores: The rule baseline's score per window of the same splits.
        false_alarms_per_hour: Budget on normal traffic, windows that alert per hour.
    """
    states = {split: represent(gat, graphs[split], preprocessing) for split in ("val", "test")}
    hours = {split: normal_hours(graphs[split], preprocessing) for split in ("val", "test")}
    classes, labels = preprocessing.classes, {split: graphs[split].label for split in ("val", "test")}

    def validated(scores: NDArray[np.float64], logits: Tensor | None = None) -> tuple[float, dict[str, float]]:
        threshold = choose_threshold(scores, labels["val"], hours["val"], false_alarms_per_hour)
        figures = detection_metrics(scores, labels["val"], classes, threshold, hours["val"])
        if logits is not None:
            figures |= _classification_figures(logits, labels["val"], classes)
        return threshold, figures

    raw, normed = classify(gat, states["val"], raw_head), classify(gat, states["val"])
    _, before = validated(_scores(raw), raw)
    threshold, after = validated(_scores(normed), normed)
    rule_threshold, _ = validated(rule_scores["val"])
    test_scores = _scores(classify(gat, states["test"]))
    return Assessment(
        threshold=threshold,
        false_alarms_per_hour=false_alarms_per_hour,
        before=before,
        after=after,
        test=detection_metrics(test_scores, labels["test"], classes, threshold, hours["test"]),
        rule=detection_metrics(rule_scores["test"], labels["test"], classes, rule_threshold, hours["test"]),
        undefined=undefined_metrics(labels["test"], classes),
        kinds=classes[1:],
        normal_windows=int((labels["test"] == 0).sum()),
        normal_hours=hours["test"],
    )


def measure(classifier: WindowClassifier, graphs: PackedGraphs) -> dict[str, float]:
    """Figures of a finished model on labelled windows, at its own threshold; attack kinds are those of `graphs`."""
    states = represent(classifier.gat, graphs, classifier.preprocessing)
    scores = _scores(classify(classifier.gat, states))
    hours = normal_hours(graphs, classifier.preprocessing)
    return detection_metrics(scores, graphs.label, graphs.classes, classifier.threshold, hours)


def _classification_figures(logits: Tensor, labels: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, float]:
    """Share of windows given their own class: over all, per class on average and per attack kind.

    Tau-normalization moves the boundaries between classes; ranking figures alone would not show it.
    """
    known = labels >= 0
    predicted, label = logits.argmax(dim=1).numpy()[known], labels[known]
    recall = {name: float((predicted[label == i] == i).mean()) for i, name in enumerate(classes) if (label == i).any()}
    return {
        "accuracy": float((predicted == label).mean()),
        "balanced_accuracy": float(np.mean(list(recall.values()))),
        **{f"{name}/class_recall": value for name, value in recall.items()},
    }
