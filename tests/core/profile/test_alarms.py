"""Limits beyond what held-out traffic showed keep the budget that was asked for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from graphids.core.profile.alarms import NUM_LIMITS, Alarms, beyond_decades, margins, num_incidents, score_margin
from graphids.core.profile.experts import EXPERTS

EARLY, UNKNOWN, LENGTH = (
    [expert.event for expert in EXPERTS].index(event) for event in ("too_early", "unknown_id", "wrong_length")
)


def peaks_of(*chunks: tuple[float, float]) -> np.ndarray:
    """Chunks in which two IDs were too early by so much, and nothing else happened."""
    peaks = np.zeros((len(chunks), 3, len(EXPERTS), 2), np.float32)
    peaks[:, :2, EARLY, 0] = chunks
    return peaks


def alarms_of(offset: np.ndarray, margin: float) -> Alarms:
    return Alarms(6.0, 1.0, False, offset, np.full((len(EXPERTS), 2), margin, np.float32), 0.5, "0" * 64, 0.9)


def test_a_chunk_exceeds_what_the_id_showed_in_all_others() -> None:
    peaks = peaks_of((5.0, 1.0), (4.5, 1.0), (0.0, 3.0))
    a_decade = 0.1 * NUM_LIMITS

    margin = margins(peaks, hours=1.0, per_hour=a_decade)

    assert margin[EARLY, 0] == 2.0 + 1.0  # 3 after 1, more than 5 after 4.5; and a decade for the time that is missing
    assert margin[EARLY, 1] == 1.0


def test_as_many_excesses_as_the_budget_allows_lie_beyond_the_margin() -> None:
    peaks = peaks_of((9.0, 0.0), (7.0, 0.0), (7.0, 5.0), (7.0, 4.0))
    one_each = float(NUM_LIMITS)

    assert margins(peaks, hours=1.0, per_hour=one_each)[EARLY, 0] == 1.0  # of the excesses 2 and 1
    assert margins(peaks, hours=2.0, per_hour=one_each)[EARLY, 0] == 0.0
    assert margins(peaks, hours=1.0, per_hour=one_each * 0.999)[EARLY, 0] > 2.0


def test_one_chunk_has_no_others_to_be_held_against() -> None:
    assert margins(peaks_of((3.0, 0.0)), hours=1.0, per_hour=100.0)[EARLY, 0] == 3.0


def test_nobody_promises_no_false_alarm_at_all() -> None:
    assert beyond_decades(0.01) == pytest.approx(2.0)
    assert beyond_decades(5.0) == 0.0
    with pytest.raises(ValueError, match="0 false alarms are allowed, expected more than 0"):
        beyond_decades(0.0)


def test_the_network_alerts_from_the_score_that_held_out_traffic_reached_in_as_many_incidents() -> None:
    end_s = np.arange(1, 2001) * 1.0
    spans_s = np.column_stack((end_s - 0.1, end_s))
    logits = np.full(2000, -3.0)
    logits[[100, 101, 102, 900, 1500]] = [2.0, 5.0, 3.0, 4.0, 1.0]  # an incident of three windows, and two of one
    hours = 2000 / 3600

    assert score_margin(logits, spans_s, hours, 2.0 / hours) == 2.0
    assert score_margin(logits, spans_s, hours, 1.0 / hours + 1e-9) == 5.0
    assert score_margin(logits, spans_s, hours, 0.1 / hours) == pytest.approx(5.0 + np.log(10.0))


def test_a_network_that_would_be_in_alarm_for_long_does_not_alert_although_that_were_one_incident() -> None:
    end_s = np.arange(1, 2001) * 1.0
    spans_s = np.column_stack((end_s - 1.0, end_s))
    logits = np.full(2000, -3.0)
    logits[100:160] = 2.0

    assert score_margin(logits, spans_s, 2000 / 3600, 1e4) > 2.0


def test_alarms_less_than_ten_seconds_apart_are_one_incident() -> None:
    assert num_incidents(np.array([])) == 0
    assert num_incidents(np.array([30.0, 1.0, 9.0, 18.0, 40.1])) == 3


def test_a_wrong_length_speaks_however_short_the_held_out_traffic_was() -> None:
    offset = np.zeros((2, len(EXPERTS), 2), np.float32)
    offset[1, LENGTH] = 1.0

    limits = alarms_of(offset, margin=4.0).limits()

    assert (limits[0, LENGTH] < 1.0).all()
    assert_array_equal(limits[1, LENGTH], [1.0, 1.0])  # an ID that showed it is not judged


@pytest.mark.parametrize("shown", [0.0, 400.0])
def test_an_unknown_id_is_an_alarm_from_five_frames_a_second_or_three_new_ids_on(shown: float) -> None:
    """Also where held-out traffic had an ID that the profile lacks: the alarm is not for that ID alone."""
    limits = alarms_of(np.full((2, len(EXPERTS), 2), shown, np.float32), margin=0.5).limits()

    assert_allclose(limits[-1, UNKNOWN], [5.0, 2.5])


@pytest.mark.parametrize("event", ["checksum_broken", "counter_broken"])
def test_one_broken_frame_speaks_where_none_was_ever_broken(event: str) -> None:
    limits = alarms_of(np.zeros((2, len(EXPERTS), 2), np.float32), margin=3.0).limits()

    assert (limits[0, [expert.event for expert in EXPERTS].index(event)] < 1.0).all()


def test_no_limit_lies_beyond_the_largest_deviation() -> None:
    limits = alarms_of(np.full((2, len(EXPERTS), 2), 100.0, np.float32), margin=975.0).limits()

    assert (limits[0, EARLY] < 1000.0).all()


def test_ids_that_nobody_held_out_have_the_margin_alone() -> None:
    offset = np.ones((3, len(EXPERTS), 2), np.float32)

    known = alarms_of(offset, margin=0.5).renumbered(np.array([0, 2]), 3)

    assert_array_equal(known.limits()[:, EARLY, 0], [1.5, 0.5, 1.5, 1.5])
