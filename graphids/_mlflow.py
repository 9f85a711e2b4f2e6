"""The run as MLflow shows it: metrics per epoch, parameters, tags, the data set, the model and how the run ended."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import mlflow
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from graphids.core.callbacks import TauNormCallback, VRAMDriftCallback
from graphids.failure import record_failure

# MLflow's sql stores keep 36 characters of a data set's digest; the tag holds all of it.
_DATASET_DIGEST_CHARACTERS = 36
_MAX_PARAM_CHARACTERS = 6000
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
_RUN_ID_OF_RANK_ZERO = "GRAPHIDS_RUN_ID"
_VERSIONED = ("graphids", "torch", "torch-geometric", "lightning", "mlflow")


class Terminated(SystemExit):
    """SIGTERM arrived; leaves with the code that a shell and a job scheduler expect of it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def tracked_run() -> Iterator[str]:
    """The id of this process's MLflow run: the one `mlflow run` prepared (MLFLOW_RUN_ID), else a new one.

    It ends FINISHED; KILLED after Ctrl-C or SIGTERM; FAILED after anything else, with the reason beside it; unless the
    training callback has ended it already. Of the processes that Lightning starts for one run, the first alone has
    the run, the others only its id.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        yield os.environ.get(_RUN_ID_OF_RANK_ZERO, "other-ranks")
        return
    run_id: str = mlflow.start_run().info.run_id
    os.environ[_RUN_ID_OF_RANK_ZERO] = run_id
    before = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield run_id
    except BaseException as error:
        if isinstance(error, Exception):
            try:
                record_failure(run_id, f"{type(error).__name__}: {error}")
            except MlflowException as second:  # the store may be what failed; the first error is the one to show
                print(f"graphids: the run could not be told why it failed: {second}", file=sys.stderr)
        if mlflow.active_run() is not None:
            mlflow.end_run(_status_after(error))
        if isinstance(error, SIGTERMException):
            raise Terminated from None
        raise
    else:
        mlflow.end_run("FINISHED")
    finally:
        os.environ.pop(_RUN_ID_OF_RANK_ZERO, None)
        signal.signal(signal.SIGTERM, before)


@contextmanager
def sigterm_left_to_lightning() -> Iterator[None]:
    """During a fit Lightning stops at the end of the batch; it would call a handler of ours first."""
    ours = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, ours)


def _raise_terminated(*_signal_and_frame: object) -> None:
    print("graphids: SIGTERM; the run ends as KILLED", file=sys.stderr)
    raise Terminated


def _status_after(error: BaseException) -> str:
    return "KILLED" if isinstance(error, KeyboardInterrupt | SIGTERMException | Terminated) else "FAILED"


def log_metrics(
    run_id: str,
    metrics: Mapping[str, float],
    *,
    step: int = 0,
    model_id: str | None = None,
    dataset: Dataset | None = None,
) -> None:
    """All metrics in one batch, so that one x value of every chart comes from one request."""
    now_ms = int(time.time() * 1000)
    MlflowClient().log_batch(
        run_id,
        metrics=[
            Metric(
                key,
                float(value),
                now_ms,
                step,
                model_id=model_id,
                dataset_name=dataset.name if dataset else None,
                dataset_digest=dataset.digest if dataset else None,
            )
            for key, value in metrics.items()
        ],
    )


def log_new_params(run_id: str, params: Mapping[str, Any]) -> None:
    """Log the parameters that the run does not have yet.

    `mlflow run` logs MLproject's parameters as raw strings before the program starts, and MLflow refuses another
    spelling of the same value ("0.50", "0.5").
    """
    client = MlflowClient()
    known = client.get_run(run_id).data.params
    new = [Param(key, str(value)[:_MAX_PARAM_CHARACTERS]) for key, value in params.items() if key not in known]
    for first in range(0, len(new), 100):  # MLflow takes 100 parameters a request
        client.log_batch(run_id, params=new[first : first + 100])


def log_dataset(
    run_id: str, *, name: str, digest: str, source: str, profile: Mapping[str, Any], context: str = "training"
) -> Dataset:
    """Record the captures as an input of the run; the returned entity links metrics to them."""
    dataset = Dataset(
        name=name,
        digest=digest[:_DATASET_DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps({"uri": source}),
        profile=json.dumps(profile),
    )
    tags = [InputTag(key="mlflow.data.context", value=context)]
    MlflowClient().log_inputs(run_id, [DatasetInput(dataset=dataset, tags=tags)])
    return dataset


def tag_run(run_id: str, *, tau: Any, seed: Any, dataset_digest: str, device: torch.device) -> None:
    """Say what made the run: tau, seed, data, code, versions and device."""
    tags = {
        "graphids.tau": tau,
        "graphids.seed": seed,
        "graphids.dataset_digest": dataset_digest,
        "graphids.git_commit": _git_commit(),
        "graphids.device": _device_name(device),
        **{f"graphids.version.{name}": version(name) for name in _VERSIONED},
    }
    MlflowClient().log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


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
    """Forwards a fit to the active MLflow run.

    Why not Lightning's MLFlowLogger: it ends the run after fit (before the model is logged), counts batches where
    a reader compares epochs, sends each metric on its own, and knows neither tags of this kind nor LoggedModels.

    Hooks: `on_fit_start` logs parameters, tags and the data set; `on_train_epoch_end` sends all metrics of the epoch
    in one batch at step=epoch (train values are the epoch's means) and forwards new VRAM drift warnings;
    `on_exception` ends the run as KILLED or FAILED. Nothing persists in `state_dict`; a resumed fit logs to the run
    that is active then. Only rank 0 talks to MLflow.

    Args:
        log_model: Logs a `WindowClassifier` to the active run and returns MLflow's ModelInfo
            (`mlflow_graphids.log_model`). The configuration hands it over: graphids never imports the flavor.
    """

    def __init__(self, log_model: Callable[..., Any]) -> None:
        self.log_model = log_model
        self.run_id = ""
        self.dataset: Dataset | None = None
        self._validated = False
        self._drift_events = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what is known before the first step."""
        if not trainer.is_global_zero:
            return
        run = mlflow.active_run()
        if run is None:
            raise RuntimeError(
                "MLflowTrainingCallback: no MLflow run is active, expected one. Fit within `with mlflow.start_run():`."
            )
        self.run_id = run.info.run_id
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        log_new_params(self.run_id, _parameters(trainer, pl_module, datamodule))
        tau = next((c.tau for c in trainer.callbacks if isinstance(c, TauNormCallback)), None)  # type: ignore[attr-defined]
        seed = os.environ.get("PL_GLOBAL_SEED")
        tag_run(self.run_id, tau=tau, seed=seed, dataset_digest=datamodule.dataset_digest, device=pl_module.device)
        self.dataset = log_dataset(
            self.run_id,
            name=Path(datamodule.hparams["data"]).name,
            digest=datamodule.dataset_digest,
            source=str(datamodule.hparams["data"]),
            profile=datamodule.summary,
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that this epoch has validation values of its own."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send the epoch."""
        if not trainer.is_global_zero:
            return
        # Lightning keeps the last validation's values in callback_metrics over epochs without one.
        metrics = {
            key: float(value)
            for key, value in trainer.callback_metrics.items()
            if self._validated or not key.startswith("val/")
        }
        self._validated = False
        metrics["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        log_metrics(self.run_id, metrics, step=trainer.current_epoch)
        self._forward_drift(trainer)

    def _forward_drift(self, trainer: pl.Trainer) -> None:
        drift = [e for c in trainer.callbacks if isinstance(c, VRAMDriftCallback) for e in c.events]  # type: ignore[attr-defined]
        if len(drift) > self._drift_events:
            self._drift_events = len(drift)
            MlflowClient().set_tag(self.run_id, "graphids.vram_drift", json.dumps(drift))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """End the run here: after Ctrl-C Lightning leaves by `exit`, and nothing later would know why."""
        if trainer.is_global_zero and mlflow.active_run() is not None:
            mlflow.end_run(_status_after(exception))
