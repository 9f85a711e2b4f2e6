"""What a run says of what made it: its name, tags and parameters."""

import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping

from graphids import __version__
from graphids.core.callbacks import NOT_WATCHED_TAGS, TauNormCallback, VRAMDriftCallback
from graphids.outbox.outbox import Outbox

_MLPROJECT_NAMES = {
    "data.data": "data",
    "data.inject": "inject",
    "data.hold_out": "hold_out",
    "data.seed": "seed",
    "data.batch_size": "batch_size",
    "data.window_size": "window",
    "data.stride": "stride",
    "model.lr": "lr",
    "trainer.max_epochs": "max_epochs",
    "trainer.precision": "precision",
}
_VERSIONED = ("torch", "torch-geometric", "lightning", "mlflow")


def tag_run(
    outbox: Outbox,
    *,
    tau: Any,
    seed: Any,
    dataset_digest: str,
    device: torch.device,
    gpu_memory: Mapping[str, str] = NOT_WATCHED_TAGS,
) -> None:
    """Say what made the run: tau, seed, data, code, versions and device, and how the device's memory fared."""
    outbox.set_tags(
        {
            **gpu_memory,
            "graphids.tau": tau,
            "graphids.seed": seed,
            "graphids.dataset_digest": dataset_digest,
            "graphids.git_commit": _git_commit(),
            "graphids.device": _device_name(device),
            "graphids.version.graphids": __version__,
            **{f"graphids.version.{name}": version(name) for name in _VERSIONED},
        }
    )


def name_training(outbox: Outbox, trainer: pl.Trainer, datamodule: Any) -> tuple[Any, Any]:
    """Name the run after what is to be trained, before any capture is read; returns tau and seed."""
    tau = next((c.tau for c in trainer.callbacks if isinstance(c, TauNormCallback)), None)  # type: ignore[attr-defined]
    seed = os.environ.get("PL_GLOBAL_SEED")
    asked = f"{tau:g}" if isinstance(tau, float) else tau
    # Charts label a line with its run's name alone, and runs may have all the rest in common.
    outbox.name_run(f"tau={asked} seed={seed} {outbox.run_id[:4]} {Path(datamodule.hparams['data']).name}")
    return tau, seed


def fit_parameters(trainer: pl.Trainer, pl_module: pl.LightningModule, datamodule: Any) -> dict[str, Any]:
    """The settings of a fit, those that MLproject has too under its names for them."""
    network: dict[str, Any] = pl_module.gat.architecture()  # type: ignore[operator, union-attr]
    settings = {
        # The network knows what a named size stands for, where the configuration says None.
        **{f"model.{key}": value for key, value in {**pl_module.hparams_initial, **network}.items()},
        **{f"data.{key}": value for key, value in datamodule.hparams_initial.items()},
        "trainer.max_epochs": trainer.max_epochs,
        "trainer.precision": trainer.precision,
        "trainer.gradient_clip_val": trainer.gradient_clip_val,
        "accelerator": "gpu" if pl_module.device.type == "cuda" else pl_module.device.type,
        "devices": trainer.num_devices,
    }
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, TauNormCallback):
            settings["tau"] = callback.tau
        elif isinstance(callback, VRAMDriftCallback):
            settings["vram_threshold"] = callback.threshold
        elif isinstance(callback, EarlyStopping):
            settings["patience"] = callback.patience
    return {_MLPROJECT_NAMES.get(key, key): value for key, value in settings.items()}


def _git_commit() -> str:
    # MLflow records the commit of a project that it ran; without it git is asked, which may be missing.
    with suppress(OSError):
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return answer.stdout.strip()
    return "unknown"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {platform.processor() or platform.machine()}"
