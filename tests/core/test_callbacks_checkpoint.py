import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
)

from graphids._fs import IntegrityError, atomic_load, sidecar_path
from graphids.core.callbacks import DigestCheckpointIO, Sha256ModelCheckpoint, TauNormCallback
from graphids.core.models.detector import Detector

MakeTrainer = Callable[..., pl.Trainer]


def test_every_checkpoint_of_a_fit_has_a_sidecar_that_sha256sum_accepts(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer()
    trainer.fit(detector, datamodule=datamodule)

    folder = Path(trainer.checkpoint_callback.best_model_path).parent
    assert sorted(p.name for p in folder.iterdir()) == [
        "best.ckpt",
        "best.ckpt.sha256",
        "last.ckpt",
        "last.ckpt.sha256",
    ]
    subprocess.run(["sha256sum", "--strict", "-c", "best.ckpt.sha256", "last.ckpt.sha256"], cwd=folder, check=True)


def test_a_checkpoint_that_falls_out_of_the_top_k_takes_its_sidecar_along(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    newest_only = Sha256ModelCheckpoint(dirpath=tmp_path / "newest", filename="{epoch}")
    make_trainer(callbacks=[newest_only], max_epochs=3).fit(detector, datamodule=datamodule)

    assert sorted(p.name for p in (tmp_path / "newest").iterdir()) == ["epoch=2.ckpt", "epoch=2.ckpt.sha256"]


def test_resuming_from_a_changed_checkpoint_is_refused(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    first = make_trainer()
    first.fit(detector, datamodule=datamodule)
    path = Path(first.checkpoint_callback.last_model_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(IntegrityError, match=r"last\.ckpt: expected sha256"):
        make_trainer(max_epochs=3).fit(detector, datamodule=datamodule, ckpt_path=path)


def test_a_fit_resumes_from_a_verified_checkpoint(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    first = make_trainer(max_epochs=1)
    first.fit(detector, datamodule=datamodule)
    second = make_trainer(max_epochs=3)
    second.fit(detector, datamodule=datamodule, ckpt_path=first.checkpoint_callback.last_model_path)

    assert second.current_epoch == 3


def test_a_trainer_that_writes_no_digests_is_refused_before_the_first_step(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer(plugins=[TorchCheckpointIO()])

    with pytest.raises(
        ValueError, match=r"found TorchCheckpointIO.*Pass Trainer\(plugins=\[DigestCheckpointIO\(\)\]\)"
    ):
        trainer.fit(detector, datamodule=datamodule)
    assert trainer.global_step == 0


class LastAtEachRemoval(DigestCheckpointIO):
    """Looks at the last checkpoint when another has just been removed."""

    def __init__(self, last: Path) -> None:
        super().__init__()
        self.last, self.epochs = last, []

    def remove_checkpoint(self, path: str | Path) -> None:
        super().remove_checkpoint(path)
        self.epochs.append(atomic_load(self.last)["epoch"])


@pytest.mark.parametrize(("filename", "epochs_at_removals"), [("best", []), ("{epoch}", [0, 1])])
def test_a_link_as_last_checkpoint_always_loads_and_is_what_was_last_saved(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    tmp_path: Path,
    filename: str,
    epochs_at_removals: list[int],
) -> None:
    """Also when the checkpoint that it was made from falls out of the top k, or is tau-normalized."""
    folder = tmp_path / "linked"
    linking = Sha256ModelCheckpoint(dirpath=folder, filename=filename, save_last="link")
    see = LastAtEachRemoval(folder / "last.ckpt")
    trainer = make_trainer(max_epochs=3, plugins=[see])
    trainer.callbacks = [linking, TauNormCallback(tau=1.0)]
    trainer.fit(detector, datamodule=datamodule)

    last = atomic_load(folder / "last.ckpt")
    assert last["epoch"] == 2
    assert "graphids_tau_norm" not in last
    assert atomic_load(linking.best_model_path)["graphids_tau_norm"]["tau"] == 1.0
    assert see.epochs == epochs_at_removals
    assert not (folder / "last.ckpt").is_symlink()
    subprocess.run(["sha256sum", "--strict", "-c", *(p.name for p in folder.glob("*.sha256"))], cwd=folder, check=True)


def test_a_fit_resumes_from_a_link(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    linking = Sha256ModelCheckpoint(dirpath=tmp_path / "linked", save_last="link")
    make_trainer(callbacks=[linking], max_epochs=1).fit(detector, datamodule=datamodule)
    second = make_trainer(max_epochs=2)
    second.fit(detector, datamodule=datamodule, ckpt_path=tmp_path / "linked" / "last.ckpt")

    assert second.current_epoch == 2


class Sharding(SingleDeviceStrategy):
    """Saves folders, past the checkpoint plugin, as the sharded strategies do."""

    def save_checkpoint(self, checkpoint: Any, filepath: Any, storage_options: Any = None) -> None:
        Path(filepath).mkdir(parents=True)


def test_a_strategy_that_saves_past_the_plugin_is_refused_before_the_first_step(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer(strategy=Sharding())

    with pytest.raises(
        ValueError, match=r"found Sharding, which has its own save_checkpoint.*strategy='auto' or 'ddp'"
    ):
        trainer.fit(detector, datamodule=datamodule)
    assert trainer.global_step == 0


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_the_sharded_strategies_of_lightning_have_ways_of_their_own(strategy: type[Strategy]) -> None:
    """What the check in `setup` relies on."""
    assert strategy.save_checkpoint is not Strategy.save_checkpoint


def test_saving_in_the_background_is_refused_before_the_first_step(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer(plugins=[AsyncCheckpointIO(DigestCheckpointIO())])

    with pytest.raises(ValueError, match=r"found AsyncCheckpointIO, which.*or only after training has continued"):
        trainer.fit(detector, datamodule=datamodule)


@pytest.mark.parametrize("folder", ["memory://run", "file:///tmp/run", Path("s3://bucket/run")])
def test_a_folder_that_is_a_url_is_refused_before_the_first_step(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    folder: str | Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match=r"found a URL\. Rename is what makes a save atomic"):
        make_trainer(callbacks=[Sha256ModelCheckpoint(dirpath=folder)]).fit(detector, datamodule=datamodule)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_what_a_kill_left_is_put_in_order_before_a_fit(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    leftovers = [folder / ".graphids-0123456789abcdef.tmp", folder / "gone.ckpt.sha256"]
    leftovers[0].write_bytes(b"half a checkpoint")
    leftovers[1].write_text(f"{'0' * 64}  gone.ckpt\n")

    trainer = make_trainer(max_epochs=1)
    trainer.validate(detector, datamodule=datamodule, verbose=False)
    assert all(path.exists() for path in leftovers)

    trainer.fit(detector, datamodule=datamodule)
    assert not any(path.exists() for path in leftovers)


def test_a_disk_that_fills_up_ends_the_fit_with_the_path_and_leaves_the_checkpoint_before(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class FillUp(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                monkeypatch.setattr(os, "write", full)

    trainer = make_trainer(max_epochs=3)
    trainer.callbacks = [Sha256ModelCheckpoint(dirpath=tmp_path / "each", save_last=True), FillUp()]

    with pytest.raises(OSError, match=r"No space left on device .*what was there before is untouched: .*\.ckpt"):
        trainer.fit(detector, datamodule=datamodule)
    assert atomic_load(trainer.checkpoint_callback.last_model_path)["epoch"] == 0
    assert trainer.state.status == "interrupted"


def test_loading_a_detector_from_a_checkpoint_verifies_it(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer(max_epochs=1)
    trainer.fit(detector, datamodule=datamodule)
    path = Path(trainer.checkpoint_callback.last_model_path)

    loaded = Detector.load_from_checkpoint(path)
    for name, value in detector.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)

    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"?")
    with pytest.raises(IntegrityError, match=r"last\.ckpt: expected sha256"):
        Detector.load_from_checkpoint(path)


def test_saving_and_removing_go_through_the_sidecar(tmp_path: Path) -> None:
    io, path = DigestCheckpointIO(), tmp_path / "new" / "folder" / "x.ckpt"

    io.save_checkpoint({"epoch": 1}, path)
    assert io.load_checkpoint(path) == {"epoch": 1} == atomic_load(path)

    io.remove_checkpoint(path)
    assert not path.exists()
    assert not sidecar_path(path).exists()


def test_what_the_plugin_cannot_keep_safe_it_refuses(tmp_path: Path) -> None:
    io = DigestCheckpointIO()

    with pytest.raises(TypeError, match="no storage_options"):
        io.save_checkpoint({}, tmp_path / "x.ckpt", storage_options={"a": 1})
    for url in ("s3://bucket/x.ckpt", Path("s3://bucket/x.ckpt"), "file:///tmp/x.ckpt", "/runs/s3:/bucket/x.ckpt"):
        with pytest.raises(ValueError, match="found a URL"):
            io.save_checkpoint({}, url)
    with pytest.raises(ValueError, match="weights_only=False"):
        io.load_checkpoint(tmp_path / "x.ckpt", weights_only=False)
