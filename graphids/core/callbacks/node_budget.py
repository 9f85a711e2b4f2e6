"""How many nodes a batch may have, so that a training step fits into the GPU memory that is free."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng

GIB = 2**30
# (bytes, nodes): what a training step takes beyond what is allocated already, and the nodes of its batch.
StepMeasure = Callable[[Trainer, LightningModule], tuple[int, int]]


def node_budget(free_bytes: int, bytes_per_node: float, *, headroom: float = 0.2) -> int:
    """Nodes that a batch may have, so that a training step fits into free memory.

    Args:
        free_bytes: Free memory before the step, as `MemoryReading.usable`.
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


def budget_batches(trainer: Trainer, pl_module: LightningModule, free_bytes: int, measure: StepMeasure) -> int:
    """Measure a step, and have the data module limit its batches if the largest possible one might not fit.

    Every rank has to make this call: the smallest budget applies to all, because ranks share one order of batches.

    Args:
        trainer: Set up for a fit, with a data module; its `limit_nodes(max_nodes) -> bool`, if it has one,
            limits the batches. Loaders and optimizers are then made anew: the learning rate's schedule counts batches.
        pl_module: Its buffers, and the random state, are as before afterwards.
        free_bytes: Of this rank's device.
        measure: Of a training step.

    Returns:
        Nodes per batch, at least 1.
    """
    with _unchanged(pl_module):
        step_bytes, nodes = measure(trainer, pl_module)
    bytes_per_node = max(step_bytes, 1) / nodes
    # What a step takes whatever its size is counted as its nodes' too, so the budget errs on the safe side.
    own = torch.tensor(node_budget(free_bytes, bytes_per_node), device=trainer.strategy.root_device)
    budget = max(int(trainer.strategy.reduce(own, reduce_op="min")), 1)
    limit_nodes = getattr(trainer.datamodule, "limit_nodes", None)  # type: ignore[attr-defined]
    is_cut = limit_nodes is not None and limit_nodes(budget)
    rank_zero_info(
        f"VRAMDriftCallback: {free_bytes / GIB:.2f} GiB free and {bytes_per_node:,.0f} bytes per node: room for "
        f"batches of {budget:,} nodes"
        + (", fewer than a batch can have, so training batches are cut to that." if is_cut else ".")
    )
    if is_cut:
        # The schedule of the learning rate has counted the uncut batches, with a loader made for that. Lightning
        # makes a new one for each fit by the same assignment (its data connector); there is no public API for it.
        trainer.fit_loop._combined_loader = None
        trainer.fit_loop.setup_data()
        trainer.strategy.setup_optimizers(trainer)
    return budget


@contextmanager
def _unchanged(pl_module: LightningModule) -> Iterator[None]:
    """Restore random state and buffers (running statistics) afterwards. Modes stay those that the fit trains in."""
    buffers = {name: buffer.clone() for name, buffer in pl_module.named_buffers()}
    with isolate_rng():
        yield
    for name, buffer in pl_module.named_buffers():
        buffer.copy_(buffers[name])
