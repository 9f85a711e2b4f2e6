"""Pauses of the whole bus make no message late; the silence of one message does."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from graphids.core.frames import Frames
from graphids.core.injection.inject import Injection, inject
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.traffic import longest_silence, without_pauses
from graphids.core.simulation.simulate import simulate_vehicle


@pytest.fixture(scope="module")
def drives() -> list[Frames]:
    return [simulate_vehicle(seed=seed, duration_s=6.0) for seed in range(3)]


def paused(frames: Frames, at_s: float, for_s: float) -> Frames:
    """The recording with nothing on the bus for a while."""
    late = frames.timestamp - frames.timestamp[0] >= at_s
    return replace(frames, timestamp=frames.timestamp + np.where(late, for_s, 0.0))


def deviations_of(profile: Profile, frames: Frames, size: int = 10**6) -> np.ndarray:
    follower = Follower(profile)
    for first in range(0, len(frames), size):
        follower.follow(frames.take(slice(first, first + size)))
    return follower.nodes(np.arange(0, len(frames) - 100, 100), 100).deviations


def test_a_pause_is_taken_out_of_the_times_wherever_a_chunk_begins() -> None:
    times_s = np.array([0.0, 0.1, 1.1, 1.2, 4.2])

    whole = without_pauses(times_s, 0.5)
    later = without_pauses(times_s[3:], 0.5, before_s=1.1, pause=1, paused_s=1.0)

    assert_allclose(whole.time_s, [0.0, 0.1, 0.1, 0.2, 0.2])
    assert whole.pause.tolist() == [0, 0, 1, 1, 2]
    for column, part in zip(whole, later, strict=True):
        assert_array_equal(column[3:], part)


def test_a_bus_pauses_when_three_of_its_messages_are_overdue_together() -> None:
    assert longest_silence(np.array([6000, 600, 600, 10]), seconds=60.0) == 0.4
    assert longest_silence(np.array([6000, 60, 60, 60]), seconds=60.0) == 3.0
    assert longest_silence(np.array([6000]), seconds=60.0) == 0.4


def test_a_pause_makes_nothing_late_or_early_whole_or_in_chunks(drives: list[Frames]) -> None:
    profile = fit_profile(drives[:2])
    silent = paused(drives[2], 3.0, for_s=20.0)

    found = deviations_of(profile, silent)

    unpaused = deviations_of(profile, drives[2])
    for name in ("late", "early", "delay", "hurry"):
        assert found[name].max() == pytest.approx(unpaused[name].max(), abs=0.5)
        assert_array_equal(deviations_of(profile, silent, 333)[name], found[name], err_msg=name)


def test_a_profile_that_has_seen_a_pause_still_sees_what_is_missing(drives: list[Frames]) -> None:
    profile = fit_profile([paused(drives[0], 3.0, for_s=20.0), drives[1]])
    target = int(profile.node_key[profile.vehicle.habits["frames"].argmax()])
    missing = inject(drives[2], [Injection("suppress", 3.0, 4.0, target)], seed=1).frames

    assert deviations_of(profile, missing)["late"].max() > 20.0
