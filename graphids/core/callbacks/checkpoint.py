"""Checkpoints with digests: the plugin that Lightning's saves, resumes and deletes pass, and the callback upon it."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import CheckpointIO

from graphids._fs import atomic_load, atomic_save, remove


class DigestCheckpointIO(CheckpointIO):
    """The one writer and reader of checkpoints: atomic, with a sidecar, verified on read.

    Lightning's own writes through `tempfile` and `shutil.move`: with `TMPDIR` on another filesystem a kill leaves an
    empty checkpoint. Best, last, exception and resumed checkpoints all pass here; `LightningModule
    .load_from_checkpoint` and `ModelCheckpoint(save_last="link")` do not.

    Use it as `Trainer(plugins=[DigestCheckpointIO()])`. Lightning calls it on rank 0 for writes, on every rank for
    reads.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Write checkpoint and sidecar, making the folder where it is missing.

        Raises:
            TypeError: If `storage_options` are given.
            ValueError: If `path` is a URL.
        """
        if storage_options is not None:
            raise TypeError(f"DigestCheckpointIO takes no storage_options, found {storage_options!r}. Leave them out.")
        local = _local(path)
        local.parent.mkdir(parents=True, exist_ok=True)
        atomic_save(checkpoint, local)

    def load_checkpoint(
        self, path: str | Path, map_location: object | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Verify and parse, to CPU unless `map_location` says otherwise.

        Raises:
            IntegrityError: If the sidecar is missing or the bytes do not match it.
            FileNotFoundError: If there is no checkpoint.
            ValueError: If `weights_only=False` is asked for (it would run code from the file), or `path` is a URL.
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

    The stock callback knows no digests. All of its files go through the trainer's `CheckpointIO`, so the policy
    here is one check in `setup`: that this is `DigestCheckpointIO`. Arguments, hooks, `state_dict`, behaviour on
    resume and across ranks are the stock callback's.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the trainer's checkpoint plugin before the first save.

        Raises:
            ValueError: If the trainer writes checkpoints without digests, or `save_last="link"`.
        """
        if self.save_last == "link":
            raise ValueError(
                "Sha256ModelCheckpoint: found save_last='link', which makes a link past the checkpoint plugin and "
                "leaves it without a digest. Expected True, False or None; pass save_last=True."
            )
        checkpoint_io = trainer.strategy.checkpoint_io
        if not isinstance(checkpoint_io, DigestCheckpointIO):
            raise ValueError(
                "Sha256ModelCheckpoint: expected the trainer's checkpoint plugin to be DigestCheckpointIO, found "
                f"{type(checkpoint_io).__name__}, which writes no digests. "
                "Pass Trainer(plugins=[DigestCheckpointIO()])."
            )
        super().setup(trainer, pl_module, stage)


def _local(path: str | Path) -> Path:
    if "://" in str(path):
        raise ValueError(
            f"{path}: expected a path on a mounted filesystem, found a URL. Rename is what makes a save atomic, and "
            "object stores have none; write locally and log the model to MLflow."
        )
    return Path(path)
