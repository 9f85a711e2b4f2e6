"""Reasons: figures that are those of the traffic, and sentences that a person reads."""

from dataclasses import replace

import numpy as np
import pytest

from graphids.core.frames import NORMAL, Frames
from graphids.core.graphs.window_stream import Stretch
from graphids.core.incidents.alert_window import LEARNED, AlertWindow, Signal
from graphids.core.incidents.detection import Subject, incidents_of
from graphids.core.incidents.incident import EVENTS, Incident
from graphids.core.incidents.open_incident import OpenIncident
from graphids.core.incidents.reasons import reason_for
from graphids.core.profile.experts import EXPERTS
from graphids.core.profile.follower import window_deviations
from graphids.core.profile.profile import Profile, fit_profile
from support.scripted_drive import QUIET_ID, WINDOW, Says, drive

A, OTHER = 0x1A4, 0x2B0
PERIOD_S = 0.02
SUBJECT = Subject(WINDOW)


def traffic(seconds: float, *, silent_s: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> Frames:
    """A every 20 ms with a jitter of 1 ms and the lengths 2 and 8, a quiet ID every 50 ms; A may be silent."""
    generator = np.random.default_rng(seed)
    own_s = np.arange(0.0, seconds, PERIOD_S)
    own_s = own_s + generator.uniform(0.0, 1e-3, len(own_s))
    own_s = own_s[(own_s < silent_s[0]) | (own_s >= silent_s[1])]
    quiet_s = np.arange(0.0, seconds, 0.05) + 0.007
    times = np.concatenate((own_s, quiet_s))
    ids = np.concatenate((np.full(len(own_s), A), np.full(len(quiet_s), QUIET_ID)))
    order, size = np.argsort(times), len(times)
    dlc = np.where((ids == A) & (np.arange(size) % 7 == 0), 8, 2)
    return Frames(
        timestamp=times[order],
        arbitration_id=ids[order].astype(np.uint32),
        dlc=dlc[order].astype(np.uint8),
        payload=np.zeros((size, 8), np.uint8),
        is_extended=np.zeros(size, np.bool_),
        channel=np.zeros(size, np.uint8),
    )


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile([traffic(60.0, seed=seed) for seed in range(3)])


def told(*script: Says, profile: Profile | None) -> Incident:
    (found,) = incidents_of([drive(30.0, *script)], Subject(WINDOW, profile))
    return found


def reason_of(event: str, window: Frames, deviation: float, profile: Profile) -> str:
    """The reason of an incident of one window of traffic, in which an expert speaks of A."""
    start_s, end_s = window.timestamp[[0, -1]].tolist()
    signal = Signal(event, A, 3.0, deviation, raises_alarm=True)
    place = (Stretch("can0", window, 0, np.zeros(1, np.int64), len(window), 0), 0, len(window))
    incident = OpenIncident(start_s, end_s, window, signal)
    incident.take(signal, AlertWindow(0, start_s, end_s, 0.1, NORMAL, (), 1.0, (signal,), place))
    return reason_for(incident, profile)


def loudest(profile: Profile, frames: Frames, size: int, columns: tuple[str, ...]) -> tuple[Frames, float]:
    """The window in which A deviates most, and by how much."""
    starts = np.arange(0, len(frames) - size, size)
    nodes = window_deviations(profile, frames, starts, size)
    largest = [nodes.deviations[name].reshape(len(nodes.node_key), -1).max(axis=1) for name in columns]
    of_a = np.max(largest, axis=0) * (nodes.node_key == A)
    start = int(starts[np.repeat(np.arange(len(starts)), np.diff(nodes.ptr))[of_a.argmax()]])
    return frames.take(slice(start, start + size)), float(of_a.max())


def with_times(frames: Frames, own_s: np.ndarray) -> Frames:
    """The traffic with other times of A."""
    timestamp = frames.timestamp.copy()
    timestamp[frames.arbitration_id == A] = own_s
    return replace(frames, timestamp=timestamp).take(np.argsort(timestamp, kind="stable"))


def test_a_silence_that_ends_is_a_silence_and_not_a_slow_message(profile: Profile) -> None:
    """The window of ten frames in which it ends begins with its last 6 ms, and A is back in it."""
    window, deviation = loudest(profile, traffic(10.0, silent_s=(5.0, 7.0)), 10, ("late",))

    assert (window.arbitration_id == A).sum() == 7
    assert reason_of("missing", window, deviation, profile).startswith("0x1A4 silent for 2.02 s, expected every")


def test_a_message_that_is_slow_is_not_called_silent_for_longer_than_it_ever_was(profile: Profile) -> None:
    """Every gap is 29 ms; what adds up is how late each frame is."""
    frames = traffic(10.0)
    own_s = frames.timestamp[frames.arbitration_id == A]
    slow = with_times(frames, np.where(own_s < 5.0, own_s, 5.0 + (own_s - 5.0) * 1.45))
    window, deviation = loudest(profile, slow.take(slow.timestamp < 9.9), 40, ("late", "delay"))

    reason = reason_of("missing", window, deviation, profile)

    assert reason.startswith("0x1A4 comes too late, ")
    assert reason.endswith(" (36 a second), expected every 0.020 s")


def test_a_silence_that_the_window_shows_is_told_with_what_the_window_shows(profile: Profile) -> None:
    frames = traffic(10.0, silent_s=(5.0, 5.1))
    window, deviation = loudest(profile, frames, 60, ("late", "delay"))
    gap_s = np.diff(window.timestamp[window.arbitration_id == A]).max()

    assert reason_of("missing", window, deviation, profile).startswith(f"0x1A4 silent for {gap_s:.2f} s, expected")


def test_frames_that_come_too_early_only_together_are_told_together(profile: Profile) -> None:
    """Gaps of 19.15 ms, one after the other: none is short, and three frames never took so little time."""
    frames = traffic(10.0)
    own_s = np.arange(500) * PERIOD_S + np.random.default_rng(5).uniform(0.0, 1e-3, 500)
    own_s[250:255] = own_s[249] + 0.01915 * np.arange(1, 6)
    window, deviation = loudest(profile, with_times(frames, own_s), 40, ("early",))
    shortest = profile.vehicle.habits[profile.node_key == A]["short_s"][0]
    assert np.diff(window.timestamp[window.arbitration_id == A]).min() > shortest[0]

    reason = reason_of("too_early", window, deviation, profile)

    assert reason == (
        f"0x1A4 sent 3 frames within 0.038 s, expected every 0.020 s, 99 % of such times in 3 minutes of profile are "
        f"longer than {shortest[1]:.3f} s"
    )


def test_a_silence_is_told_in_seconds_that_were_measured_as_decades(profile: Profile) -> None:
    """From the traffic to a deviation by the profile, and from the deviation back to the traffic."""
    frames = traffic(10.0, silent_s=(5.0, 7.0))
    last_s = frames.timestamp[(frames.arbitration_id == A) & (frames.timestamp < 5.0)].max()
    end = int(np.searchsorted(frames.timestamp, last_s + 0.9))
    nodes = window_deviations(profile, frames.take(slice(0, end + 1)), np.array([end - 9]), 10)
    deviation = float(nodes.deviations["late"][nodes.node_key == A].item())
    silent_s = frames.timestamp[end] - last_s
    habit, largest = profile.vehicle.habits[profile.node_key == A], profile.vehicle.calibration.largest

    reason = told(
        Says("missing", OTHER if deviation == 0 else A, 5.0, 6.0, deviation=deviation), profile=profile
    ).reason

    # The scripted window holds frames of A, as if it came too late; without frames it is silent.
    assert reason.startswith("0x1A4 comes too late, 4 frames in 0.38 s (11 a second), expected every 0.020 s")
    chunk = drive(30.0, Says("missing", A, 5.0, 6.0, deviation=deviation), Says("learned", OTHER, 5.0, 6.0))
    (found,) = incidents_of([chunk], Subject(WINDOW, profile))
    longest_s = float((habit["long_gap_s"] + largest["late"][profile.node_key == A] * habit["gap_s"]).item())
    assert 0.9 <= silent_s < 0.95
    assert found.reason == (
        f"0x1A4 silent for {silent_s:.2f} s, expected every 0.020 s (longest gap in 3 minutes of profile: "
        f"{longest_s:.3f} s); also an alarm of the network"
    )


def test_a_message_of_which_the_window_holds_frames_is_not_silent_but_late(profile: Profile) -> None:
    reason = told(Says("missing", A, 5.0, 6.0, deviation=500.0), profile=profile).reason

    assert reason == "0x1A4 comes too late, 4 frames in 0.38 s (11 a second), expected every 0.020 s"


def test_a_silence_beyond_what_deviations_tell_apart_is_a_least(profile: Profile) -> None:
    chunk = drive(30.0, Says("missing", A, 5.0, 6.0, deviation=1000.0), Says("learned", OTHER, 5.0, 6.0))

    (found,) = incidents_of([chunk], Subject(WINDOW, profile))

    assert found.reason.startswith("0x1A4 silent for more than 2.")


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (
            Says("unknown_id", 0x7FF, 5.0, 6.0),
            "0x7FF is not an ID of this vehicle, 4 frames in 0.38 s (11 a second)",
        ),
        (
            Says("unknown_id", 0x7DF, 5.0, 6.0),
            "0x7DF asks for diagnosis, which this vehicle's traffic never did, 4 frames in 0.38 s (11 a second)",
        ),
        (Says("wrong_length", QUIET_ID, 5.0, 6.0), "0x100 of a length that it never had, 2 in 3 minutes of profile"),
        (
            Says("too_frequent", A, 5.0, 6.0),
            "0x1A4 sent too often, 4 frames in 0.38 s (11 a second), expected every 0.020 s",
        ),
        (
            Says("checksum_broken", A, 5.0, 6.0, deviation=3.0),
            "0x1A4: the checksum does not hold in 3 of 4 frames in 0.38 s, it held in every frame of 3 minutes of "
            "profile",
        ),
        (
            Says("counter_broken", A, 5.0, 6.0, deviation=2.0),
            "0x1A4: the counter does not count in 2 of 4 frames in 0.38 s, it held in every frame of 3 minutes of "
            "profile",
        ),
    ],
    ids=lambda value: value.event if isinstance(value, Says) else "",
)
def test_a_reason_has_the_figures_of_the_window_and_of_the_profile(says: Says, reason: str, profile: Profile) -> None:
    assert told(says, profile=profile).reason == reason


def test_a_frame_that_comes_too_early_is_told_with_its_gap(profile: Profile) -> None:
    frames = traffic(10.0)
    own_s = frames.timestamp[frames.arbitration_id == A]
    own_s[250] = own_s[249] + 0.0042
    window, deviation = loudest(profile, with_times(frames, own_s), 40, ("early",))

    assert reason_of("too_early", window, deviation, profile).startswith(
        "0x1A4 sent 0.004 s after the frame before, expected every 0.020 s, 99 % of the gaps in 3 min"
    )


def test_a_frame_whose_predecessor_is_not_in_the_window_has_no_gap_of_others(profile: Profile) -> None:
    """The window has four frames of A, an eighth of a second apart."""
    reason = told(Says("too_early", A, 5.0, 6.0), profile=profile).reason

    assert reason == "0x1A4 sent sooner than usual, 4 frames in 0.38 s (11 a second), expected every 0.020 s"


def test_a_replay_is_told_with_how_long_it_was(profile: Profile) -> None:
    row = int(np.flatnonzero(profile.node_key == A)[0])
    habits, calibration = profile.vehicle.habits.copy(), profile.vehicle.calibration
    habits["replay"][row] = 9
    largest, rate = calibration.largest.copy(), calibration.rate.copy()
    largest["replay"][row], rate["replay"][row] = 0.5, 2.0
    vehicle = profile.vehicle._replace(habits=habits, calibration=calibration._replace(largest=largest, rate=rate))

    reason = told(
        Says("replayed_sequence", A, 5.0, 6.0, deviation=3.0),
        Says(LEARNED, A, 5.0, 6.0),
        profile=replace(profile, vehicle=vehicle),
    ).reason

    # 3 decades at 2 a unit lie 1.5 beyond .5: two multiples of ten changes more than nine.
    assert reason == (
        "0x1A4 repeats what it sent before, frame for frame, 29 changes in a row, at most 9 in 3 minutes of profile; "
        "also an alarm of the network"
    )


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("value_never_seen", "byte 5 of 0x1A4 has a value that it never had"),
        ("out_of_range", "a signal in byte 2 of 0x1A4 is outside its range"),
    ],
)
def test_a_state_is_told_with_the_byte_that_shows_it(event: str, said: str, profile: Profile) -> None:
    """Byte 5 only ever was 0; bytes 2 and 3 hold a signal of 100 to 900, now 901."""
    row = int(np.flatnonzero(profile.node_key == A)[0])
    habits = profile.vehicle.habits.copy()
    habits["values"][row] = 0xFF
    habits["values"][row, 5] = [1, *[0] * 31]
    habits["width"][row] = [0, 0, 2, 0, 0, 0, 0, 0]
    habits["low"][row, 2], habits["high"][row, 2] = 100, 900
    known = replace(profile, vehicle=profile.vehicle._replace(habits=habits))
    frames = traffic(1.0).take(slice(0, 20))
    frames.dlc[:] = 8
    frames.payload[:, 2:4], frames.payload[-3:, 3] = [3, 132], 133
    frames.payload[-3:, 5] = 7

    assert reason_of(event, frames, 5.0, known) == (f"{said}, 5.0 decades beyond what 3 minutes of profile shows")


@pytest.mark.parametrize("event", [*(expert.event for expert in EXPERTS), LEARNED])
def test_every_event_has_a_reason_with_and_without_a_profile(event: str, profile: Profile) -> None:
    """A state speaks where the network does."""
    script = (Says(event, A, 5.0, 6.0), *([Says(LEARNED, A, 5.0, 6.0)] if event != LEARNED else []))
    for known in (profile, None):
        found = told(*script, profile=known)
        assert found.event == event in EVENTS
        assert "0x1A4" in found.reason


def test_many_unknown_ids_are_told_without_keeping_a_window_of_each(profile: Profile) -> None:
    script = [Says("unknown_id", 0x600 + k, 5.0 + k / 2, 5.5 + k / 2) for k in range(90)]

    (found,) = incidents_of([drive(60.0, *script)], Subject(WINDOW, profile))

    assert found.reason == (
        "0x600 is not an ID of this vehicle, 4 frames in 0.38 s (11 a second); and so for at least 63 other IDs"
    )
    assert len(found.arbitration_ids) == 8


def test_what_else_was_seen_and_how_many_ids_is_said(profile: Profile) -> None:
    script = [Says("unknown_id", 0x700 + k, 5.0 + k / 2, 5.5 + k / 2) for k in range(8)]

    reason = told(*script, Says("too_early", A, 5.0, 8.0), profile=profile).reason

    assert reason.endswith("; and so for 7 other IDs; also frames that come too early")


def test_what_only_the_network_sees_is_told_by_kind_score_and_ids() -> None:
    assert told(Says(LEARNED, A, 5.0, 6.0), profile=None).reason == (
        "only the network sees it: an attack of the kind dos, score 0.90; most suspicious 0x1A4 (80%)"
    )


def test_what_experts_saw_too_is_not_seen_by_the_network_only() -> None:
    (found,) = incidents_of([drive(300.0, Says(LEARNED, A, 10.0, 250.0), Says("too_early", A, 20.0, 22.0))], SUBJECT)

    assert found.reason == (
        "the network sees an attack of the kind dos, score 0.90; most suspicious 0x1A4 (100%); also frames that come "
        "too early"
    )


def test_ten_frames_around_the_first_evidence_are_kept_as_candump_writes_them() -> None:
    (found,) = incidents_of([drive(30.0, Says(LEARNED, A, 5.0, 6.0))], Subject(WINDOW))

    assert found.context == tuple(f"(00000000{5 + k * 0.125:09.6f}) can0 1A4#ABCD" for k in range(WINDOW))


def test_payloads_are_hidden_on_request() -> None:
    (found,) = incidents_of([drive(30.0, Says(LEARNED, A, 5.0, 6.0))], Subject(WINDOW, redacts_payloads=True))

    assert found.context[0] == "(0000000005.000000) can0 1A4#..2"
    assert "ABCD" not in str(found)
