"""What several seeds say about a tau: mean, spread, choice, and whether the difference counts."""

import pytest

from graphids.assessment.tau_study import CRITERION, Spread, TauStudy
from graphids.plots.study import draw_study

TEST = "test/macro/auroc"


def study(by_tau: dict[str, dict[int, float]], metric: str = CRITERION) -> TauStudy:
    """A study from one metric by tau and seed."""
    seeds = sorted({seed for by_seed in by_tau.values() for seed in by_seed})
    runs = {(tau, seed): {metric: value} for tau, by_seed in by_tau.items() for seed, value in by_seed.items()}
    return TauStudy(tuple(by_tau), tuple(seeds), runs)


def test_the_deviation_is_that_of_a_sample() -> None:
    known = study({"0.5": {0: 0.7, 1: 0.8, 2: 0.9}}).spread("0.5", CRITERION)

    assert known is not None
    assert (known.mean, known.std, known.n) == (pytest.approx(0.8), pytest.approx(0.1), 3)


def test_one_seed_has_no_deviation_and_no_metric_of_one() -> None:
    alone = study({"0.5": {0: 0.7}})

    assert alone.spread("0.5", CRITERION) == Spread(0.7, None, 1)
    assert set(alone.metrics()) == {f"tau_0.5/{CRITERION}/mean", f"tau_0.5/{CRITERION}/n"}
    assert "0.700 ± - (1)" in alone.table()


def test_a_metric_that_no_run_has_is_left_out_of_rows_and_metrics_and_a_dash_in_the_table() -> None:
    only_validation = study({"0": {0: 0.7, 1: 0.8}})

    assert only_validation.columns()["metric"] == [CRITERION]
    assert only_validation.table().splitlines()[1].split()[-4:] == ["-", "-", "-", "-"]


def test_a_run_that_is_missing_makes_n_smaller() -> None:
    assert study({"0": {0: 0.5, 1: 0.7}, "1": {1: 0.9}}).metrics()[f"tau_1/{CRITERION}/n"] == 1


def test_the_best_tau_is_chosen_by_the_mean_on_validation_whatever_test_says() -> None:
    validation = {("0", 0): 0.8, ("0", 1): 0.6, ("1", 0): 0.7, ("1", 1): 0.8}
    runs = {key: {CRITERION: value, TEST: 1 - value} for key, value in validation.items()}

    assert TauStudy(("0", "1"), (0, 1), runs).best == "1"


def test_auto_is_not_a_tau_that_could_be_chosen() -> None:
    beside = study({"0": {0: 0.5}, "auto": {0: 0.9}})

    assert beside.best == "0"
    assert "tau=0 has the best mean of validation macro-F1 of the fixed taus" in beside.sentence()
    assert study({"auto": {0: 0.9}}).best is None


def test_taus_are_compared_over_the_seeds_that_all_of_them_have() -> None:
    # Over all its seeds tau=1 would have the better mean: because of a seed that tau=0 lacks.
    uneven = study({"0": {0: 0.6}, "1": {0: 0.5, 1: 0.9}})

    assert uneven.best == "0"
    assert "over 1 seed," in uneven.sentence()


def test_a_tau_without_any_run_keeps_no_other_from_being_chosen() -> None:
    assert study({"0": {0: 0.6, 1: 0.7}, "0.5": {}, "1": {0: 0.5, 1: 0.5}}).best == "0"


def test_at_a_tie_the_tau_nearest_to_0_is_best_and_the_sentence_says_that_nothing_changes() -> None:
    same = study({"1": {0: 0.7, 1: 0.8}, "0": {0: 0.7, 1: 0.8}})

    assert same.best == "0"
    assert "tau changes no decision here" in same.sentence()


def test_equal_means_of_seeds_that_differ_are_not_called_no_change() -> None:
    opposed = study({"0": {0: 0.6, 1: 0.8}, "1": {0: 0.8, 1: 0.6}})

    assert "on average" in opposed.sentence()
    assert "no decision" not in opposed.sentence()


def test_the_sentence_says_whether_taus_differ_by_more_than_seeds() -> None:
    within = study({"0": {0: 0.70, 1: 0.80, 2: 0.90}, "1": {0: 0.71, 1: 0.81, 2: 0.89}})
    beyond = study({"0": {0: 0.80, 1: 0.81, 2: 0.82}, "1": {0: 0.60, 1: 0.61, 2: 0.59}})

    assert within.sentence() == (
        "tau=1 has the best mean of validation macro-F1, 0.8033 over 3 seeds, 0.0033 above tau=0, the worst: not more "
        "than its standard deviation over seeds, 0.0902. Seed by seed tau=1 is above tau=0 in 2 of 3."
    )
    assert "0.2100 above tau=1, the worst: more than its standard deviation over seeds, 0.0100" in beyond.sentence()


def test_one_seed_says_that_its_spread_is_unknown() -> None:
    assert study({"0": {0: 0.7}, "1": {0: 0.8}}).sentence().endswith("With one seed its spread over seeds is unknown.")


def test_the_picture_shows_validation_left_and_test_right_with_a_bar_per_tau() -> None:
    values = {("0", 0): 0.6, ("0", 1): 0.7, ("0.5", 0): 0.8, ("0.5", 1): 0.9}
    runs = {key: {CRITERION: value, TEST: value / 2} for key, value in values.items()}

    left, right = draw_study(TauStudy(("0", "0.5", "1"), (0, 1), runs)).axes

    assert (left.get_title(), right.get_title()) == ("validation macro-F1", "test macro AUROC")
    assert [text.get_text() for text in right.get_xticklabels()] == ["0", "0.5", "1"]
    means = [bar.lines[0].get_ydata()[0] for bar in left.containers]
    assert means == pytest.approx([0.65, 0.85])  # and none for tau=1, of which nothing is known


def test_a_study_without_any_metric_can_be_drawn() -> None:
    assert len(draw_study(TauStudy(("0",), (0,), {})).axes) == 2
