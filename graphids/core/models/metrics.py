"""Metrics of an epoch that need all of its batches: the margins of a split, and means that survive a resume."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class SplitMargins(Metric):
    """Margins and labels of all windows of a split, over batches and ranks."""

    full_state_update = False
    margins: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("margins", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, margins: Tensor, labels: Tensor) -> None:
        """Add a batch: float [G], int64 [G]."""
        self.margins.append(margins.detach().float())
        self.labels.append(labels)

    def compute(self) -> tuple[Tensor, Tensor]:
        """All margins and labels, on CPU."""
        return dim_zero_cat(self.margins).cpu(), dim_zero_cat(self.labels).cpu()


class EpochMean(Metric):
    """Weighted mean over an epoch's batches that survives an interruption of the epoch.

    Lightning does not checkpoint its own means of logged values: after a resume they cover the rest of the epoch
    only. `sums(batches)` is the state to store, and `resume` restores it. Sums of several ranks are added up; a
    checkpoint holds those of rank 0.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("weight", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self._batches = 0
        self._before_last = (self.total, self.weight)

    def update(self, value: Tensor, weight: int, batch_idx: int) -> None:
        """Add a batch's mean over `weight` windows; batch 0 begins an epoch."""
        if batch_idx == 0:
            self.total, self.weight = torch.zeros_like(self.total), torch.zeros_like(self.weight)
        self._batches, self._before_last = batch_idx + 1, (self.total, self.weight)
        self.total = self.total + value.detach() * weight
        self.weight = self.weight + weight

    def compute(self) -> Tensor:
        """The mean, float32."""
        return self.total / self.weight

    def sums(self, batches: int) -> list[float]:
        """Total and weight over the epoch's first `batches` batches: all that were seen, or all but the last."""
        kept = (self.total, self.weight) if batches == self._batches else self._before_last
        return [float(value) for value in kept]

    def resume(self, sums: list[float]) -> None:
        """Continue from stored sums."""
        self.total, self.weight = (torch.tensor(value, device=self.total.device) for value in sums)
        self._batches, self._before_last = 0, (self.total, self.weight)
