"""Optimization: which parameters are decayed, and how the learning rate changes over a fit."""

import math
from typing import Any

from torch import Tensor, nn


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Groups for the optimizer: weight matrices take its weight decay; biases, norms and embeddings take none."""
    decayed: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in network.named_parameters():
        is_matrix = parameter.dim() == 2 and not name.startswith("embedding")
        (decayed if is_matrix else rest).append(parameter)
    return [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]


def lr_factor(step: int, total_steps: float, warmup: float, floor: float = 0.01) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then half a cosine period down to `floor`.

    Args:
        step: From 0.
        total_steps: Of the fit; where infinite (no limit on epochs), the rate stays at its peak.
        warmup: Share of `total_steps`.
        floor: Share at the end and after it.
    """
    if math.isinf(total_steps):
        return 1.0
    rising = warmup * total_steps
    if step < rising:
        return (step + 1) / (math.floor(rising) + 1)
    progress = min((step - rising) / max(total_steps - rising, 1), 1.0)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
