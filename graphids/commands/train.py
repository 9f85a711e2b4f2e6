"""The commands `train` and `resume`: fit a detector within an MLflow run, and publish what came out."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from graphids._mlflow.run_description import name_training
from graphids._mlflow.tracked_run import Terminated, tracked_run
from graphids._mlflow.training_callback import MLflowTrainingCallback
from graphids.commands.config import root_dir_of, wire
from graphids.commands.publication import Fit, LoggedData, NormalizedNetwork, publish
from graphids.commands.resume import CONFIG, FOLDER_TAG, InterruptedRun, continue_as, run_folder
from graphids.core.callbacks import NOT_WATCHED_TAGS, TauNormCallback, VRAMDriftCallback


def train(config: Mapping[str, Any], overrides: Sequence[str], *, going_on: InterruptedRun | None = None) -> None:
    """Fit, tau-normalize, choose the threshold, measure, log the model and say what came out.

    Args:
        config: Rendered from the project's parameters, or the effective configuration of an earlier run.
        overrides: Dotted overrides, `--model.heads=8`.
        going_on: The run that this process goes on with; None begins one.

    Raises:
        OptionError: For a configuration that cannot be, or if another process is training this run.
        IntegrityError: If the captures are not those that the run was trained on.
    """
    with tracked_run(root_dir_of(config, overrides)) as outbox, ExitStack() as held:
        wiring = wire(config, overrides, outbox.run_id)
        checkpoint = None
        if going_on is not None:
            # Before anything is written: what is refused stays as it was.
            checkpoint = going_on.checkpoint
            wiring.datamodule.setup("fit")
            wiring.datamodule.require_digest(going_on.dataset_digest or wiring.datamodule.dataset_digest)
        if wiring.trainer.is_global_zero:
            # Logged before the first step: a run that fails has to be repeatable too.
            folder = held.enter_context(run_folder(wiring.config, outbox.run_id))
            outbox.set_tags({FOLDER_TAG: folder})
            outbox.log_dict(wiring.config, CONFIG)
            tau, seed = name_training(outbox, wiring.trainer, wiring.datamodule)
            if going_on is None:
                outbox.set_tags({**NOT_WATCHED_TAGS, "graphids.tau": tau, "graphids.seed": seed})
        callbacks = wiring.trainer.callbacks  # type: ignore[attr-defined]
        forward = next(c for c in callbacks if isinstance(c, MLflowTrainingCallback))
        forward.outbox = outbox
        wiring.trainer.fit(wiring.detector, datamodule=wiring.datamodule, ckpt_path=checkpoint)
        if wiring.trainer.received_sigterm:
            raise Terminated  # after the last step Lightning takes note of it, and goes on
        if not wiring.trainer.is_global_zero:
            return
        tau_norm = next(c for c in callbacks if isinstance(c, TauNormCallback))
        if tau_norm.record is None or forward.dataset is None:
            raise RuntimeError("The fit ended before it began: expected a tau-normalized head and a logged data set.")
        publish(
            outbox,
            NormalizedNetwork(wiring.detector.gat, tau_norm.record, wiring.datamodule.preprocessing),
            LoggedData(wiring.datamodule, forward.dataset),
            false_alarms_per_hour=wiring.detector.hparams["false_alarms_per_hour"],
            save_model=forward.save_model,
            fit=Fit(tau_norm.best_epoch, next((c for c in callbacks if isinstance(c, VRAMDriftCallback)), None)),
        )


def resume(run: InterruptedRun) -> None:
    """Go on with a training that was interrupted, as the same MLflow run; errors as in `train`."""
    continue_as(run)
    train(run.config, [f"--trainer.default_root_dir={run.folder.parent}"], going_on=run)
