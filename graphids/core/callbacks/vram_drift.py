"""GPU memory during a fit: warn when a co-tenant takes it, and say how many nodes a batch may have."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

GIB = 2**30
MemoryReader = Callable[[], int]


def probe_free_bytes(device: torch.device) -> int:
    """Memory that this process can still use on a CUDA device, bytes.

    What the driver reports as free, plus this process's own cached pool (reserved minus allocated): the pool is not
    free to others, but torch serves the next tensors from it.
    """
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def node_budget(free_bytes: int, bytes_per_node: float, *, headroom: float = 0.2) -> int:
    """Nodes that a batch may have, so that a training step fits into free memory.

    Args:
        free_bytes: Free memory before the step, as `probe_free_bytes`.
        bytes_per_node: Measured: peak of a training step above what was allocated before, over its nodes.
        headroom: Share of free memory that stays unused, for fragmentation and batches with more edges than usual.

    Raises:
        ValueError: If `bytes_per_node` is not positive or headroom is not in [0, 1).
    """
    if not (math.isfinite(bytes_per_node) and bytes_per_node > 0):
        raise ValueError(f"bytes_per_node has to be a positive number of bytes, found {bytes_per_node}.")
    if not 0 <= headroom < 1:
        raise ValueError(f"headroom has to be in [0, 1), found {headroom}.")
    return int(max(free_bytes, 0) * (1 - headroom) / bytes_per_node)


class VRAMDriftCallback(Callback):
    """Warn once when free GPU memory drops during a fit; never stop the run.

    Lightning's `DeviceStatsMonitor` logs the allocator's numbers of this process; it knows no baseline and does not
    see a co-tenant. Hooks: `on_fit_start` takes the baseline; `on_train_epoch_end` (after the epoch's validation)
    compares, and logs `vram/free_gib`; around the first training step on CUDA it measures memory per node.

    Every rank watches its own device; rank 0 logs. Nothing persists in `state_dict`: a resumed run may be on another
    card, so each fit takes its own baseline and may warn once of its own. On CPU it says once that there is nothing to
    watch and does nothing else.

    Args:
        threshold: Share of the baseline whose loss is worth a warning, in (0, 1].
        memory_reader: Free bytes whenever it is called; None reads the device that the run trains on.

    Attributes:
        baseline_bytes: Free memory when the fit began; None where there is nothing to watch.
        node_budget: Nodes per batch that fit into it; None until the first training step on CUDA has ended.
        events: The drift that was warned of, at most one per fit: dicts of plain values with `epoch`,
            `baseline_bytes`, `free_bytes` and `drop` (share of the baseline).
    """

    def __init__(self, threshold: float = 0.2, memory_reader: MemoryReader | None = None) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"VRAMDriftCallback: threshold is a share of free memory in (0, 1], found {threshold}.")
        self.threshold = threshold
        self.memory_reader = memory_reader
        self.baseline_bytes: int | None = None
        self.node_budget: int | None = None
        self.events: list[dict[str, float]] = []
        self._read: MemoryReader | None = None
        self._allocated_before_step: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the baseline."""
        self.events, self.node_budget, self.baseline_bytes = [], None, None
        self._read = self._reader(pl_module.device)
        if self._read is None:
            rank_zero_info(f"VRAMDriftCallback: no GPU memory to watch on {pl_module.device}.")
        else:
            self.baseline_bytes = self._read()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start measuring the first training step."""
        device = pl_module.device
        if self.node_budget is None and self._read is not None and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._allocated_before_step = torch.cuda.memory_allocated(device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Derive the node budget from the step's peak."""
        before, self._allocated_before_step = self._allocated_before_step, None
        if before is None or self.baseline_bytes is None:
            return
        # The first step also allocates gradients and optimizer state, so the budget errs on the safe side.
        step_bytes = torch.cuda.max_memory_allocated(pl_module.device) - before
        bytes_per_node = max(step_bytes, 1) / batch.num_nodes
        self.node_budget = node_budget(self.baseline_bytes, bytes_per_node)
        rank_zero_info(
            f"VRAMDriftCallback: {self.baseline_bytes / GIB:.1f} GiB free and {bytes_per_node:,.0f} bytes per node: "
            f"room for batches of {self.node_budget:,} nodes."
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with the baseline."""
        if self._read is None or not self.baseline_bytes:
            return
        free = self._read()
        pl_module.log("vram/free_gib", free / GIB, rank_zero_only=True)
        drop = 1 - free / self.baseline_bytes
        if drop > self.threshold and not self.events:
            epoch = trainer.current_epoch
            self.events.append(
                {"epoch": epoch, "baseline_bytes": self.baseline_bytes, "free_bytes": free, "drop": drop}
            )
            warnings.warn(
                f"{pl_module.device}: free memory fell by {drop:.0%} since the fit began (threshold "
                f"{self.threshold:.0%}): {self.baseline_bytes / GIB:.2f} GiB then, {free / GIB:.2f} GiB after epoch "
                f"{epoch}. Most likely another process on the card takes it (`nvidia-smi` names it). The run goes on "
                "and may run out of memory: lower batch_size or max_nodes_per_batch, or ask the scheduler for the "
                "whole card.",
                stacklevel=2,
            )

    def _reader(self, device: torch.device) -> MemoryReader | None:
        if self.memory_reader is not None or device.type != "cuda":
            return self.memory_reader
        return lambda: probe_free_bytes(device)
