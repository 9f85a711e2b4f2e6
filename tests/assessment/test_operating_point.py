"""The rate of false alarms that was asked for beside those that were seen, with SciPy's tests as the oracle."""

import math

import pytest
from scipy.stats import binomtest, chi2, poisson

from graphids.assessment.operating_point import Alarms, OperatingPoint

QUARTER = 0.25


def point(asked: float, validation: tuple[int, float], test: tuple[int, float]) -> OperatingPoint:
    return OperatingPoint(asked, Alarms(*validation), Alarms(*test))


@pytest.mark.parametrize("count", [0, 1, 7, 400])
def test_the_interval_is_the_exact_one_of_a_poisson_count(count: int) -> None:
    low, high = Alarms(count, QUARTER).interval()

    assert low == pytest.approx((chi2.ppf(0.025, 2 * count) / 2 if count else 0.0) / QUARTER)
    assert high == pytest.approx(chi2.ppf(0.975, 2 * count + 2) / 2 / QUARTER)


@pytest.mark.parametrize("seen", [0, 3, 15, 31])
def test_the_rate_asked_for_is_compared_by_the_exact_poisson_test(seen: int) -> None:
    tails = poisson.cdf(seen, 60 * QUARTER), poisson.sf(seen - 1, 60 * QUARTER)

    found = point(60, (15, QUARTER), (seen, QUARTER))

    assert found.p_value == pytest.approx(min(1.0, 2 * min(tails)))
    assert found.departs == (seen in (0, 3, 31))


@pytest.mark.parametrize(("validation", "test"), [((5, 1.0), (60, 4.0)), ((5, 1.0), (20, 4.0)), ((0, 0.1), (0, 9.0))])
def test_the_splits_are_compared_by_the_exact_binomial_test_with_both_exposures(
    validation: tuple[int, float], test: tuple[int, float]
) -> None:
    total, share = validation[0] + test[0], test[1] / (validation[1] + test[1])
    tails = [binomtest(test[0], total, share, side).pvalue for side in ("less", "greater")] if total else [1.0]

    assert point(5, validation, test).splits_differ == (2 * min(tails) < 0.01)


def test_a_rate_as_asked_for_needs_no_note() -> None:
    assert point(60, (15, QUARTER), (17, QUARTER)).note() == ""


def test_more_than_asked_on_unlike_traffic_is_one_sentence_with_both_counts_and_the_cause() -> None:
    assert point(60, (3, 0.05), (33, 0.01)).note() == (
        "False alarms: 60 an hour were asked for and the test split saw 3300.0 (33 in 36.0 seconds), more than chance "
        "explains (exact Poisson test, 1 % level); validation saw 3 in 3.0 minutes at this threshold, so its normal "
        "traffic is unlike that of the test split."
    )


def test_a_validation_split_that_is_too_short_is_named_in_the_same_sentence() -> None:
    assert (
        point(6, (0, 0.05), (5, 0.05))
        .note()
        .endswith(
            "validation saw 0 in 3.0 minutes at this threshold and is too short to certify 6 an hour, which takes 30.0 "
            "minutes without a false alarm."
        )
    )


def test_fewer_than_asked_is_a_departure_too() -> None:
    assert (
        "the test split saw 0.0 (0 in 15.0 minutes), fewer than chance" in point(60, (15, QUARTER), (0, QUARTER)).note()
    )


def test_the_sentence_has_the_interval_and_says_what_would_certify_the_rate() -> None:
    assert point(60, (0, 0.01), (0, 0.01)).sentence() == (
        "On validation 0 false alarms in 36.0 seconds: 0.0 to 368.9 an hour with 95 % confidence; validation is too "
        "short to certify 60 an hour, which takes 3.0 minutes without a false alarm."
    )
    assert "short" not in point(60, (3, 0.05), (0, 0.01)).sentence()


def test_a_rate_of_zero_cannot_be_certified_and_one_alarm_contradicts_it() -> None:
    zero = point(0, (0, 10.0), (1, 1.0))

    assert zero.departs
    assert "cannot certify a rate of 0, whatever its length" in zero.note()


def test_splits_without_normal_traffic_say_nothing_wrong() -> None:
    empty = point(60, (0, 0.0), (0, 0.0))

    assert (empty.p_value, empty.departs, empty.splits_differ, empty.note()) == (1.0, False, False, "")
    assert empty.validation.interval() == (0.0, math.inf)
