"""A drive: how the physical signals of a car move together while a driver idles, accelerates, cruises and brakes.

Only additions, multiplications, divisions and comparisons are used, each of them exact by IEEE 754 and none of them
fused, so that a seed gives the same drive on every platform; a sine or a normal variate would depend on its libm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit

GRID_S = 0.01
IDLE_RPM = 780.0
WHEELBASE_M = 2.7
TRACK_M = 1.55
STEERING_RATIO = 15.0
COMFORT_MPS2 = 1.5  # lateral acceleration that no driver exceeds
RADAR_RANGE_M = 90.0
DEGREES = 57.29577951308232

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drive:
    """Physical signals on a grid of `GRID_S` seconds.

    Attributes:
        signals: name -> float64 [T]; the unit is part of the name. All of one length.
    """

    signals: Mapping[str, Signal]

    def at(self, name: str, time_s: Signal) -> Signal:
        """Values of one signal at `time_s` (seconds from the start), linear between grid points, float64 like it."""
        values = self.signals[name]
        position = time_s / GRID_S
        left = np.clip(position.astype(np.int64), 0, len(values) - 2)
        return values[left] + (values[left + 1] - values[left]) * (position - left)


class Motion(NamedTuple):
    """The driver's pedals, the gearbox and the motion that follows, float64 [T] each.

    Attributes:
        speed: m/s.
        pedal: 0 to 1.
        brake: 0 to 1.
        gear: 1 to 6.
        rpm: Of the engine.
        acceleration: m/s2.
    """

    speed: Signal
    pedal: Signal
    brake: Signal
    gear: Signal
    rpm: Signal
    acceleration: Signal


@njit(cache=True)
def _lag(target: Signal, time_constant_s: float, start: float) -> Signal:
    """First-order lag behind `target`."""
    out = np.empty_like(target)
    value = start
    for i in range(len(target)):
        value += (target[i] - value) * (GRID_S / time_constant_s)
        out[i] = value
    return out


@njit(cache=True)
def _longitudinal(target_mps: Signal, wobble: Signal, temper: float, start_mps: float) -> Motion:
    """A driver of some temper who follows a target speed, with a wobble of the foot."""
    shift_up = np.array([7.0, 12.0, 18.0, 24.0, 31.0])
    rpm_per_mps = np.array([260.0, 150.0, 105.0, 80.0, 66.0, 55.0])
    push = np.array([5.2, 4.4, 3.6, 2.9, 2.3, 1.9])  # m/s2 at full throttle, by gear
    n = len(target_mps)
    motion = Motion(np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n))
    speed, pedal, brake, gear, rpm = start_mps, 0.0, 0.0, 0, IDLE_RPM
    for i in range(n):
        error = target_mps[i] - speed
        holding = (0.12 + 0.0004 * speed * speed) / push[gear]
        wish_pedal, wish_brake = 0.0, 0.0
        if target_mps[i] < 0.5 and speed < 2.0:
            wish_brake = 0.15
        elif error < -1.5:
            wish_brake = min(0.55, -0.03 * error * temper + 0.04)
        else:
            wish_pedal = min(0.95, max(0.0, holding + 0.09 * error * temper + 0.05 * wobble[i]))
        pedal += (wish_pedal - pedal) * (GRID_S / 0.25)
        brake += (wish_brake - brake) * (GRID_S / 0.15)
        if pedal < 0.004:
            pedal = 0.0
        if brake < 0.004:
            brake = 0.0
        acceleration = push[gear] * pedal - 0.0004 * speed * speed - 9.0 * brake - (0.12 if speed > 0.0 else 0.0)
        if speed + acceleration * GRID_S <= 0.0:
            acceleration = -speed / GRID_S
        speed = max(0.0, speed + acceleration * GRID_S)
        if gear < 5 and speed > shift_up[gear]:
            gear += 1
        elif gear > 0 and speed < shift_up[gear - 1] - 1.5:
            gear -= 1
        rpm += (max(IDLE_RPM, speed * rpm_per_mps[gear]) + 500.0 * pedal - rpm) * (GRID_S / 0.12)
        motion.speed[i], motion.acceleration[i] = speed, acceleration
        motion.pedal[i], motion.brake[i] = pedal, brake
        motion.gear[i], motion.rpm[i] = gear + 1.0, rpm
    return motion


def _plan(rng: np.random.Generator, num_steps: int, levels: Signal, shortest_s: float, longest_s: float) -> Signal:
    """A staircase: one of `levels` at random, held for a random time, over and over; float64 [num_steps]."""
    shortest, longest = int(shortest_s / GRID_S), int(longest_s / GRID_S)
    holds = rng.integers(shortest, longest, size=num_steps // shortest + 1)
    return np.repeat(levels[rng.integers(0, len(levels), size=len(holds))], holds)[:num_steps]


def simulate_drive(rng: np.random.Generator, duration_s: float) -> Drive:
    """One drive of one driver, both drawn from `rng`.

    Returns:
        Signals over `duration_s` and a little more, so that a message released at the very end still has values.
    """
    n = int(duration_s / GRID_S) + 10
    temper = 0.7 + 0.5 * rng.random()
    targets = _plan(rng, n, np.array([0.0, 0.0, 8.0, 14.0, 14.0, 20.0, 28.0]), 2.5, 8.0)
    wobble = _lag(2.0 * rng.random(n) - 1.0, 0.4, 0.0) * 4.0
    motion = _longitudinal(targets, wobble, temper, 22.0 * rng.random())
    speed = motion.speed
    bend = _plan(rng, n, np.array([-60.0, -25.0, -8.0, 0.0, 0.0, 6.0, 30.0, 70.0]), 1.5, 5.0)
    sway = _lag(2.0 * rng.random(n) - 1.0, 0.8, 0.0) * 12.0
    comfortable = COMFORT_MPS2 * WHEELBASE_M * (1.0 + 0.002 * speed * speed) / np.maximum(1.0, speed * speed)
    limit = comfortable * STEERING_RATIO * DEGREES
    steering = np.clip(_lag(_lag(bend / (1.0 + 0.06 * speed), 0.5, 0.0), 0.3, 0.0) + sway, -limit, limit)
    return Drive(
        _lateral(speed, steering)
        | _powertrain(rng, motion)
        | _surroundings(rng, n, speed, bend)
        | {
            "speed_kmh": 3.6 * speed,
            "engine_rpm": motion.rpm,
            "pedal_percent": 100.0 * motion.pedal,
            "brake_bar": 120.0 * motion.brake,
            "brake_switch": np.where(motion.brake > 0.0, 1.0, 0.0),
            "gear": motion.gear,
            "acceleration_mps2": _lag(motion.acceleration, 0.05, 0.0),
        }
    )


def _either(rng: np.random.Generator, low: float, high: float) -> float:
    """One of two values, for a quantity that hardly changes during a drive.

    A value drawn from a range would be a drive's fingerprint, and a detector could learn which capture a window comes
    from.
    """
    return high if rng.random() < 0.5 else low


def _lateral(speed: Signal, steering_deg: Signal) -> dict[str, Signal]:
    """Single-track model for small angles: steering and speed give yaw, yaw gives the wheels their differences."""
    road_wheel = steering_deg / STEERING_RATIO / DEGREES
    yaw = speed * road_wheel / (WHEELBASE_M * (1.0 + 0.002 * speed * speed))  # rad/s
    outer = 0.5 * TRACK_M * yaw
    previous = np.concatenate([steering_deg[:1], steering_deg[:-1]])
    return {
        "steering_deg": steering_deg,
        "steering_rate": (steering_deg - previous) / GRID_S,
        "steering_torque": _lag(0.05 * steering_deg + 0.02 * yaw * speed, 0.1, 0.0),
        "yaw_deg_per_s": DEGREES * yaw,
        "lateral_mps2": yaw * speed,
        "wheel_fl_kmh": 3.6 * np.maximum(0.0, speed - outer) * 1.002,
        "wheel_fr_kmh": 3.6 * np.maximum(0.0, speed + outer) * 1.002,
        "wheel_rl_kmh": 3.6 * np.maximum(0.0, speed - outer),
        "wheel_rr_kmh": 3.6 * np.maximum(0.0, speed + outer),
    }


def _powertrain(rng: np.random.Generator, motion: Motion) -> dict[str, Signal]:
    """What follows from pedal and engine speed: throttle, air, torque, temperatures, the battery."""
    pedal, rpm = motion.pedal, motion.rpm
    throttle = _lag(4.0 + 92.0 * pedal, 0.08, 4.0)
    torque = _lag(18.0 + 210.0 * pedal - 0.004 * (rpm - IDLE_RPM), 0.1, 18.0)
    heat = _lag(rpm / 100.0, 20.0, 10.0)
    return {
        "throttle_percent": throttle,
        "torque_nm": torque,
        "manifold_kpa": 28.0 + 0.7 * throttle,
        "air_flow": rpm * (28.0 + 0.7 * throttle) / 2000.0,
        "turbine_rpm": _lag(np.maximum(600.0, rpm - 40.0 - 2.0 * throttle), 0.1, 600.0),
        "coolant_c": _lag(82.0 + 0.4 * heat, 60.0, _either(rng, 82.0, 90.0)),
        "oil_c": _lag(80.0 + 0.6 * heat, 80.0, _either(rng, 80.0, 90.0)),
        "oil_bar": 1.0 + rpm / 1500.0,
        "battery_v": _lag(13.6 + 0.0002 * (rpm - IDLE_RPM), 1.0, 13.6) + _either(rng, 0.0, 0.2),
        "battery_a": _lag(6.0 + 0.004 * rpm - 0.2 * motion.gear, 0.5, 6.0),
        "fuel_percent": _either(rng, 40.0, 80.0) - np.cumsum(throttle) * 1e-6,
        "trip_km": np.cumsum(motion.speed) * (GRID_S / 1000.0),
    }


def _surroundings(rng: np.random.Generator, num_steps: int, speed: Signal, bend: Signal) -> dict[str, Signal]:
    """What the driver and the world add: traffic ahead, lights, climate."""
    headway = _lag(_plan(rng, num_steps, np.array([15.0, 30.0, 60.0, 90.0]), 3.0, 9.0), 1.5, 40.0)
    gap = np.minimum(RADAR_RANGE_M, headway + 0.8 * speed)
    previous = np.concatenate([gap[:1], gap[:-1]])
    return {
        "lead_distance_m": gap,
        "lead_speed_mps": (gap - previous) / GRID_S,
        "lane_offset_cm": _lag(60.0 * (rng.random(num_steps) - 0.5), 1.0, 0.0) * 3.0,
        "turn_light": np.where(bend > 25.0, 1.0, np.where(bend < -20.0, 2.0, 0.0)),
        "lamps": _plan(rng, num_steps, np.array([0.0, 3.0, 3.0, 7.0]), 20.0, 60.0),
        "wiper": _plan(rng, num_steps, np.array([0.0, 0.0, 1.0, 2.0]), 10.0, 40.0),
        "cabin_c": _lag(np.full(num_steps, 22.0), 40.0, _either(rng, 18.0, 26.0)),
        "fan_percent": _plan(rng, num_steps, np.array([20.0, 40.0, 60.0]), 10.0, 40.0),
        "ambient_c": np.full(num_steps, _either(rng, 14.0, 16.0)),
    }
