"""Checkpoints with digests: the plugin through which Lightning saves, resumes and deletes, and its callback."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities import rank_zero_info

from graphids._fs import atomic_link, atomic_load, atomic_save, make_folder, remove, settle

# `s3://bucket`, and what `Path` and Lightning's `realpath` make of it: `s3:/bucket`, `/runs/s3:/bucket`.
_URL = re.compile(r"(?:^|/)[A-Za-z][A-Za-z0-9+.-]+:{1,2}/")
FOLDER = "checkpoints"  # Lightning's own name in `trainer.default_root_dir`
REQUEUE_CHECKPOINTS = "hpc_ckpt_*.ckpt"  # Lightning's own names


class DigestCheckpointIO(CheckpointIO):
    """The one writer and reader of checkpoints: atomic, with a sidecar, verified on read.

    Lightning's own writes through `tempfile` and `shutil.move`: with `TMPDIR` on another filesystem a kill leaves an
    empty checkpoint. Best, last, exception, manual and resumed checkpoints all pass through it. Two paths of Lightning
    do not: `save_last="link"`, which `Sha256ModelCheckpoint` makes safe, and `LightningModule.load_from_checkpoint`,
    which `Detector` overrides.

    What Lightning saves when SLURM is about to requeue a job, `hpc_ckpt_1.ckpt` in the trainer's root folder, goes to
    the folder of the other checkpoints: Lightning takes any file beside it for another one, the sidecar for number
    1256, and would resume from a number that it found rather than from a checkpoint that verifies.

    Use it as `Trainer(plugins=[DigestCheckpointIO()])`. Lightning calls it on rank 0 for writes, on every rank for
    reads.

    Attributes:
        failure: What the last save raised on this process; None if it succeeded.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Write checkpoint and sidecar, making the folder where it is missing.

        Raises:
            OSError: With path and reason; the old or the new checkpoint loads.
            TypeError: If `storage_options` are given.
            ValueError: If `path` is a URL.
        """
        self.failure = None
        try:
            if storage_options is not None:
                raise TypeError(
                    f"DigestCheckpointIO takes no storage_options, found {storage_options!r}. Leave them out."
                )
            local = _local(path)
            if local.match(REQUEUE_CHECKPOINTS):
                local = local.parent / FOLDER / local.name
            make_folder(local.parent)
            atomic_save(checkpoint, local)
        except Exception as error:
            self.failure = error
            raise

    def load_checkpoint(
        self, path: str | Path, map_location: object | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Verify and parse, to CPU unless `map_location` says otherwise.

        Raises:
            IntegrityError: If the sidecar is missing or the bytes do not match it.
            FileNotFoundError: If there is no checkpoint.
            ValueError: If `weights_only=False` is asked for (it would run code from the file), `path` is a URL, or
                the checkpoint holds anything other than tensors and plain values.
        """
        if weights_only is False:
            raise ValueError(
                f"{path}: DigestCheckpointIO loads tensors and plain values only, found weights_only=False. "
                "Pass weights_only=None or True; a checkpoint of graphids needs nothing else."
            )
        checkpoint: dict[str, Any] = atomic_load(
            _local(path), map_location="cpu" if map_location is None else map_location
        )
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete checkpoint and sidecar."""
        remove(_local(path))


class Sha256ModelCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, certain that every checkpoint it keeps has its `<ckpt>.sha256`.

    The stock callback knows no digests, links `last.ckpt` by removing it first, and leaves the other ranks waiting
    forever when rank 0 cannot write. Arguments, `state_dict`, behaviour on resume and what each rank does are the stock
    callback's. Hooks and what they add:

    - `setup`: the trainer has to write through `DigestCheckpointIO`, into one file on a mounted filesystem; else
      nothing starts. Before a fit, rank 0 cleans up what a killed run left in the folder.
    - saves: an error of rank 0 is raised on every rank.
    - `save_last="link"`: `last.ckpt` is a hard link with a sidecar of its own, replaced in one step. It keeps its
      bytes when the checkpoint it was made from is removed or, by tau-normalization, saved anew.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check how the trainer writes checkpoints before the first one, and settle the folder.

        Raises:
            ValueError: If the trainer writes checkpoints without digests, in several files, or to a URL.
            OSError: If the folder cannot be cleaned up.
        """
        require_digests(trainer.strategy)
        super().setup(trainer, pl_module, stage)
        folder = _local(str(self.dirpath))
        if stage == "fit":
            on_rank_zero(trainer, lambda: _settle_and_report(folder), f"settling {folder}")

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        failure: Exception | None = None
        try:
            super()._save_checkpoint(trainer, filepath)
        except Exception as error:
            if error is not getattr(trainer.strategy.checkpoint_io, "failure", None):
                raise
            failure = error
            # The other ranks already wait here, as they write nothing; release them, so that they learn of the error.
            trainer.strategy.barrier("Trainer.save_checkpoint")
        _raise_everywhere(trainer, failure, f"saving {filepath}")

    @staticmethod
    def _link_checkpoint(trainer: Trainer, filepath: str, linkpath: str) -> None:
        if Path(filepath).absolute() != Path(linkpath).absolute():
            on_rank_zero(trainer, lambda: atomic_link(filepath, linkpath), f"linking {linkpath}")


def on_rank_zero(trainer: Trainer, action: Callable[[], object], doing: str) -> None:
    """Run `action` on rank 0 while the other ranks wait; an error there ends all of them.

    Args:
        trainer: Every rank has to make this call.
        action: Touches files; no communication between ranks.
        doing: For the message of the other ranks.

    Raises:
        RuntimeError: On the other ranks, if `action` failed; rank 0 raises the error itself.
    """
    failure: Exception | None = None
    if trainer.is_global_zero:
        try:
            action()
        except Exception as error:
            failure = error
    _raise_everywhere(trainer, failure, doing)


def _raise_everywhere(trainer: Trainer, failure: Exception | None, doing: str) -> None:
    """Raise rank 0's failure there, and a report of it on the others; every rank makes this call in any case."""
    told = trainer.strategy.broadcast(None if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise failure
    if told is not None:
        raise RuntimeError(f"Rank 0 failed while {doing}: {told}. Expected it to succeed; the run ends on every rank.")


def _settle_and_report(folder: Path) -> None:
    for done in settle(folder):
        rank_zero_info(f"Sha256ModelCheckpoint: {folder}: {done}.")


def require_digests(strategy: Strategy) -> None:
    """Refuse a strategy whose checkpoints would have no digests.

    Raises:
        ValueError: If it writes through another plugin, in several files, or not through a plugin.
    """
    checkpoint_io = strategy.checkpoint_io
    if not isinstance(checkpoint_io, DigestCheckpointIO):
        raise ValueError(
            "Sha256ModelCheckpoint: expected the trainer's checkpoint plugin to be DigestCheckpointIO, found "
            f"{type(checkpoint_io).__name__}, which writes no digests, or only after training has continued. "
            "Pass Trainer(plugins=[DigestCheckpointIO()])."
        )
    for method in ("save_checkpoint", "load_checkpoint"):
        if getattr(type(strategy), method) is not getattr(Strategy, method):
            raise ValueError(
                "Sha256ModelCheckpoint: expected a strategy that saves one file through the trainer's checkpoint "
                f"plugin, found {type(strategy).__name__}, which has its own {method}: sharded checkpoints are folders "
                "and get no digests. Pass strategy='auto' or 'ddp'."
            )


def _local(path: str | Path) -> Path:
    if _URL.search(str(path)):
        raise ValueError(
            f"{path}: expected a path on a mounted filesystem, found a URL. Rename is what makes a save atomic, and "
            "object stores have none; write locally and log the model to MLflow."
        )
    return Path(path)
