"""The lines of a fit's progress, with a real trainer."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from graphids.core.callbacks import EpochProgress
from graphids.core.models.detector import Detector


def test_a_fit_that_goes_on_counts_on_and_an_endless_one_names_no_end(
    make_trainer: Callable[..., pl.Trainer],
    detector: Detector,
    datamodule: pl.LightningDataModule,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings: dict[str, Any] = {"callbacks": [EpochProgress()], "enable_progress_bar": True}
    first = make_trainer(**settings, max_epochs=1)
    first.fit(detector, datamodule=datamodule)
    first.save_checkpoint(tmp_path / "first.ckpt")
    assert re.search(r"^epoch 1/1  train/loss \d", capsys.readouterr().out, re.MULTILINE)

    resumed = make_trainer(**settings, max_epochs=-1, max_steps=first.global_step * 3)
    resumed.fit(detector, datamodule=datamodule, ckpt_path=tmp_path / "first.ckpt")

    assert re.findall(r"^epoch (\S+)  ", capsys.readouterr().out, re.MULTILINE)[:2] == ["2", "3"]
