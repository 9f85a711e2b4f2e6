import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from graphids._fs import atomic_load
from graphids.core.models.detector import Detector

MakeTrainer = Callable[..., pl.Trainer]


def test_a_fit_logs_epoch_means_and_the_metrics_of_the_margin(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer()
    trainer.fit(detector, datamodule=datamodule)

    expected = {"train/loss", "train/accuracy", "val/loss", "val/auroc", "val/average_precision", "val/macro_auroc"}
    assert expected <= set(trainer.callback_metrics)
    assert all(math.isfinite(value) for value in trainer.callback_metrics.values())


def test_a_detector_learns_what_is_planted(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer(max_epochs=40, check_val_every_n_epoch=40)
    detector.hparams["lr"] = 1e-2
    trainer.fit(detector, datamodule=datamodule)

    assert trainer.callback_metrics["train/accuracy"] > 0.8


def test_the_train_loss_is_the_mean_over_windows(
    make_trainer: MakeTrainer, detector: Detector, datamodule: Any
) -> None:
    datamodule.batches = [datamodule.batches[0], datamodule.batches[1], datamodule.val_dataloader().dataset[0]]
    trainer = make_trainer(max_epochs=1)
    detector.hparams["lr"] = 1e-12
    detector.hparams["dropout"] = 0.0
    trainer.fit(detector, datamodule=datamodule)

    losses = [detector.loss(batch)[0].item() for batch in datamodule.batches]
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(sum(losses) / 3, rel=1e-4)


class GradientNorms(pl.Callback):
    """Total norm of the gradients that each step is taken with."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_zero_grad(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients:
            self.seen.append(torch.nn.utils.get_total_norm(gradients).item())


def test_gradients_are_clipped_by_the_trainer(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    unclipped, clipped = GradientNorms(), GradientNorms()
    make_trainer([unclipped]).fit(copy.deepcopy(detector), datamodule=datamodule)
    limit = min(unclipped.seen) / 2

    make_trainer([clipped], gradient_clip_val=limit).fit(detector, datamodule=datamodule)

    assert clipped.seen
    assert max(clipped.seen) <= limit * 1.001


@pytest.mark.parametrize(("precision", "computed"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_the_trainers_precision_is_computed_in_and_weights_stay_float32(
    make_trainer: MakeTrainer,
    detector: Detector,
    datamodule: pl.LightningDataModule,
    precision: str,
    computed: torch.dtype,
) -> None:
    seen: set[torch.dtype] = set()

    class Watch(pl.Callback):
        def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            pl_module.gat.input.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))

    make_trainer([Watch()], precision=precision).fit(detector, datamodule=datamodule)

    assert seen == {computed}
    assert {p.dtype for p in detector.parameters()} == {torch.float32}


@pytest.mark.parametrize("loss", ["cross_entropy", "class_weighted", "focal"])
def test_every_loss_trains(make_trainer: MakeTrainer, datamodule: pl.LightningDataModule, loss: Any) -> None:
    trainer = make_trainer(max_epochs=1)
    trainer.fit(Detector(hidden=8, heads=2, layers=1, loss=loss), datamodule=datamodule)

    assert math.isfinite(trainer.callback_metrics["train/loss"])


def test_two_fits_from_one_seed_give_equal_weights_and_metrics(
    make_trainer: MakeTrainer, datamodule: pl.LightningDataModule
) -> None:
    def fit() -> tuple[dict[str, Any], dict[str, Any]]:
        pl.seed_everything(7)
        detector, trainer = Detector(hidden=8, heads=2), make_trainer()
        trainer.fit(detector, datamodule=datamodule)
        return detector.state_dict(), trainer.callback_metrics

    (weights, metrics), (weights_again, metrics_again) = fit(), fit()

    assert all(torch.equal(weights[key], weights_again[key]) for key in weights)
    assert metrics == metrics_again


def test_a_checkpoint_loads_with_weights_only_and_rebuilds_the_detector_without_data(
    make_trainer: MakeTrainer, detector: Detector, datamodule: Any, tmp_path: Path
) -> None:
    trainer = make_trainer()
    trainer.fit(detector, datamodule=datamodule)
    trainer.save_checkpoint(tmp_path / "x.ckpt")

    checkpoint = atomic_load(tmp_path / "x.ckpt")
    restored = Detector.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True).eval()

    assert checkpoint["graphids_preprocessing"] == datamodule.preprocessing.to_dict()
    assert checkpoint["graphids_architecture"] == detector.gat.architecture()
    batch = datamodule.batches[0]
    assert torch.equal(restored(batch), detector.eval()(batch))


def test_a_resumed_fit_ends_where_the_whole_fit_ends(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    # Without dropout: the random state is not part of a checkpoint.
    detector.hparams["dropout"] = 0.0
    again = copy.deepcopy(detector)
    whole = make_trainer(max_epochs=2, callbacks=[])
    pl.seed_everything(0)
    whole.fit(detector, datamodule=datamodule)

    class StopAfterOneEpoch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            trainer.should_stop = True

    first, second = make_trainer([StopAfterOneEpoch()], max_epochs=2), make_trainer(max_epochs=2)
    pl.seed_everything(0)
    first.fit(again, datamodule=datamodule)
    resumed = Detector(**again.hparams)
    second.fit(resumed, datamodule=datamodule, ckpt_path=first.checkpoint_callback.last_model_path)

    for key, value in detector.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], value)


def test_resuming_with_another_network_says_what_differs(
    make_trainer: MakeTrainer, detector: Detector, datamodule: pl.LightningDataModule
) -> None:
    trainer = make_trainer()
    trainer.fit(detector, datamodule=datamodule)

    with pytest.raises(ValueError, match=r"'hidden': \(8, 16\)"):
        make_trainer().fit(
            Detector(hidden=16, heads=2, layers=1),
            datamodule=datamodule,
            ckpt_path=trainer.checkpoint_callback.last_model_path,
        )


def test_metrics_that_validation_cannot_define_are_not_logged_and_named_once(
    make_trainer: MakeTrainer, detector: Detector, datamodule: Any
) -> None:
    batch = datamodule.batches[0].clone()
    batch.y = torch.zeros_like(batch.y)
    datamodule.val_dataloader = lambda: torch.utils.data.DataLoader([batch], batch_size=None)
    trainer = make_trainer(callbacks=[], enable_checkpointing=True)
    trainer.checkpoint_callback.monitor = "val/loss"

    with pytest.warns(UserWarning, match=r"val/macro_auroc cannot be computed.*12 are normal and 0 attacks") as warned:
        trainer.fit(detector, datamodule=datamodule)

    assert "val/macro_auroc" not in trainer.callback_metrics
    assert "val/loss" in trainer.callback_metrics
    assert sum("cannot be computed" in str(warning.message) for warning in warned) == 1


@pytest.mark.parametrize(
    ("edges", "features", "expected"),
    [(None, "raw", True), (None, "deviations", False), (False, "raw", False), (True, "deviations", True)],
)
def test_deviations_are_judged_without_edges_unless_the_setting_says_otherwise(
    edges: bool | None, features: str, expected: bool
) -> None:
    detector = Detector(edges=edges)

    detector.build(1, 3, 2, 2, features=features)

    assert detector.gat.architecture()["edges"] is expected


def test_a_detector_without_data_and_checkpoint_says_what_it_needs(detector: Detector, datamodule: Any) -> None:
    with pytest.raises(RuntimeError, match=r"has no network yet.*Pass datamodule="):
        detector(datamodule.batches[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "huge"}, "model.size is 'huge', expected one of small, large"),
        ({"loss": "hinge"}, "model.loss is 'hinge'"),
        ({"lr": 0.0}, "model.lr is 0.0"),
        ({"weight_decay": math.nan}, "model.weight_decay is nan"),
        ({"warmup": 1.0}, "model.warmup is 1.0"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector(**settings)


def test_settings_override_the_size() -> None:
    detector = Detector(size="large", heads=2, dropout=0.0)
    detector.build(num_tokens=5, num_node_features=3, num_edge_features=2, num_classes=3)

    architecture = detector.gat.architecture()
    assert (architecture["hidden"], architecture["heads"], architecture["dropout"]) == (128, 2, 0.0)
