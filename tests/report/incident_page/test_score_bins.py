"""Scores over time in memory that does not grow."""

import numpy as np
import pytest
from numpy.typing import NDArray

from graphids.core.window_scores import WindowScores
from graphids.report.incident_page.score_bins import MAX_BINS, ScoreBins
from support.window_scores import window_scores


def _binned(*chunks: WindowScores) -> ScoreBins:
    bins = ScoreBins()
    for chunk in chunks:
        bins.add(chunk)
    return bins


def _random_windows(count: int, *, step_s: float = 0.02) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(0)
    return 1e9 + np.cumsum(generator.uniform(0, 2 * step_s, count)), generator.uniform(0, 1, count)


def test_each_bin_has_the_largest_score_of_its_windows_and_that_windows_number() -> None:
    start_s, score = _random_windows(500)
    bus = _binned(window_scores(start_s, score)).buses["can0"]

    index = ((start_s - start_s[0]) / bus.width_s).astype(int)
    for number in range(MAX_BINS):
        inside = np.flatnonzero(index == number)
        found = bus.bins[number]
        if not len(inside):
            assert found["window"] == -1
            continue
        peak = inside[np.argmax(score[inside])]
        assert (found["window"], found["score"]) == (peak, score[peak])
        assert (found["first_s"], found["last_s"]) == (start_s[inside[0]], start_s[inside[-1]] + 0.1)
        assert found["alerts"] == (score[inside] >= 0.5).sum()


@pytest.mark.parametrize("size", [1, 7, 499])
def test_chunks_of_any_size_give_the_same_bins(size: int) -> None:
    start_s, score = _random_windows(500)
    whole = _binned(window_scores(start_s, score))
    parts = _binned(*(window_scores(start_s[i : i + size], score[i : i + size]) for i in range(0, len(start_s), size)))

    for name in whole.buses["can0"].bins.dtype.names or ():
        np.testing.assert_array_equal(parts.buses["can0"].bins[name], whole.buses["can0"].bins[name])


def test_a_longer_capture_has_wider_bins_and_no_more_of_them() -> None:
    start_s, score = _random_windows(3000, step_s=20.0)
    bus = _binned(window_scores(start_s, score)).buses["can0"]

    assert len(bus.bins) == MAX_BINS
    assert bus.width_s * MAX_BINS / 2 <= start_s[-1] - start_s[0] < bus.width_s * MAX_BINS
    assert np.nanmax(bus.bins["score"]) == score.max()
    assert bus.bins["alerts"].sum() == (score >= 0.5).sum()


def test_windows_of_several_buses_are_numbered_together_and_drawn_apart() -> None:
    bins = _binned(
        window_scores([0.0, 1.0, 0.5], [0.1, 0.2, 0.9], channel=["can0", "can0", "can1"]),
        window_scores([2.0, 1.5], [0.95, 0.3], channel=["can0", "can1"]),
    )

    assert bins.buses["can0"].bins["window"].max() == 3
    assert bins.buses["can1"].bins["window"].max() == 4
    assert bins.buses["can1"].place_s(0.5, 0.5) == 0.5
    assert bins.elapsed_s == 2.0


@pytest.mark.parametrize("jumped_to", [1.0, 1e9])
def test_a_jump_of_the_clock_takes_a_bin_and_is_marked(jumped_to: float) -> None:
    bins = _binned(window_scores([100.0, 101.0, jumped_to, jumped_to + 1.0], [0.1, 0.2, 0.3, 0.9]))
    bus = bins.buses["can0"]

    assert bins.elapsed_s == pytest.approx(2.0 + bus.width_s)
    assert bus.bins["jumps"].sum() == 1
    assert bus.place_s(jumped_to + 1.0, jumped_to + 1.0) == pytest.approx(2.0 + bus.width_s, abs=bus.width_s)


def test_small_steps_back_do_not_make_the_time_run_ahead() -> None:
    bins = _binned(window_scores([0.0, 0.4, 0.2, 0.6, 0.4, 0.8], [0.1] * 6))

    assert bins.elapsed_s == pytest.approx(0.8)
