import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.frames import Frames
from graphids.core.injection.attacks import Episode, dos, victims
from graphids.core.injection.bus import TICKS_PER_S, Transmissions, arbitrate, wire_ticks
from graphids.core.simulation.drive import simulate_drive
from graphids.core.simulation.messages import checksum, decode
from graphids.core.simulation.simulate import ATTACK_KINDS, Simulation, simulate
from graphids.core.simulation.vehicle import build_vehicle, transmissions

DURATION_S = 10.0
VEHICLE = build_vehicle()
KNOWN_IDS = {m.arbitration_id for m in VEHICLE}
BY_ID = {m.arbitration_id: m for m in VEHICLE}


@pytest.fixture(scope="module")
def attacked() -> dict[str, Simulation]:
    return {kind: simulate(11, DURATION_S, kind) for kind in ATTACK_KINDS}


@pytest.fixture(scope="module")
def normal() -> Frames:
    """The same drive without an attack."""
    return simulate(11, DURATION_S).frames


def inside(simulation: Simulation) -> np.ndarray:
    time_s = simulation.frames.timestamp
    return np.any([(time_s >= first) & (time_s <= last) for first, last in simulation.intervals], axis=0)


def injected(simulation: Simulation) -> Frames:
    return simulation.frames.take(simulation.frames.attack == 1)


def test_the_six_kinds() -> None:
    assert ATTACK_KINDS == ("dos", "fuzzy", "spoof", "replay", "suppress", "masquerade")


@pytest.mark.parametrize("kind", ATTACK_KINDS)
def test_an_attack_takes_about_a_third_of_the_time_and_leaves_the_rest_alone(
    kind: str, attacked: dict[str, Simulation], normal: Frames
) -> None:
    simulation = attacked[kind]
    first_s = simulation.intervals[0][0]

    assert sum(last - first for first, last in simulation.intervals) == pytest.approx(0.3 * DURATION_S)
    before = simulation.frames.timestamp < first_s
    assert_array_equal(simulation.frames.payload[before], normal.payload[normal.timestamp < first_s])


@pytest.mark.parametrize("kind", [k for k in ATTACK_KINDS if k != "suppress"])
def test_the_kind_is_set_on_injected_and_altered_frames_and_on_no_others(
    kind: str, attacked: dict[str, Simulation]
) -> None:
    simulation = attacked[kind]

    assert simulation.frames.kinds == ("normal", kind)
    assert simulation.frames.attack.sum() > 50
    assert_array_equal(simulation.frames.attack_kind, simulation.frames.attack)
    # A frame due at the end of an interval may have to wait for the bus.
    time_s = injected(simulation).timestamp
    assert all(np.any([(first <= t <= last + 0.02) for first, last in simulation.intervals]) for t in time_s)


def test_dos_floods_with_an_id_below_all_others(attacked: dict[str, Simulation]) -> None:
    flood = injected(attacked["dos"])

    assert flood.arbitration_id.max() < min(KNOWN_IDS)
    assert 0.25e-3 < np.median(np.diff(flood.timestamp)) < 1.2e-3


def test_dos_makes_the_ecus_frames_wait() -> None:
    rng = np.random.default_rng(2)
    sent = transmissions(VEHICLE, simulate_drive(rng, 2.0), rng, 2.0)
    flooded = dos(sent, Episode(VEHICLE, first=0, last=2 * TICKS_PER_S, target=0, intensity=1.0, rng=rng))

    def mean_wait(offered: Transmissions) -> float:
        """Bit times between release and the start of a frame, over what the ECUs get onto the wire."""
        rows, end = arbitrate(offered)
        wait = end - wire_ticks(offered, TICKS_PER_S)[rows] - offered.release[rows]
        return float(wait[offered.attack[rows] == 0].mean())

    assert mean_wait(flooded) > 2 * mean_wait(sent)


def test_fuzzy_sends_ids_that_the_vehicle_does_not_know(attacked: dict[str, Simulation]) -> None:
    noise = injected(attacked["fuzzy"])

    assert np.isin(noise.arbitration_id, list(KNOWN_IDS)).mean() < 0.1
    assert len(np.unique(noise.arbitration_id)) > 0.5 * len(noise)


def test_spoof_adds_frames_with_valid_checksums_beside_the_real_ones(
    attacked: dict[str, Simulation], normal: Frames
) -> None:
    simulation = attacked["spoof"]
    forged = injected(simulation)

    assert set(forged.arbitration_id.tolist()) == set(simulation.targets)
    for target in simulation.targets:
        payload = forged.take(forged.arbitration_id == target).payload
        assert_array_equal(payload[:, BY_ID[target].dlc - 1], checksum(BY_ID[target], payload))
        assert len(np.unique(decode(BY_ID[target], payload), axis=0)) == 1
    assert len(simulation.frames) - len(forged) == pytest.approx(len(normal), rel=0.001)


def test_replay_repeats_payloads_that_the_bus_has_carried_before(attacked: dict[str, Simulation]) -> None:
    simulation = attacked["replay"]
    frames, again = simulation.frames, injected(simulation)

    assert len(np.unique(again.arbitration_id)) >= 4
    for row in range(0, len(again), 25):
        same = (frames.arbitration_id == again.arbitration_id[row]) & (frames.timestamp < again.timestamp[row])
        assert (frames.payload[same] == again.payload[row]).all(axis=1).any()


def test_suppress_marks_no_frame_but_gives_the_interval_its_kind(attacked: dict[str, Simulation]) -> None:
    simulation = attacked["suppress"]

    assert simulation.frames.attack.sum() == 0
    assert_array_equal(simulation.frames.attack_kind == 1, inside(simulation))


def test_suppress_silences_the_whole_ecu_of_its_target() -> None:
    target = VEHICLE[victims(VEHICLE)[0]]
    simulation = simulate(3, 4.0, "suppress", target=target.arbitration_id)
    silenced = {m.arbitration_id for m in VEHICLE if m.ecu == target.ecu}

    heard = simulation.frames.take(inside(simulation))
    # One frame of each may still have waited for the bus when the interval began.
    assert np.isin(heard.arbitration_id, list(silenced)).sum() <= 2 * len(silenced)
    others = {m.arbitration_id for m in VEHICLE if m.period_ms <= 100} - silenced
    assert others <= set(heard.arbitration_id.tolist())


def test_half_the_intensity_suppresses_half_the_frames(normal: Frames) -> None:
    def missing(intensity: float) -> int:
        return len(normal) - len(simulate(11, DURATION_S, "suppress", intensity).frames)

    assert missing(0.5) == pytest.approx(missing(1.0) / 2, rel=0.15)


def test_masquerade_keeps_ids_rates_counters_and_checksums(attacked: dict[str, Simulation], normal: Frames) -> None:
    frames = attacked["masquerade"].frames

    assert len(frames) == len(normal)
    for message in (m for m in VEHICLE if m.checksum):
        mine = frames.take(frames.arbitration_id == message.arbitration_id)
        assert_array_equal(mine.payload[:, message.dlc - 1], checksum(message, mine.payload))
        assert set(np.diff(mine.payload[:, message.dlc - 2].astype(int)) % 16) == {1}
        assert np.diff(mine.timestamp).mean() * 1000 == pytest.approx(message.period_ms, rel=0.02)


def test_masquerade_tells_no_value_beyond_what_the_vehicle_says_itself(
    attacked: dict[str, Simulation], normal: Frames
) -> None:
    lies = injected(attacked["masquerade"])

    for target in np.unique(lies.arbitration_id).tolist():
        told = decode(BY_ID[target], lies.take(lies.arbitration_id == target).payload)
        known = decode(BY_ID[target], normal.take(normal.arbitration_id == target).payload)
        assert (told >= known.min(axis=0)).all()
        assert (told <= known.max(axis=0)).all()


def test_masquerade_lacks_the_noise_of_the_sensors(attacked: dict[str, Simulation], normal: Frames) -> None:
    lies = injected(attacked["masquerade"])

    for target in np.unique(lies.arbitration_id).tolist():
        told, known = (decode(BY_ID[target], f.take(f.arbitration_id == target).payload) for f in (lies, normal))
        changed = [(np.diff(values, axis=0) != 0).any(axis=1).mean() for values in (told, known)]
        assert changed[0] < 0.75 * changed[1], BY_ID[target].name


def test_victims_are_fast_messages_with_signals_worth_forging() -> None:
    chosen = [VEHICLE[i] for i in victims(VEHICLE)]

    assert len(chosen) >= 12
    assert all(m.period_ms <= 25 and m.checksum and m.signal_bytes >= 3 for m in chosen)
    # An interval cannot silence an ECU that has nothing to forge.
    assert len({m.ecu for m in chosen}) >= 6
