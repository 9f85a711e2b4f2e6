"""Vehicles: which captures are of the same bus of the same vehicle."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Capture, DataError

# Recordings of one bus have most of their arbitration IDs in common, whatever was switched on; two buses of a vehicle,
# recorded into files of their own, share some at most.
SHARED_IDS = 0.5


def vehicles_of(captures: Sequence[Capture]) -> dict[str, list[int]]:
    """Indices of the captures of each vehicle, by its name.

    The folder of a capture names its vehicle, other characters than those of a metric's name as `_`; "vehicle" where
    there is no folder. Each bus counts as a vehicle of its own: it gets the bus's name appended where a file holds
    several, and that of its first capture where captures of one folder share fewer than `SHARED_IDS` of the arbitration
    IDs of the smaller one. Captures without frames are left out.
    """
    folders: dict[str, list[int]] = {}
    for index, capture in enumerate(captures):
        if len(capture.frames):
            folders.setdefault(_folder(capture), []).append(index)
    found: dict[str, list[int]] = {}
    for folder, indices in sorted(folders.items()):
        buses = _buses([_arbitration_ids(captures[index]) for index in indices])
        for members in buses:
            first = PurePosixPath(captures[indices[members[0]]].name).name.partition(".")[0]
            found[folder if len(buses) == 1 else f"{folder}/{first}"] = [indices[member] for member in members]
    return found


def held_out(hold_out: str, vehicles: dict[str, list[int]], *, automatic: bool) -> str:
    """The vehicle that is kept for the test; empty for none.

    Args:
        hold_out: Its name; "auto" for the last one where `automatic`, else for none.
        vehicles: By name.
        automatic: Whether the data call for it by themselves.

    Raises:
        DataError: If there is no such vehicle, or no other one.
    """
    if hold_out == "auto":
        return sorted(vehicles)[-1] if automatic and len(vehicles) > 1 else ""
    if hold_out not in vehicles:
        raise DataError(
            f"data.hold_out is {hold_out!r}, but the vehicles are {', '.join(sorted(vehicles))}. Name one of them, as "
            "the folder of its captures is called."
        )
    if len(vehicles) == 1:
        raise DataError(
            f"data.hold_out is {hold_out!r}, the only vehicle of these captures. Training needs another one: add a "
            "folder with its captures, or hold none out."
        )
    return hold_out


def _folder(capture: Capture) -> str:
    parent = PurePosixPath(capture.name).parent.as_posix()
    bus = capture.frames.channels[capture.frames.channel[0]]
    several = bus and capture.name.endswith(f":{bus}")
    folder = f"{'vehicle' if parent == '.' else parent}{f':{bus}' if several else ''}"
    # MLflow accepts few characters in the name of a metric, and each vehicle has some.
    return re.sub(r"[^0-9A-Za-z_\-./: ]", "_", folder)


def _arbitration_ids(capture: Capture) -> NDArray[np.uint32]:
    """The IDs that its ECUs send; those of injected frames may be anything."""
    keys, attack = capture.frames.node_key(), capture.frames.attack
    return np.unique(keys if attack is None else keys[attack == 0])


def _buses(ids: Sequence[NDArray[np.uint32]]) -> list[list[int]]:
    """Groups of captures that are linked by arbitration IDs, each in ascending order."""
    groups: list[list[int]] = []
    for index, own in enumerate(ids):
        linked = [group for group in groups if any(_same_bus(own, ids[other]) for other in group)]
        groups = [group for group in groups if group not in linked]
        groups.append(sorted([index, *(member for group in linked for member in group)]))
    return sorted(groups)


def _same_bus(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> bool:
    fewer = min(len(one), len(other))
    return len(np.intersect1d(one, other)) >= SHARED_IDS * fewer
