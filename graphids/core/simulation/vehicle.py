"""The simulated car: its ECUs, the messages they send, and when they send them during a drive."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from graphids.core.injection.attacks import triangular
from graphids.core.injection.bus import MS, NOT_RECORDED, TICKS_PER_S, Transmissions, join
from graphids.core.simulation.drive import Drive
from graphids.core.simulation.messages import Coding, Message, encode

# A hold outlasts a window of 256 frames, so that some training window sees nothing but a message at rest.
HOLD_EVERY_S = 3.0
LONGEST_JITTER = MS  # of each of the two draws that are summed
SHORTEST_HOLD, LONGEST_HOLD = TICKS_PER_S * 25 // 100, TICKS_PER_S * 35 // 100

SPEED = Coding("speed_kmh", 0.01, noise_lsb=1)
RPM = Coding("engine_rpm", 0.25, noise_lsb=2)
TORQUE = Coding("torque_nm", 0.05, -100.0, noise_lsb=2)
THROTTLE = Coding("throttle_percent", 0.02, noise_lsb=1)
PEDAL = Coding("pedal_percent", 0.4, num_bytes=1)
GEAR = Coding("gear", 1.0, num_bytes=1)
BRAKE = Coding("brake_bar", 0.01, noise_lsb=2)
BRAKE_SWITCH = Coding("brake_switch", 1.0, num_bytes=1)
YAW = Coding("yaw_deg_per_s", 0.01, -327.68, noise_lsb=2)
LATERAL = Coding("lateral_mps2", 0.002, -65.0, noise_lsb=2)
ACCELERATION = Coding("acceleration_mps2", 0.002, -65.0, noise_lsb=2)
STEERING = Coding("steering_deg", 0.05, -1500.0, noise_lsb=1)
STEERING_RATE = Coding("steering_rate", 0.1, -3200.0, noise_lsb=1)
STEERING_TORQUE = Coding("steering_torque", 0.005, -100.0, noise_lsb=2)
MANIFOLD = Coding("manifold_kpa", 0.005, noise_lsb=2)
AIR_FLOW = Coding("air_flow", 0.01, noise_lsb=3)
TURBINE = Coding("turbine_rpm", 0.25, noise_lsb=2)
WHEEL = {place: Coding(f"wheel_{place}_kmh", 0.01, noise_lsb=1) for place in ("fl", "fr", "rl", "rr")}
COOLANT = Coding("coolant_c", 0.5, -40.0, num_bytes=1)
OIL = Coding("oil_c", 0.5, -40.0, num_bytes=1)
OIL_PRESSURE = Coding("oil_bar", 0.04, num_bytes=1, noise_lsb=1)
VOLTAGE = Coding("battery_v", 0.01, noise_lsb=1)
CURRENT = Coding("battery_a", 0.02, -200.0, noise_lsb=1)
FUEL = Coding("fuel_percent", 0.5, num_bytes=1)
TRIP = Coding("trip_km", 0.01)
DISTANCE = Coding("lead_distance_m", 0.01, noise_lsb=2)
CLOSING = Coding("lead_speed_mps", 0.01, -300.0, noise_lsb=2)
LANE = Coding("lane_offset_cm", 0.05, -1600.0, noise_lsb=2)
TURN_LIGHT = Coding("turn_light", 1.0, num_bytes=1)
LAMPS = Coding("lamps", 1.0, num_bytes=1)
WIPER = Coding("wiper", 1.0, num_bytes=1)
CABIN = Coding("cabin_c", 0.5, -40.0, num_bytes=1)
FAN = Coding("fan_percent", 1.0, num_bytes=1)
AMBIENT = Coding("ambient_c", 0.5, -40.0, num_bytes=1)

MESSAGES = (
    Message("brake pressure", "brakes", 10, (BRAKE, ACCELERATION, BRAKE_SWITCH)),
    Message("steering angle", "steering", 10, (STEERING, STEERING_RATE)),
    Message("front wheels", "brakes", 10, (WHEEL["fl"], WHEEL["fr"])),
    Message("rear wheels", "brakes", 10, (WHEEL["rl"], WHEEL["rr"])),
    Message("engine speed", "engine", 10, (RPM, TORQUE, PEDAL)),
    Message("driver demand", "engine", 10, (THROTTLE, PEDAL, BRAKE_SWITCH), checksum="xor"),
    Message("engine torque", "engine", 10, (TORQUE, MANIFOLD), checksum="xor"),
    Message("gearbox speed", "gearbox", 10, (TURBINE, SPEED, GEAR)),
    Message("inertia", "airbag", 10, (YAW, LATERAL)),
    Message("vehicle speed", "brakes", 20, (SPEED, ACCELERATION, BRAKE_SWITCH)),
    Message("air path", "engine", 20, (MANIFOLD, AIR_FLOW), checksum="xor"),
    Message("gearbox torque", "gearbox", 20, (TORQUE, TURBINE, GEAR)),
    Message("steering torque", "steering", 20, (STEERING_TORQUE, STEERING), checksum="xor"),
    Message("object ahead", "radar", 20, (DISTANCE, CLOSING)),
    Message("drive mode", "gateway", 20, (GEAR, PEDAL, BRAKE_SWITCH), dlc=6, checksum="xor"),
    Message("restraint", "airbag", 20, (ACCELERATION, YAW)),
    Message("stability", "brakes", 25, (YAW, LATERAL)),
    Message("lane", "radar", 25, (LANE, YAW)),
    Message("cruise control", "radar", 25, (SPEED, DISTANCE, GEAR), checksum="xor"),
    Message("generator", "battery", 20, (VOLTAGE, CURRENT, PEDAL)),
    Message("electric load", "battery", 25, (CURRENT, VOLTAGE)),
    Message("stability status", "brakes", 50, (BRAKE_SWITCH, SPEED)),
    Message("gear display", "gearbox", 50, (GEAR, SPEED), dlc=6),
    Message("lamps", "body", 50, (LAMPS, TURN_LIGHT, BRAKE_SWITCH), checksum=""),
    Message("gateway routing", "gateway", 50, (RPM, SPEED)),
    Message("engine temperatures", "engine", 100, (COOLANT, OIL, OIL_PRESSURE)),
    Message("gearbox temperature", "gearbox", 100, (OIL,), dlc=4),
    Message("airbag status", "airbag", 100),
    Message("doors", "body", 100, (LAMPS,), dlc=4, checksum=""),
    Message("speedometer", "cluster", 100, (SPEED, RPM)),
    Message("steering status", "steering", 100, (STEERING,), dlc=5),
    Message("gateway status", "gateway", 100, (VOLTAGE,)),
    Message("wipers", "body", 200, (WIPER,), dlc=3, checksum=""),
    Message("trip", "cluster", 200, (TRIP,), checksum="xor"),
    Message("cabin climate", "climate", 200, (CABIN, FAN), checksum=""),
    Message("battery state", "battery", 200, (VOLTAGE, CURRENT)),
    Message("fuel", "cluster", 500, (FUEL,), dlc=4, checksum=""),
    Message("ambient", "climate", 500, (AMBIENT,), dlc=2, checksum=""),
    Message("key", "body", 500, dlc=8, checksum=""),
    Message("network management", "gateway", 500, dlc=8, checksum=""),
    Message("clock", "cluster", 1000, (TRIP,), checksum=""),
    Message("radar status", "radar", 1000, dlc=5),
    Message("climate status", "climate", 1000, (FAN,), dlc=4, checksum=""),
)


def build_vehicle(vehicle_seed: int = 0, messages: Sequence[Message] = MESSAGES) -> tuple[Message, ...]:
    """The messages of one car, most urgent first, with the arbitration IDs and constant bytes that the seed draws.

    Two seeds give two makes of car: the same signals under other IDs. Faster messages get the lower IDs.
    """
    rng = np.random.default_rng(np.random.SeedSequence([vehicle_seed, 0xCA2]))
    by_urgency = sorted(messages, key=lambda m: m.period_ms)
    ids = np.sort(rng.choice(np.arange(0x080, 0x6F0), size=len(by_urgency), replace=False))
    vehicle = []
    for message, arbitration_id in zip(by_urgency, ids.tolist(), strict=True):
        room = message.dlc - message.signal_bytes - message.trailer_bytes
        filler = rng.integers(0, 256, size=room, dtype=np.uint8).tobytes()
        vehicle.append(replace(message, arbitration_id=arbitration_id, filler=filler))
    return tuple(vehicle)


def transmissions(
    vehicle: tuple[Message, ...], drive: Drive, rng: np.random.Generator, duration_s: float
) -> Transmissions:
    """What the car's ECUs send during a drive; message `i` of `vehicle` waits in mailbox `i`.

    Every ECU runs on its own clock, up to 100 ppm off, and every message keeps its own phase with a jitter of up to
    5 % of its period, 2 ms at most, that does not add up. About once in `HOLD_EVERY_S` seconds one fast message of the
    car repeats its last good values for a moment, as ECUs do when a plausibility check fails: a value at rest is not
    an attack by itself.
    """
    ecus = sorted({m.ecu for m in vehicle})
    skew_ppm = dict(zip(ecus, rng.integers(-100, 101, size=len(ecus)).tolist(), strict=True))
    holds = _draw_holds(vehicle, rng, duration_s)
    return join(
        *(
            _message_transmissions(
                message, _Sender(mailbox, skew_ppm[message.ecu], holds.get(mailbox, [])), drive, rng, duration_s
            )
            for mailbox, message in enumerate(vehicle)
        )
    )


def _draw_holds(
    vehicle: tuple[Message, ...], rng: np.random.Generator, duration_s: float
) -> dict[int, list[tuple[int, int]]]:
    """First and last tick of every hold, by message: another message each time until all have had their turn."""
    noisy = [i for i, message in enumerate(vehicle) if message.is_fast and any(c.noise_lsb for c in message.codings)]
    turns = rng.permutation(noisy).tolist()
    holds: dict[int, list[tuple[int, int]]] = {}
    for turn in range(int(duration_s / HOLD_EVERY_S)):
        start = int(rng.integers(0, int(duration_s * TICKS_PER_S)))
        length = int(rng.integers(SHORTEST_HOLD, LONGEST_HOLD))
        holds.setdefault(turns[turn % len(turns)], []).append((start, start + length))
    return holds


class _Sender(NamedTuple):
    """How a message is sent: its mailbox, the error of its ECU's clock, first and last bit time of its holds."""

    mailbox: int
    skew_ppm: int
    holds: list[tuple[int, int]]


def _message_transmissions(
    message: Message,
    sender: _Sender,
    drive: Drive,
    rng: np.random.Generator,
    duration_s: float,
) -> Transmissions:
    period = message.period_ms * MS
    phase = int(rng.integers(0, period))
    k = np.arange(int(duration_s * TICKS_PER_S - phase) // period + 1)
    jitter = min(period // 40, LONGEST_JITTER)
    release = phase + k * period + k * period * sender.skew_ppm // 1_000_000 + triangular(rng, jitter, len(k))
    release = np.maximum(release, 0)
    raw = np.zeros((len(k), len(message.codings)), np.int64)
    for column, coding in enumerate(message.codings):
        value = drive.at(coding.signal, release / TICKS_PER_S)
        exact = np.floor((value - coding.offset) / coding.scale + 0.5).astype(np.int64)
        raw[:, column] = exact + triangular(rng, coding.noise_lsb, len(k)) * (exact > 0)
    for first, last in sender.holds:
        held = np.flatnonzero((release >= first) & (release <= last))
        raw[held] = raw[held[:1]]
    return Transmissions(
        release=release,
        mailbox=np.full(len(k), sender.mailbox, np.int64),
        node_key=np.full(len(k), message.node_key, np.uint32),
        dlc=np.full(len(k), message.dlc, np.uint8),
        payload=encode(message, raw, k + int(rng.integers(0, 16))),
        attack=np.zeros(len(k), np.uint8),
        recorded=np.full(len(k), NOT_RECORDED, np.int64),
    )
