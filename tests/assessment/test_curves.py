"""The curves and counts that pictures are made of, with scikit-learn as the oracle."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_curve

from graphids.assessment.curves import (
    confusion,
    hardest_kinds,
    precision_recall_points,
    present_kinds,
    reliability,
    roc_points,
)
from support.scored_windows import many, scored_windows, scoring


def _tied_scores() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 12, 300) / 12, generator.random(300) < 0.3


def test_the_roc_has_the_points_of_scikit_learn_ties_included() -> None:
    score, is_attack = _tied_scores()

    false_positive, true_positive = roc_points(score, is_attack)

    expected = roc_curve(is_attack, score, drop_intermediate=False)
    np.testing.assert_allclose(false_positive, expected[0])
    np.testing.assert_allclose(true_positive, expected[1])


def test_precision_and_recall_have_the_points_of_scikit_learn() -> None:
    score, is_attack = _tied_scores()

    recall, precision = precision_recall_points(score, is_attack)

    expected_precision, expected_recall, _ = precision_recall_curve(is_attack, score)
    np.testing.assert_allclose(recall[1:], expected_recall[-2::-1])
    np.testing.assert_allclose(precision[1:], expected_precision[-2::-1])
    assert np.diff(recall) @ precision[1:] == pytest.approx(average_precision_score(is_attack, score))


def test_reliability_counts_what_came_true_in_each_bin() -> None:
    found = reliability([0.05, 0.5, 0.55, 0.6, 1.0], [False, True, True, False, True], bins=2)

    assert found.windows.tolist() == [2, 3]
    assert found.attacks.tolist() == [1, 2]
    np.testing.assert_allclose(found.mean_score, [0.275, 2.15 / 3])
    # |1 - 0.55| and |2 - 2.15| windows of five are not as they were said to be.
    assert found.error == pytest.approx((0.45 + 0.15) / 5)


def test_an_empty_bin_has_no_share_and_adds_no_error() -> None:
    found = reliability([0.0, 1.0], [False, True], bins=10)

    assert np.isnan(found.share).sum() == 8
    assert found.error == 0.0


def test_the_confusion_matrix_is_that_of_scikit_learn_without_unlabelled_windows() -> None:
    scored = many(300, num_kinds=4)
    scored.label[::10] = -1

    known = scored.label >= 0
    expected = confusion_matrix(scored.label[known], scored.logits.argmax(dim=1).numpy()[known], labels=range(5))
    np.testing.assert_array_equal(confusion(scored), expected)


def test_a_kind_without_windows_is_not_present() -> None:
    assert list(present_kinds(scored_windows([0.9, 0.1], [2, 0]))) == ["spoof"]


def test_of_too_many_kinds_those_that_are_hardest_to_detect_stay_in_their_order() -> None:
    scored = scored_windows([0.9, 0.2, 0.6, 0.5], [1, 2, 3, 0], classes=("normal", "easy", "hard", "easier"))
    model = scoring(scored, 0.5)

    assert hardest_kinds(["easy", "hard", "easier"], model, 3) == ["easy", "hard", "easier"]
    assert hardest_kinds(["easy", "hard", "easier"], model, 2) == ["easy", "hard"]
