"""What `ResumableFit` does within one process; tests/commands/test_resume.py interrupts and resumes whole runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from graphids._fs import atomic_load
from graphids.core.callbacks import INTERRUPTED, ResumableFit
from graphids.core.models.detector import Detector

MakeTrainer = Callable[..., pl.Trainer]


class FailAt(pl.Callback):
    """Raises in the given hook, in its `nth` call; `before` is done first."""

    def __init__(self, hook: str, nth: int, before: Callable[[pl.LightningModule], object] = lambda _: None) -> None:
        self.calls = 0
        self.nth, self.before = nth, before
        setattr(self, hook, self._act)

    def _act(self, _trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.calls += 1
        if self.calls == self.nth + 1:
            self.before(pl_module)
            raise RuntimeError("planted")


def interrupted_state(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    failure: pl.Callback,
    folder: Path,
) -> dict[str, Any]:
    with pytest.raises(RuntimeError, match="planted"):
        make_trainer([ResumableFit(), failure]).fit(detector, datamodule=datamodule)
    state: dict[str, Any] = atomic_load(folder / "checkpoints" / INTERRUPTED)
    return state


@pytest.mark.parametrize(
    ("hook", "step"),
    [("on_train_batch_start", 2), ("on_after_backward", 2), ("on_train_batch_end", 3), ("on_validation_start", 3)],
)
def test_an_error_leaves_the_state_after_the_last_whole_step(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    tmp_path: Path,
    hook: str,
    step: int,
) -> None:
    """Of four steps an epoch; in a validation the last one counts as not done, since it will be repeated."""
    # The first validation is Lightning's sanity check.
    nth = 1 if hook == "on_validation_start" else 2
    state = interrupted_state(make_trainer, detector, datamodule, FailAt(hook, nth), tmp_path)

    assert state["global_step"] == step
    progress = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert progress["current"] == {"ready": step, "started": step, "processed": step, "completed": step}
    assert not progress["is_last_batch"]


def test_nothing_is_left_of_an_optimizer_step_that_was_not_finished(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    with (
        pytest.warns(UserWarning, match="not written, the interruption came within an optimizer step"),
        pytest.raises(FileNotFoundError),
    ):
        interrupted_state(make_trainer, detector, datamodule, FailAt("on_before_optimizer_step", 2), tmp_path)


def test_weights_that_are_not_finite_are_not_left(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    def diverge(module: Any) -> None:
        module.gat.head.weight.data[0, 0] = torch.nan

    with (
        pytest.warns(UserWarning, match="not written, the weights hold NaN or infinity"),
        pytest.raises(FileNotFoundError),
    ):
        interrupted_state(make_trainer, detector, datamodule, FailAt("on_train_batch_end", 1, diverge), tmp_path)


def test_a_save_that_fails_is_told_and_the_first_error_raised(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer([ResumableFit(), FailAt("on_train_batch_end", 1)])

    def disk_is_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    trainer.strategy.save_checkpoint = disk_is_full  # type: ignore[method-assign]

    with (
        pytest.warns(
            UserWarning, match=rf"{INTERRUPTED}: could not be written \(OSError: .* No space left on device\)"
        ),
        pytest.raises(RuntimeError, match="planted"),
    ):
        trainer.fit(detector, datamodule=datamodule)


def test_an_error_before_the_first_step_leaves_nothing(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        interrupted_state(make_trainer, detector, datamodule, FailAt("on_train_start", 0), tmp_path)


def test_a_fit_that_ends_removes_what_an_interruption_left(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule, tmp_path: Path
) -> None:
    interrupted_state(make_trainer, detector, datamodule, FailAt("on_train_batch_end", 1), tmp_path)
    path = tmp_path / "checkpoints" / INTERRUPTED

    make_trainer([ResumableFit()]).fit(detector, datamodule=datamodule, ckpt_path=path)

    assert sorted(p.name for p in path.parent.iterdir()) == [
        "best.ckpt",
        "best.ckpt.sha256",
        "last.ckpt",
        "last.ckpt.sha256",
    ]


def test_a_steps_random_numbers_depend_on_its_place_alone(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    drawn: list[float] = []

    class Draw(pl.Callback):
        def on_before_zero_grad(self, *_: Any) -> None:
            drawn.append(torch.rand(()).item())

    def fit(seed: int) -> list[float]:
        drawn.clear()
        torch.rand(len(drawn) + seed + 1)
        make_trainer([ResumableFit(seed), Draw()]).fit(detector, datamodule=datamodule)
        return list(drawn)

    first, again, other = fit(0), fit(0), fit(1)

    assert first == again
    assert len(set(first)) == len(first) == 8
    assert not set(first) & set(other)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ResumableFit: seed is -1, expected an integer >= 0\."):
        ResumableFit(seed=-1)
