import logging
import warnings
from collections.abc import Callable, Iterable

import lightning.pytorch as pl
import pytest
import torch

from graphids.core.callbacks import VRAMDriftCallback, node_budget, probe_free_bytes
from graphids.core.callbacks.vram_drift import measure_step
from graphids.core.data.datamodule import CANDataModule
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
    data = CANDataModule(window_size=64, stride=64, batch_size=32, simulated_duration_s=3.0)
    data.setup()
    return data


def fit_with_free_bytes(
    free_bytes: float, data: CANDataModule, make_trainer: MakeTrainer, measured: bool = True
) -> tuple[VRAMDriftCallback, CountSteps, Detector]:
    pl.seed_everything(0)
    watch = VRAMDriftCallback(1.0, lambda: int(free_bytes), a_forward_pass if measured else None)
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
    watch = VRAMDriftCallback(1.0, lambda: 10_000, a_forward_pass)
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

    make_trainer([VRAMDriftCallback(1.0, lambda: GIB, measure)], max_epochs=1).fit(detector, datamodule=datamodule)

    assert measured == [(4_000, 48)]  # 12 graphs of 4 nodes


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_step_before_the_first_epoch_gives_a_node_budget(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback()
    make_trainer([watch], accelerator="gpu", devices=1).fit(detector, datamodule=datamodule)

    assert watch.baseline_bytes
    assert watch.node_budget is not None
    assert watch.node_budget > 1000
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in detector.parameters())
