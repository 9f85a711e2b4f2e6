"""Captures of a simulated car: a deterministic stand-in for recordings, with every attack labelled.

`drive` says how the signals move, `vehicle` what its ECUs send, the room `injection` what an intruder does and
which frame is sent when; here they become frames, a data set in memory, or files.
"""

import gzip as gzip_module
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from graphids.core.frames import NORMAL, Capture, Frames
from graphids.core.injection.attacks import ATTACKS, TARGETED, Episode, victims
from graphids.core.injection.bus import TICKS_PER_S, US_PER_TICK, Transmissions, arbitrate
from graphids.core.simulation.drive import simulate_drive
from graphids.core.simulation.messages import Message
from graphids.core.simulation.text_writer import candump_text, csv_text, labels_text
from graphids.core.simulation.vehicle import build_vehicle, transmissions

ATTACK_KINDS = ("dos", "fuzzy", "spoof", "replay", "suppress", "masquerade")
CAPTURES_PER_KIND = 5  # split by capture, three train: from fewer victims a network memorizes their IDs
DURATION_S = 20.0
NORMAL_CAPTURES = 5
VICTIMS_PER_INTERVAL = 3


@dataclass(frozen=True, slots=True)
class Simulation:
    """One simulated capture and how it was made.

    Attributes:
        frames: With `attack` and `attack_kind`; timestamps in whole microseconds, strictly increasing: the end of
            each frame on the wire, counted from the start of the capture.
        attack: Kind of attack, or "none".
        intervals: First and last second of each stretch of attack; empty without one.
        targets: Arbitration IDs of the attacked messages in the order of time; empty where the kind needs none.
    """

    frames: Frames
    attack: str
    intervals: tuple[tuple[float, float], ...]
    targets: tuple[int, ...]


def simulate_vehicle(
    *,
    seed: int,
    duration_s: float,
    attack: str = "none",
    intensity: float = 1.0,
    target: int | None = None,
    vehicle_seed: int = 0,
) -> Frames:
    """Frames of one drive, the same bytes for the same arguments on every platform.

    Args:
        seed: Draws the driver, the route, phases, noise and all that varies in the attack.
        duration_s: At least 1 s; it gives about 1600 frames per second.
        attack: "none" or one of `ATTACK_KINDS`; it takes up 30 % of the time, in two intervals.
        intensity: Strength of the attack in (0, 1]; see `injection.attacks.Episode`.
        target: Arbitration ID to spoof, or whose ECU to suppress or masquerade as. None draws `VICTIMS_PER_INTERVAL`
            for each interval, attacked one after another, so that a detector trained on one capture does not memorize
            one victim's ID.
        vehicle_seed: Draws the make of car: arbitration IDs and constant bytes.

    Returns:
        Frames with `kinds` ("normal", attack), `attack` 1 on injected and altered frames, and `attack_kind` set on the
        same ones; for "suppress" on every frame within an interval, because no frame is left to mark.

    Raises:
        ValueError: If an argument is out of the range above.
    """
    return simulate(seed, duration_s, attack, intensity, target, vehicle_seed).frames


def simulate(
    seed: int,
    duration_s: float,
    attack: str = "none",
    intensity: float = 1.0,
    target: int | None = None,
    vehicle_seed: int = 0,
) -> Simulation:
    """`simulate_vehicle` with intervals and targets beside the frames; same arguments, same errors."""
    if not 1.0 <= duration_s <= 86_400.0:
        raise ValueError(f"duration_s is {duration_s}. Expected 1 to 86400 seconds.")
    if attack not in ("none", *ATTACK_KINDS):
        raise ValueError(f"attack is {attack!r}. Expected 'none' or one of {', '.join(ATTACK_KINDS)}.")
    if not 0.0 < intensity <= 1.0:
        raise ValueError(f"intensity is {intensity}. Expected more than 0 and at most 1.")
    vehicle = build_vehicle(vehicle_seed)
    driving, attacking = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    sent = transmissions(vehicle, simulate_drive(driving, duration_s), driving, duration_s)
    intervals = _draw_intervals(attacking, duration_s) if attack != "none" else ()
    targets = _draw_targets(attacking, vehicle, target, len(intervals))
    for (first, last), victim in zip(_thirds(intervals), targets, strict=True):
        sent = ATTACKS[attack](sent, Episode(vehicle, first, last, victim, intensity, attacking))
    # Frames end on even microseconds (a tick takes two), intervals on odd ones: no frame is ever on an edge.
    seconds = tuple(((first * US_PER_TICK + 1) / 1e6, (last * US_PER_TICK + 1) / 1e6) for first, last in intervals)
    ids = tuple(vehicle[i].arbitration_id for i in dict.fromkeys(targets)) if attack in TARGETED else ()
    return Simulation(carried_frames(sent, attack, seconds), attack, seconds, ids)


def carried_frames(
    sent: Transmissions, attack: str = "none", intervals: tuple[tuple[float, float], ...] = ()
) -> Frames:
    """What the bus carried of what was sent, labelled as `simulate_vehicle` says.

    Args:
        sent: By all nodes.
        attack: Kind of attack, or "none".
        intervals: First and last second of each stretch of attack.
    """
    rows, end = arbitrate(sent)
    carried = sent.take(rows)
    timestamp = end * US_PER_TICK / 1e6
    attack_kind = carried.attack.astype(np.int16)
    if attack == "suppress":
        for first_s, last_s in intervals:
            attack_kind[(timestamp >= first_s) & (timestamp <= last_s)] = 1
    return Frames(
        timestamp=timestamp,
        arbitration_id=carried.node_key,
        dlc=carried.dlc,
        payload=carried.payload,
        is_extended=np.zeros(len(rows), np.bool_),
        channel=np.zeros(len(rows), np.uint8),
        attack=carried.attack,
        attack_kind=attack_kind,
        kinds=(NORMAL,) if attack == "none" else (NORMAL, attack),
    )


def _draw_intervals(rng: np.random.Generator, duration_s: float) -> tuple[tuple[int, int], ...]:
    """Two stretches of 15 % of the capture, one in each half, in ticks; the first 15 % stay free of attack."""
    total = int(duration_s * TICKS_PER_S)
    length = total * 15 // 100
    starts = (total * int(rng.integers(15, 33)) // 100, total * int(rng.integers(52, 80)) // 100)
    return tuple((start, start + length) for start in starts)


def _thirds(intervals: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """Every interval cut into one piece for each of its victims."""
    pieces = []
    for first, last in intervals:
        cuts = [first + (last - first) * i // VICTIMS_PER_INTERVAL for i in range(VICTIMS_PER_INTERVAL + 1)]
        pieces += list(pairwise(cuts))
    return pieces


def _draw_targets(
    rng: np.random.Generator, vehicle: tuple[Message, ...], target: int | None, num_intervals: int
) -> list[int]:
    """A victim for every piece of every interval, all different ones unless `target` names the only one."""
    candidates = victims(vehicle)
    num_victims = num_intervals * VICTIMS_PER_INTERVAL
    if target is None:
        drawn: list[int] = rng.permutation(candidates)[:num_victims].tolist()
        return drawn
    ids = {vehicle[i].arbitration_id: i for i in candidates}
    if target not in ids:
        raise ValueError(
            f"target 0x{target:X} is not a message worth attacking in this vehicle. "
            f"Expected one of {', '.join(f'0x{i:X}' for i in ids)}, or None to draw several."
        )
    return [ids[target]] * num_victims


def simulated_captures(
    *, seed: int = 0, duration_s: float = DURATION_S, captures_per_kind: int = CAPTURES_PER_KIND, vehicle_seed: int = 0
) -> list[Capture]:
    """The default data set: attack-free captures and `captures_per_kind` of every attack, of one car.

    Every capture is a drive of its own, with another driver and other victims, and so its own source.

    Args:
        seed: Draws every drive and attack.
        duration_s: Of each capture; see `simulate_vehicle`.
        captures_per_kind: At least three, so that a split by capture has one for each of its parts.
        vehicle_seed: The make of car.

    Returns:
        Captures named "normal-1" ..., "dos-1" ...
    """
    drives = _simulated_drives(seed, duration_s, captures_per_kind, vehicle_seed)
    return [Capture(name=name, frames=drive.frames, source=name) for name, _, drive in drives]


def _simulated_drives(
    seed: int, duration_s: float, captures_per_kind: int, vehicle_seed: int
) -> list[tuple[str, int, Simulation]]:
    """Name, seed and simulation of every capture of the default data set."""
    numbered = [("none", i) for i in range(1, NORMAL_CAPTURES + 1)]
    numbered += [(kind, i) for kind in ATTACK_KINDS for i in range(1, captures_per_kind + 1)]
    seeds = np.random.SeedSequence(seed).generate_state(len(numbered)).tolist()
    return [
        (
            f"{NORMAL if kind == 'none' else kind}-{number}",
            drive_seed,
            simulate(drive_seed, duration_s, kind, vehicle_seed=vehicle_seed),
        )
        for (kind, number), drive_seed in zip(numbered, seeds, strict=True)
    ]


def write_dataset(
    folder: str | Path,
    *,
    format: Literal["csv", "candump"] = "csv",
    gzip: bool = False,
    seed: int = 0,
    duration_s: float = DURATION_S,
    captures_per_kind: int = CAPTURES_PER_KIND,
    vehicle_seed: int = 0,
) -> list[Path]:
    """The default data set as files, with an `index.json` that names kinds, intervals, targets and seeds.

    Args:
        folder: Made if it does not exist.
        format: "csv" (can-train-and-test, labels in the file) or "candump" (`candump -l`, labels in `.labels.csv`).
        gzip: Compress, and append `.gz` to the names; the bytes are the same in every run.
        seed: As `simulated_captures` takes it; likewise the arguments below.
        duration_s: Of each capture.
        captures_per_kind: Captures of each attack.
        vehicle_seed: The make of car.

    Returns:
        The captures' paths. The index is written last: a folder that has one is complete.

    Raises:
        FileExistsError: If `folder` holds anything: a capture left over would silently join the data set.
        ValueError: If an argument is out of range.
    """
    folder = Path(folder)
    if format not in ("csv", "candump"):
        raise ValueError(f"format is {format!r}. Expected 'csv' or 'candump'.")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty. Expected a new or empty folder; name another or clear this one.")
    drives = _simulated_drives(seed, duration_s, captures_per_kind, vehicle_seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths, index = [], []
    for name, drive_seed, drive in drives:
        if format == "csv":
            path = _write(folder / f"{name}.csv", csv_text(drive.frames), gzip)
        else:
            path = _write(folder / f"{name}.log", candump_text(drive.frames), gzip)
            _write(folder / f"{name}.log.labels.csv", labels_text(drive.frames), gzip)
        paths.append(path)
        index.append({"file": path.name, "source": name, "seed": drive_seed, **_index_entry(drive)})
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return paths


def _write(path: Path, text: bytes, gzip: bool) -> Path:
    if gzip:
        path = path.with_name(path.name + ".gz")
        text = gzip_module.compress(text, compresslevel=6, mtime=0)
    path.write_bytes(text)
    return path


def _index_entry(drive: Simulation) -> dict[str, object]:
    frames = drive.frames
    entry: dict[str, object] = {
        "kind": drive.attack,
        "frames": len(frames),
        "attack": 0 if frames.attack is None else int(frames.attack.sum()),
    }
    if drive.intervals:
        entry["intervals"] = [list(interval) for interval in drive.intervals]
    if drive.targets:
        entry["targets"] = [f"{target:03X}" for target in drive.targets]
    return entry
