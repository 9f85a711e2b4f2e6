"""What a fit tells MLflow: metrics per epoch, parameters, tags, the data set and how it ended."""

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import mlflow
import torch
from lightning.pytorch.callbacks import EarlyStopping

from graphids._mlflow.dataset_profile import dataset_profile
from graphids._mlflow.tracked_run import open_outbox, status_after
from graphids.core.callbacks import NOT_WATCHED_TAGS, TauNormCallback, VRAMDriftCallback
from graphids.outbox.outbox import Outbox

_MLPROJECT_NAMES = {
    "data.data": "data",
    "data.seed": "seed",
    "data.batch_size": "batch_size",
    "data.window_size": "window",
    "data.stride": "stride",
    "model.lr": "lr",
    "trainer.max_epochs": "max_epochs",
    "trainer.precision": "precision",
}
_VERSIONED = ("graphids", "torch", "torch-geometric", "lightning", "mlflow")


def tag_run(
    outbox: Outbox,
    *,
    tau: Any,
    seed: Any,
    dataset_digest: str,
    device: torch.device,
    gpu_memory: Mapping[str, str] = NOT_WATCHED_TAGS,
) -> None:
    """Say what made the run: tau, seed, data, code, versions and device, and who watches the device's memory."""
    outbox.set_tags(
        {
            **gpu_memory,
            "graphids.tau": tau,
            "graphids.seed": seed,
            "graphids.dataset_digest": dataset_digest,
            "graphids.git_commit": _git_commit(),
            "graphids.device": _device_name(device),
            **{f"graphids.version.{name}": version(name) for name in _VERSIONED},
        }
    )


def name_training(outbox: Outbox, trainer: pl.Trainer, datamodule: Any) -> tuple[Any, Any]:
    """Name the run after what is to be trained, which is known before any capture is read; returns tau and seed."""
    tau = next((c.tau for c in trainer.callbacks if isinstance(c, TauNormCallback)), None)  # type: ignore[attr-defined]
    seed = os.environ.get("PL_GLOBAL_SEED")
    asked = f"{tau:g}" if isinstance(tau, float) else tau
    # Charts name a line by its run alone, and runs may have all of this in common.
    outbox.name_run(f"tau={asked} seed={seed} {outbox.run_id[:4]} {Path(datamodule.hparams['data']).name}")
    return tau, seed


def _parameters(trainer: pl.Trainer, pl_module: pl.LightningModule, datamodule: Any) -> dict[str, Any]:
    """The settings of a fit, those of MLproject under the names that it has for them."""
    network: dict[str, Any] = pl_module.gat.architecture()  # type: ignore[operator, union-attr]
    settings = {
        # The network says what the named size decided where the configuration says None.
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
    # MLflow notes the commit of the project that it ran; a program run by itself asks git, which may not be there.
    with suppress(OSError):
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return answer.stdout.strip()
    return "unknown"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {platform.processor() or platform.machine()}"


class MLflowTrainingCallback(pl.Callback):
    """Forwards a fit to its MLflow run, without ever waiting for MLflow.

    Why not Lightning's MLFlowLogger: it ends the run after fit (before the model is logged), counts batches where
    a reader compares epochs, sends each metric on its own, knows neither tags of this kind nor LoggedModels, and a
    server that is killed holds the training for minutes and then ends it.

    Hooks: `on_fit_start` logs parameters, tags and the data set; `on_train_epoch_end` logs all metrics of the epoch
    in one batch at step=epoch (train values are the epoch's means, `vram/` is the newest entry of the history of
    `VRAMDriftCallback`, which has to stand before this callback) and what changed of the drift's tags; `on_fit_end`
    and `on_exception` log `vram/drift_max`; `on_exception` ends the run as KILLED or FAILED. Nothing persists in
    `state_dict`; a resumed fit logs to the run that is active then. Only rank 0 talks to MLflow.

    Args:
        save_model: Saves a `WindowClassifier` to a folder and returns its root digest (`mlflow_graphids.save_model`).
            The configuration hands it over: graphids never imports the flavor.

    Attributes:
        outbox: Where the fit logs to. Without one, `on_fit_start` opens one for MLflow's active run, in the trainer's
            `default_root_dir`, and the end of the fit closes it.
        dataset: The captures as MLflow knows them.
    """

    def __init__(self, save_model: Callable[..., str]) -> None:
        self.save_model = save_model
        self.outbox: Outbox | None = None
        self.dataset: dict[str, str] | None = None
        self._owns_outbox = False
        self._validated = False
        self._drift_tags: dict[str, str] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what is known before the first step."""
        if not trainer.is_global_zero:
            return
        outbox = self._open(trainer)
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        outbox.log_params(_parameters(trainer, pl_module, datamodule))
        tau, seed = name_training(outbox, trainer, datamodule)
        self._drift_tags = _drift_tags(trainer)
        tag_run(
            outbox,
            tau=tau,
            seed=seed,
            dataset_digest=datamodule.dataset_digest,
            device=pl_module.device,
            gpu_memory=self._drift_tags,
        )
        name = Path(datamodule.hparams["data"]).name
        self.dataset = outbox.log_input(
            name=name,
            digest=datamodule.dataset_digest,
            source=str(datamodule.hparams["data"]),
            profile=dataset_profile(datamodule.summary),
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that this epoch has validation values of its own."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch."""
        if self.outbox is None or not trainer.is_global_zero:
            return
        # Lightning keeps the last validation's values in callback_metrics over epochs without one.
        metrics = {
            key: float(value)
            for key, value in trainer.callback_metrics.items()
            if self._validated or not key.startswith("val/")
        }
        self._validated = False
        metrics["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        metrics |= _vram_metrics(trainer)
        self.outbox.log_metrics(metrics, step=trainer.current_epoch)
        drift_tags = _drift_tags(trainer)
        if drift_tags != self._drift_tags:
            self.outbox.set_tags(drift_tags)
            self._drift_tags = drift_tags

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the worst of the fit, and close an outbox of our own."""
        if self.outbox is not None and trainer.is_global_zero:
            _log_drift_max(trainer, self.outbox)
        self._close_own()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """End the run here: after Ctrl-C Lightning leaves by `exit`, and nothing later would know why."""
        if self.outbox is not None and trainer.is_global_zero:
            _log_drift_max(trainer, self.outbox)
            self.outbox.set_terminated(status_after(exception))
            self._close_own()

    def _open(self, trainer: pl.Trainer) -> Outbox:
        if self.outbox is None:
            run = mlflow.active_run()
            if run is None:
                raise RuntimeError(
                    "MLflowTrainingCallback: no MLflow run is active, expected one. "
                    "Fit within `with mlflow.start_run():`."
                )
            self.outbox = open_outbox(run, Path(trainer.default_root_dir))
            self._owns_outbox = True
        return self.outbox

    def _close_own(self) -> None:
        if self._owns_outbox and self.outbox is not None:
            self.outbox.close()
            self.outbox, self._owns_outbox = None, False


def _drift_watch(trainer: pl.Trainer) -> VRAMDriftCallback | None:
    return next((c for c in trainer.callbacks if isinstance(c, VRAMDriftCallback)), None)  # type: ignore[attr-defined]


def _drift_tags(trainer: pl.Trainer) -> dict[str, str]:
    watch = _drift_watch(trainer)
    return NOT_WATCHED_TAGS if watch is None else watch.tags()


def _vram_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """What was read at the end of this epoch; empty where nothing is watched."""
    watch = _drift_watch(trainer)
    if watch is None or not watch.history or watch.history[-1]["epoch"] != trainer.current_epoch:
        return {}
    return {f"vram/{name}": value for name, value in watch.history[-1].items() if name != "epoch"}


def _log_drift_max(trainer: pl.Trainer, outbox: Outbox) -> None:
    """At the last epoch's step: a run that is resumed has a later one, and what counts is the last."""
    watch = _drift_watch(trainer)
    if watch is not None and watch.drift_max is not None:
        outbox.log_metrics({"vram/drift_max": watch.drift_max}, step=int(watch.history[-1]["epoch"]))
