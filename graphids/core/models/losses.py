"""Losses for classes that are far from equally frequent."""

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it
from torch import Tensor


def inverse_sqrt_frequency(labels: Tensor, num_classes: int) -> Tensor:
    """Class weights proportional to `1 / sqrt(frequency)`, with mean 1 over the windows they are taken from.

    The square root lies between no weighting, which forgets rare kinds, and full inverse frequency, which lets a
    handful of windows steer the training. Mean 1 keeps the learning rate's meaning.

    Args:
        labels: int64 [G] of the training windows, in [0, num_classes).
        num_classes: C.

    Returns:
        float32 [C]; 1 for a class without windows.

    Raises:
        ValueError: If there are no labels, or one is out of range.
    """
    if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        found = f"{int(labels.min())} to {int(labels.max())}" if len(labels) else "none"
        raise ValueError(f"Expected labels of training windows in [0, {num_classes}), found {found}.")
    count = torch.bincount(labels, minlength=num_classes).double()  # [C]
    weight = count.clamp(min=1).rsqrt()
    mean = (weight * count).sum() / count.sum()
    return torch.where(count > 0, weight / mean, torch.ones_like(weight)).float()


def focal_cross_entropy(logits: Tensor, labels: Tensor, class_weight: Tensor, gamma: float) -> Tensor:
    """Mean of `w_y * (1 - p_y)^gamma * -log p_y` (Lin et al., ICCV 2017, arXiv 1708.02002, equation 5).

    gamma = 0 is class-weighted cross-entropy; with weights of 1 as well, plain cross-entropy. The mean is over windows,
    not over weights, so that a batch's loss is comparable with the next one's.

    Args:
        logits: float [G, C].
        labels: int64 [G].
        class_weight: float [C].
        gamma: >= 0; how strongly windows that are already classified well are down-weighted.

    Returns:
        float scalar.
    """
    cross_entropy = F.cross_entropy(logits, labels, reduction="none")  # [G], -log p_y
    weight = class_weight[labels]
    if gamma > 0:
        # -expm1(-ce) is 1 - p_y without cancellation for p_y near 1.
        weight = weight * (-torch.expm1(-cross_entropy)).clamp(min=torch.finfo(cross_entropy.dtype).tiny) ** gamma
    return (weight * cross_entropy).mean()


def balanced_binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the labelled nodes, in which attacked nodes together weigh as much as all others.

    Args:
        logits: float [N].
        labels: int8 [N], 1 attacked, 0 not, -1 not known.

    Returns:
        float scalar; where nodes are of one class alone, half of their mean, and 0 where no label is known.
    """
    loss = F.binary_cross_entropy_with_logits(logits, (labels > 0).to(logits.dtype), reduction="none")  # [N]
    # Products, not indices: the size of a selection would have to be fetched from the GPU.
    chosen = torch.stack([labels == 0, labels == 1]).to(loss.dtype)  # [2, N]
    return ((chosen @ loss) / chosen.sum(dim=1).clamp(min=1)).mean()
