"""GPU memory during a fit: a reading per epoch, and a warning with its cause when memory is lost."""

from copy import deepcopy
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from graphids.core.callbacks.gpu_memory import (
    MIB,
    NUM_FIELDS,
    MemoryDrift,
    MemoryReader,
    MemoryReading,
    read_memory,
    to_numbers,
)
from graphids.core.callbacks.node_budget import StepMeasure, budget_batches, measure_step

OK, WARNING, NOT_WATCHED = "ok", "WARNING", "not-watched"
DRIFT_TAG = "graphids.vram_drift"


class VRAMDriftCallback(Callback):
    """Fit batches into free GPU memory, and warn once when memory is lost during a fit; never stop the run.

    Lightning's `DeviceStatsMonitor` logs the allocator's numbers of this process; it has no baseline and does not see
    other processes. Its `BatchSizeFinder` tries sizes until the card is full, so that a run depends on who shares the
    card. Here `batch_size` decides unless a batch might not fit.

    Hooks:

    - `on_fit_start` takes the baseline and, on CUDA, the node budget: one training batch is put through forward and
      backward, and batches are cut where the largest might not fit (`budget_batches`).
    - `on_train_epoch_end` (after the epoch's validation, before the epoch's checkpoint) reads the memory again, adds
      to `history`, and warns the first time that more than the threshold is gone. The reading after a fit's first
      epoch, with kernels loaded and the pool warm, is a second baseline. A callback that logs `history` has to stand
      after this one.

    Every rank reads its own device and gathers the readings of the others: all hold the same history, that of the rank
    with the worst drift of each epoch, and rank 0 warns.

    `state_dict` holds the history and the first warning: a resumed run continues its series and does not warn a second
    time. A resumed process may be on another card, so it takes baselines of its own, and drift is what was lost since
    then. Its node budget is its own too: if it has to limit batches where the first did not, the order changes. On CPU
    the callback says once that there is nothing to watch and does nothing else.

    Args:
        threshold: Share of the baseline whose loss is worth a warning, in (0, 1].
        memory_reader: Returns a reading whenever it is called; None reads the CUDA device that the run trains on.
        step_measure: Memory of a training step; None uses `measure_step` on CUDA, and nothing elsewhere.

    Attributes:
        history: One dict per epoch of the run, with `epoch`, `free_mib` (usable), `allocated_mib`, `reserved_mib`,
            `other_mib`, `drift` (share of the baseline that is gone, negative for a gain) and `warning` (1 beyond the
            threshold, else 0); from a fit's second epoch on also `drift_since_warm`.
        first_drift_epoch: The epoch of the warning; None without one.
        cause: The likely cause; empty without a warning.
        baselines: This fit's first readings, by rank; empty where nothing is watched.
        warm_baselines: Readings after this fit's first epoch, by rank; empty until then.
        node_budget: Nodes per batch that fit; None where no step was measured.
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
        self.history: list[dict[str, float]] = []
        self.first_drift_epoch: int | None = None
        self.cause = ""
        self.baselines: list[MemoryReading] = []
        self.warm_baselines: list[MemoryReading] = []
        self.node_budget: int | None = None
        self._read: MemoryReader | None = None

    @property
    def status(self) -> str:
        """`ok`, `WARNING` after a warning, or `not-watched`."""
        if self.first_drift_epoch is not None:
            return WARNING
        return OK if self.baselines or self.history else NOT_WATCHED

    @property
    def drift_max(self) -> float | None:
        """The largest drift of the run; None where nothing was watched."""
        return max((entry["drift"] for entry in self.history), default=None)

    def tags(self) -> dict[str, str]:
        """Tags of the run about its memory; they change when a baseline is taken and with the first warning."""
        return {
            DRIFT_TAG: self.status,
            f"{DRIFT_TAG}_epoch": "none" if self.first_drift_epoch is None else str(self.first_drift_epoch),
            f"{DRIFT_TAG}_cause": self.cause or "none",
            "graphids.vram_baseline_mib": _usable_mib(self.baselines),
            "graphids.vram_warm_baseline_mib": _usable_mib(self.warm_baselines),
        }

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the baseline and the node budget."""
        self.baselines, self.warm_baselines, self.node_budget = [], [], None
        device = pl_module.device
        self._read = self.memory_reader
        if self._read is None and device.type == "cuda":
            self._read = lambda: read_memory(device)
        if self._read is None:
            rank_zero_info(f"VRAMDriftCallback: no GPU memory to watch on {device}.")
            return
        self.baselines = self._readings(trainer)
        measure = self.step_measure or (measure_step if device.type == "cuda" else None)
        if measure is not None and getattr(trainer, "datamodule", None) is not None:
            free_bytes = self.baselines[trainer.global_rank].usable
            self.node_budget = budget_batches(trainer, pl_module, free_bytes, measure)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with the baseline."""
        if self._read is None:
            return
        readings = self._readings(trainer)
        drifts = [MemoryDrift(*pair) for pair in zip(self.baselines, readings, strict=True)]
        rank = max(range(len(drifts)), key=lambda r: (drifts[r].is_beyond(self.threshold), drifts[r].share))
        epoch, worst = trainer.current_epoch, drifts[rank]
        entry = _entry(epoch, worst, is_beyond=worst.is_beyond(self.threshold))
        if self.warm_baselines:
            entry["drift_since_warm"] = MemoryDrift(self.warm_baselines[rank], worst.now).share
        else:
            self.warm_baselines = readings
        # An epoch that is trained again after a kill has one entry.
        self.history = [*(e for e in self.history if e["epoch"] < epoch), entry]
        if entry["warning"] and self.first_drift_epoch is None:
            self.first_drift_epoch = epoch
            self.cause = worst.cause(self.threshold)
            whose = f"rank {rank} of {len(drifts)}" if len(drifts) > 1 else str(pl_module.device)
            rank_zero_warn(_warning(whose, epoch, worst, self.threshold, self.cause))

    def state_dict(self) -> dict[str, Any]:
        """The series and the first warning, in plain values."""
        return {
            "history": deepcopy(self.history),
            "first_drift_epoch": self.first_drift_epoch,
            "cause": self.cause,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the series of the interrupted process; baselines are not carried over."""
        self.history = deepcopy(state_dict["history"])
        self.first_drift_epoch = state_dict["first_drift_epoch"]
        self.cause = state_dict["cause"]

    def _readings(self, trainer: Trainer) -> list[MemoryReading]:
        """The readings of all ranks, by rank; every rank has to make this call."""
        reading = self._read() if self._read is not None else None
        if not isinstance(reading, MemoryReading):
            raise TypeError(
                f"VRAMDriftCallback: memory_reader gave {reading!r}, expected a graphids.core.callbacks.MemoryReading."
            )
        own = torch.tensor(to_numbers(reading), dtype=torch.int64, device=trainer.strategy.root_device)
        gathered = trainer.strategy.all_gather(own).reshape(-1, NUM_FIELDS)  # [ranks, fields]
        return [MemoryReading(*numbers) for numbers in gathered.tolist()]


def _entry(epoch: int, drift: MemoryDrift, *, is_beyond: bool) -> dict[str, float]:
    return {
        "epoch": epoch,
        "free_mib": drift.now.usable / MIB,
        "allocated_mib": drift.now.allocated / MIB,
        "reserved_mib": drift.now.reserved / MIB,
        "other_mib": drift.now.other / MIB,
        "drift": drift.share,
        "warning": int(is_beyond),
    }


def _warning(whose: str, epoch: int, drift: MemoryDrift, threshold: float, cause: str) -> str:
    return (
        f"{whose}: GPU memory drifted: of {drift.baseline.usable / MIB:,.0f} MiB that this process could use when the "
        f"fit began {drift.now.usable / MIB:,.0f} MiB are left after epoch {epoch} ({drift.share:.0%} gone, threshold "
        f"{threshold:.0%}). Cause: {cause}. The run continues and may run out of memory; a smaller batch_size or "
        "max_nodes_per_batch takes less."
    )


def _usable_mib(readings: list[MemoryReading]) -> str:
    """Usable memory of each rank, in order."""
    return ", ".join(f"{reading.usable / MIB:.0f}" for reading in readings) or "none"


# The tags of a run in which nothing is watched.
NOT_WATCHED_TAGS = VRAMDriftCallback().tags()
