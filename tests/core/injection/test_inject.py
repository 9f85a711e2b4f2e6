"""Attacks on a recording: what is added, lost and altered, and what stays as it was recorded."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.frames import DataError, Frames, concat
from graphids.core.injection.inject import KINDS, Injected, Injection, inject, inject_into, recorded
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.wire import frame_bits

FIRST_S, LAST_S = 4.0, 6.0
ADDING = ("dos", "fuzzy", "spoof_fast", "spoof_slow", "flam", "replay", "diagnostic")
LYING = tuple(kind for kind in KINDS if kind.startswith("masquerade"))


@pytest.fixture(scope="module")
def drive() -> Frames:
    return simulate_vehicle(seed=5, duration_s=10.0)


@pytest.fixture(scope="module")
def attacked(drive: Frames) -> dict[str, Injected]:
    return {kind: inject(drive, [Injection(kind, FIRST_S, LAST_S)], seed=3) for kind in KINDS}


def elapsed(frames: Frames, drive: Frames) -> np.ndarray:
    return frames.timestamp - drive.timestamp[0]


def test_every_kind_is_tried_here() -> None:
    assert set(KINDS) == {*ADDING, *LYING, "suppress"}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_before_the_attack_nor_long_after_it(
    kind: str, attacked: dict[str, Injected], drive: Frames
) -> None:
    frames = attacked[kind].frames

    for outside in (lambda s: s < FIRST_S, lambda s: s > LAST_S + 0.1):
        mine, theirs = frames.take(outside(elapsed(frames, drive))), drive.take(outside(elapsed(drive, drive)))
        for column in ("timestamp", "arbitration_id", "dlc", "payload", "is_extended"):
            assert_array_equal(getattr(mine, column), getattr(theirs, column))
        assert not mine.attack.any()
        assert not mine.attack_kind.any()


@pytest.mark.parametrize("kind", ADDING)
def test_what_is_added_is_labelled_and_fits_on_the_wire(kind: str, attacked: dict[str, Injected]) -> None:
    frames = attacked[kind].frames

    assert frames.kinds == ("normal", kind)
    assert frames.attack.sum() >= 3
    assert_array_equal(frames.attack_kind, frames.attack)
    # Times are kept in microseconds, bits of 2 us.
    wire_s = frame_bits(frames.dlc, frames.is_extended) / 500_000
    assert (np.diff(frames.timestamp) > wire_s[1:] - 5e-6).all()


@pytest.mark.parametrize("kind", ADDING)
def test_what_was_recorded_stays_whole_but_for_what_is_overwritten(
    kind: str, attacked: dict[str, Injected], drive: Frames
) -> None:
    frames = attacked[kind].frames
    kept = frames.take(frames.attack == 0)

    assert len(drive) * 0.9 < len(kept) <= len(drive)
    if kind != "dos":
        for key in np.unique(drive.arbitration_id):
            mine, theirs = (f.payload[f.arbitration_id == key] for f in (kept, drive))
            assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", LYING)
def test_a_masquerade_alters_one_signal_of_one_message_and_sends_no_frame_more(
    kind: str, attacked: dict[str, Injected], drive: Frames
) -> None:
    result = attacked[kind]
    (injection,) = result.injections
    (mine, theirs) = (f.take(f.arbitration_id == injection.target) for f in (result.frames, drive))

    assert len(result.frames) == len(drive)
    assert len(mine) == len(theirs)
    assert_array_equal(result.frames.attack == 1, result.is_within() & _of(result))
    differs = (mine.payload != theirs.payload).any(axis=0)
    assert 1 <= differs.sum() <= 2
    assert not (mine.payload != theirs.payload)[mine.attack == 0].any()


def test_a_replay_is_of_one_signal_or_of_whole_payloads_that_were_said_before(drive: Frames) -> None:
    found = set()
    for seed in range(6):
        result = inject(drive, [Injection("masquerade_replay", FIRST_S, LAST_S)], seed=seed)
        mine = result.frames.take(_of(result))
        earlier = mine.payload[: int(np.argmax(mine.attack))]
        lie = mine.payload[mine.attack == 1]
        said = min(len(lie), len(earlier))
        places = range(len(earlier) - said + 1)
        found.add(any(np.array_equal(lie[:said], earlier[at : at + said]) for at in places))

    assert found == {True, False}


@pytest.mark.parametrize("kind", LYING)
def test_a_lie_is_not_the_truth_even_of_a_signal_that_mostly_rests(kind: str) -> None:
    # Its first byte changes once in the drive; until then and after it the last value is the truth.
    payload = np.zeros((1_000, 8), np.uint8)
    payload[500:, 0] = 7
    payload[:, 1] = np.arange(1_000) % 2
    drive = Frames(
        timestamp=np.arange(1_000) / 100.0,
        arbitration_id=np.full(1_000, 0x123, np.uint32),
        dlc=np.full(1_000, 8, np.uint8),
        payload=payload,
        is_extended=np.zeros(1_000, np.bool_),
        channel=np.zeros(1_000, np.uint8),
    )

    for seed in range(8):
        frames = inject(drive, [Injection(kind, FIRST_S, LAST_S)], seed=seed).frames
        assert (frames.payload != drive.payload).any()


def _of(result: Injected) -> np.ndarray:
    return result.frames.arbitration_id == result.injections[0].target


def test_suppression_removes_the_target_and_labels_the_interval(attacked: dict[str, Injected], drive: Frames) -> None:
    result = attacked["suppress"]
    frames = result.frames
    inside = (elapsed(frames, drive) >= FIRST_S) & (elapsed(frames, drive) <= LAST_S)

    assert not frames.attack.any()
    assert_array_equal(frames.attack_kind == 1, inside)
    assert (frames.arbitration_id[inside] == result.injections[0].target).sum() <= 1
    assert (drive.arbitration_id == result.injections[0].target).sum() > _of(result).sum()


def test_a_flood_makes_recorded_frames_wait(attacked: dict[str, Injected], drive: Frames) -> None:
    frames = attacked["dos"].frames
    kept = frames.take((frames.attack == 0) & attacked["dos"].is_within())

    assert np.isin(kept.timestamp, drive.timestamp).mean() < 0.5
    for key in np.unique(kept.arbitration_id):
        mine, theirs = (f.timestamp[f.arbitration_id == key] for f in (kept, drive))
        # One that waits for its own period is overwritten by the next.
        assert (mine - theirs[np.searchsorted(theirs, mine, side="right") - 1]).min() >= 0.0


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(drive: Frames) -> None:
    attack = [Injection("spoof_fast", FIRST_S, LAST_S)]
    one, again, other = (inject(drive, attack, seed=seed).frames for seed in (1, 1, 2))

    assert_array_equal(one.payload, again.payload)
    assert_array_equal(one.timestamp, again.timestamp)
    assert len(one) != len(other) or not np.array_equal(one.payload, other.payload)


def test_a_target_that_is_named_is_attacked(drive: Frames) -> None:
    target = int(drive.arbitration_id[7])

    result = inject(drive, [Injection("suppress", FIRST_S, LAST_S, target)], seed=1)

    assert result.injections[0].target == target
    inside = result.is_within()
    assert (result.frames.arbitration_id[inside] == target).sum() <= 1


def test_two_attacks_have_labels_of_their_own(drive: Frames) -> None:
    result = inject(drive, [Injection("fuzzy", 2.0, 3.0), Injection("flam", 5.0, 8.0)], seed=1)
    frames = result.frames
    times = {kind: elapsed(frames, drive)[frames.attack_kind == i] for i, kind in enumerate(frames.kinds)}

    assert frames.kinds == ("normal", "fuzzy", "flam")
    assert 2.0 <= times["fuzzy"].min() <= times["fuzzy"].max() < 3.1
    assert 5.0 <= times["flam"].min() <= times["flam"].max() < 8.1


def test_stamps_that_come_in_bursts_stay_as_they_were_recorded(drive: Frames) -> None:
    stamps = np.ceil(drive.timestamp / 0.004) * 0.004
    bursts = Frames(**{**_columns(drive), "timestamp": stamps})

    frames = inject(bursts, [Injection("flam", FIRST_S, LAST_S)], seed=1).frames

    quiet = elapsed(frames, bursts) < FIRST_S - 0.1
    assert_array_equal(frames.timestamp[quiet], stamps[stamps - stamps[0] < FIRST_S - 0.1])


def _columns(frames: Frames) -> dict[str, object]:
    names = ("timestamp", "arbitration_id", "dlc", "payload", "is_extended", "channel")
    return {name: getattr(frames, name) for name in names}


def test_a_clock_that_jumps_goes_on_jumping(drive: Frames) -> None:
    later = Frames(**{**_columns(drive), "timestamp": drive.timestamp - 5000.0})
    both = concat([Frames(**_columns(drive)), later])

    result = inject(both, [Injection("fuzzy", 12.0, 14.0)], seed=1)

    noise = result.frames.timestamp[result.frames.attack == 1]
    assert -5000.0 < noise.min() <= noise.max() < -4900.0
    assert (np.diff(result.frames.timestamp) < -1.0).sum() == 1
    assert result.is_within()[result.frames.attack == 1].all()


@pytest.mark.parametrize(
    ("injection", "message"),
    [
        (Injection("spoofing", 1.0, 2.0), r"no attack 'spoofing'. Expected one of dos, fuzzy"),
        (Injection("dos", 9.0, 11.0), r"dos runs from 9 to 11 s, but the recording has 9\.9"),
        (Injection("dos", 3.0, 2.0), r"from 3 to 2 s"),
        (Injection("dos", 1.0, 2.0, intensity=0.0), r"intensity 0\.0. Expected more than 0"),
        (Injection("suppress", 1.0, 2.0, target=0x7FF), r"cannot target 7FF: the recording holds no such ID"),
    ],
)
def test_what_cannot_be_laid_over_the_recording_is_refused(injection: Injection, message: str, drive: Frames) -> None:
    with pytest.raises(DataError, match=message):
        inject(drive, [injection], seed=0)


def test_a_message_without_a_signal_cannot_lie(drive: Frames) -> None:
    constant = next(
        int(key)
        for key in np.unique(drive.arbitration_id)
        if not np.ptp(drive.payload[drive.arbitration_id == key], 0).any()
    )

    with pytest.raises(DataError, match=f"cannot target {constant:03X}: it carries no signal"):
        inject(drive, [Injection("masquerade_drift", 1.0, 2.0, constant)], seed=0)


def test_attacks_are_not_laid_over_attacks(attacked: dict[str, Injected]) -> None:
    frames = attacked["fuzzy"].frames

    with pytest.raises(DataError, match=rf"found {int(frames.attack.sum())} attacked frames of {len(frames)}"):
        inject(frames, [Injection("dos", 1.0, 2.0)], seed=0)


def test_a_recording_that_is_prepared_once_takes_any_number_of_attacks(
    attacked: dict[str, Injected], drive: Frames
) -> None:
    prepared = recorded(drive)

    for kind in ("suppress", "spoof_fast", "suppress"):
        again = inject_into(prepared, [Injection(kind, FIRST_S, LAST_S)], seed=3)
        assert again.injections == attacked[kind].injections
        assert_array_equal(again.frames.payload, attacked[kind].frames.payload)
        assert_array_equal(again.frames.timestamp, attacked[kind].frames.timestamp)
