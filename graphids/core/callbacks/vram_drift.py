"""GPU memory during a fit: how many nodes a batch may have, and a warning when a co-tenant takes memory."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng

GIB = 2**30
MemoryReader = Callable[[], int]
# (bytes, nodes): what a training step takes beyond what is allocated already, and the nodes of its batch.
StepMeasure = Callable[[Trainer, LightningModule], tuple[int, int]]


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


def measure_step(trainer: Trainer, pl_module: LightningModule) -> tuple[int, int]:
    """Peak CUDA memory of a forward and backward pass of the data module's first training batch, and its nodes.

    The pass is that of the module's `forward` in the run's precision. Gradients are returned, not accumulated: no
    parameter changes, and no reducer of a distributed run takes part. The optimizer's state is not in it; it is twice
    the parameters, which `node_budget`'s headroom covers many times.
    """
    device = pl_module.device
    batch: Any = next(iter(trainer.datamodule.train_dataloader()))  # type: ignore[attr-defined]
    batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
    parameters = [parameter for parameter in pl_module.parameters() if parameter.requires_grad]
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with trainer.precision_plugin.train_step_context():
        output = pl_module(batch)
    torch.autograd.grad(output.float().sum(), parameters, allow_unused=True)
    return torch.cuda.max_memory_allocated(device) - before, int(batch.num_nodes)


class VRAMDriftCallback(Callback):
    """Fit batches into the GPU memory that is free, and warn once when it drops during a fit; never stop the run.

    Lightning's `DeviceStatsMonitor` logs the allocator's numbers of this process; it knows no baseline and does not
    see a co-tenant. Its `BatchSizeFinder` tries sizes until the card is full, so that a run depends on who shares the
    card. Here a batch stays what `batch_size` makes of it unless it might not fit.

    Hooks: `on_fit_start` takes the baseline and, on CUDA, the node budget: one training batch is put through forward
    and backward, with random state and buffers put back. Where the largest batch there can be has more nodes,
    the data module cuts its batches (`limit_nodes(max_nodes) -> bool`, if it has that method), and loaders and
    optimizers are made anew: the learning rate's schedule counts batches. `on_train_epoch_end` (after the epoch's
    validation) compares with the baseline, and logs `vram/free_gib`.

    Every rank watches its own device and the smallest budget of all holds, because ranks share one order of batches;
    rank 0 logs. Nothing persists in `state_dict`: a resumed run may be on another card, so each fit takes its own
    baseline and budget and may warn once of its own; one that has to cut batches where the first did not goes on in
    another order. On CPU it says once that there is nothing to watch and does nothing else.

    Args:
        threshold: Share of the baseline whose loss is worth a warning, in (0, 1].
        memory_reader: Free bytes whenever it is called; None reads the device that the run trains on.
        step_measure: Memory of a training step; None uses `measure_step` on CUDA, and nothing elsewhere.

    Attributes:
        baseline_bytes: Free memory when the fit began; None where there is nothing to watch.
        node_budget: Nodes per batch that fit into it; None where no step was measured.
        events: The drift that was warned of, at most one per fit: dicts of plain values with `epoch`,
            `baseline_bytes`, `free_bytes` and `drop` (share of the baseline).
    """

    def __init__(
        self,
        threshold: float = 0.2,
        memory_reader: MemoryReader | None = None,
        step_measure: StepMeasure | None = None,
    ) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"VRAMDriftCallback: threshold is a share of free memory in (0, 1], found {threshold}.")
        self.threshold = threshold
        self.memory_reader = memory_reader
        self.step_measure = step_measure
        self.baseline_bytes: int | None = None
        self.node_budget: int | None = None
        self.events: list[dict[str, float]] = []
        self._read: MemoryReader | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the baseline and the node budget."""
        self.events, self.node_budget, self.baseline_bytes = [], None, None
        self._read = self._reader(pl_module.device)
        if self._read is None:
            rank_zero_info(f"VRAMDriftCallback: no GPU memory to watch on {pl_module.device}.")
            return
        self.baseline_bytes = self._read()
        measure = self.step_measure or (measure_step if pl_module.device.type == "cuda" else None)
        if measure is not None and getattr(trainer, "datamodule", None) is not None:
            with _unchanged(pl_module):
                step_bytes, nodes = measure(trainer, pl_module)
            self._budget_batches(trainer, max(step_bytes, 1) / nodes)

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

    def _budget_batches(self, trainer: Trainer, bytes_per_node: float) -> None:
        """Take the node budget, and have batches cut if it is too small for some of them."""
        free_bytes = self.baseline_bytes or 0
        # A fixed share of what a step takes is counted to its nodes, so the budget errs on the safe side.
        own = torch.tensor(node_budget(free_bytes, bytes_per_node), device=trainer.strategy.root_device)
        self.node_budget = max(int(trainer.strategy.reduce(own, reduce_op="min")), 1)
        limit_nodes = getattr(trainer.datamodule, "limit_nodes", None)  # type: ignore[attr-defined]
        is_cut = limit_nodes is not None and limit_nodes(self.node_budget)
        rank_zero_info(
            f"VRAMDriftCallback: {free_bytes / GIB:.2f} GiB free and {bytes_per_node:,.0f} bytes per node: room for "
            f"batches of {self.node_budget:,} nodes"
            + (", fewer than a batch can have, so training batches are cut to that." if is_cut else ".")
        )
        if is_cut:
            # The schedule of the learning rate has counted the uncut batches, with a loader made for that. Lightning
            # makes a new one for each fit by the same assignment (its data connector); there is no public way.
            trainer.fit_loop._combined_loader = None
            trainer.fit_loop.setup_data()
            trainer.strategy.setup_optimizers(trainer)

    def _reader(self, device: torch.device) -> MemoryReader | None:
        if self.memory_reader is not None or device.type != "cuda":
            return self.memory_reader
        return lambda: probe_free_bytes(device)


@contextmanager
def _unchanged(pl_module: LightningModule) -> Iterator[None]:
    """Random state and buffers (running statistics) as before afterwards. Modes are those that the fit trains in."""
    buffers = {name: buffer.clone() for name, buffer in pl_module.named_buffers()}
    with isolate_rng():
        yield
    for name, buffer in pl_module.named_buffers():
        buffer.copy_(buffers[name])
