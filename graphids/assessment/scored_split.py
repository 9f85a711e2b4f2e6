"""The labelled windows of a split with the network's verdict on them: what metrics, pictures and tau are made from."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graphids.core.data.preprocessing import Preprocessing
from graphids.core.evaluation import attack_margin
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.inference import classify, represent
from graphids.core.models.gat import GAT


@dataclass(frozen=True, eq=False)
class ScoredSplit:
    """Windows of one split under one head.

    Attributes:
        graphs: The windows, with labels into `classes`, times (s) and captures.
        classes: `("normal", kind, ...)`, in the order of `logits`' columns, or of `graphs` for a finished model.
        states: float32 [G, hidden], what the head sees.
        logits: float64 [G, C].
        hours: Time in which live traffic brings as many normal windows.
    """

    graphs: PackedGraphs
    classes: tuple[str, ...]
    states: Tensor
    logits: Tensor
    hours: float

    @cached_property
    def margin(self) -> NDArray[np.float64]:
        """Log-odds of an attack per window, float64 [G]: what the score is the sigmoid of."""
        margin: NDArray[np.float64] = attack_margin(self.logits).numpy()
        return margin

    @cached_property
    def score(self) -> NDArray[np.float64]:
        """1 - P(normal) per window, float64 [G]."""
        score: NDArray[np.float64] = attack_margin(self.logits).sigmoid().numpy()
        return score

    @property
    def label(self) -> NDArray[np.int64]:
        """int64 [G], index into `classes`, -1 unlabelled."""
        return self.graphs.label

    def under(self, gat: GAT, head: Tensor) -> "ScoredSplit":
        """The same windows under another head: float [C, hidden] in place of the weight of `gat.head`."""
        return replace(self, logits=classify(gat, self.states, head))


def score_split(
    gat: GAT, graphs: PackedGraphs, preprocessing: Preprocessing, classes: tuple[str, ...] | None = None
) -> ScoredSplit:
    """Put every window of a split through a network.

    Args:
        gat: Left in eval mode.
        graphs: Of one split; labels are indices into `classes`.
        preprocessing: What was fitted on the training split.
        classes: Those of the labels, where they are not the network's.
    """
    states = represent(gat, graphs, preprocessing).states
    return ScoredSplit(
        graphs, classes or preprocessing.classes, states, classify(gat, states), normal_hours(graphs, preprocessing)
    )


def normal_hours(graphs: PackedGraphs, preprocessing: Preprocessing) -> float:
    """Hours in which live traffic brings as many normal windows as a split has.

    In continuous traffic every window brings `stride` new frames, so it counts for that share of its own duration;
    so does the first of a stretch, though all of its frames are new. Dividing by the time that windows cover would
    make rates too low on short stretches, which are what a split by time leaves.
    """
    duration_s = (graphs.end_s - graphs.start_s)[graphs.label == 0].clip(min=0.0)
    new_share = min(1.0, preprocessing.stride / preprocessing.window_size)
    return float(duration_s.sum()) * new_share / 3600
