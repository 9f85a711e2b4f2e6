"""Callbacks: policy that Lightning's own do not encode. Early stopping and the rest are Lightning's."""

from graphids.core.callbacks.checkpoint import DigestCheckpointIO, Sha256ModelCheckpoint
from graphids.core.callbacks.gpu_memory import MemoryDrift, MemoryReading, read_memory
from graphids.core.callbacks.node_budget import measure_step, node_budget
from graphids.core.callbacks.progress import EpochProgress
from graphids.core.callbacks.resumable_fit import INTERRUPTED, ResumableFit
from graphids.core.callbacks.tau_norm import (
    TauNormCallback,
    TauNormRecord,
    apply_tau_norm,
    head_key,
    tau_norm_record,
    tau_normalize,
)
from graphids.core.callbacks.vram_drift import NOT_WATCHED_TAGS, VRAMDriftCallback

__all__ = [
    "INTERRUPTED",
    "NOT_WATCHED_TAGS",
    "DigestCheckpointIO",
    "EpochProgress",
    "MemoryDrift",
    "MemoryReading",
    "ResumableFit",
    "Sha256ModelCheckpoint",
    "TauNormCallback",
    "TauNormRecord",
    "VRAMDriftCallback",
    "apply_tau_norm",
    "head_key",
    "measure_step",
    "node_budget",
    "read_memory",
    "tau_norm_record",
    "tau_normalize",
]
