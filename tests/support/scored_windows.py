"""Windows with the scores that a test wants, without a network."""

from collections.abc import Sequence

import numpy as np
import torch

from graphids.assessment.curves import Scoring
from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import detection_metrics
from graphids.core.graphs.packed import PackedGraphs

CLASSES = ("normal", "dos", "spoof")


def scored_windows(
    score: Sequence[float],
    label: Sequence[int],
    *,
    classes: tuple[str, ...] = CLASSES,
    capture: Sequence[int] | None = None,
    start_s: Sequence[float] | None = None,
    hours: float = 0.5,
) -> ScoredSplit:
    """Windows of 1 s, one after the other, whose P(attack) is `score`; an attack window's likeliest kind is its own.

    A window with a score below 0.5 is likeliest normal.
    """
    count = len(label)
    start = np.arange(count, dtype=np.float64) if start_s is None else np.asarray(start_s, np.float64)
    captures = np.zeros(count, np.int32) if capture is None else np.asarray(capture, np.int32)
    graphs = PackedGraphs(
        x=np.zeros((0, 1), np.float32),
        node_key=np.zeros(0, np.uint32),
        node_frames=np.zeros(0, np.int32),
        node_attacked=np.zeros(0, np.int8),
        edge_index=np.zeros((2, 0), np.int32),
        edge_attr=np.zeros((0, 1), np.float32),
        node_ptr=np.zeros(count + 1, np.int64),
        edge_ptr=np.zeros(count + 1, np.int64),
        label=np.asarray(label, np.int64),
        start_s=start,
        end_s=start + 1.0,
        capture=captures,
        first_frame=np.arange(count),
        classes=classes,
        capture_names=tuple(f"capture {index}" for index in range(int(captures.max(initial=0)) + 1)),
    )
    logits = torch.full((count, len(classes)), -1e9, dtype=torch.float64)
    logits[:, 0] = 0.0
    kind = np.maximum(graphs.label, 1)
    logits[torch.arange(count), torch.from_numpy(kind)] = torch.logit(torch.tensor(list(score), dtype=torch.float64))
    return ScoredSplit(graphs, classes, torch.zeros(count, 1), logits, hours)


def scoring(scored: ScoredSplit, threshold: float, name: str = "GAT") -> Scoring:
    metrics = detection_metrics(scored.score, scored.label, scored.classes, threshold, scored.hours)
    return Scoring(name, scored.score, threshold, metrics)


def many(count: int = 400, *, num_kinds: int = 2, seed: int = 0) -> ScoredSplit:
    """Seeded windows, a third of them attacks that score higher."""
    generator = np.random.default_rng(seed)
    label = np.where(np.arange(count) % 3 == 0, generator.integers(1, num_kinds + 1, count), 0)
    score = np.clip(generator.beta(2, 5, count) + 0.4 * (label > 0), 1e-6, 1 - 1e-6)
    classes = ("normal", *(f"kind {index}" for index in range(num_kinds))) if num_kinds != 2 else CLASSES
    return scored_windows(list(score), list(label), classes=classes)
