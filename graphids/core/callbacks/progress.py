"""How a fit shows its progress: a bar on a terminal, a line an epoch anywhere else."""

import sys
import time

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class EpochProgress(TQDMProgressBar):
    """Lightning's progress bar where standard output is a terminal, else one line at the end of each epoch.

    Why not the stock bar alone: a file, a pipe, a batch job and a notebook get it as thousands of carriage returns, and
    no value of an epoch but the last is left to read.

    Hooks: `on_fit_start` prints the network's size, in place of Lightning's table, which lists metrics as layers;
    `on_train_epoch_start` starts the epoch's clock; `on_train_epoch_end`, after the validation of the epoch, prints the
    line, with metrics by the names that MLflow gets. Nothing persists in `state_dict`: the epochs of a resumed fit go
    on counting, and an epoch that was interrupted shows the seconds since it was resumed. Only rank 0 prints.

    Args:
        refresh_rate: Batches between two updates of the bar.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self._epoch_start_s = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what is trained."""
        if not sys.stdout.isatty():
            self.disable()
        if trainer.is_global_zero:
            size = sum(parameter.numel() for parameter in pl_module.parameters())
            print(f"network with {size:,} parameters on {pl_module.device}", flush=True)

    def on_train_epoch_start(self, trainer: Trainer, *_: object) -> None:
        """Start the epoch's clock."""
        super().on_train_epoch_start(trainer)
        self._epoch_start_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's line."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.is_disabled and trainer.is_global_zero:
            print(_line(trainer, time.perf_counter() - self._epoch_start_s), flush=True)


def _line(trainer: Trainer, seconds: float) -> str:
    """`epoch 1/20  train/loss 0.4123  val/loss 0.3801  val/macro_auroc 0.9532  10.2 s`."""
    last = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
    number = f"{trainer.current_epoch + 1:{max(len(last) - 1, 0)}}"
    shown = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name == "train/loss" or name.startswith("val/")
    }
    values = [f"{name} {shown[name]:.4f}" for name in sorted(shown, key=lambda name: name.startswith("val/"))]
    return "  ".join([f"epoch {number}{last}", *values, f"{seconds:.1f} s"])
