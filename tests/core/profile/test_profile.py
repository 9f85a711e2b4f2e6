"""Habits and deviations against a slow reference, and what a profile says of drives that it did not see."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from graphids.core.frames import DataError, Frames, no_frames
from graphids.core.injection.inject import Injection, inject
from graphids.core.profile.kernels import deviate
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.records import DEVIATION, SPANS, STATE, deviation_names
from graphids.core.profile.traffic import traffic_of
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.wire import possible_times


def frames_of(*rows: tuple[float, int, bytes]) -> Frames:
    """Frames given as (seconds, arbitration ID, payload)."""
    n = len(rows)
    return replace(
        no_frames(),
        timestamp=np.array([time_s for time_s, _, _ in rows]),
        arbitration_id=np.array([key for _, key, _ in rows], np.uint32),
        dlc=np.array([len(payload) for _, _, payload in rows], np.uint8),
        payload=np.frombuffer(b"".join(p.ljust(8, b"\0") for _, _, p in rows), np.uint8).reshape(n, 8).copy(),
        is_extended=np.zeros(n, np.bool_),
        channel=np.zeros(n, np.uint8),
    )


def deviations_of(profile: Profile, frames: Frames, parts: int = 1) -> np.ndarray:
    """Deviations of every frame, float32 [n, D], measured in so many parts."""
    traffic = traffic_of(frames, profile.node_key, possible_times(frames))
    states, out, previous = np.zeros(len(profile.node_key), STATE), np.zeros(len(frames), DEVIATION), -1
    for rows in np.array_split(np.arange(len(frames)), parts):
        part = type(traffic)(*(column[rows] for column in traffic))
        measured = np.zeros(len(rows), DEVIATION)
        previous = deviate(part, states, profile.vehicle, previous, measured)
        out[rows] = measured
    return out.view(np.float32).reshape(len(frames), -1)


def column(deviations: np.ndarray, name: str) -> np.ndarray:
    return deviations[:, deviation_names().index(name)]


@pytest.fixture(scope="module")
def drives() -> list[Frames]:
    return [simulate_vehicle(seed=seed, duration_s=12.0) for seed in range(4)]


@pytest.fixture(scope="module")
def profile(drives: list[Frames]) -> Profile:
    return fit_profile(drives[:3])


def test_habits_are_what_the_frames_show() -> None:
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95]
    values = [10, 10, 10, 12, 12, 9, 10, 11, 12, 13]
    block = frames_of(*((t, 0x123, bytes([v, 7])) for t, v in zip(times, values, strict=True)))

    habit = fit_profile([block, block]).vehicle.habits[0]

    assert habit["frames"] == 20
    assert habit["period_s"] == pytest.approx(0.95 / 9)
    assert habit["longest_gap_s"] == pytest.approx(0.15)
    assert_allclose(habit["shortest_s"], [0.1, 0.2, 0.4, 0.8])
    assert_array_equal(habit["low"][:3], [9, 7, 255])
    assert_array_equal(habit["high"][:3], [13, 7, 0])
    assert_array_equal(habit["step"][:2], [3, 0])
    assert_array_equal(habit["turn"][:2], [4, 0])
    assert_array_equal(habit["rest"][:2], [2, 9])
    assert_array_equal(habit["rest_among_moves"][:2], [0, 6])
    assert {v for v in range(256) if habit["values"][0][v >> 3] & (1 << (v & 7))} == set(values)
    assert habit["dlcs"] == 1 << 2


def test_habits_agree_with_a_slow_reference(drives: list[Frames], profile: Profile) -> None:
    rest, shortest, step = defaultdict(int), defaultdict(lambda: np.inf), defaultdict(int)
    for frames in drives[:3]:
        times_s = possible_times(frames)
        for key in profile.node_key.tolist():
            rows = np.flatnonzero(frames.arbitration_id == key)
            for span in SPANS:
                shortest[key, span] = min([shortest[key, span], *(times_s[rows[span:]] - times_s[rows[:-span]])])
            for byte in range(8):
                values, run = frames.payload[rows, byte].astype(int), 0
                for before, after in pairwise(values):
                    run = run + 1 if before == after else 0
                    within = byte < frames.dlc[rows[0]]
                    rest[key, byte] = max(rest[key, byte], run if within else 0)
                    step[key, byte] = max(step[key, byte], abs(after - before))

    for index, key in enumerate(profile.node_key.tolist()):
        habit = profile.vehicle.habits[index]
        assert_allclose(habit["shortest_s"], [shortest[key, span] for span in SPANS])
        assert_array_equal(habit["rest"], [rest[key, byte] for byte in range(8)])
        assert_array_equal(habit["step"], [step[key, byte] for byte in range(8)])


def test_traffic_that_was_fitted_deviates_in_nothing_but_the_order_of_its_ids(
    drives: list[Frames], profile: Profile
) -> None:
    deviations = deviations_of(profile, drives[0])

    assert [name for name in deviation_names() if column(deviations, name).any()] == ["surprise"]


def test_measured_in_parts_the_deviations_are_those_of_the_whole(drives: list[Frames], profile: Profile) -> None:
    assert_array_equal(deviations_of(profile, drives[3], parts=1), deviations_of(profile, drives[3], parts=57))


def test_a_drive_that_was_not_seen_deviates_in_few_frames(drives: list[Frames], profile: Profile) -> None:
    deviations = deviations_of(profile, drives[3])

    for name in (*deviation_names()[:6], "unknown", "dlc"):
        assert (column(deviations, name) > 0.5).mean() < 0.001, name


@pytest.mark.parametrize(
    ("kind", "name", "least"),
    [
        ("spoof_fast", "early_1", 0.3),
        ("spoof_fast", "early_4", 1.5),
        ("flam", "early_2", 0.5),
        ("replay", "early_2", 0.5),
        ("fuzzy", "unknown", 1.0),
        ("diagnostic", "unknown", 1.0),
        ("dos", "unknown", 1.0),
    ],
)
def test_an_attack_shows_in_the_deviation_that_it_causes(
    kind: str, name: str, least: float, drives: list[Frames], profile: Profile
) -> None:
    attacked = inject(drives[3], [Injection(kind, 5.0, 8.0)], seed=1).frames

    deviation = column(deviations_of(profile, attacked), name)

    assert np.quantile(deviation[attacked.attack == 1], 0.9) >= least
    assert np.quantile(deviation[attacked.timestamp - attacked.timestamp[0] < 5.0], 0.999) < least / 2


def test_a_message_that_returns_from_silence_is_late(drives: list[Frames], profile: Profile) -> None:
    target = int(profile.node_key[np.argmin(profile.vehicle.habits["period_s"])])
    attacked = inject(drives[3], [Injection("suppress", 5.0, 6.0, target)], seed=1).frames

    late = column(deviations_of(profile, attacked), "late")

    assert attacked.arbitration_id[np.argmax(late)] == target
    assert late.max() > 20


def test_an_attack_is_forgotten_by_what_adds_up(drives: list[Frames], profile: Profile) -> None:
    attacked = inject(drives[3], [Injection("spoof_fast", 3.0, 5.0)], seed=1)
    hurry = column(deviations_of(profile, attacked.frames), "hurry")
    since = attacked.frames.timestamp - attacked.frames.timestamp[0]

    assert hurry.max() == pytest.approx(4.0, abs=0.1)
    assert hurry[since > 9.0].max() < 0.5


def test_what_differs_from_drive_to_drive_is_tolerated() -> None:
    def drive(gear: int) -> Frames:
        return frames_of(*((i / 100, 0x123, bytes([gear, i % 200])) for i in range(200)))

    steady = fit_profile([drive(3), drive(3), drive(3)])
    varied = fit_profile([drive(3), drive(5), drive(4)])

    novel = [column(deviations_of(profile, drive(7)), "novelty").max() for profile in (steady, varied)]
    assert novel == [1.0, pytest.approx(1 / 201)]


def test_an_id_without_a_period_has_no_timing() -> None:
    rng = np.random.default_rng(0)
    events = np.cumsum(rng.exponential(1.0, 60))
    profile = fit_profile([frames_of(*((t, 0x300, b"\1") for t in events))])

    close = deviations_of(profile, frames_of(*((i / 1000, 0x300, b"\1") for i in range(50))))

    assert not profile.is_cyclic.any()
    assert not close[:, : deviation_names().index("unknown")].any()


def test_one_capture_is_held_against_its_own_thirds(drives: list[Frames]) -> None:
    alone = fit_profile(drives[:1])

    assert alone.blocks == 3
    assert alone.vehicle.tolerance["novelty"].max() > 0


def test_attacks_and_nothing_are_refused(drives: list[Frames]) -> None:
    attacked = inject(drives[0], [Injection("fuzzy", 1.0, 2.0)], seed=0).frames

    with pytest.raises(DataError, match=rf"found {int(attacked.attack.sum())} attacked frames of {len(attacked)}"):
        fit_profile([drives[1], attacked])
    with pytest.raises(DataError, match="found none in 1 captures"):
        fit_profile([no_frames()])
