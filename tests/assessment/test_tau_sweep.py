"""The tau sweep: what each tau would do on validation, which one is chosen, and what is said about it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score
from torch import Tensor

from graphids.assessment.scored_split import ScoredSplit, score_split
from graphids.assessment.tau_sweep import TAUS, TauSweep, choose_tau, sweep_tau
from graphids.core.callbacks import TauNormCallback, apply_tau_norm
from graphids.core.data.datamodule import CANDataModule
from graphids.core.evaluation import choose_threshold
from graphids.core.inference import classify
from graphids.core.models.detector import Detector
from graphids.core.models.gat import GAT

KINDS = ("normal", "flood", "spoof")


def network(weight: list[list[float]], bias: list[float] | None = None) -> GAT:
    """As much of a network as a sweep looks at: its head."""
    head = torch.nn.Linear(len(weight[0]), len(weight))
    head.weight.data = torch.tensor(weight)
    head.bias.data = torch.tensor(bias or [0.0] * len(weight))
    return cast(GAT, SimpleNamespace(head=head))


def validation(gat: GAT, states: Tensor, labels: list[int], classes: tuple[str, ...]) -> ScoredSplit:
    graphs: Any = SimpleNamespace(label=np.array(labels))
    return ScoredSplit(graphs, classes, states, classify(gat, states), hours=1.0)


def sweep(gat: GAT, raw: ScoredSplit, false_alarms_per_hour: float = 1.0) -> TauSweep:
    return sweep_tau(gat, raw, gat.head.weight, false_alarms_per_hour)


def rare_spoof() -> tuple[GAT, ScoredSplit]:
    """Rows of norm 4, 4 and 0.5: the spoof windows look 0.3 like normal ones, and that outweighs their own row."""
    gat = network([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.5]])
    normal, flood, spoof = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 1.0]
    states = torch.tensor([normal] * 4 + [flood] * 2 + [spoof] * 2)
    return gat, validation(gat, states, [0, 0, 0, 0, 1, 1, 2, 2], KINDS)


def two_logits(bias: list[float]) -> tuple[GAT, ScoredSplit]:
    """Rows of opposite signs and norm 2; margins of the windows before the bias: -4, -2, -0.8, 0.8, 2, 4."""
    gat = network([[-2.0, 0.0], [2.0, 0.0]], bias)
    states = torch.tensor([[x, 0.0] for x in (-1.0, -0.5, -0.2, 0.2, 0.5, 1.0)])
    return gat, validation(gat, states, [0, 0, 1, 0, 1, 1], ("normal", "attack"))


def random_split(seed: int = 0) -> tuple[GAT, ScoredSplit]:
    """300 windows of three classes that overlap, under rows of very different norms."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (300,), generator=generator)
    states = torch.eye(3)[labels] + torch.randn(300, 3, generator=generator)
    gat = network((torch.tensor([[3.0], [1.0], [0.3]]) * (torch.eye(3) - 0.2)).tolist(), [0.1, 0.0, -0.1])
    return gat, validation(gat, states, labels.tolist(), KINDS)


def test_a_rare_class_whose_row_is_small_gains_and_auto_takes_the_smallest_tau_that_finds_it() -> None:
    """Spoof wins where 4^(1 - tau) * 0.3 < 0.5^(1 - tau), that is for tau > 1 - ln(1 / 0.3) / ln(8) = 0.421."""
    result = sweep(*rare_spoof())

    assert result.best == 0.45
    assert result.metrics["macro_f1"] == (*[pytest.approx((0.8 + 1 + 0) / 3)] * 9, *[1.0] * 12)
    assert result.moved == (*[0] * 9, *[2] * 12)
    assert result.sentence() == (
        "Of 21 values of tau from 0 to 1 the best is 0.45: macro-F1 1.0000, with the head as trained 0.6000; "
        "2 of 8 validation windows change class."
    )


def test_two_logits_without_a_bias_change_nothing_and_the_sentence_says_why() -> None:
    result = sweep(*two_logits(bias=[0.0, 0.0]))

    assert result.best == 0
    assert set(result.moved) == {0}
    assert all(len(set(values)) == 1 for values in result.metrics.values())
    assert result.sentence().startswith(
        "Of 21 values of tau from 0 to 1 none changes the class of any of the 6 validation windows. "
        "Two logits get opposite gradients"
    )
    assert "within 0 % of each other" in result.sentence()


def test_two_logits_with_a_bias_move_the_class_boundary_but_not_the_order_of_the_scores() -> None:
    """The windows at 0.8 and -0.8 (2^(1 - tau) * 0.4) fall short of a bias of -0.5 once tau exceeds 0.678."""
    result = sweep(*two_logits(bias=[0.25, -0.25]))

    assert result.moved == (*[0] * 14, *[1] * 7)
    assert len(set(result.metrics["macro_auroc"])) == len(set(result.metrics["all_recall"])) == 1
    assert "what changes is the weight of the bias, which is not divided" in result.sentence()


def test_training_two_logits_leaves_the_sum_of_their_rows_and_nearly_their_norms() -> None:
    """The mechanism behind the sentence: opposite gradients, also through class weights, clipping and Adam."""
    torch.manual_seed(0)
    states, head = torch.randn(200, 16), torch.nn.Linear(16, 2)
    labels, before = (states[:, 0] > 1).long(), head.weight.detach().sum(dim=0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(states), labels, weight=torch.tensor([1.0, 5.0])).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()

    torch.testing.assert_close(head.weight.detach().sum(dim=0), before, atol=1e-3, rtol=0)
    normal, attack = head.weight.detach().norm(dim=1).tolist()
    assert min(normal, attack) > 4 * before.norm()  # trained far from where it began
    assert normal == pytest.approx(attack, rel=0.1)


def test_many_rows_of_one_norm_are_named_as_the_reason() -> None:
    gat = network(torch.eye(3).tolist())
    raw = validation(gat, torch.eye(3), [0, 1, 2], KINDS)

    assert "The norms of the head's rows lie within 0 % of each other" in sweep(gat, raw).sentence()


def test_rows_that_differ_without_effect_say_that_the_classes_lie_further_apart() -> None:
    gat = network([[4.0, 0.0], [0.0, 1.0]])
    raw = validation(gat, torch.eye(2), [0, 1], ("normal", "attack"))

    assert (
        sweep(gat, raw)
        .sentence()
        .endswith("The rows' norms differ (1 to 4), but by less than what separates the classes.")
    )


def test_a_tau_that_only_does_harm_is_not_chosen_and_the_harm_is_told() -> None:
    """Here the windows that look like spoof are normal: what helped the rare class is wrong."""
    gat, raw = rare_spoof()
    raw = replace(raw, graphs=cast(Any, SimpleNamespace(label=np.array([0, 0, 0, 0, 1, 1, 0, 0]))))

    result = sweep(gat, raw)

    assert result.best == 0
    assert result.sentence().startswith(
        "Of 21 values of tau from 0 to 1 none classifies better than the head as trained: macro-F1 1.0000, "
        "at worst 0.9000 at tau=0.45; "
        "at most 2 of 8 validation windows change class."
    )


def test_metrics_are_those_of_scikit_learn_under_every_tau() -> None:
    gat, raw = random_split()
    label, result = raw.label, sweep(gat, raw)

    assert len({round(f1, 6) for f1 in result.metrics["macro_f1"]}) > 5  # tau has work to do here
    for i, tau in enumerate(TAUS):
        scored = raw.under(gat, apply_tau_norm(gat.head.weight.detach().clone(), tau))
        predicted = scored.logits.argmax(dim=1).numpy()
        of_kind = [(label == 0) | (label == kind) for kind in (1, 2)]
        expected = {
            "macro_f1": f1_score(label, predicted, average="macro"),
            "balanced_accuracy": balanced_accuracy_score(label, predicted),
            "accuracy": accuracy_score(label, predicted),
            "macro_auroc": np.mean([roc_auc_score(label[kind] > 0, scored.score[kind]) for kind in of_kind]),
        }
        assert {name: result.metrics[name][i] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_recall_is_taken_at_the_threshold_that_each_tau_would_get() -> None:
    gat, raw = random_split()

    result = sweep(gat, raw, false_alarms_per_hour=5.0)

    for i, tau in enumerate(TAUS):
        margin = raw.under(gat, apply_tau_norm(gat.head.weight.detach().clone(), tau)).margin
        threshold = choose_threshold(margin, raw.label, 1.0, 5.0)
        assert (margin[raw.label == 0] >= threshold).sum() == 5
        assert result.metrics["all_recall"][i] == (margin[raw.label > 0] >= threshold).mean()


def test_the_best_tau_has_the_highest_macro_f1_and_is_the_nearest_to_zero_that_has_it() -> None:
    result = sweep(*random_split())

    f1 = result.metrics["macro_f1"]
    assert result.best == TAUS[f1.index(max(f1))] > 0


def test_a_class_without_validation_windows_is_left_out_of_the_mean_and_named() -> None:
    gat, raw = rare_spoof()
    known = replace(raw, graphs=cast(Any, SimpleNamespace(label=np.array([0, 0, 0, 0, 1, 1, 0, 0]))))

    result = sweep(gat, known)

    assert result.absent == ("spoof",)
    assert result.metrics["macro_f1"][0] == 1.0
    assert "Left out of macro-F1, without a validation window: spoof." in result.sentence()


def test_unlabelled_windows_count_for_nothing() -> None:
    gat, raw = random_split()
    label = raw.label.copy()
    label[200:] = -1
    hidden = replace(raw, graphs=cast(Any, SimpleNamespace(label=label)))
    shorter = validation(gat, raw.states[:200], raw.label[:200].tolist(), KINDS)

    assert sweep(gat, hidden) == sweep(gat, shorter)


def test_without_attacks_in_validation_what_needs_them_is_absent() -> None:
    gat = network([[1.0, 0.0], [0.0, 1.0]])

    result = sweep(gat, validation(gat, torch.eye(2), [0, 0], ("normal", "attack")))

    assert result.metrics.keys() == {"macro_f1", "balanced_accuracy", "accuracy"}


def test_the_table_has_one_row_per_tau() -> None:
    columns = sweep(*rare_spoof()).to_dict()

    assert columns["tau"] == [round(0.05 * step, 2) for step in range(21)]
    assert {len(values) for values in columns.values()} == {21}
    assert list(columns) == [
        *("tau", "macro_f1", "balanced_accuracy", "accuracy", "macro_auroc", "all_recall", "moved")
    ]


def test_a_sweep_leaves_head_and_split_as_they_are() -> None:
    gat, raw = random_split()
    weight, logits = gat.head.weight.detach().clone(), raw.logits.clone()

    sweep(gat, raw)

    assert torch.equal(gat.head.weight, weight)
    assert torch.equal(raw.logits, logits)


def test_a_fit_with_auto_ends_with_the_tau_that_the_sweep_of_its_raw_head_prefers(data: CANDataModule) -> None:
    pl.seed_everything(0)
    detector, tau_norm = Detector(hidden=8, heads=2, layers=1, lr=0.01), TauNormCallback("auto", choose_tau)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[tau_norm],
    )
    with pytest.warns(UserWarning, match="no best checkpoint"):
        trainer.fit(detector, datamodule=data)

    record, gat = tau_norm.record, detector.gat
    assert record is not None
    raw = score_split(gat, data.graphs["val"], data.preprocessing).under(gat, record.raw_head)
    assert record.chosen
    assert record.tau == sweep_tau(gat, raw, record.raw_head, 60.0).best
    assert torch.equal(gat.head.weight, record.normed_head())


def test_choosing_leaves_the_detector_in_its_mode(data: CANDataModule) -> None:
    fitted = data.preprocessing
    gat = GAT(fitted.num_tokens, fitted.node_mean.shape[1], len(fitted.edge_mean), len(fitted.classes)).train()
    detector: Any = SimpleNamespace(gat=gat, hparams={"false_alarms_per_hour": 60.0})

    assert choose_tau(detector, data) in TAUS
    assert all(module.training for module in gat.modules())


def test_auto_without_the_data_module_that_holds_validation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"validation split of the fit's CANDataModule, found NoneType\. Fit with"):
        choose_tau(cast(Detector, None), None)
