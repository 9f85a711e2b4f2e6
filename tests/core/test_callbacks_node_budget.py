import logging
from collections.abc import Callable

import lightning.pytorch as pl
import pytest
import torch

from graphids.core.callbacks import MemoryReading, VRAMDriftCallback, measure_step, node_budget
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector

MakeTrainer = Callable[..., pl.Trainer]


def card_with(usable_bytes: int) -> Callable[[], MemoryReading]:
    """A card of which this process can use so much, whenever it looks."""
    return lambda: MemoryReading(total=2 * usable_bytes, device_free=usable_bytes, reserved=0, allocated=0)


def test_the_node_budget_is_free_memory_less_headroom_over_bytes_per_node() -> None:
    assert node_budget(free_bytes=1000, bytes_per_node=8.0, headroom=0.2) == 100
    assert node_budget(free_bytes=-5, bytes_per_node=8.0) == 0


def test_the_node_budget_needs_a_measurement() -> None:
    with pytest.raises(ValueError, match="bytes_per_node has to be a positive number of bytes, found 0"):
        node_budget(1000, bytes_per_node=0.0)


BYTES_PER_NODE = 1000.0


def a_forward_pass(trainer: pl.Trainer, module: pl.LightningModule) -> tuple[int, int]:
    """What a measurement does to a run: it draws random numbers, moves running statistics and leaves gradients."""
    batch = next(iter(trainer.datamodule.train_dataloader()))  # type: ignore[attr-defined]
    module(batch).sum().backward()
    torch.rand(3)
    for buffer in module.buffers():
        buffer.add_(1)
    return int(BYTES_PER_NODE) * batch.num_nodes, batch.num_nodes


class CountSteps(pl.Callback):
    """Nodes of each batch of each epoch, and the learning rate after each batch."""

    def __init__(self) -> None:
        self.nodes: list[list[int]] = []
        self.lr: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.nodes.append([])

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: object) -> None:
        self.nodes[-1].append(arguments[2].num_nodes)  # type: ignore[attr-defined]
        self.lr.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture(scope="module")
def simulated() -> CANDataModule:
    data = CANDataModule("simulated", window_size=64, stride=64, batch_size=32, simulated_duration_s=3.0)
    data.setup()
    return data


def fit_with_free_bytes(
    free_bytes: float, data: CANDataModule, make_trainer: MakeTrainer, measured: bool = True
) -> tuple[VRAMDriftCallback, CountSteps, Detector]:
    pl.seed_everything(0)
    watch = VRAMDriftCallback(1.0, card_with(int(free_bytes)), a_forward_pass if measured else None)
    steps, detector = CountSteps(), Detector(hidden=8, heads=2, layers=1, dropout=0.1, lr=0.01)
    make_trainer([watch, steps], use_distributed_sampler=False).fit(detector, datamodule=data)
    return watch, steps, detector


def test_where_the_largest_batch_might_not_fit_batches_are_cut_from_the_first_epoch_on(
    make_trainer: MakeTrainer, simulated: CANDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    data = CANDataModule(**simulated.hparams)
    data.setup()
    uncut = len(data.train_dataloader())
    free_bytes = 400 * BYTES_PER_NODE / 0.8  # a fifth is headroom

    with caplog.at_level(logging.INFO):
        watch, steps, _ = fit_with_free_bytes(free_bytes, data, make_trainer)

    assert watch.node_budget == 400
    assert max(map(max, steps.nodes)) <= 400
    assert len(steps.nodes) == 2
    assert min(map(len, steps.nodes)) > uncut
    assert sum(map(sum, steps.nodes)) == 2 * data.graphs["train"].num_nodes().sum()
    assert sum("room for batches of 400 nodes, fewer than a batch can have" in line for line in caplog.messages) == 1
    # The schedule counts the batches that there are: it falls up to the last.
    assert steps.lr[-1] < steps.lr[-2] < steps.lr[-3]
    assert steps.lr[-1] == pytest.approx(0.01 * 0.01, rel=0.1)


def test_where_every_batch_fits_the_run_is_the_one_without_a_measurement_bit_for_bit(
    make_trainer: MakeTrainer, simulated: CANDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        watch, steps, measured = fit_with_free_bytes(1e12, simulated, make_trainer)
    plain, plain_steps, unmeasured = fit_with_free_bytes(1e12, simulated, make_trainer, measured=False)

    assert watch.node_budget == int(1e12 * 0.8 / BYTES_PER_NODE)
    assert plain.node_budget is None
    assert not any("batches are cut" in line for line in caplog.messages)
    assert steps.nodes == plain_steps.nodes
    state = unmeasured.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in measured.state_dict().items())


def test_a_data_module_that_cannot_cut_batches_gets_the_budget_said(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = VRAMDriftCallback(1.0, card_with(10_000), a_forward_pass)
    with caplog.at_level(logging.INFO):
        make_trainer([watch]).fit(detector, datamodule=datamodule)

    assert watch.node_budget == 8
    assert any(line.endswith("room for batches of 8 nodes.") for line in caplog.messages)


def test_the_measured_step_is_a_batchs_peak_over_what_was_allocated_and_leaves_no_gradient(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 1_000)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 5_000)
    measured = []

    def measure(trainer: pl.Trainer, module: pl.LightningModule) -> tuple[int, int]:
        measured.append(measure_step(trainer, module))
        assert all(parameter.grad is None for parameter in module.parameters())
        return measured[0]

    make_trainer([VRAMDriftCallback(1.0, card_with(2**30), measure)], max_epochs=1).fit(detector, datamodule=datamodule)

    assert measured == [(4_000, 48)]  # 12 graphs of 4 nodes


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_step_before_the_first_epoch_gives_a_node_budget(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback()
    make_trainer([watch], accelerator="gpu", devices=1).fit(detector, datamodule=datamodule)

    assert watch.status == "ok"
    assert watch.node_budget is not None
    assert watch.node_budget > 1000
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in detector.parameters())
