"""What pictures and tables are made of: scorings side by side, points of curves, counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import counted

BINS = 10
_Z = 1.959964  # 97.5 % of a normal distribution lies below
Points = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Scoring:
    """One way to score the windows of a split: the network's or the rule baseline's.

    Attributes:
        name: For legends.
        score: float64 [G], higher is more suspicious.
        threshold: `score >= threshold` alerts.
        metrics: `detection_metrics` at that threshold.
    """

    name: str
    score: NDArray[np.float64]
    threshold: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Windows by their predicted probability of an attack, in bins of equal width.

    Attributes:
        edges: float64 [B + 1] from 0 to 1; a bin includes its upper edge.
        windows: int64 [B].
        attacks: int64 [B], how many of them are attacks.
        mean_score: float64 [B], NaN where a bin is empty.
        share: float64 [B], attacks / windows, NaN where a bin is empty.
        error: Expected calibration error: mean over windows of |share - mean_score| of their bin.
    """

    edges: NDArray[np.float64]
    windows: NDArray[np.int64]
    attacks: NDArray[np.int64]
    mean_score: NDArray[np.float64]
    share: NDArray[np.float64]
    error: float

    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Wilson's 95 % interval of each bin's share, NaN where it is empty; too narrow where windows overlap."""
        square = _Z**2
        windows = np.where(self.windows > 0, self.windows, np.nan)
        centre = (self.attacks + square / 2) / (windows + square)
        half = _Z / (windows + square) * np.sqrt(self.attacks * (1 - self.attacks / windows) + square / 4)
        return centre - half, centre + half


def present_kinds(scored: ScoredSplit) -> dict[str, NDArray[np.bool_]]:
    """Attack kinds that occur, in the order of the classes, with their windows as bool [G]."""
    occurring = set(np.unique(scored.label))
    return {name: scored.label == index for index, name in enumerate(scored.classes) if index and index in occurring}


def hardest_kinds(kinds: Iterable[str], scoring: Scoring, most: int) -> list[str]:
    """The `most` kinds with the lowest AUROC, of equal ones those with the lowest recall; in the order given."""
    names = list(kinds)
    ranked = ranked_kinds(names, scoring)[:most]
    return [name for name in names if name in ranked]


def ranked_kinds(kinds: Iterable[str], scoring: Scoring) -> list[str]:
    """The kinds from the hardest on: with the lowest AUROC, of equal ones with the lowest recall."""
    return sorted(kinds, key=lambda kind: [scoring.metrics.get(f"{kind}/{name}", 0.0) for name in ("auroc", "recall")])


def roc_points(scores: ArrayLike, is_attack: ArrayLike) -> Points:
    """False positive rate and true positive rate from (0, 0) to (1, 1), one point per distinct score.

    Args:
        scores: float [G], finite, both classes among them.
        is_attack: bool [G].
    """
    attacks, normals = (np.cumsum(counts[::-1]) for counts in counted(scores, is_attack))
    return np.append(0.0, normals / normals[-1]), np.append(0.0, attacks / attacks[-1])


def precision_recall_points(scores: ArrayLike, is_attack: ArrayLike) -> Points:
    """Recall, rising from 0, and precision, one point per distinct score and before it one at recall 0.

    A point's precision holds for the recall up to it, as in `average_precision`: straight lines between points would
    promise too much.

    Args:
        scores: float [G], finite, both classes among them.
        is_attack: bool [G].
    """
    attacks, normals = (np.cumsum(counts[::-1]) for counts in counted(scores, is_attack))
    precision = attacks / (attacks + normals)
    return np.append(0.0, attacks / attacks[-1]), np.append(precision[0], precision)


def reliability(probability: ArrayLike, is_attack: ArrayLike, *, bins: int = BINS) -> Reliability:
    """Compare probabilities with what came true.

    Args:
        probability: float [G] in [0, 1], at least one.
        is_attack: bool [G].
        bins: Number of bins.
    """
    score, attack = np.asarray(probability, np.float64), np.asarray(is_attack, np.bool_)
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.digitize(score, edges, right=True) - 1, 0, bins - 1)
    windows, attacks = np.bincount(index, minlength=bins), np.bincount(index[attack], minlength=bins)
    totals = np.bincount(index, weights=score, minlength=bins)
    filled = np.where(windows > 0, windows, np.nan)
    mean_score, share = totals / filled, attacks / filled
    error = float(np.abs(attacks - totals).sum() / len(score))
    return Reliability(edges, windows, attacks, mean_score, share, error)


def confusion(scored: ScoredSplit) -> NDArray[np.int64]:
    """Labelled windows by true class (row) and likeliest class (column), int64 [len(classes), C of the logits]."""
    known = scored.label >= 0
    num_predicted = scored.logits.shape[1]
    cell = scored.label[known] * num_predicted + scored.logits.argmax(dim=1).numpy()[known]
    size = len(scored.classes) * num_predicted
    return np.bincount(cell, minlength=size).reshape(len(scored.classes), num_predicted)
