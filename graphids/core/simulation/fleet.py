"""A fleet: attack-free drives of several simulated vehicles, no two of which speak alike."""

from dataclasses import replace

import numpy as np

from graphids.core.frames import Capture
from graphids.core.simulation.drive import simulate_drive
from graphids.core.simulation.messages import Message
from graphids.core.simulation.simulate import DURATION_S, carried_frames
from graphids.core.simulation.vehicle import MESSAGES, build_vehicle, transmissions

VEHICLES, DRIVES = 4, 5
SIMULATED_CAR = f"vehicle-{VEHICLES}"
_FEWEST_MESSAGES = 28
# A message of one vehicle is sent so much less often by another.
_SLOWER = (1.0, 1.2, 1.6, 2.0)


def simulated_fleet(*, seed: int = 0, duration_s: float = DURATION_S) -> list[Capture]:
    """Attack-free drives of `VEHICLES` vehicles, labelled as such: "vehicle-1/drive-1" ...

    Vehicles differ in arbitration IDs, in which messages there are, how often they are sent, the order of their signals
    and their checksums; drives of one vehicle in driver, route and noise. `SIMULATED_CAR` is the car of
    `simulate_vehicle`, so that what was learned of the others can be tried on its attacked drives.

    Args:
        seed: Draws the other vehicles, and all drives.
        duration_s: Of each drive, at least 1 s.
    """
    captures = []
    for number, vehicle_seed in enumerate(np.random.SeedSequence(seed).spawn(VEHICLES), start=1):
        drawing, *driving = vehicle_seed.spawn(1 + DRIVES)
        make = f"vehicle-{number}"
        vehicle = build_vehicle()
        if make != SIMULATED_CAR:
            vehicle = build_vehicle(int(drawing.generate_state(1)[0]), _messages(np.random.default_rng(drawing)))
        for drive, drive_seed in enumerate(driving, start=1):
            rng = np.random.default_rng(drive_seed)
            sent = transmissions(vehicle, simulate_drive(rng, duration_s), rng, duration_s)
            name = f"{make}/drive-{drive}"
            captures.append(Capture(name, carried_frames(sent), source=name))
    return captures


def _messages(rng: np.random.Generator) -> list[Message]:
    """The messages of one vehicle, in the order of `MESSAGES`."""
    number = int(rng.integers(_FEWEST_MESSAGES, len(MESSAGES) + 1))
    chosen = np.sort(rng.choice(len(MESSAGES), size=number, replace=False)).tolist()
    return [_varied(MESSAGES[index], rng) for index in chosen]


def _varied(message: Message, rng: np.random.Generator) -> Message:
    order = rng.permutation(len(message.codings)).tolist()
    return replace(
        message,
        period_ms=round(message.period_ms * float(rng.choice(_SLOWER))),
        codings=tuple(message.codings[index] for index in order),
        checksum=message.checksum and str(rng.choice(("crc8", "xor"))),
    )
