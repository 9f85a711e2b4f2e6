"""Callbacks: policy that Lightning's own do not encode. Early stopping, progress and the rest are Lightning's."""

from graphids.core.callbacks.checkpoint import DigestCheckpointIO, Sha256ModelCheckpoint
from graphids.core.callbacks.resumable_fit import INTERRUPTED, ResumableFit
from graphids.core.callbacks.tau_norm import (
    TauNormCallback,
    TauNormRecord,
    apply_tau_norm,
    head_key,
    tau_norm_record,
    tau_normalize,
)
from graphids.core.callbacks.vram_drift import VRAMDriftCallback, node_budget, probe_free_bytes

__all__ = [
    "INTERRUPTED",
    "DigestCheckpointIO",
    "ResumableFit",
    "Sha256ModelCheckpoint",
    "TauNormCallback",
    "TauNormRecord",
    "VRAMDriftCallback",
    "apply_tau_norm",
    "head_key",
    "node_budget",
    "probe_free_bytes",
    "tau_norm_record",
    "tau_normalize",
]
