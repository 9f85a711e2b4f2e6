"""The watch over GPU memory in real fits, with readings that are written down here."""

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from graphids.commands.config import render_config
from graphids.commands.wiring import wire
from graphids.core.callbacks import NOT_WATCHED_TAGS, VRAMDriftCallback
from graphids.core.callbacks.gpu_memory import MIB
from graphids.core.models.detector import Detector
from graphids.options import OPTIONS
from support.memory_readers import CACHED, OTHERS_TOOK, SPLIT_UP, START, TENSORS_GREW, reader, usable_mib
from support.paths import TESTS, on_path

MakeTrainer = Callable[..., pl.Trainer]


def test_a_drift_warns_once_with_its_cause_and_the_run_and_its_series_go_on(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(0.2, reader([START, CACHED, OTHERS_TOOK, TENSORS_GREW, START]))
    trainer = make_trainer([watch], max_epochs=4)

    message = (
        r"cpu: GPU memory drifted: of 10,000 MiB .* 7,000 MiB are left after epoch 1 \(30% gone, threshold 20%\)\. "
        r"Cause: mostly another process on the card.*The run continues.*smaller batch_size"
    )
    with pytest.warns(UserWarning, match=message) as warned:
        trainer.fit(detector, datamodule=datamodule)

    assert sum("GPU memory drifted" in str(warning.message) for warning in warned) == 1
    assert trainer.current_epoch == 4
    assert [entry["drift"] for entry in watch.history] == [0.0, 0.3, 0.3, 0.0]
    assert [entry["warning"] for entry in watch.history] == [0, 1, 1, 0]
    assert watch.history[1] == {
        **{"epoch": 1, "free_mib": 7_000, "allocated_mib": 1_000, "reserved_mib": 1_500, "other_mib": 12_000},
        **{"drift": 0.3, "warning": 1, "drift_since_warm": 0.3},
    }
    assert watch.drift_max == 0.3
    assert watch.tags() == {
        "graphids.vram_drift": "WARNING",
        "graphids.vram_drift_epoch": "1",
        "graphids.vram_drift_cause": watch.cause,
        "graphids.vram_baseline_mib": "10000",
        "graphids.vram_warm_baseline_mib": "10000",
    }


def test_fragmentation_warns_though_no_usable_memory_is_gone(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(0.2, reader([START, SPLIT_UP]))
    with pytest.warns(UserWarning, match=r"\(0% gone, .* Cause: mostly fragmentation .*expandable_segments"):
        make_trainer([watch], max_epochs=1).fit(detector, datamodule=datamodule)

    assert (watch.history[0]["drift"], watch.history[0]["warning"]) == (0.0, 1)


def test_a_drift_up_to_the_threshold_and_a_gain_are_silent(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(0.5, reader([usable_mib(10_000), usable_mib(5_000), usable_mib(12_000)]))
    with warnings.catch_warnings(record=True) as caught:
        make_trainer([watch], max_epochs=2).fit(detector, datamodule=datamodule)

    assert not [warning for warning in caught if "GPU memory" in str(warning.message)]
    assert [entry["drift"] for entry in watch.history] == [0.5, -0.2]
    assert (watch.status, watch.first_drift_epoch, watch.cause) == ("ok", None, "")
    assert watch.tags()["graphids.vram_drift_epoch"] == "none"


def test_the_first_epoch_is_a_second_baseline_and_drift_since_then_is_told_beside_it(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(0.5, reader(map(usable_mib, (10_000, 8_000, 6_000))))
    make_trainer([watch], max_epochs=2).fit(detector, datamodule=datamodule)

    assert "drift_since_warm" not in watch.history[0]
    assert (watch.history[1]["drift"], watch.history[1]["drift_since_warm"]) == (0.4, 0.25)
    assert watch.tags()["graphids.vram_baseline_mib"] == "10000"
    assert watch.tags()["graphids.vram_warm_baseline_mib"] == "8000"


def test_a_resumed_run_goes_on_with_its_series_warns_no_second_time_and_takes_its_own_baseline(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    first = VRAMDriftCallback(0.2, reader(map(usable_mib, (10_000, 7_000))))
    with pytest.warns(UserWarning, match="30% gone"):
        make_trainer([first], max_epochs=1).fit(detector, datamodule=datamodule)

    other_card = VRAMDriftCallback(0.2, reader(map(usable_mib, (4_000, 4_000, 1_000))))
    with warnings.catch_warnings(record=True) as caught:
        make_trainer([other_card], max_epochs=3).fit(
            detector, datamodule=datamodule, ckpt_path=tmp_path / "checkpoints" / "last.ckpt"
        )

    assert not [warning for warning in caught if "GPU memory drifted" in str(warning.message)]
    assert [entry["epoch"] for entry in other_card.history] == [0, 1, 2]
    assert [entry["drift"] for entry in other_card.history] == [0.3, 0.0, 0.75]
    assert (other_card.first_drift_epoch, other_card.cause) == (0, first.cause)
    assert other_card.drift_max == 0.75


def test_an_epoch_that_is_trained_again_after_a_kill_has_one_entry(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(0.5, reader(map(usable_mib, (10_000, 9_000))))
    watch.load_state_dict(
        {"history": [{"epoch": 0, "drift": 0.3, "warning": 0}], "first_drift_epoch": None, "cause": ""}
    )
    make_trainer([watch], max_epochs=1).fit(detector, datamodule=datamodule)

    assert [(entry["epoch"], entry["drift"]) for entry in watch.history] == [(0, 0.1)]


def test_on_cpu_it_says_once_that_there_is_nothing_to_watch(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = VRAMDriftCallback()
    with caplog.at_level(logging.INFO):
        make_trainer([watch]).fit(detector, datamodule=datamodule)

    assert sum("no GPU memory to watch on cpu" in message for message in caplog.messages) == 1
    assert (watch.history, watch.drift_max, watch.status) == ([], None, "not-watched")
    assert watch.tags() == NOT_WATCHED_TAGS


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"in \(0, 1\], found"):
        VRAMDriftCallback(threshold)


def test_a_reader_that_gives_no_reading_is_refused_by_its_answer(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    watch = VRAMDriftCallback(memory_reader=lambda: 12)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match=r"memory_reader gave 12, expected a graphids\.core\.callbacks\.MemoryReading"):
        make_trainer([watch]).fit(detector, datamodule=datamodule)


def test_a_configuration_names_a_reader_by_its_import_path() -> None:
    config = render_config({option.name: option.default for option in OPTIONS})
    for callback in config["trainer"]["callbacks"]:
        if callback["class_path"].endswith(".VRAMDriftCallback"):
            callback["init_args"]["memory_reader"] = "support.two_ranks_drift.read_own_card"

    wiring = wire(config, [], "run")

    again = wire(wiring.config, [], "run")  # from what the run logs as config.json
    for wired in (wiring, again):
        (watch,) = (c for c in wired.trainer.callbacks if isinstance(c, VRAMDriftCallback))  # type: ignore[attr-defined]
        assert watch.memory_reader.__qualname__ == "read_own_card"  # type: ignore[union-attr]


def test_of_two_ranks_the_run_shows_the_worse_and_only_the_first_warns(tmp_path: Path) -> None:
    """Two processes over gloo; rank 0's card is the worse after the first epoch, rank 1's after the second."""
    program = TESTS / "support" / "two_ranks_drift.py"
    answer = subprocess.run(
        [sys.executable, program, tmp_path], env=on_path(), capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    first, second = (json.loads(line) for line in answer.stdout.splitlines())

    assert [entry["drift"] for entry in first["state"]["history"]] == [0.05, 0.5]
    assert [entry["free_mib"] for entry in first["state"]["history"]] == [9_500, 4_000]
    assert second["state"] == first["state"]
    assert first["tags"]["graphids.vram_baseline_mib"] == "10000, 8000"
    (warning,) = first["warnings"]
    assert warning.startswith("rank 1 of 2: GPU memory drifted: of 8,000 MiB")
    assert second["warnings"] == []


# More than loading kernels and the workspaces of libraries take in the first epoch.
LEAK_MIB = NEIGHBOUR_MIB = 2048


class Happen(pl.Callback):
    """Does something after an epoch, before the watch reads."""

    def __init__(self, epoch: int, event: Callable[[], object]) -> None:
        self.epoch, self.event = epoch, event
        self.kept: list[Any] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            self.kept.append(self.event())


def threshold_for(lost_mib: int) -> float:
    """Half the share of what is free now."""
    return lost_mib * MIB / torch.cuda.mem_get_info()[0] / 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_real_leak_is_growth_of_live_tensors(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    leak = Happen(2, lambda: torch.empty(LEAK_MIB * MIB, dtype=torch.uint8, device="cuda"))
    watch = VRAMDriftCallback(threshold_for(LEAK_MIB))
    trainer = make_trainer([leak, watch], accelerator="gpu", devices=1, max_epochs=4)
    with pytest.warns(UserWarning, match=r"after epoch 2 .*mostly growth of live tensors"):
        trainer.fit(detector, datamodule=datamodule)

    grown_mib = watch.history[2]["allocated_mib"] - watch.history[1]["allocated_mib"]
    assert grown_mib == pytest.approx(LEAK_MIB, abs=64)
    assert [entry["warning"] for entry in watch.history] == [0, 0, 1, 1]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_second_process_on_the_card_is_named(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    program = (
        "import sys; sys.stdin.readline(); import torch\n"
        f"taken = torch.empty({NEIGHBOUR_MIB * MIB}, dtype=torch.uint8, device='cuda'); torch.cuda.synchronize()\n"
        "print('taken', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as neighbour:
        assert neighbour.stdin is not None
        assert neighbour.stdout is not None
        ask, answer = neighbour.stdin, neighbour.stdout

        def take() -> str:
            ask.write("now\n")
            ask.flush()
            return answer.readline()

        moves_in = Happen(2, take)
        watch = VRAMDriftCallback(threshold_for(NEIGHBOUR_MIB))
        trainer = make_trainer([moves_in, watch], accelerator="gpu", devices=1, max_epochs=4)
        try:
            with pytest.warns(UserWarning, match=r"after epoch 2 .*mostly another process on the card"):
                trainer.fit(detector, datamodule=datamodule)
        finally:
            ask.close()

    assert moves_in.kept == ["taken\n"]
    assert watch.history[2]["other_mib"] - watch.history[1]["other_mib"] >= NEIGHBOUR_MIB
    assert [entry["warning"] for entry in watch.history] == [0, 0, 1, 1]
