import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.frames import Frames
from graphids.core.simulation.drive import simulate_drive
from graphids.core.simulation.messages import Message, checksum, decode
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.simulation.vehicle import build_vehicle

DURATION_S = 12.0
VEHICLE = build_vehicle()


@pytest.fixture(scope="module")
def normal() -> Frames:
    return simulate_vehicle(seed=5, duration_s=DURATION_S)


def frames_of(frames: Frames, message: Message) -> Frames:
    return frames.take(frames.arbitration_id == message.arbitration_id)


def message_named(name: str) -> Message:
    return next(m for m in VEHICLE if m.name == name)


def signal(frames: Frames, message_name: str, signal_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Times and physical values of a signal as a receiver of the message decodes them."""
    message = message_named(message_name)
    mine = frames_of(frames, message)
    column = [c.signal for c in message.codings].index(signal_name)
    coding = message.codings[column]
    return mine.timestamp, decode(message, mine.payload)[:, column] * coding.scale + coding.offset


def test_the_vehicle_has_some_forty_ids_of_ten_ecus_all_of_11_bits() -> None:
    ids = [m.arbitration_id for m in VEHICLE]

    assert 35 <= len(set(ids)) == len(ids) <= 45
    assert all(0 < i < 0x800 for i in ids)
    assert 8 <= len({m.ecu for m in VEHICLE}) <= 11


def test_faster_messages_have_lower_ids() -> None:
    periods = [m.period_ms for m in sorted(VEHICLE, key=lambda m: m.arbitration_id)]

    assert periods == sorted(periods)


def test_another_vehicle_seed_gives_other_ids() -> None:
    assert {m.arbitration_id for m in build_vehicle(1)} != {m.arbitration_id for m in VEHICLE}


def test_signals_counter_and_checksum_fit_the_payload() -> None:
    assert all(m.signal_bytes + len(m.filler) + m.trailer_bytes == m.dlc <= 8 for m in VEHICLE)


def test_every_id_keeps_its_period(normal: Frames) -> None:
    for message in VEHICLE:
        gaps_ms = 1000 * np.diff(frames_of(normal, message).timestamp)

        assert gaps_ms.mean() == pytest.approx(message.period_ms, rel=0.01), message.name
        # 5 % jitter at either end, 2 ms at most, and up to some ten frames of 0.23 ms that win the bus first.
        assert np.abs(gaps_ms - message.period_ms).max() < min(0.1 * message.period_ms, 4.0) + 3.0, message.name


def test_every_checksum_is_valid(normal: Frames) -> None:
    for message in (m for m in VEHICLE if m.checksum):
        payload = frames_of(normal, message).payload

        assert_array_equal(payload[:, message.dlc - 1], checksum(message, payload), message.name)


def test_every_counter_advances_by_one(normal: Frames) -> None:
    for message in (m for m in VEHICLE if m.checksum):
        counter = frames_of(normal, message).payload[:, message.dlc - 2].astype(int)

        assert set(np.diff(counter) % 16) == {1}, message.name


def test_payloads_are_zero_beyond_their_dlc(normal: Frames) -> None:
    assert not normal.payload[np.arange(8) >= normal.dlc[:, None]].any()


def test_two_ecus_report_the_same_speed(normal: Frames) -> None:
    time_s, speed = signal(normal, "vehicle speed", "speed_kmh")
    other_time_s, other = signal(normal, "gearbox speed", "speed_kmh")

    difference = np.abs(np.interp(time_s, other_time_s, other) - speed)
    assert speed.max() > 20
    # Now and then an ECU repeats its last good values for a third of a second.
    assert np.median(difference) < 0.1
    assert np.quantile(difference, 0.9) < 0.5


def test_wheels_turn_at_the_vehicles_speed_and_the_outer_one_faster_in_a_bend(normal: Frames) -> None:
    time_s, left = signal(normal, "rear wheels", "wheel_rl_kmh")
    _, right = signal(normal, "rear wheels", "wheel_rr_kmh")
    yaw = np.interp(time_s, *signal(normal, "inertia", "yaw_deg_per_s"))
    speed = np.interp(time_s, *signal(normal, "vehicle speed", "speed_kmh"))

    assert np.median(np.abs((left + right) / 2 - speed)) < 0.3
    assert np.corrcoef(right - left, yaw)[0, 1] > 0.9


def test_engine_speed_follows_the_gear_and_never_falls_below_idle() -> None:
    drive = simulate_drive(np.random.default_rng(3), 60.0).signals

    assert drive["engine_rpm"].min() > 700
    assert set(np.unique(drive["gear"])) <= {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}
    assert len(np.unique(drive["gear"])) >= 3


def test_a_driver_idles_accelerates_cruises_and_brakes() -> None:
    drive = simulate_drive(np.random.default_rng(3), 300.0).signals
    speed, acceleration = drive["speed_kmh"], drive["acceleration_mps2"]

    assert (speed == 0).mean() > 0.02
    assert (acceleration > 1.0).mean() > 0.02
    assert (acceleration < -1.0).mean() > 0.02
    assert ((speed > 20) & (np.abs(acceleration) < 0.3)).mean() > 0.1
    # The foot changes pedals within a moment.
    assert ((drive["brake_bar"] > 5) & (drive["pedal_percent"] > 10)).mean() < 0.02


def test_two_seeds_are_two_drivers() -> None:
    one, other = (simulate_drive(np.random.default_rng(seed), 20.0).signals["speed_kmh"] for seed in (1, 2))

    assert np.abs(one - other).mean() > 3
