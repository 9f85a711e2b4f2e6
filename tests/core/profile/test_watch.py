"""The experts: what each sees in windows of a bus, given limits, smoothed over time."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.frames import Frames, concat
from graphids.core.graphs.packed import PackedGraphs, build_graphs
from graphids.core.injection.inject import Injection, inject
from graphids.core.profile.alarms import Alarms
from graphids.core.profile.expert_kernels import Windows
from graphids.core.profile.experts import EXPERTS, Evidence
from graphids.core.profile.follower import followed
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.records import deviation_names
from graphids.core.profile.watch import Watch
from graphids.core.simulation.simulate import simulate_vehicle

EVENTS = [expert.event for expert in EXPERTS]


@pytest.fixture(scope="module")
def drives() -> list[Frames]:
    return [simulate_vehicle(seed=seed, duration_s=8.0) for seed in range(3)]


@pytest.fixture(scope="module")
def profile(drives: list[Frames]) -> Profile:
    fitted = fit_profile(drives[:2])
    shape = (len(fitted.node_key) + 1, len(EXPERTS), 2)
    alarms = Alarms(
        6.0, 1.0, False, np.zeros(shape, np.float32), np.full(shape[1:], 2.0, np.float32), 0.5, "0" * 64, 0.5
    )
    return replace(fitted, alarms=alarms)


def graphs_of(frames: Frames, profile: Profile, stride: int = 100) -> PackedGraphs:
    return build_graphs(frames, 100, stride, followed(profile, frames))


def evidence_of(frames: Frames, profile: Profile) -> tuple[PackedGraphs, Evidence]:
    graphs = graphs_of(frames, profile)
    return graphs, Watch(profile).evidence(graphs.expert_windows())


def well_known(profile: Profile) -> int:
    """The ID that is sent most often."""
    return int(profile.node_key[profile.vehicle.habits["frames"].argmax()])


@pytest.mark.parametrize(
    ("kind", "event"), [("suppress", "missing"), ("spoof_fast", "too_early"), ("flam", "too_early")]
)
def test_an_attack_on_a_message_is_told_by_its_expert_with_its_id(
    drives: list[Frames], profile: Profile, kind: str, event: str
) -> None:
    target = well_known(profile)
    attacked = inject(drives[2], [Injection(kind, 3.0, 5.0, target)], seed=1).frames

    graphs, said = evidence_of(attacked, profile)

    speaks = said.speaks[:, EVENTS.index(event)]
    first_s = graphs.end_s[speaks].min() - attacked.timestamp[0]
    assert 3.0 <= first_s < 3.5
    assert (said.node_key[speaks, EVENTS.index(event)] == target).mean() > 0.9
    assert said.alarms[speaks].all()


def test_an_alarm_for_a_missing_message_ends_soon_after_its_silence(drives: list[Frames], profile: Profile) -> None:
    habits = profile.vehicle.habits
    slowest = np.argmax(np.where(profile.is_cyclic & (habits["frames"] >= 200), habits["gap_s"], 0.0))
    attacked = inject(drives[2], [Injection("suppress", 1.0, 2.0, int(profile.node_key[slowest]))], seed=1).frames

    graphs, said = evidence_of(attacked, profile)

    last_s = graphs.start_s[said.speaks[:, EVENTS.index("missing")]].max() - attacked.timestamp[0]
    assert 1.5 < last_s < 6.0  # a thousand decades in a mean of half a second fade below two in 3.1 s


def test_an_attack_free_drive_is_told_nothing_by_the_experts_on_timing(drives: list[Frames], profile: Profile) -> None:
    _, said = evidence_of(drives[2], profile)

    timing = [index for index, expert in enumerate(EXPERTS) if expert.judges_timing]
    assert not said.speaks[:, timing].any()


def with_strangers(drive: Frames, when_s: np.ndarray, identifiers: list[int]) -> Frames:
    """The drive with frames of IDs that the vehicle does not have."""
    known = np.flatnonzero(drive.arbitration_id > 0)[: len(when_s)]
    strangers = replace(
        drive.take(known),
        timestamp=drive.timestamp[0] + when_s,
        arbitration_id=np.resize(np.array(identifiers, np.uint32), len(when_s)),
        is_extended=np.zeros(len(when_s), np.bool_),
    )
    both = concat([drive, strangers])
    return both.take(np.argsort(both.timestamp, kind="stable"))


def unknown_said(drive: Frames, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Ends of windows, from the beginning of the drive, in which the expert on unknown IDs speaks, and the IDs."""
    graphs, said = evidence_of(drive, profile)
    speaks = said.speaks[:, EVENTS.index("unknown_id")]
    return graphs.end_s[speaks] - drive.timestamp[0], said.node_key[speaks, EVENTS.index("unknown_id")]


def test_a_new_id_now_and_then_is_no_alarm_and_one_in_a_row_is(drives: list[Frames], profile: Profile) -> None:
    rarely = with_strangers(drives[2], np.array([2.0, 3.5, 5.0]), [0x7A1])
    often = with_strangers(drives[2], np.arange(3.0, 4.0, 0.05), [0x7A1])

    assert len(unknown_said(rarely, profile)[0]) == 0
    when_s, keys = unknown_said(often, profile)
    assert 3.0 < when_s.min() < 3.6
    assert set(keys.tolist()) == {0x7A1}


def test_three_new_ids_within_ten_seconds_are_an_alarm(drives: list[Frames], profile: Profile) -> None:
    when_s, keys = unknown_said(with_strangers(drives[2], np.array([1.0, 3.0, 5.0]), [0x7A1, 0x7A2, 0x7A3]), profile)

    assert len(when_s) == 1
    assert when_s[0] == pytest.approx(5.0, abs=0.2)
    assert keys.tolist() == [0x7A3]


def test_an_unknown_id_that_stays_is_learnt(profile: Profile) -> None:
    drive = simulate_vehicle(seed=2, duration_s=16.0)

    when_s, _ = unknown_said(with_strangers(drive, np.arange(1.0, 15.9, 0.05), [0x7A1]), profile)

    assert 10.5 < when_s.max() < 11.5


def test_windows_in_chunks_have_the_evidence_of_the_whole(drives: list[Frames], profile: Profile) -> None:
    attacks = [Injection("fuzzy", 1.0, 2.0), Injection("spoof_slow", 3.0, 5.0), Injection("suppress", 6.0, 7.0)]
    attacked = inject(drives[2], attacks, seed=1).frames
    graphs = graphs_of(attacked, profile, stride=40)
    whole = Watch(profile).evidence(graphs.expert_windows())
    watch = Watch(profile)

    parts = [
        watch.evidence(graphs.take(rows).expert_windows())
        for rows in np.array_split(np.arange(len(graphs)), [1, 20, 21, 60])
    ]

    assert whole.speaks.any(axis=0).sum() > 3
    for column, own in zip(zip(*parts, strict=True), whole, strict=True):
        assert_array_equal(np.concatenate(column), own)


def test_a_deviation_that_lasts_outweighs_one_that_flickers(profile: Profile) -> None:
    """The limits in a window alone are out of reach here; what counts is the mean of half a second."""
    alarms = profile.alarms
    assert alarms is not None
    margin = alarms.margin.copy()
    margin[:, 1] = np.inf
    smoothed = replace(profile, alarms=replace(alarms, margin=margin))
    place = int(profile.vehicle.habits["frames"].argmax())
    lasting, flickering = (np.zeros((40, len(deviation_names())), np.float32) for _ in range(2))
    lasting[10:30, 0], flickering[10, 0] = 3.0, 3.0

    def windows(x: np.ndarray) -> np.ndarray:
        key, end_s = np.full(40, profile.node_key[place], np.uint32), 0.1 * np.arange(1, 41)
        said = Watch(smoothed).evidence(Windows(x, key, np.arange(41), end_s - 0.1, end_s))
        return np.flatnonzero(said.speaks[:, EVENTS.index("too_early")])

    assert len(windows(flickering)) == 0
    # 3 (1 - exp(-t / .5)) exceeds 2 from 1.1 half-seconds on.
    assert windows(lasting)[0] == 10 + 5


def test_no_timing_of_an_id_that_the_profile_has_hardly_seen(drives: list[Frames], profile: Profile) -> None:
    habits = profile.vehicle.habits.copy()
    habits["frames"] = 199
    unsure = replace(profile, vehicle=profile.vehicle._replace(habits=habits))
    habits = profile.vehicle.habits
    slowest = np.argmax(np.where(profile.is_cyclic & (habits["frames"] >= 200), habits["gap_s"], 0.0))
    attacked = inject(drives[2], [Injection("suppress", 1.0, 2.0, int(profile.node_key[slowest]))], seed=1).frames

    _, said = evidence_of(attacked, unsure)

    assert not said.speaks[:, EVENTS.index("missing")].any()


def test_without_alarms_the_experts_say_nothing(drives: list[Frames], profile: Profile) -> None:
    _, said = evidence_of(drives[2], replace(profile, alarms=None))

    assert not said.strength.any()
