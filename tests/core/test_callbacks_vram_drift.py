import logging
import warnings
from collections.abc import Callable, Iterable

import lightning.pytorch as pl
import pytest
import torch

from graphids.core.callbacks import VRAMDriftCallback, node_budget, probe_free_bytes
from graphids.core.models.detector import Detector

MakeTrainer = Callable[..., pl.Trainer]
GIB = 2**30


def reader(gib: Iterable[float]) -> Callable[[], int]:
    """Free memory as it is read: at the start of the fit, then after each epoch."""
    values = iter(gib)
    return lambda: int(next(values) * GIB)


def test_a_drop_beyond_the_threshold_warns_once_and_the_run_goes_on(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(threshold=0.2, memory_reader=reader([10, 9, 7, 5]))
    trainer = make_trainer([watch], max_epochs=3)

    message = r"fell by 30%.*10\.00 GiB then, 7\.00 GiB after epoch 1.*nvidia-smi.*lower batch_size"
    with pytest.warns(UserWarning, match=message) as warned:
        trainer.fit(detector, datamodule=datamodule)

    assert sum("free memory fell" in str(warning.message) for warning in warned) == 1
    assert trainer.current_epoch == 3
    assert watch.events == [{"epoch": 1, "baseline_bytes": 10 * GIB, "free_bytes": 7 * GIB, "drop": pytest.approx(0.3)}]


def test_a_drop_up_to_the_threshold_and_a_gain_are_silent(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(threshold=0.5, memory_reader=reader([10, 5, 12]))
    with warnings.catch_warnings(record=True) as caught:
        make_trainer([watch], max_epochs=2).fit(detector, datamodule=datamodule)

    assert watch.events == []
    assert not [w for w in caught if "free memory" in str(w.message)]


def test_free_memory_is_a_metric_of_the_epoch(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    class SeeMetrics(pl.Callback):
        """Stands after the watch in the list, as the callback that forwards metrics does."""

        seen: list[float] = []  # noqa: RUF012  # one instance

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.seen.append(float(trainer.callback_metrics["vram/free_gib"]))

    see = SeeMetrics()
    watch = VRAMDriftCallback(memory_reader=reader([10, 9.5, 9.25]))
    make_trainer([watch, see]).fit(detector, datamodule=datamodule)

    assert see.seen == [9.5, 9.25]


def test_each_fit_takes_its_own_baseline_and_may_warn_again(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(memory_reader=reader([10, 5, 5, 5]))
    trainer = make_trainer([watch], max_epochs=1)
    with pytest.warns(UserWarning, match="fell by 50%"):
        trainer.fit(detector, datamodule=datamodule)
    assert watch.state_dict() == {}

    trainer.fit_loop.max_epochs = 2
    trainer.fit(detector, datamodule=datamodule)

    assert watch.baseline_bytes == 5 * GIB
    assert watch.events == []


def test_on_cpu_it_says_once_that_there_is_nothing_to_watch(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = VRAMDriftCallback()
    with caplog.at_level(logging.INFO):
        trainer = make_trainer([watch])
        trainer.fit(detector, datamodule=datamodule)

    assert sum("no GPU memory to watch on cpu" in message for message in caplog.messages) == 1
    assert watch.baseline_bytes is None
    assert "vram/free_gib" not in trainer.callback_metrics


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"in \(0, 1\], found"):
        VRAMDriftCallback(threshold)


def test_the_node_budget_is_free_memory_less_headroom_over_bytes_per_node() -> None:
    assert node_budget(free_bytes=1000, bytes_per_node=8.0, headroom=0.2) == 100
    assert node_budget(free_bytes=-5, bytes_per_node=8.0) == 0


def test_the_node_budget_needs_a_measurement() -> None:
    with pytest.raises(ValueError, match="bytes_per_node has to be a positive number of bytes, found 0"):
        node_budget(1000, bytes_per_node=0.0)


def test_free_memory_includes_this_process_own_cached_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)

    assert probe_free_bytes(torch.device("cuda:0")) == 130


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_first_step_gives_a_node_budget(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback()
    make_trainer([watch], accelerator="gpu", devices=1).fit(detector, datamodule=datamodule)

    assert watch.baseline_bytes
    assert watch.node_budget is not None
    assert watch.node_budget > 1000
