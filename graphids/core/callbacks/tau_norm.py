"""tau-normalization: rescale the rows of a trained head, so that frequent classes no longer dominate rare ones.

Training on few examples of a class leaves its row of the head with a small norm. Kang et al. (ICLR 2020, arXiv
1910.09217, section 4) divide each row by a power of its norm after training, and choose that power, tau, on
validation data.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from graphids._fs import atomic_load, atomic_save
from graphids.core.callbacks.checkpoint import on_rank_zero
from graphids.options import AUTO

# Top-level key of a checkpoint; its value is `TauNormRecord.to_dict()`.
RECORD_KEY = "graphids_tau_norm"
_HEAD = re.compile(r"(?:^|.*\.)fc_layers\.(?P<index>\d+)\.weight")


@torch.no_grad()
def apply_tau_norm(weight: Tensor, tau: float) -> Tensor:
    """Divide each row by its norm to the power of tau, in place: `w_c /= ||w_c||^tau`.

    tau = 0 leaves the weight as it is, bit for bit; tau = 1 gives rows of norm 1; a zero row stays zero.

    Args:
        weight: float [C, H], one row per class.
        tau: Finite, >= 0.

    Returns:
        `weight` itself.

    Raises:
        ValueError: If `weight` is not 2-D or holds NaN or infinity, or tau is negative or not finite.
    """
    check_tau(tau)
    if weight.dim() != 2:
        raise ValueError(f"tau-normalization needs a weight [classes, hidden], found shape {tuple(weight.shape)}.")
    if not torch.isfinite(weight).all():
        raise ValueError("tau-normalization needs finite weights, found NaN or infinity: the training has diverged.")
    norms = torch.linalg.vector_norm(weight, dim=1, keepdim=True, dtype=torch.float64)  # [C, 1]
    divisor = torch.where(norms > 0, norms**tau, torch.ones_like(norms))
    return weight.copy_(weight.double() / divisor)


def check_tau(tau: float) -> None:
    """Raise ValueError unless tau is finite and not negative."""
    if not (math.isfinite(tau) and tau >= 0):
        raise ValueError(
            f"tau has to be a finite number >= 0, found {tau}. 0 leaves the head as trained, 1 gives unit rows."
        )


def head_key(keys: Iterable[str]) -> str:
    """The key of the head's weight among a state dict's: the highest-indexed `fc_layers.<N>.weight`.

    >>> head_key(["gat.fc_layers.0.weight", "gat.fc_layers.10.weight", "gat.fc_layers.9.weight"])
    'gat.fc_layers.10.weight'

    Raises:
        ValueError: If no key has that form, or two networks share the highest index.
    """
    indices = {key: int(match["index"]) for key in keys if (match := _HEAD.fullmatch(key))}
    highest = [key for key, index in indices.items() if index == max(indices.values())]
    if len(highest) != 1:
        raise ValueError(
            f"Expected one highest-indexed 'fc_layers.<N>.weight', found {highest or 'none'}. The classifier has to be "
            "an nn.Sequential named fc_layers whose last Linear is the head."
        )
    return highest[0]


@dataclass(frozen=True, slots=True)
class TauNormRecord:
    """What is needed to undo tau-normalization.

    Attributes:
        tau: Power that was applied.
        key: Key of the head's weight in the state dict.
        raw_head: float [C, H] on CPU, the weight as trained.
        chosen: Whether tau was chosen on validation; otherwise it was given.
    """

    tau: float
    key: str
    raw_head: Tensor
    chosen: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values and a tensor, as a checkpoint stores them."""
        return asdict(self)

    def normed_head(self) -> Tensor:
        """The weight after tau-normalization, float [C, H]."""
        return apply_tau_norm(self.raw_head.clone(), self.tau)

    def row_norms(self) -> tuple[list[float], list[float]]:
        """Norm of each class's row before and after, in class order."""
        before, after = (head.double().norm(dim=1).tolist() for head in (self.raw_head, self.normed_head()))
        return before, after


def tau_norm_record(checkpoint: dict[str, Any]) -> TauNormRecord | None:
    """The record in a loaded checkpoint; None where the head is as trained."""
    record = checkpoint.get(RECORD_KEY)
    return None if record is None else TauNormRecord(**record)


def tau_normalize(checkpoint: dict[str, Any], tau: float, *, chosen: bool = False) -> TauNormRecord:
    """Tau-normalize a loaded checkpoint in place, always from the raw head, and record how.

    Applying it twice equals applying it once; another tau replaces the first. The bias stays, as do all other layers.

    Args:
        checkpoint: As Lightning saves it, with a `state_dict`.
        tau: Finite, >= 0.
        chosen: For the record: whether tau was chosen on validation.

    Raises:
        ValueError: As `apply_tau_norm` and `head_key`.
    """
    previous = tau_norm_record(checkpoint)
    weights = checkpoint["state_dict"]
    key = previous.key if previous else head_key(weights)
    raw_head = previous.raw_head if previous else weights[key].detach().cpu().clone()
    record = TauNormRecord(tau=float(tau), key=key, raw_head=raw_head, chosen=chosen)
    weights[key] = record.normed_head().to(weights[key].device)
    checkpoint[RECORD_KEY] = record.to_dict()
    return record


class TauNormCallback(Callback):
    """Make the best checkpoint, and the model in memory, the tau-normalized one when a fit ends.

    Lightning has no step between the last checkpoint and the end of a fit that changes weights. Hooks:

    - `on_fit_end`: rank 0 loads the best checkpoint (verified), calls `choose_tau` where tau is "auto", rescales the
      head from its raw weights and saves it over the best path with a renewed sidecar, while the others wait; then
      every rank loads that file into the module. An error on rank 0 ends every rank. `ModelCheckpoint` has saved for
      the last time in `on_train_end`. A callback that logs the model in `on_fit_end` has to stand after this one in
      the trainer's list. After an exception the hook does not run: checkpoints stay raw.
    - `on_load_checkpoint`, `on_fit_start`: a fit that starts from tau-normalized weights (resume, or a second `fit` of
      the same module) restores the raw head first, since the optimizer's state belongs to it.

    Nothing persists in `state_dict`; the checkpoint's own record is the state. Running twice on resume is harmless:
    "auto" chooses again, from the same raw head.
    Without a best checkpoint (`fast_dev_run`, checkpointing off) the weights in memory are normalized, with a warning,
    and no file is written.

    Args:
        tau: 0 leaves the head as trained, 1 gives unit rows; "auto" takes what `choose_tau` returns.
        choose_tau: Called with the module, carrying the best checkpoint with the head as trained, and the trainer's
            data module; returns tau. The configuration supplies it: callbacks never import data.

    Attributes:
        tau: As given.
        record: What was done, after `on_fit_end`; None before.
        best_epoch: Epoch of the best checkpoint, after `on_fit_end`; None without one.
    """

    def __init__(self, tau: float | Literal["auto"] = 0.5, choose_tau: Callable[..., float] | None = None) -> None:
        if not isinstance(tau, str):
            check_tau(tau)
        elif tau != AUTO:
            raise ValueError(f"TauNormCallback: tau has to be 'auto' or a finite number >= 0, found {tau}.")
        elif choose_tau is None:
            raise ValueError(
                "TauNormCallback: tau='auto' needs choose_tau, a function of module and data module that returns tau; "
                "found None. Pass graphids.assessment.tau_sweep.choose_tau, or a number as tau."
            )
        self.tau: float | Literal["auto"] = AUTO if tau == AUTO else float(tau)
        self.choose_tau = choose_tau
        self.record: TauNormRecord | None = None
        self.best_epoch: int | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the raw head of a checkpoint that a fit resumes from."""
        if trainer.state.fn == TrainerFn.FITTING:
            self.record = tau_norm_record(checkpoint)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the raw head, if the module still has the normalized one."""
        record, self.record = self.record, None
        head = None if record is None else pl_module.state_dict().get(record.key)
        if record is None or head is None or not torch.equal(head.cpu(), record.normed_head()):
            return
        head.copy_(record.raw_head)
        rank_zero_info(
            f"TauNormCallback: training continues from the raw head (it was normalized with tau={record.tau})."
        )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Normalize the best checkpoint and load it."""
        best_path = trainer.strategy.broadcast(getattr(trainer.checkpoint_callback, "best_model_path", ""))
        if not best_path:
            rank_zero_warn(
                "TauNormCallback: no best checkpoint (fast_dev_run, or checkpointing is off). The weights in memory "
                "are tau-normalized instead, and no file is written."
            )
            checkpoint = {"state_dict": {key: value.clone() for key, value in pl_module.state_dict().items()}}
            self.record = self._normalize(checkpoint, trainer, pl_module)
        else:
            on_rank_zero(
                trainer, lambda: self._normalize_file(best_path, trainer, pl_module), f"tau-normalizing {best_path}"
            )
            checkpoint = atomic_load(best_path)
            self.record = tau_norm_record(checkpoint)
            self.best_epoch = checkpoint["epoch"]
        pl_module.load_state_dict(checkpoint["state_dict"])

    def _normalize_file(self, path: str, trainer: Trainer, pl_module: LightningModule) -> None:
        checkpoint = atomic_load(path)
        self._normalize(checkpoint, trainer, pl_module)
        atomic_save(checkpoint, path)

    def _normalize(self, checkpoint: dict[str, Any], trainer: Trainer, pl_module: LightningModule) -> TauNormRecord:
        if isinstance(self.tau, float):
            return tau_normalize(checkpoint, self.tau)
        tau_normalize(checkpoint, 0.0)  # the head as trained, also where an earlier fit normalized this file
        pl_module.load_state_dict(checkpoint["state_dict"])
        tau = self.choose_tau(pl_module, trainer.datamodule)  # type: ignore[misc, attr-defined]  # never None with AUTO
        rank_zero_info(f"TauNormCallback: tau={tau:g} chosen on validation.")
        return tau_normalize(checkpoint, tau, chosen=True)
