import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from graphids.core.evaluation import (
    attack_margin,
    auroc,
    average_precision,
    choose_threshold,
    detection_metrics,
    undefined_metrics,
)

CLASSES = ("normal", "dos", "fuzzy", "replay")


def test_margin_of_two_classes_is_the_difference_of_their_logits() -> None:
    assert attack_margin(torch.tensor([[1.0, 3.0], [2.0, -1.0]])).tolist() == [2.0, -3.0]


def test_sigmoid_of_the_margin_is_one_minus_the_probability_of_normal() -> None:
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    torch.testing.assert_close(attack_margin(logits).sigmoid(), 1 - logits.softmax(dim=1)[:, 0])


def test_margin_refuses_a_single_logit() -> None:
    with pytest.raises(ValueError, match=r"C >= 2.*found \(4, 1\)"):
        attack_margin(torch.zeros(4, 1))


@pytest.mark.parametrize("decimals", [0, 1, 16], ids=["many ties", "some ties", "no ties"])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-9], ids=["margins", "huge margins", "tiny"])
def test_auroc_and_average_precision_agree_with_scikit_learn(decimals: int, scale: float) -> None:
    rng = np.random.default_rng(0)
    is_attack = rng.random(3000) < 0.1
    scores = scale * np.round(rng.normal(size=3000) + is_attack, decimals)

    assert auroc(scores, is_attack) == pytest.approx(roc_auc_score(is_attack, scores), abs=1e-14)
    assert average_precision(scores, is_attack) == pytest.approx(average_precision_score(is_attack, scores), abs=1e-14)


def test_a_constant_score_ranks_like_a_coin() -> None:
    assert auroc([0.3] * 4, [0, 1, 1, 0]) == 0.5
    assert average_precision([0.3] * 4, [0, 1, 0, 0]) == 0.25


@pytest.mark.parametrize("is_attack", [[0, 0], [1, 1], []])
def test_areas_are_undefined_without_both_classes(is_attack: list[int]) -> None:
    scores = [0.5] * len(is_attack)

    assert auroc(scores, is_attack) is None
    assert average_precision(scores, is_attack) is None


def test_a_kind_is_compared_with_normal_windows_and_not_with_other_kinds() -> None:
    #          normal    dos       fuzzy
    scores = [0.1, 0.3, 0.2, 0.4, 0.9, 0.8]
    labels = [0, 0, 1, 1, 2, 2]

    metrics = detection_metrics(scores, labels, CLASSES, threshold=0.3, hours=0.5)

    assert metrics["dos/auroc"] == 0.75
    assert metrics["fuzzy/auroc"] == 1.0
    assert metrics["macro/auroc"] == 0.875
    assert metrics["all/auroc"] == 7 / 8
    assert metrics["dos/recall"] == 0.5
    assert metrics["all/recall"] == 0.75
    assert metrics["dos/prevalence"] == 0.5
    assert metrics["all/windows"] == 4
    assert metrics["false_alarms_per_hour"] == 2.0


def test_an_absent_kind_has_no_figures_and_is_named_as_undefined() -> None:
    labels = [0, 0, 1]
    metrics = detection_metrics([0.1, 0.2, 0.3], labels, CLASSES, threshold=0.5, hours=1.0)
    undefined = undefined_metrics(labels, CLASSES)

    assert metrics["replay/windows"] == 0
    assert {"replay/auroc", "replay/average_precision", "replay/recall", "fuzzy/auroc"} <= set(undefined)
    assert not set(undefined) & set(metrics)
    assert not any(math.isnan(value) for value in metrics.values())


def test_a_split_of_attacks_alone_has_recall_but_neither_areas_nor_false_alarms() -> None:
    metrics = detection_metrics([0.1, 0.9], [1, 1], CLASSES, threshold=0.5, hours=1.0)

    assert metrics == {
        **{"dos/recall": 0.5, "dos/prevalence": 1.0, "dos/windows": 2, "fuzzy/windows": 0, "replay/windows": 0},
        **{"all/recall": 0.5, "all/prevalence": 1.0, "all/windows": 2},
    }


def test_unlabelled_windows_do_not_count() -> None:
    labelled = detection_metrics([0.1, 0.2, 0.3], [0, 1, 0], CLASSES, 0.2, 1.0)

    assert detection_metrics([0.1, 0.2, 0.3, 9.0], [0, 1, 0, -1], CLASSES, 0.2, 1.0) == labelled


@pytest.mark.parametrize(
    ("false_alarms_per_hour", "alerting_normal_windows"),
    [(0, 0), (0.2, 0), (0.5, 1), (1, 2), (1.4, 3), (1.5, 3), (9, 5)],
)
def test_the_threshold_uses_the_rate_to_the_nearest_window(
    false_alarms_per_hour: float, alerting_normal_windows: int
) -> None:
    normal = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    scores, labels = np.append(normal, 0.9), [0, 0, 0, 0, 0, 1]

    threshold = choose_threshold(scores, labels, duration_hours=2.0, false_alarms_per_hour=false_alarms_per_hour)

    assert (normal >= threshold).sum() == alerting_normal_windows


def test_new_traffic_of_the_same_kind_brings_more_than_the_rate_as_often_as_less() -> None:
    """300 validation splits of 200 windows in one hour; the true rate of a uniform score is known."""
    generator = np.random.default_rng(0)
    for rate in (2, 5, 20):
        thresholds = [choose_threshold(generator.random(200), np.zeros(200), 1.0, rate) for _ in range(300)]
        true_rates = 200 * (1 - np.array(thresholds))

        assert abs((true_rates > rate).mean() - 0.5) < 0.08


def test_a_rate_between_two_scores_lies_between_them_in_proportion() -> None:
    scores = [0.0, 1.0, 2.0, 3.0]

    found = [choose_threshold(scores, [0] * 4, 1.0, rate) for rate in (1.0, 1.2, 1.4)]

    # The k-th highest of n scores is exceeded by (k - 1/3) / (n + 1/3) of new ones.
    np.testing.assert_allclose(found, [3 - (rate / 4 * (4 + 1 / 3) + 1 / 3 - 1) for rate in (1.0, 1.2, 1.4)])


def test_without_any_allowed_alarm_the_threshold_leaves_room_for_rounding_on_both_sides() -> None:
    threshold = choose_threshold([0.1, 0.4, 0.6, 0.9], [0, 0, 1, 1], duration_hours=1.0, false_alarms_per_hour=0)

    assert threshold == pytest.approx(0.5)


@pytest.mark.parametrize(("false_alarms_per_hour", "alerting"), [(1, 0), (2, 3)])
def test_tied_normal_scores_alert_together_where_that_is_nearer_to_the_rate(
    false_alarms_per_hour: float, alerting: int
) -> None:
    scores, labels = [0.2, 0.2, 0.2, 0.2, 0.5, 0.5, 0.5, 0.7], [0] * 7 + [1]

    threshold = choose_threshold(scores, labels, duration_hours=1.0, false_alarms_per_hour=false_alarms_per_hour)

    assert sum(score >= threshold for score in scores[:7]) == alerting
    assert threshold not in scores


def test_a_split_of_equal_normal_scores_does_not_alert_on_all_of_them() -> None:
    assert 0.2 < choose_threshold([0.2] * 1000 + [0.9], [0] * 1000 + [1], 1.0, 60.0) < 0.9


def test_where_normal_windows_score_highest_nothing_up_to_them_alerts() -> None:
    assert choose_threshold([0.2, 0.8], [1, 0], duration_hours=1.0, false_alarms_per_hour=0) > 0.8


def test_a_threshold_needs_normal_windows() -> None:
    with pytest.raises(ValueError, match=r"needs normal windows.*found none"):
        choose_threshold([0.5], [1], duration_hours=1.0, false_alarms_per_hour=1.0)


@pytest.mark.parametrize(("hours", "rate"), [(0.0, 1.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.inf)])
def test_hours_and_rate_are_checked(hours: float, rate: float) -> None:
    with pytest.raises(ValueError, match=r"duration_hours|false_alarms_per_hour"):
        choose_threshold([0.5, 0.6], [0, 1], hours, rate)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite scores, found 1 of 2"):
        detection_metrics([0.1, math.nan], [0, 1], CLASSES, 0.5, 1.0)


def test_a_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="Label 7 is not an index into the 4 classes"):
        detection_metrics([0.1], [7], CLASSES, 0.5, 1.0)
