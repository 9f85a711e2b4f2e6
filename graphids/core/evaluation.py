"""Metrics: how much of each attack kind a detector finds, and at what cost in false alarms.

An attack kind's metrics compare its windows with all normal windows of the split, so that kinds are comparable and a
frequent kind does not hide a rare one. A metric that a split cannot define is left out, never given as a number.
Scores may be anything that rises with suspicion: margins, probabilities, rule scores.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

ALL = "all"
MACRO = "macro"
PER_KIND = ("auroc", "average_precision", "recall", "prevalence", "windows")


def attack_margin(logits: torch.Tensor) -> torch.Tensor:
    """How far the evidence for any attack outweighs that for normal traffic, in nats.

    `logsumexp(attack logits) - normal logit`, the log-odds of attack: `sigmoid(margin) = 1 - P(normal)`.

    Args:
        logits: [G, C], class 0 is normal, C >= 2.

    Returns:
        float [G] of the logits' dtype.

    Raises:
        ValueError: If `logits` is not [G, C] with at least two classes.
    """
    if logits.dim() != 2 or logits.size(1) < 2:
        raise ValueError(
            f"attack_margin needs logits [G, C] with C >= 2 (class 0 normal), found {tuple(logits.shape)}."
        )
    return logits[:, 1:].logsumexp(dim=1) - logits[:, 0]


def auroc(scores: ArrayLike, is_attack: ArrayLike) -> float | None:
    """Area under the ROC curve, ties counted half; None unless both classes occur.

    It is the share of pairs of an attack and a normal window in which the attack scores higher (Mann-Whitney U),
    from counts in float64. torchmetrics computes in float32 and puts values outside [0, 1] through a sigmoid, which
    ties margins that differ.

    Args:
        scores: float [G], finite.
        is_attack: bool [G].
    """
    attacks, normals = counted(scores, is_attack)
    if not (attacks.any() and normals.any()):
        return None
    below = np.cumsum(normals) - normals
    return float((attacks * (below + normals / 2)).sum() / attacks.sum() / normals.sum())


def average_precision(scores: ArrayLike, is_attack: ArrayLike) -> float | None:
    """Mean precision over recall (step-wise, as in scikit-learn); None unless both classes occur.

    Args:
        scores: float [G], finite.
        is_attack: bool [G].
    """
    attacks, normals = counted(scores, is_attack)
    if not (attacks.any() and normals.any()):
        return None
    found = np.cumsum(attacks[::-1])
    alerts = np.cumsum((attacks + normals)[::-1])
    return float((attacks[::-1] * found / alerts).sum() / attacks.sum())


def counted(scores: ArrayLike, is_attack: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Attack and normal windows at each distinct score, from the lowest on: two float64 [levels].

    Args:
        scores: float [G], finite.
        is_attack: bool [G].
    """
    _, rank = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    attack = np.asarray(is_attack, dtype=np.bool_)
    levels = int(rank.max(initial=-1)) + 1
    attacks, normals = (np.bincount(rank[chosen], minlength=levels) for chosen in (attack, ~attack))
    return attacks.astype(np.float64), normals.astype(np.float64)


def choose_threshold(
    scores: ArrayLike, labels: ArrayLike, duration_hours: float, false_alarms_per_hour: float
) -> float:
    """Threshold at which normal traffic like a validation split's raises false alarms at a given rate.

    It is interpolated between normal scores by the median-unbiased quantile (Hyndman and Fan 1996, type 8), so that new
    traffic of the same kind brings more than the rate as often as less. Windows with equal scores alert together or not
    at all, whichever is nearer to the rate. A rate that stands for less than half a window of the split puts the
    threshold above its highest normal score, half-way to the next score if there is one: rounding (another batch
    size, another device) then flips neither.

    Args:
        scores: float [G] of the validation windows, on a scale that keeps them apart: margins, not probabilities, which
            are all 1 from a margin of 37 on.
        labels: int [G], 0 normal, -1 unlabelled (ignored).
        duration_hours: Recorded time of the split, hours.
        false_alarms_per_hour: Normal windows per hour that may alert.

    Returns:
        `score >= threshold` alerts.

    Raises:
        ValueError: If no window is normal, a score is not finite, the duration is not positive or the rate negative.
    """
    values, kinds = _checked(scores, labels)
    normal = values[kinds == 0]
    if not len(normal):
        raise ValueError("choose_threshold needs normal windows in the validation split, found none.")
    _check_positive("duration_hours", duration_hours)
    if not (math.isfinite(false_alarms_per_hour) and false_alarms_per_hour >= 0):
        raise ValueError(f"false_alarms_per_hour has to be a finite number >= 0, found {false_alarms_per_hour}.")
    wanted = duration_hours * false_alarms_per_hour  # windows that may alert, with a fraction
    if wanted >= len(normal):
        return float(values.min())
    threshold = float(np.quantile(normal, 1 - wanted / len(normal), method="median_unbiased"))
    if not (normal == threshold).any():
        return threshold
    with_it, without_it = int((normal >= threshold).sum()), int((normal > threshold).sum())
    lower, higher = normal[normal < threshold], values[values > threshold]
    room = float(threshold - lower.max()) if len(lower) else 0.0
    if with_it - wanted < wanted - without_it:
        return threshold - room / 2
    return float(threshold + (higher.min() - threshold if len(higher) else room or 1.0) / 2)


def detection_metrics(
    scores: ArrayLike, labels: ArrayLike, classes: Sequence[str], threshold: float, hours: float
) -> dict[str, float]:
    """Metrics per attack kind and over all attacks, and false alarms per hour.

    Args:
        scores: float [G], higher is more suspicious.
        labels: int [G], index into `classes`; -1 (unlabelled) is ignored.
        classes: `("normal", kind, ...)`.
        threshold: `score >= threshold` alerts.
        hours: Recorded time of the split, hours.

    Returns:
        `<kind>/` and `all/` with `auroc`, `average_precision`, `recall` (at `threshold`), `prevalence` (attack windows
        among these and the normal ones) and `windows` (attack windows); `macro/auroc`, the mean over kinds;
        `false_alarms_per_hour`. Undefined metrics are absent; `undefined_metrics` names them.

    Raises:
        ValueError: If shapes disagree, a score is not finite, a label is not in `classes` or `hours` not positive.
    """
    values, kinds = _checked(scores, labels, classes)
    _check_positive("hours", hours)
    metrics: dict[str, float] = {}
    for name, is_kind in _kinds(kinds, classes):
        metrics |= {f"{name}/{key}": value for key, value in _kind_metrics(values, kinds == 0, is_kind, threshold)}
    areas = [metrics[f"{kind}/auroc"] for kind in classes[1:] if f"{kind}/auroc" in metrics]
    if areas:
        metrics[f"{MACRO}/auroc"] = float(np.mean(areas))
    if (kinds == 0).any():
        metrics["false_alarms_per_hour"] = float((values[kinds == 0] >= threshold).sum() / hours)
    return metrics


def undefined_metrics(labels: ArrayLike, classes: Sequence[str]) -> list[str]:
    """Names of the metrics that `detection_metrics` leaves out for these labels, because a class is absent."""
    label = np.asarray(labels)
    present = detection_metrics(np.zeros(len(label)), label, classes, threshold=1.0, hours=1.0)
    expected = [f"{name}/{key}" for name in (*classes[1:], ALL) for key in PER_KIND]
    return [name for name in (*expected, f"{MACRO}/auroc", "false_alarms_per_hour") if name not in present]


def _kinds(kinds: NDArray[np.int64], classes: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    return [*((name, kinds == index) for index, name in enumerate(classes) if index), (ALL, kinds > 0)]


def _kind_metrics(
    scores: NDArray[np.float64], is_normal: NDArray[np.bool_], is_kind: NDArray[np.bool_], threshold: float
) -> list[tuple[str, float]]:
    compared = is_normal | is_kind
    windows = int(is_kind.sum())
    metrics = {
        "auroc": auroc(scores[compared], is_kind[compared]),
        "average_precision": average_precision(scores[compared], is_kind[compared]),
        "recall": float((scores[is_kind] >= threshold).mean()) if windows else None,
        "prevalence": windows / int(compared.sum()) if compared.any() else None,
        "windows": float(windows),
    }
    return [(key, value) for key, value in metrics.items() if value is not None]


def _checked(
    scores: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and labels of the labelled windows."""
    values, kinds = np.asarray(scores, dtype=np.float64), np.asarray(labels).astype(np.int64)
    if values.ndim != 1 or values.shape != kinds.shape:
        raise ValueError(f"Expected one score and one label per window, found {values.shape} and {kinds.shape}.")
    values, kinds = values[kinds >= 0], kinds[kinds >= 0]
    if not np.isfinite(values).all():
        raise ValueError(
            f"Expected finite scores, found {int((~np.isfinite(values)).sum())} of {len(values)} that are not. "
            "The model has diverged or its input holds NaN."
        )
    if classes is not None and len(kinds) and kinds.max() >= len(classes):
        raise ValueError(f"Label {kinds.max()} is not an index into the {len(classes)} classes {tuple(classes)}.")
    return values, kinds


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} has to be a positive number of hours, found {value}.")
