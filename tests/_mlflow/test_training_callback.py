"""What a fit tells its run about the GPU memory that it had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from graphids._mlflow.training_callback import MLflowTrainingCallback
from graphids.core.callbacks import NOT_WATCHED_TAGS, ResumableFit, VRAMDriftCallback
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector
from graphids.outbox.outbox import Outbox
from support.memory_readers import CACHED, OTHERS_TOOK, START, reader

VRAM = ("free_mib", "allocated_mib", "reserved_mib", "other_mib", "drift", "warning")


class Kept:
    """Stands for the outbox's queue."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def append(self, op: str, **fields: Any) -> None:
        self.entries.append((op, fields))

    def tags(self) -> list[dict[str, str]]:
        """Those about GPU memory, each time that they were set."""
        told = [fields["tags"] for op, fields in self.entries if op == "tags"]
        return [{key: tags[key] for key in NOT_WATCHED_TAGS} for tags in told if NOT_WATCHED_TAGS.keys() <= tags.keys()]

    def vram(self) -> list[tuple[int, dict[str, float]]]:
        """Step and the metrics about GPU memory."""
        told = [(fields["step"], fields["metrics"]) for op, fields in self.entries if op == "metrics"]
        of_memory = [
            (step, {key: metrics[key] for key in metrics if key.startswith("vram/")}) for step, metrics in told
        ]
        return [(step, metrics) for step, metrics in of_memory if metrics]


class FailAfter(pl.Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epochs:
            raise ZeroDivisionError


@pytest.fixture(scope="module")
def simulated() -> CANDataModule:
    return CANDataModule("simulated", window_size=64, stride=64, batch_size=64, simulated_duration_s=1.0)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def fit(kept: Kept, simulated: CANDataModule, tmp_path: Path) -> Callable[..., None]:
    """`fit(watch, epochs, *callbacks)`; `kept` has what it told its run."""

    def run(watch: VRAMDriftCallback, epochs: int, *callbacks: pl.Callback) -> None:
        forward = MLflowTrainingCallback(save_model=lambda *_: "")
        forward.outbox = Outbox("run", "0", kept)  # type: ignore[arg-type]
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[ResumableFit(), watch, forward, *callbacks],
            default_root_dir=tmp_path,
            use_distributed_sampler=False,
        )
        trainer.fit(Detector(hidden=8, heads=2, layers=1), datamodule=simulated)

    return run


def test_each_epoch_has_its_gpu_memory_and_the_end_the_worst_of_it(fit: Callable[..., None], kept: Kept) -> None:
    watch = VRAMDriftCallback(0.2, reader([START, OTHERS_TOOK, CACHED]))
    with pytest.warns(UserWarning, match="GPU memory drifted"):
        fit(watch, 2)

    first, second, worst = kept.vram()
    assert first == (
        0,
        dict(zip((f"vram/{name}" for name in VRAM), (7_000, 1_000, 1_500, 12_000, 0.3, 1), strict=True)),
    )
    assert second[0] == 1
    assert set(second[1]) == {f"vram/{name}" for name in (*VRAM, "drift_since_warm")}
    assert worst == (1, {"vram/drift_max": 0.3})


def test_the_first_metric_of_a_run_is_detection_because_mlflows_compare_page_opens_on_it(
    fit: Callable[..., None], kept: Kept
) -> None:
    fit(VRAMDriftCallback(), 1)

    (epoch,) = (entry["metrics"] for op, entry in kept.entries if op == "metrics")
    assert next(iter(epoch)) == "val/macro_auroc"
    assert {"val/loss", "train/loss", "learning_rate"} < set(epoch)


def test_the_tags_say_ok_from_the_start_and_which_epoch_drifted_and_why_once_one_did(
    fit: Callable[..., None], kept: Kept
) -> None:
    watch = VRAMDriftCallback(0.2, reader([START, CACHED, OTHERS_TOOK, OTHERS_TOOK]))
    with pytest.warns(UserWarning, match="GPU memory drifted"):
        fit(watch, 3)

    start, warm, drifted = kept.tags()
    assert start == {
        "graphids.vram_drift": "ok",
        "graphids.vram_drift_epoch": "none",
        "graphids.vram_drift_cause": "none",
        "graphids.vram_baseline_mib": "10000",
        "graphids.vram_warm_baseline_mib": "none",
    }
    assert warm == {**start, "graphids.vram_warm_baseline_mib": "10000"}
    assert drifted["graphids.vram_drift"] == "WARNING"
    assert drifted["graphids.vram_drift_epoch"] == "1"
    assert drifted["graphids.vram_drift_cause"].startswith("mostly another process on the card: memory used by others")


def test_a_fit_that_fails_tells_the_worst_drift_before_it_ends(fit: Callable[..., None], kept: Kept) -> None:
    watch = VRAMDriftCallback(0.5, reader([START, OTHERS_TOOK]))
    with pytest.raises(ZeroDivisionError):
        fit(watch, 2, FailAfter(1))

    assert kept.vram()[-1] == (0, {"vram/drift_max": 0.3})
    assert kept.entries[-1] == ("end", {"status": "FAILED"})


def test_on_cpu_there_are_tags_and_no_metrics_of_gpu_memory(fit: Callable[..., None], kept: Kept) -> None:
    fit(VRAMDriftCallback(), 1)

    assert kept.vram() == []
    (tags,) = kept.tags()
    assert tags == NOT_WATCHED_TAGS
    assert tags["graphids.vram_drift"] == "not-watched"
