"""Choices on validation, metrics on test, and the same scores as serving gives."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from graphids.assessment.assess import Assessment, Vehicles, assess, measure, validate
from graphids.assessment.scored_split import normal_hours, score_split
from graphids.core.callbacks import apply_tau_norm
from graphids.core.classifier import WindowClassifier
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.dataset import load_captures
from graphids.core.evaluation import choose_threshold
from graphids.core.graphs.packed import build_graphs, concat_graphs
from graphids.core.models.gat import GAT
from support.scored_windows import scored_windows


@pytest.fixture
def gat(data: CANDataModule) -> GAT:
    torch.manual_seed(0)
    fitted = data.preprocessing
    return GAT(fitted.num_tokens, fitted.node_mean.shape[1], len(fitted.edge_mean), len(fitted.classes)).eval()


def _window(data: CANDataModule) -> tuple[int, int]:
    return data.preprocessing.window_size, data.preprocessing.stride


def _assess(gat: GAT, raw_head: Tensor, data: CANDataModule, false_alarms_per_hour: float) -> Assessment:
    val, test = (score_split(gat, data.graphs[split], data.preprocessing) for split in ("val", "test"))
    return assess(val, val.under(gat, raw_head), test, data.rule_scores, false_alarms_per_hour)


def test_the_threshold_uses_the_rate_that_was_asked_for(data: CANDataModule, gat: GAT) -> None:
    budget = 600.0

    found = _assess(gat, gat.head.weight, data, budget)

    hours = normal_hours(data.graphs["val"], data.preprocessing)
    assert found.after["false_alarms_per_hour"] * hours == pytest.approx(budget * hours, abs=1)
    assert found.operating_point.validation.count == round(found.after["false_alarms_per_hour"] * hours)
    assert found.operating_point.test.per_hour == pytest.approx(found.test["false_alarms_per_hour"])


def test_margins_beyond_those_that_probabilities_tell_apart_get_a_threshold_that_can_be_reached() -> None:
    """sigmoid(37) is 1 in float64: all probabilities here are, and so is the only threshold that alerts at all."""
    val = scored_windows([0.5] * 6, [0, 0, 0, 0, 1, 1])
    val.logits[:, 0] = -torch.tensor([38.0, 39.0, 40.0, 41.0, 45.0, 46.0], dtype=torch.float64)

    threshold, metrics = validate(val, 0.0)

    assert threshold == 1.0
    assert metrics["all/recall"] == 1.0
    assert metrics["false_alarms_per_hour"] == 4 / val.hours  # said, not hidden


def test_windows_that_alert_are_those_whose_written_score_reaches_the_written_threshold(
    gat: GAT, data: CANDataModule
) -> None:
    val = score_split(gat, data.graphs["val"], data.preprocessing)
    for rate in (0.0, 60.0, 600.0, 6000.0):
        threshold, metrics = validate(val, rate)
        written = np.array([float(repr(score)) for score in val.score.tolist()])

        alarms = (written[val.label == 0] >= float(repr(threshold))).sum()
        assert alarms == round(metrics["false_alarms_per_hour"] * val.hours)
        margin = choose_threshold(val.margin, val.label, val.hours, rate)
        assert alarms == (val.margin[val.label == 0] >= margin).sum()


def test_another_head_changes_the_metrics_and_the_same_head_does_not(data: CANDataModule, gat: GAT) -> None:
    same = _assess(gat, gat.head.weight, data, 60.0)
    assert same.before == same.after

    raw_head = gat.head.weight.detach().clone()
    apply_tau_norm(gat.head.weight, 1.0)
    normed = _assess(gat, raw_head, data, 60.0)

    assert normed.before == same.before
    assert normed.after != same.after


def test_the_metrics_of_a_finished_model_are_those_of_the_scores_that_it_serves(gat: GAT, data: CANDataModule) -> None:
    captures = load_captures("simulated", data_seed=3, duration_s=3.0, captures_per_kind=1)
    graphs = concat_graphs([build_graphs(c.frames, *_window(data), capture_name=c.name) for c in captures])
    classifier = WindowClassifier(gat, data.preprocessing, threshold=0.5)

    metrics = measure(score_split(gat, graphs, data.preprocessing, graphs.classes), classifier.threshold).metrics

    served = np.concatenate([classifier.score(c.frames, top_k=0).score for c in captures])
    assert metrics["all/auroc"] == pytest.approx(roc_auc_score(graphs.label > 0, served), abs=1e-6)
    assert metrics["all/recall"] == pytest.approx((served[graphs.label > 0] >= 0.5).mean())


def test_overlap_is_counted_once_in_the_hours_of_normal_traffic(data: CANDataModule) -> None:
    captures = load_captures("simulated", data_seed=3, duration_s=10.0, captures_per_kind=1)
    graphs = build_graphs(captures[0].frames, *_window(data))

    assert normal_hours(graphs, data.preprocessing) * 3600 == pytest.approx(10.0, rel=0.02)


def test_vehicles_of_the_test_split_are_measured_apart(data: CANDataModule, gat: GAT) -> None:
    val, test = (score_split(gat, data.graphs[split], data.preprocessing) for split in ("val", "test"))
    vehicles = np.where(np.arange(len(test.label)) % 2, "car", "van/1")

    found = assess(val, val, test, data.rule_scores, 600.0, vehicles=Vehicles(vehicles, "car"))

    own = vehicles == "car"
    assert found.test["vehicle/car/auroc"] == pytest.approx(roc_auc_score(test.label[own] > 0, test.margin[own]))
    assert found.rule["vehicle/car/auroc"] == pytest.approx(
        roc_auc_score(test.label[own] > 0, data.rule_scores["test"][own])
    )
    dos = own & np.isin(test.label, [0, test.classes.index("dos")])
    assert found.test["vehicle/car/dos/auroc"] == pytest.approx(roc_auc_score(test.label[dos] > 0, test.margin[dos]))
    assert "vehicle/van/1/dos/auroc" not in found.test
    assert found.test["vehicle/car/windows"] + found.test["vehicle/van/1/windows"] == found.test["all/windows"]
    hours = [normal_hours(test.graphs.take(np.flatnonzero(part)), data.preprocessing) for part in (own, ~own)]
    rates = [found.test[f"vehicle/{name}/false_alarms_per_hour"] for name in ("car", "van/1")]
    alarms = sum(rate * part for rate, part in zip(rates, hours, strict=True))
    assert alarms == pytest.approx(found.test["false_alarms_per_hour"] * test.hours)


def test_a_single_vehicle_has_no_metrics_of_its_own(data: CANDataModule, gat: GAT) -> None:
    val, test = (score_split(gat, data.graphs[split], data.preprocessing) for split in ("val", "test"))

    found = assess(val, val, test, data.rule_scores, 600.0, vehicles=Vehicles(np.full(len(test.label), "car")))

    assert not [name for name in found.test if name.startswith("vehicle/")]
