import subprocess
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch.plugins.io import TorchCheckpointIO

from graphids._fs import IntegrityError, atomic_load, sidecar_path
from graphids.core.callbacks import DigestCheckpointIO, Sha256ModelCheckpoint
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


def test_a_link_as_last_checkpoint_is_refused(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    linking = Sha256ModelCheckpoint(dirpath=tmp_path / "linked", save_last="link")

    with pytest.raises(ValueError, match=r"save_last='link'.*pass save_last=True"):
        make_trainer(callbacks=[linking]).fit(detector, datamodule=datamodule)


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
    with pytest.raises(ValueError, match="found a URL"):
        io.save_checkpoint({}, "s3://bucket/x.ckpt")
    with pytest.raises(ValueError, match="weights_only=False"):
        io.load_checkpoint(tmp_path / "x.ckpt", weights_only=False)
