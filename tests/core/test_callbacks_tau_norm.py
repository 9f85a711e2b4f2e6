import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from graphids._fs import IntegrityError, atomic_load, sidecar_path
from graphids.core.callbacks import TauNormCallback, apply_tau_norm, head_key, tau_norm_record, tau_normalize
from graphids.core.models.detector import Detector
from support.paths import TESTS, on_path

MakeTrainer = Callable[..., pl.Trainer]


def weight() -> torch.Tensor:
    """Rows of norm 5, 2 and 0."""
    return torch.tensor([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (0.0, [[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]]),
        (0.5, [[3 / math.sqrt(5), 4 / math.sqrt(5)], [0.0, -math.sqrt(2)], [0.0, 0.0]]),
        (1.0, [[0.6, 0.8], [0.0, -1.0], [0.0, 0.0]]),
        (2.0, [[3 / 25, 4 / 25], [0.0, -0.5], [0.0, 0.0]]),
    ],
)
def test_rows_are_divided_by_their_norm_to_the_power_of_tau(tau: float, expected: list[list[float]]) -> None:
    w = weight()
    apply_tau_norm(w, tau)

    torch.testing.assert_close(w, torch.tensor(expected))


def test_tau_zero_changes_no_bit() -> None:
    w = torch.randn(50, 33, generator=torch.Generator().manual_seed(0))
    before = w.clone()
    apply_tau_norm(w, 0.0)

    assert torch.equal(w, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_parameter_is_changed_in_place_whatever_its_dtype(dtype: torch.dtype) -> None:
    parameter = torch.nn.Parameter(weight().to(dtype))
    pointer = parameter.data_ptr()
    apply_tau_norm(parameter, 1.0)

    assert parameter.data_ptr() == pointer
    assert parameter.dtype == dtype
    torch.testing.assert_close(
        parameter.detach().double().norm(dim=1), torch.tensor([1.0, 1.0, 0.0]).double(), atol=5e-3, rtol=0
    )


def test_rows_too_small_or_large_for_float32_squares_get_norm_one() -> None:
    w = torch.tensor([[1e-30, 0.0], [1e30, 1e30]])
    apply_tau_norm(w, 1.0)

    torch.testing.assert_close(w.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), ()])
def test_a_weight_that_is_not_2d_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[classes, hidden\], found shape"):
        apply_tau_norm(torch.ones(shape), 0.5)


@pytest.mark.parametrize("tau", [-0.1, math.nan, math.inf])
def test_a_tau_that_is_negative_or_not_finite_is_refused(tau: float) -> None:
    with pytest.raises(ValueError, match="tau has to be a finite number >= 0, found"):
        apply_tau_norm(weight(), tau)
    with pytest.raises(ValueError, match="tau has to be"):
        TauNormCallback(tau)


def test_a_diverged_head_is_refused() -> None:
    with pytest.raises(ValueError, match="training has diverged"):
        apply_tau_norm(torch.tensor([[math.nan, 1.0]]), 0.5)


def test_the_head_is_the_highest_index_by_number_not_by_text() -> None:
    assert head_key(["fc_layers.2.weight", "fc_layers.10.weight", "fc_layers.10.bias"]) == "fc_layers.10.weight"


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["embedding.weight", "my_fc_layers.1.weight"], "none"),
        (["a.fc_layers.1.weight", "b.fc_layers.1.weight"], r"a\.fc.*b\.fc"),
    ],
)
def test_a_state_dict_without_one_clear_head_is_refused(keys: list[str], found: str) -> None:
    with pytest.raises(ValueError, match=f"highest-indexed.*found .*{found}"):
        head_key(keys)


def test_another_tau_starts_from_the_raw_head() -> None:
    checkpoint: dict[str, Any] = {"state_dict": {"fc_layers.0.weight": weight()}}

    tau_normalize(checkpoint, 0.5)
    record = tau_normalize(checkpoint, 1.0)

    torch.testing.assert_close(checkpoint["state_dict"]["fc_layers.0.weight"], apply_tau_norm(weight(), 1.0))
    assert torch.equal(record.raw_head, weight())
    assert record.row_norms() == ([5.0, 2.0, 0.0], pytest.approx([1.0, 1.0, 0.0]))


def test_applying_a_tau_twice_equals_once_and_tau_zero_undoes_it() -> None:
    once: dict[str, Any] = {"state_dict": {"fc_layers.0.weight": weight()}}
    tau_normalize(once, 0.7)
    normed = once["state_dict"]["fc_layers.0.weight"].clone()

    tau_normalize(once, 0.7)
    assert torch.equal(once["state_dict"]["fc_layers.0.weight"], normed)

    tau_normalize(once, 0.0)
    assert torch.equal(once["state_dict"]["fc_layers.0.weight"], weight())


def test_after_a_fit_file_and_model_are_the_best_epoch_with_a_normalized_head(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    class KeepBestRaw(pl.Callback):
        """Stands before tau-normalization in the list."""

        def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.raw = atomic_load(trainer.checkpoint_callback.best_model_path)["state_dict"]

    keep, tau_norm = KeepBestRaw(), TauNormCallback(tau=1.0)
    trainer = make_trainer([keep, tau_norm], max_epochs=3)
    trainer.fit(detector, datamodule=datamodule)

    path = Path(trainer.checkpoint_callback.best_model_path)
    saved = atomic_load(path)
    subprocess.run(["sha256sum", "--strict", "-c", sidecar_path(path).name], cwd=path.parent, check=True)
    head = "gat.fc_layers.3.weight"
    torch.testing.assert_close(saved["state_dict"][head].norm(dim=1), torch.ones(3))
    for key, value in saved["state_dict"].items():
        assert torch.equal(value, detector.state_dict()[key])
        assert torch.equal(value, keep.raw[key]) == (key != head)
    assert tau_norm.record is not None
    assert torch.equal(tau_norm.record.raw_head, keep.raw[head])
    assert saved["graphids_tau_norm"].keys() == {"tau", "key", "raw_head", "chosen"}
    assert saved["graphids_tau_norm"]["chosen"] is False


def test_only_the_best_checkpoint_is_normalized(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer([TauNormCallback()])
    trainer.fit(detector, datamodule=datamodule)

    assert tau_norm_record(atomic_load(trainer.checkpoint_callback.last_model_path)) is None


class SeeHeadAtStart(pl.Callback):
    """Stands after tau-normalization in the list."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.head = pl_module.state_dict()["gat.fc_layers.3.weight"].clone()


def test_a_resume_from_the_normalized_checkpoint_starts_from_the_raw_head(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    first = make_trainer([TauNormCallback(tau=1.0)])
    first.fit(detector, datamodule=datamodule)
    path = first.checkpoint_callback.best_model_path
    raw_head = atomic_load(path)["graphids_tau_norm"]["raw_head"]

    see = SeeHeadAtStart()
    second = make_trainer([TauNormCallback(tau=0.5), see], max_epochs=3)
    second.fit(Detector(**detector.hparams), datamodule=datamodule, ckpt_path=path)

    assert torch.equal(see.head, raw_head)


class Ask:
    """A `choose_tau` that answers in turn, and keeps the head that it was shown."""

    def __init__(self, *answers: float) -> None:
        self.answers, self.heads, self.datamodules = list(answers), [], []

    def __call__(self, module: Detector, datamodule: pl.LightningDataModule) -> float:
        self.heads.append(module.gat.head.weight.detach().clone())
        self.datamodules.append(datamodule)
        return self.answers[len(self.heads) - 1]


def test_auto_asks_with_the_best_checkpoints_raw_head_and_applies_the_answer(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    ask = Ask(0.35)
    tau_norm = TauNormCallback("auto", ask)
    trainer = make_trainer([tau_norm])
    trainer.fit(detector, datamodule=datamodule)

    saved = atomic_load(trainer.checkpoint_callback.best_model_path)
    record = tau_norm_record(saved)
    assert record is not None
    assert (record.tau, record.chosen, tau_norm.tau) == (0.35, True, "auto")
    assert ask.datamodules == [datamodule]
    assert torch.equal(ask.heads[0], record.raw_head)
    assert torch.equal(saved["state_dict"][record.key], apply_tau_norm(record.raw_head.clone(), 0.35))
    assert torch.equal(detector.gat.head.weight, saved["state_dict"][record.key])


def test_auto_asks_again_from_the_raw_head_when_the_best_checkpoint_was_normalized_before(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    """As when a fit is killed after tau-normalization and goes on, without a better epoch."""
    ask = Ask(1.0, 0.5)
    trainer = make_trainer([TauNormCallback("auto", ask)], max_epochs=1)
    trainer.fit(detector, datamodule=datamodule)
    trainer.fit(detector, datamodule=datamodule)

    record = tau_norm_record(atomic_load(trainer.checkpoint_callback.best_model_path))
    assert record is not None
    assert record.tau == 0.5
    assert torch.equal(ask.heads[0], ask.heads[1])
    assert torch.equal(record.raw_head, ask.heads[0])


def test_auto_without_a_function_to_ask_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tau='auto' needs choose_tau.*found None.*assessment\.tau_sweep\.choose_tau"):
        TauNormCallback("auto")


def test_a_word_that_is_not_auto_is_refused() -> None:
    with pytest.raises(ValueError, match="tau has to be 'auto' or a finite number >= 0, found best"):
        TauNormCallback("best")  # type: ignore[arg-type]


def test_a_record_from_before_tau_could_be_chosen_reads_as_given() -> None:
    old = {"tau": 0.5, "key": "fc_layers.0.weight", "raw_head": weight()}

    record = tau_norm_record({"graphids_tau_norm": old})

    assert record is not None
    assert not record.chosen


def test_a_second_fit_of_the_same_module_starts_from_the_raw_head(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    tau_norm, see = TauNormCallback(tau=1.0), SeeHeadAtStart()
    trainer = make_trainer([tau_norm, see], max_epochs=1)
    trainer.fit(detector, datamodule=datamodule)
    assert tau_norm.record is not None
    raw_head = tau_norm.record.raw_head

    trainer.fit_loop.max_epochs = 2
    trainer.fit(detector, datamodule=datamodule)

    assert torch.equal(see.head, raw_head)


def test_testing_the_best_checkpoint_tests_the_normalized_head(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer([TauNormCallback(tau=1.0)])
    trainer.fit(detector, datamodule=datamodule)
    trainer.test(detector, datamodule=datamodule, ckpt_path="best", verbose=False)

    torch.testing.assert_close(detector.gat.fc_layers[-1].weight.norm(dim=1), torch.ones(3))


def test_without_a_checkpoint_the_model_in_memory_is_normalized_with_a_warning(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer([TauNormCallback(tau=1.0)], fast_dev_run=True)

    with pytest.warns(UserWarning, match=r"no best checkpoint.*no file is written"):
        trainer.fit(detector, datamodule=datamodule)

    torch.testing.assert_close(detector.gat.fc_layers[-1].weight.norm(dim=1), torch.ones(3))


@pytest.fixture(scope="module")
def four_ranks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict[str, Any]]]:
    """`four_ranks(fault)`: what each of four processes said of its fit."""
    program, folder = TESTS / "support" / "four_ranks.py", tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-W", "ignore", str(program), str(folder), "none", "save", "tau"]
    answer = subprocess.run(command, env=on_path(), capture_output=True, text=True, check=False, timeout=150)
    answers = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
    assert len(answers) == 3 * 4, answer.stderr
    return lambda fault: sorted((a for a in answers if a["fault"] == fault), key=lambda a: a["rank"])


def test_of_four_processes_one_rescales_the_head_once_and_all_end_with_it(
    four_ranks: Callable[[str], list[dict[str, Any]]],
) -> None:
    """With tau 0.5 a head that was rescaled twice is another one than a head that was rescaled once."""
    answers = four_ranks("none")
    once = apply_tau_norm(torch.tensor(answers[0]["raw_head"]), 0.5)

    # Two epochs and one tau-normalization.
    assert [answer["files_replaced"].count("best.ckpt") for answer in answers] == [3, 0, 0, 0]
    assert not any(answer["files_replaced"] for answer in answers[1:])
    for answer in answers:
        assert answer["raw_head"] == answers[0]["raw_head"]
        assert torch.equal(torch.tensor(answer["head"]), once)


@pytest.mark.parametrize(("fault", "doing"), [("save", "saving"), ("tau", "tau-normalizing")])
def test_a_full_disk_on_rank_zero_ends_every_process_with_the_reason(
    four_ranks: Callable[[str], list[dict[str, Any]]], fault: str, doing: str
) -> None:
    first, *others = four_ranks(fault)

    assert first["error"] == "OSError"
    assert re.search(r"No space left on device .*what was there before is untouched: .*best\.ckpt", first["message"])
    for other in others:
        assert re.match(rf"Rank 0 failed while {doing} .*best\.ckpt: OSError.*No space left", other["message"])


def test_a_best_checkpoint_that_changed_on_disk_is_not_normalized(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    class Truncate(pl.Callback):
        def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            path = Path(trainer.checkpoint_callback.best_model_path)
            path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(IntegrityError, match="truncated or changed"):
        make_trainer([Truncate(), TauNormCallback()]).fit(detector, datamodule=datamodule)
