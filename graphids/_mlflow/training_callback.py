"""What a fit tells MLflow: metrics per epoch, parameters, tags, the data set and how it ended."""

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import mlflow

from graphids._mlflow.dataset_profile import dataset_profile
from graphids._mlflow.run_description import fit_parameters, name_training, tag_run
from graphids._mlflow.run_outbox import open_outbox
from graphids._mlflow.tracked_run import status_after
from graphids.core.callbacks import NOT_WATCHED_TAGS, VRAMDriftCallback
from graphids.outbox.outbox import Outbox

# MLflow's compare page opens on the first metric that a run logged.
_SHOWN_FIRST = ("val/macro_auroc",)


class MLflowTrainingCallback(pl.Callback):
    """Forwards a fit to its MLflow run, without ever waiting for MLflow.

    Why not Lightning's MLFlowLogger: it ends the run after the fit (before the model is logged), counts batches where
    a reader compares epochs, sends each metric on its own, supports neither these tags nor LoggedModels, and a server
    that is killed blocks the training for minutes and then ends it.

    Hooks: `on_fit_start` logs parameters, tags and the data set; `on_train_epoch_end` logs all metrics of the epoch
    in one batch at step=epoch (train values are the epoch's means, `vram/` is the newest entry of the history of
    `VRAMDriftCallback`, which has to stand before this callback) and what changed of the drift's tags; `on_fit_end`
    and `on_exception` log `vram/drift_max`; `on_exception` ends the run as KILLED or FAILED. Nothing persists in
    `state_dict`; a resumed fit logs to the run that is active then. Only rank 0 talks to MLflow.

    Args:
        save_model: Saves a `WindowClassifier` to a folder and returns its root digest (`mlflow_graphids.save_model`).
            The configuration passes it in: graphids never imports the flavor.

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
        outbox.log_params(fit_parameters(trainer, pl_module, datamodule))
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
        """Note that this epoch has validation values of its own."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch."""
        if self.outbox is None or not trainer.is_global_zero:
            return
        # In epochs without validation, Lightning keeps the values of the last one in callback_metrics.
        metrics = {
            key: float(value)
            for key, value in trainer.callback_metrics.items()
            if self._validated or not key.startswith("val/")
        }
        self._validated = False
        metrics["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        metrics |= _vram_metrics(trainer)
        first = {key: metrics[key] for key in _SHOWN_FIRST if key in metrics}
        self.outbox.log_metrics({**first, **metrics}, step=trainer.current_epoch)
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
        """End the run here: after Ctrl-C Lightning calls `exit`, and nothing after it would know why."""
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
    """The readings at the end of this epoch; empty where nothing is watched."""
    watch = _drift_watch(trainer)
    if watch is None or not watch.history or watch.history[-1]["epoch"] != trainer.current_epoch:
        return {}
    return {f"vram/{name}": value for name, value in watch.history[-1].items() if name != "epoch"}


def _log_drift_max(trainer: pl.Trainer, outbox: Outbox) -> None:
    """At the step of the last epoch: a resumed run has a later one, and the last value is what counts."""
    watch = _drift_watch(trainer)
    if watch is not None and watch.drift_max is not None:
        outbox.log_metrics({"vram/drift_max": watch.drift_max}, step=int(watch.history[-1]["epoch"]))
