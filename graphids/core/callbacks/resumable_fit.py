"""A fit that ends with the same weights however often it is interrupted and resumed."""

import signal
import threading
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.trainer.connectors.signal_connector import _HandlersCompose
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from graphids._fs import remove
from graphids.core.callbacks.checkpoint import FOLDER, REQUEUE_CHECKPOINTS

INTERRUPTED = "interrupted.ckpt"
_FIT = "fit_loop"
_BATCHES = "epoch_loop.batch_progress"


class ResumableFit(Callback):
    """Leave a checkpoint of the last whole step when a fit is interrupted, and make steps repeatable.

    Lightning's `OnExceptionCheckpoint` saves whatever the trainer is in the middle of: a half-done optimizer step
    (Ctrl-C), an epoch that early stopping has already counted and whose best checkpoint is replaced, a last batch that
    a restart treats as done. Resumed from there, a fit silently ends with other weights. Lightning's restart also
    forgets that a run had stopped early, and asks for a loader's state before there is one.

    Hooks, with this callback before all others in the trainer's list:

    - `on_train_batch_start` seeds torch (dropout) from seed, epoch, batch and rank, so that a step does not depend on
      those before it. Before the last batch of an epoch it keeps a copy of the state in memory: whatever interrupts
      the validation or the epoch's end, the fit resumes with that batch and repeats both whole.
    - `on_exception` writes `interrupted.ckpt` beside the other checkpoints, through the trainer's `CheckpointIO`:
      the state after the last whole step. Nothing is written from the middle of an optimizer step, of weights that
      are not finite, or before the first step. A save that fails is reported and leaves the first error the one that
      is raised.
    - Ctrl-C waits for the end of the step, a second one does not; SIGTERM, which Lightning keeps to the end of a step,
      also ends a validation. What Lightning saves when SLURM is about to requeue the job (SIGUSR1) waits for the start
      of a step too, of one that is not the epoch's last.
    - `on_load_checkpoint`, `on_fit_start`, `on_train_start`: paths of best and last checkpoint follow a run folder that
      was moved, a fit that had stopped early stays stopped, the training loader continues at its batch.
    - `on_fit_end` removes `interrupted.ckpt` and what was saved for a requeue: best and last checkpoint are further
      along.

    Nothing persists in `state_dict`. Rank 0 writes without waiting for the others, one of which may have failed. Means
    of metrics over an epoch are the module's responsibility. Not repeated after an interruption: gradients accumulated
    over several batches, and a validation in the middle of an epoch (`val_check_interval` below 1).

    Args:
        seed: Of the random numbers of training steps, an integer >= 0.
    """

    def __init__(self, seed: int = 0) -> None:
        if seed < 0:
            raise ValueError(f"ResumableFit: seed is {seed}, expected an integer >= 0.")
        self.seed = seed
        self._begun = False  # a batch has been begun: there is more to save than what the fit started from
        self._stepping = False  # weights are between two steps
        self._held: dict[str, Any] | None = None  # state before the epoch's last batch
        self._had_stopped = False
        self._stop_requested = False
        self._sigint_before: Any = None
        self._requeue: _HandlersCompose | None = None  # Lightning's own handler
        self._requeue_requested = False

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adapt the state of the other callbacks to where and how the fit resumes."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if state and isinstance(callback, ModelCheckpoint):
                _relocate(state, str(callback.dirpath))
            elif state and isinstance(callback, EarlyStopping):
                self._had_stopped |= state["stopping_reason"] != EarlyStoppingReason.NOT_STOPPED.value

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep a fit that had stopped early stopped; `Trainer.fit` has just forgotten that it had."""
        trainer.should_stop = trainer.should_stop or self._had_stopped
        self._begun, self._stepping, self._held, self._had_stopped = False, False, None, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the training loader to its batch, and handle Ctrl-C."""
        fit_loop = trainer.fit_loop
        set_position = getattr(getattr(trainer.train_dataloader, "sampler", None), "set_position", None)
        if set_position is not None:
            # Lightning restores loaders when it makes them. The learning rate's schedule has had this one made already,
            # to count its batches, before the checkpoint was read; its iterator has the first epoch's length.
            batches = fit_loop.epoch_loop.batch_progress.current.completed if fit_loop.restarting else 0
            set_position(trainer.current_epoch, batches)
            iter(fit_loop._data_fetcher)  # type: ignore[arg-type]
        self._install_sigint()
        self._defer_requeue(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop the copy of the state: the previous epoch is complete."""
        self._held = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the step, so that it depends only on weights, optimizer and position."""
        self._begun = True
        self._stop_if_requested(trainer)
        is_last_batch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self._requeue_requested and self._requeue is not None and not is_last_batch:
            self._requeue_requested = False
            self._requeue(signal.SIGUSR1, None)  # type: ignore[arg-type]
        place = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
        if pl_module.device.type == "cpu":
            # As torch.manual_seed, which also notes the seed, with a formatted stack, for a CUDA that is never used:
            # 0.5 ms a step, 3 % of an epoch.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        if is_last_batch and trainer.is_global_zero:
            self._held = deepcopy(_state(trainer))

    def on_before_optimizer_step(self, *_: Any) -> None:
        """Note that weights change from here on."""
        self._stepping = True

    def on_train_batch_end(self, *_: Any) -> None:
        """Note that the step is complete."""
        self._stepping = False

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Stop if requested: a job scheduler may not wait for the end of a validation."""
        if not trainer.sanity_checking:
            self._stop_if_requested(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the state after the last whole step."""
        self._restore_sigint()
        if not (self._begun and trainer.is_global_zero) or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        path = _path(trainer)
        progress = trainer.fit_loop.epoch_progress.current
        epoch_is_whole = progress.completed == progress.ready
        if self._held is None and self._stepping:
            rank_zero_warn(f"{path}: not written, the interruption came within an optimizer step.")
            return
        try:
            state = self._held if self._held is not None and not epoch_is_whole else _state(trainer)
            if not all(torch.isfinite(w).all() for w in state["state_dict"].values() if w.is_floating_point()):
                rank_zero_warn(f"{path}: not written, the weights hold NaN or infinity.")
                return
            trainer.strategy.save_checkpoint(state, path)
        except Exception as second:
            # Whatever fails here, the exception that reaches the caller is the one that interrupted the fit.
            rank_zero_warn(f"{path}: could not be written ({type(second).__name__}: {second}).")
        else:
            rank_zero_info(f"{path}: the fit can be resumed at epoch {state['epoch']}, step {state['global_step']}.")

    def on_train_end(self, *_: Any) -> None:
        """Save nothing any more: other callbacks may now change the weights. Ctrl-C is Python's again."""
        self._begun = False
        self._restore_sigint()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the checkpoints of interruptions that the fit has overcome."""
        if trainer.is_global_zero:
            for path in (_path(trainer), *(Path(trainer.default_root_dir) / FOLDER).glob(REQUEUE_CHECKPOINTS)):
                remove(path)

    def _stop_if_requested(self, trainer: Trainer) -> None:
        if self._stop_requested:
            raise KeyboardInterrupt
        # With several processes Lightning has them agree on the step at which they stop.
        if trainer.received_sigterm and trainer.world_size == 1:
            raise SIGTERMException

    def _install_sigint(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._stop_requested = False
            self._sigint_before = signal.signal(signal.SIGINT, self._on_sigint)

    def _on_sigint(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requested = True
        self._restore_sigint()
        rank_zero_info("\nCtrl-C: stopping at the end of this step; press it again to stop at once.")

    def _defer_requeue(self, trainer: Trainer) -> None:
        """Have Lightning's handler run between steps: within one, weights are half-way and their step is uncounted.

        Several processes would not reach the same step.
        """
        handler = signal.getsignal(signal.SIGUSR1)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and trainer.world_size == 1 and isinstance(handler, _HandlersCompose):
            self._requeue, self._requeue_requested = handler, False
            signal.signal(signal.SIGUSR1, self._on_sigusr1)  # Lightning restores what was there before the fit

    def _on_sigusr1(self, _number: int, _frame: FrameType | None) -> None:
        self._requeue_requested = True

    def _restore_sigint(self) -> None:
        if self._sigint_before is not None:
            signal.signal(signal.SIGINT, self._sigint_before)
            self._sigint_before = None


def _path(trainer: Trainer) -> Path:
    """Path of the interruption's checkpoint, in the folder of the other checkpoints."""
    folder = getattr(trainer.checkpoint_callback, "dirpath", None)
    return Path(folder or Path(trainer.default_root_dir) / FOLDER) / INTERRUPTED


def _state(trainer: Trainer) -> dict[str, Any]:
    """The trainer's state after the last whole step, as `Trainer.save_checkpoint` makes it, without its barrier.

    A batch that was begun but not finished is uncounted: Lightning would resume after it or, where it was the last,
    treat the epoch's batches as done.
    """
    checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
    loops = checkpoint["loops"][_FIT]
    epoch, batches = loops["epoch_progress"]["current"], loops[_BATCHES]
    if epoch["processed"] != epoch["ready"]:
        for counts in (batches["total"], batches["current"]):
            counts["ready"] = counts["started"] = counts["completed"] = counts["processed"]
        batches["is_last_batch"] = False
    return checkpoint


def _relocate(state: dict[str, Any], folder: str) -> None:
    """Make the paths in a `ModelCheckpoint`'s state point into `folder`."""
    if state["dirpath"] == folder:
        return

    def moved(path: str) -> str:
        return str(Path(folder) / Path(path).name) if path else path

    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = moved(state[key])
    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}
    state["dirpath"] = folder
