"""Habits and deviations against a slow reference, and what a profile says of drives that it did not see."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from graphids.core.frames import DataError, Frames, no_frames
from graphids.core.injection.inject import Injection, inject
from graphids.core.profile.habits import new_stream
from graphids.core.profile.kernels import deviate
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.core.profile.records import DEVIATION, SPANS, deviation_names
from graphids.core.profile.traffic import traffic_of, without_pauses
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
    traffic = traffic_of(frames, profile.node_key, without_pauses(possible_times(frames), np.inf))
    stream, out, previous = new_stream(len(profile.node_key)), np.zeros(len(frames), DEVIATION), -1
    for rows in np.array_split(np.arange(len(frames)), parts):
        part = type(traffic)(*(column[rows] for column in traffic))
        measured = np.zeros(len(rows), DEVIATION)
        previous = deviate(part, stream, profile.vehicle, previous, measured)
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
    assert habit["gap_s"] == pytest.approx(0.95 / 9)
    assert habit["is_cyclic"]
    assert habit["long_gap_s"] == pytest.approx(0.15)
    assert_allclose(habit["short_s"], [0.1, 0.2, 0.4, 0.8])
    assert_array_equal(habit["low"][:2], [9, 7])
    assert_array_equal(habit["high"][:3], [13, 7, 0])
    assert_array_equal(habit["step"][:2], [3, 0])
    assert_array_equal(habit["turn"][:2], [4, 0])
    assert_array_equal(habit["rest"][:2], [2, 9])
    assert_array_equal(habit["rest_among_moves"][:2], [0, 6])
    assert {v for v in range(256) if habit["values"][0][v >> 3] & (1 << (v & 7))} == set(values)
    assert habit["dlcs"] == 1 << 2


def test_habits_agree_with_a_slow_reference(drives: list[Frames], profile: Profile) -> None:
    rest, short, step = defaultdict(int), defaultdict(lambda: np.inf), defaultdict(int)
    for frames in drives[:3]:
        times_s = possible_times(frames)
        for index, key in enumerate(profile.node_key.tolist()):
            rows = np.flatnonzero(frames.arbitration_id == key)
            for span in SPANS:
                elapsed_s = times_s[rows[span:]] - times_s[rows[:-span]]
                short[key, span] = min(short[key, span], np.quantile(elapsed_s, 0.01, method="nearest"))
            widths = profile.vehicle.habits["width"][index]
            for byte in np.flatnonzero(widths[: frames.dlc[rows[0]]]):
                values, run = frames.payload[rows, byte].astype(int), 0
                if widths[byte] == 2:
                    values = values * 256 + frames.payload[rows, byte + 1]
                for before, after in pairwise(values):
                    run = run + 1 if before == after else 0
                    rest[key, byte] = max(rest[key, byte], run)
                    step[key, byte] = max(step[key, byte], abs(after - before))

    assert (profile.vehicle.habits["width"] == 2).any()
    for index, key in enumerate(profile.node_key.tolist()):
        habit = profile.vehicle.habits[index]
        assert_allclose(habit["short_s"], [short[key, span] for span in SPANS])
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
    target = int(profile.node_key[np.argmin(np.where(profile.is_cyclic, profile.vehicle.habits["gap_s"], np.inf))])
    attacked = inject(drives[3], [Injection("suppress", 5.0, 6.0, target)], seed=1).frames

    late = column(deviations_of(profile, attacked), "late")

    assert attacked.arbitration_id[np.argmax(late)] == target
    assert late.max() > 20


def test_an_attack_is_forgotten_by_what_adds_up(drives: list[Frames], profile: Profile) -> None:
    attacked = inject(drives[3], [Injection("spoof_fast", 3.0, 5.0)], seed=1)
    hurry = column(deviations_of(profile, attacked.frames), "hurry")
    since = attacked.frames.timestamp - attacked.frames.timestamp[0]

    assert hurry.max() > 10.0
    assert hurry[since > 9.0].max() < 2.0


def test_what_differs_from_drive_to_drive_is_tolerated() -> None:
    def drive(gear: int) -> Frames:
        return frames_of(*((i / 100, 0x123, bytes([gear, i % 200])) for i in range(200)))

    steady = fit_profile([drive(3), drive(3), drive(3)])
    varied = fit_profile([drive(3), drive(5), drive(4)])

    novel = [column(deviations_of(profile, drive(7)), "novelty").max() for profile in (steady, varied)]
    assert novel[0] > 0.8
    assert novel[1] == 0.0


def test_the_timing_of_an_id_that_is_not_cyclic_says_little() -> None:
    rng = np.random.default_rng(0)
    events = np.cumsum(rng.exponential(1.0, 60))
    profile = fit_profile([frames_of(*((t, 0x300, b"\1") for t in events))])

    close = deviations_of(profile, frames_of(*((i / 1000, 0x300, b"\1") for i in range(50))))

    assert not profile.is_cyclic.any()
    assert 0.0 < close[:, : deviation_names().index("unknown")].max() <= 10.0


def test_one_capture_is_held_against_its_own_thirds(drives: list[Frames]) -> None:
    alone = fit_profile(drives[:1])

    assert alone.blocks == 3
    assert alone.vehicle.calibration.largest["novelty"].max() > 0


def test_what_stays_new_becomes_usual() -> None:
    def drive(gear: int, seconds: int) -> Frames:
        return frames_of(*((i / 100, 0x123, bytes([gear, i % 200])) for i in range(100 * seconds)))

    novelty = column(deviations_of(fit_profile([drive(3, 10), drive(3, 10)]), drive(7, 20)), "novelty")

    assert_allclose(novelty[[500, 1000, 1500]] / novelty[1], np.exp([-1.0, -2.0, -3.0]), rtol=0.02)


def test_what_was_said_before_is_a_replay_and_what_never_changes_is_none() -> None:
    rng = np.random.default_rng(0)

    def drive() -> list[tuple[float, int, bytes]]:
        said = rng.integers(0, 40, (400, 8), dtype=np.uint8)
        return [(i / 100, 0x123, said[i].tobytes()) for i in range(400)]

    def still() -> list[tuple[float, int, bytes]]:
        return [(i / 100 + 0.001, 0x200, b"\7\7") for i in range(400)]

    profile = fit_profile([frames_of(*sorted(drive() + still())) for _ in range(3)])
    again = drive()
    again[200:300] = [(t, key, again[i][2]) for i, (t, key, _) in enumerate(again[200:300])]
    frames = frames_of(*sorted(again + still()))

    replay = column(deviations_of(profile, frames), "replay")

    assert_array_equal(np.flatnonzero(replay), np.flatnonzero(frames.arbitration_id == 0x123)[203:300])


def test_a_widened_profile_knows_what_the_drive_began_with(drives: list[Frames], profile: Profile) -> None:
    new = frames_of(*((i / 50, 0x7E0, bytes([i % 7])) for i in range(300)))
    order = np.argsort(np.concatenate((drives[3].timestamp, new.timestamp)), kind="stable")
    frames = Frames(
        **{
            name: np.concatenate((getattr(drives[3], name), getattr(new, name)))[order]
            for name in ("timestamp", "arbitration_id", "dlc", "payload", "is_extended", "channel")
        }
    )

    wider = profile.widened(frames)

    assert wider.node_key.tolist() == sorted([*profile.node_key.tolist(), 0x7E0])
    deviations = deviations_of(wider, frames)
    for name in ("unknown", "novelty", "range", "step", "turn", "rest", "replay", "broken_check"):
        assert not column(deviations, name).any(), name
    assert deviations_of(profile, frames)[:, deviation_names().index("unknown")].sum() == 300
    assert wider.frames == profile.frames + len(frames)


def test_widening_changes_nothing_of_the_profile_itself(drives: list[Frames], profile: Profile) -> None:
    before = profile_bytes(profile)

    profile.widened(drives[3])

    assert profile_bytes(profile) == before
    with pytest.raises(DataError, match="Leave it out"):
        profile.widened(inject(drives[0], [Injection("fuzzy", 1.0, 2.0)], seed=0).frames)


def test_two_frames_make_a_profile_that_knows_two_ids() -> None:
    few = frames_of((0.0, 0x123, b"\1"), (1.0, 0x200, b"\2"))

    profile = fit_profile([few])

    assert profile.node_key.tolist() == [0x123, 0x200]
    assert not deviations_of(profile, few)[:, : deviation_names().index("surprise")].any()


def test_attacks_and_nothing_are_refused(drives: list[Frames]) -> None:
    attacked = inject(drives[0], [Injection("fuzzy", 1.0, 2.0)], seed=0).frames

    with pytest.raises(DataError, match=rf"found {int(attacked.attack.sum())} attacked frames of {len(attacked)}"):
        fit_profile([drives[1], attacked])
    with pytest.raises(DataError, match="found none in 1 captures"):
        fit_profile([no_frames()])


def test_a_profile_is_widened_by_frames_in_which_most_of_its_messages_are_missing(
    drives: list[Frames], profile: Profile
) -> None:
    key = drives[2].node_key()
    few = drives[2].take(key == key[0])

    widened = profile.widened(few)

    assert_array_equal(widened.node_key, profile.node_key)
    assert_array_equal(widened.roles, profile.roles)
