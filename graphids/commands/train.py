"""The commands `train` and `resume`: fit a detector within an MLflow run, and publish the result."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from graphids._mlflow.run_description import name_training
from graphids._mlflow.tracked_run import Terminated, tracked_run
from graphids._mlflow.training_callback import MLflowTrainingCallback
from graphids.commands.config import root_dir_of
from graphids.commands.interrupted_run import InterruptedRun, attach_to
from graphids.commands.processes import settle_rank
from graphids.commands.publication import Fit, LoggedData, NormalizedNetwork, publish
from graphids.commands.run_folder import CONFIG, FOLDER_TAG, run_folder
from graphids.commands.wiring import wire
from graphids.core.callbacks import NOT_WATCHED_TAGS, TauNormCallback, VRAMDriftCallback


def train(config: Mapping[str, Any], overrides: Sequence[str], *, resume_from: InterruptedRun | None = None) -> None:
    """Fit, tau-normalize, choose the threshold, measure, log the model and summarize.

    Args:
        config: Rendered from the project's parameters, or the effective configuration of an earlier run.
        overrides: Dotted overrides, `--model.heads=8`.
        resume_from: The interrupted run to resume; None starts a new one.

    Raises:
        OptionError: If the configuration is invalid, or another process is at work on this run.
        IntegrityError: If the captures are not those that the run was trained on.
    """
    settle_rank(config, overrides)
    with tracked_run(root_dir_of(config, overrides)) as outbox, ExitStack() as held:
        wiring = wire(config, overrides, outbox.run_id)
        checkpoint = None
        if resume_from is not None:
            # Before anything is written: a run that is refused stays as it was.
            checkpoint = resume_from.checkpoint
            wiring.datamodule.setup("fit")
            wiring.datamodule.require_digest(resume_from.dataset_digest or wiring.datamodule.dataset_digest)
        if wiring.trainer.is_global_zero:
            # Logged before the first step: a run that fails has to be repeatable too.
            folder = held.enter_context(run_folder(wiring.config, outbox.run_id))
            outbox.set_tags({FOLDER_TAG: folder})
            outbox.log_dict(wiring.config, CONFIG)
            tau, seed = name_training(outbox, wiring.trainer, wiring.datamodule)
            if resume_from is None:
                outbox.set_tags({**NOT_WATCHED_TAGS, "graphids.tau": tau, "graphids.seed": seed})
        callbacks = wiring.trainer.callbacks  # type: ignore[attr-defined]
        forward = next(c for c in callbacks if isinstance(c, MLflowTrainingCallback))
        forward.outbox = outbox
        wiring.trainer.fit(wiring.detector, datamodule=wiring.datamodule, ckpt_path=checkpoint)
        if wiring.trainer.received_sigterm:
            raise Terminated  # after the last step Lightning only notes it and carries on
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
    """Resume an interrupted training, as the same MLflow run; errors as in `train`."""
    attach_to(run)
    train(run.config, [f"--trainer.default_root_dir={run.folder.parent}"], resume_from=run)
