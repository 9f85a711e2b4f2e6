"""Windows' nodes against a plain loop over the frames' deviations, and the silence that no frame reports."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from graphids.core.frames import Frames
from graphids.core.injection.inject import Injection, inject
from graphids.core.profile.checks import break_checks, no_counts
from graphids.core.profile.follower import Follower, window_deviations
from graphids.core.profile.habits import new_stream
from graphids.core.profile.kernels import deviate
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.records import DEVIATION, deviation_names
from graphids.core.profile.traffic import traffic_of, without_pauses
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.wire import possible_times

SIZE, STRIDE = 100, 40
SUMMED = [deviation_names().index(name) for name in ("unknown", "broken_check", "broken_counter")]
LATE = deviation_names().index("late")


@pytest.fixture(scope="module")
def drives() -> list[Frames]:
    return [simulate_vehicle(seed=seed, duration_s=8.0) for seed in range(3)]


@pytest.fixture(scope="module")
def profile(drives: list[Frames]) -> Profile:
    return fit_profile(drives[:2])


def starts_of(frames: Frames) -> np.ndarray:
    return np.arange(0, len(frames) - SIZE + 1, STRIDE)


@pytest.mark.parametrize("kind", ["fuzzy", "spoof_fast", "suppress"])
def test_a_window_has_a_node_for_every_id_with_the_largest_of_its_deviations(
    kind: str, drives: list[Frames], profile: Profile
) -> None:
    frames = inject(drives[2], [Injection(kind, 3.0, 5.0)], seed=1).frames
    traffic = traffic_of(frames, profile.node_key, without_pauses(possible_times(frames), np.inf))
    measured = np.zeros(len(frames), DEVIATION)
    deviate(traffic, new_stream(len(profile.node_key)), profile.vehicle, -1, measured)
    counts = no_counts(len(profile.node_key))
    break_checks(traffic, profile.checks, counts, measured["broken_check"], measured["broken_counter"])
    rows, keys = measured.view(np.float32).reshape(len(frames), -1), frames.node_key()

    nodes = window_deviations(profile, frames, starts_of(frames), SIZE)

    found = nodes.deviations.view(np.float32).reshape(len(nodes.node_key), -1)
    for window, start in enumerate(starts_of(frames).tolist()):
        own = slice(nodes.ptr[window], nodes.ptr[window + 1])
        inside = keys[start : start + SIZE]
        present = list(dict.fromkeys(inside.tolist()))
        assert_array_equal(nodes.node_key[own][: len(present)], present)
        for node, key in enumerate(present, start=int(nodes.ptr[window])):
            mine = rows[start : start + SIZE][inside == key]
            expected = mine.max(axis=0)
            expected[SUMMED] = mine.sum(axis=0)[SUMMED]
            found_here = found[node].copy()
            assert found_here[LATE] >= expected[LATE]
            found_here[LATE] = expected[LATE]
            assert_allclose(found_here, expected, rtol=1e-5)


def test_a_message_that_is_absent_is_a_node_once_it_is_overdue(drives: list[Frames], profile: Profile) -> None:
    gap_s = np.where(profile.is_cyclic, profile.vehicle.habits["gap_s"], np.inf)
    fastest = int(np.argmin(gap_s))
    target = int(profile.node_key[fastest])
    frames = inject(drives[2], [Injection("suppress", 3.0, 5.0, target)], seed=1).frames
    since = possible_times(frames) - frames.timestamp[0]

    nodes = window_deviations(profile, frames, starts_of(frames), SIZE)

    late = np.zeros(len(starts_of(frames)))
    for window in range(len(late)):
        own = slice(nodes.ptr[window], nodes.ptr[window + 1])
        late[window] = nodes.deviations["late"][own][nodes.node_key[own] == target].max(initial=0.0)
    ends_s = since[starts_of(frames) + SIZE - 1]
    silent = (ends_s > 3.2) & (ends_s < 5.0)
    expected = (ends_s[silent] - 3.0) / gap_s[fastest] * profile.vehicle.calibration.rate["late"][fastest]
    assert_allclose(late[silent], np.minimum(expected, 1000.0), rtol=0.15)
    assert late[ends_s < 3.0].max() < late[silent].min() / 10


def test_a_message_that_was_never_seen_is_not_overdue(drives: list[Frames], profile: Profile) -> None:
    frames = drives[2]
    target = int(profile.node_key[np.argmin(np.where(profile.is_cyclic, profile.vehicle.habits["gap_s"], np.inf))])
    without = frames.take(frames.node_key() != target)

    nodes = window_deviations(profile, without, starts_of(without), SIZE)

    assert target not in nodes.node_key


def test_followed_in_chunks_every_deviation_is_that_of_the_whole(drives: list[Frames], profile: Profile) -> None:
    attacks = [Injection("spoof_fast", 2.0, 3.0), Injection("masquerade_constant", 4.0, 6.0)]
    frames = inject(drives[2], attacks, seed=1).frames
    whole, parts = Follower(profile), Follower(profile)

    whole.follow(frames)
    for first in range(0, len(frames), 777):
        parts.follow(frames.take(slice(first, first + 777)))

    expected, found = (follower.nodes(starts_of(frames), SIZE) for follower in (whole, parts))
    assert_array_equal(found.node_key, expected.node_key)
    assert expected.deviations["broken_counter"].any()
    for name in DEVIATION.names or ():
        assert_allclose(found.deviations[name], expected.deviations[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_widened_follower_goes_on_with_what_it_knows_of_every_message(drives: list[Frames]) -> None:
    # The profile lacks an ID, so that the widened one numbers messages anew.
    lacking = np.unique(drives[0].arbitration_id)[3]
    narrow = fit_profile([drive.take(drive.arbitration_id != lacking) for drive in drives[:2]])
    frames, half = drives[2], len(drives[2]) // 2
    first, second = frames.take(slice(0, half)), frames.take(slice(half, None))
    widened, whole = Follower(narrow), Follower(narrow.widened(first))

    widened.follow(first)
    widened.widen(first)
    widened.follow(second)
    whole.follow(frames)

    # Not from the first frame on: to the widened follower the ID that was unknown begins with it.
    starts = starts_of(second)[5:] + half
    found, expected = widened.nodes(starts, SIZE), whole.nodes(starts, SIZE)
    assert_array_equal(found.node_key, expected.node_key)
    assert_array_equal(found.ptr, expected.ptr)
    assert lacking in found.node_key
    for name in ("early", "late", "unknown", "dlc", "broken_check", "broken_counter"):
        assert_allclose(found.deviations[name], expected.deviations[name], rtol=1e-5, err_msg=name)


def test_without_windows_there_are_no_nodes(drives: list[Frames], profile: Profile) -> None:
    nodes = window_deviations(profile, drives[2].take(slice(0, 5)), np.zeros(0, np.int64), SIZE)

    assert (len(nodes.node_key), nodes.ptr.tolist()) == (0, [0])
