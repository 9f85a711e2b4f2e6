"""A fleet of simulated vehicles, no two of which speak alike."""

import numpy as np
from numpy.testing import assert_array_equal

from graphids.core.data.vehicles import vehicles_of
from graphids.core.frames import num_attacked
from graphids.core.simulation.fleet import DRIVES, SIMULATED_CAR, VEHICLES, simulated_fleet
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.wire import frame_bits


def test_every_vehicle_has_its_own_ids_and_its_drives_share_them() -> None:
    captures = simulated_fleet(duration_s=1.5)

    vehicles = vehicles_of(captures)
    assert list(vehicles) == [f"vehicle-{number}" for number in range(1, VEHICLES + 1)]
    assert {len(indices) for indices in vehicles.values()} == {DRIVES}
    ids = [set(captures[indices[0]].frames.arbitration_id.tolist()) for indices in vehicles.values()]
    for index, own in enumerate(ids):
        for other in ids[index + 1 :]:
            assert len(own & other) < 0.2 * min(len(own), len(other))


def test_vehicles_differ_in_how_much_they_send_and_none_floods_its_bus() -> None:
    first_drives = simulated_fleet(duration_s=2.0)[::DRIVES]

    assert len({len(capture.frames) for capture in first_drives}) == VEHICLES
    for capture in first_drives:
        bits = frame_bits(capture.frames.dlc, capture.frames.is_extended).sum()
        assert 0.1 < bits / (500_000 * np.ptp(capture.frames.timestamp)) < 0.8


def test_the_last_vehicle_is_the_car_whose_attacked_drives_are_simulated_whatever_the_seed() -> None:
    ids = set(simulate_vehicle(seed=1, duration_s=2.0).arbitration_id.tolist())

    for seed in (0, 7):
        drives = [c for c in simulated_fleet(seed=seed, duration_s=2.0) if c.name.startswith(f"{SIMULATED_CAR}/")]
        assert {i for drive in drives for i in drive.frames.arbitration_id.tolist()} == ids


def test_drives_are_labelled_attack_free_and_the_seed_repeats_them() -> None:
    captures, again, other = (simulated_fleet(seed=seed, duration_s=1.0) for seed in (3, 3, 4))

    assert not any(num_attacked(capture.frames) for capture in captures)
    assert all(capture.frames.attack is not None for capture in captures)
    for mine, same in zip(captures, again, strict=True):
        assert_array_equal(mine.frames.timestamp, same.frames.timestamp)
        assert_array_equal(mine.frames.payload, same.frames.payload)
    assert not np.array_equal(captures[0].frames.timestamp, other[0].frames.timestamp)
