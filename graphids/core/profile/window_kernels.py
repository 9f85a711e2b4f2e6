"""Kernels: from deviations of frames to those of nodes of windows; as in `kernels`, each stands alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit
from graphids.core.profile.kernels import Vehicle
from graphids.core.profile.records import Deviation, Habit
from graphids.core.profile.traffic import Traffic

_MOST, _MOST_OF_EVENTS = 1000.0, 10.0  # decades, as in `kernels`


class Windows(NamedTuple):
    """How windows are cut: the first frame of each, int64 [G], rising, and frames per window."""

    starts: NDArray[np.int64]
    size: int


class Nodes(NamedTuple):
    """Nodes of all windows: those of window g are `ptr[g]:ptr[g + 1]`.

    Attributes:
        ptr: int64 [G + 1].
        node_key: uint32 [N].
        frames: int32 [N], frames of the ID in the window; 0 for one that is overdue and absent.
        deviations: `DEVIATION` [N].
    """

    ptr: NDArray[np.int64]
    node_key: NDArray[np.uint32]
    frames: NDArray[np.int32]
    deviations: NDArray[np.void]


@njit(cache=True, nogil=True)
def gather(
    frames: tuple[Traffic, NDArray[np.uint32], NDArray[np.void]],
    windows: Windows,
    vehicle: Vehicle,
    known_keys: NDArray[np.uint32],
    last_before_s: NDArray[np.float64],
    nodes: Nodes,
) -> int:
    """The nodes of every window: its arbitration IDs in order of appearance, then those that are overdue at its end.

    Args:
        frames: Traffic, node key and `DEVIATION` of every frame.
        windows: How they are cut.
        vehicle: What is known of the messages.
        known_keys: uint32 [V], their node keys.
        last_before_s: float64 [V], when each was last seen before these frames, since the bus last paused; infinite
            for never.
        nodes: Filled as far as there is room; called with no room it counts.

    Returns:
        How many nodes there are.
    """
    traffic, keys, deviations = frames
    num_messages = len(known_keys)
    window_of = np.full(num_messages, -1)  # the last window in which a message had a node
    node_of = np.empty(num_messages, np.int64)
    last_s = last_before_s.copy()
    seen, count = 0, 0
    for window in range(len(windows.starts)):
        first = count
        nodes.ptr[window] = count
        for i in range(windows.starts[window], windows.starts[window] + windows.size):
            message = traffic.message[i]
            if message >= 0:
                node = node_of[message] if window_of[message] == window else count
                window_of[message], node_of[message] = window, node
            else:
                node = _unknown_node(nodes, keys[i], first, count)
            if node == count:
                count += 1
                if node < len(nodes.node_key):
                    nodes.node_key[node] = keys[i]
            if node < len(nodes.node_key):
                nodes.frames[node] += 1
                _raise_to(nodes.deviations[node], deviations[i])
        end = windows.starts[window] + windows.size
        while seen < end:
            if seen and traffic.pause[seen] != traffic.pause[seen - 1]:
                last_s[:] = np.inf  # nothing is overdue that has not been seen since a pause
            if traffic.message[seen] >= 0:
                last_s[traffic.message[seen]] = traffic.time_s[seen]
            seen += 1
        for message in range(num_messages):
            excess = _overdue(vehicle.habits[message], traffic.time_s[end - 1] - last_s[message])
            largest = vehicle.calibration.largest[message].late
            if excess <= largest:
                continue
            late = vehicle.calibration.rate[message].late * (excess - largest)
            late = min(late, _MOST if vehicle.habits[message].is_cyclic else _MOST_OF_EVENTS)
            node = node_of[message] if window_of[message] == window else count
            if node == count:
                count += 1
            if node < len(nodes.node_key):
                nodes.node_key[node] = known_keys[message]
                nodes.deviations[node].late = max(nodes.deviations[node].late, late)
    nodes.ptr[len(windows.starts)] = count
    return count


@njit(cache=True, nogil=True)
def _unknown_node(nodes: Nodes, key: int, first: int, count: int) -> int:
    """Node of an unknown ID in the window whose nodes begin at `first`; `count`, a new one, if it has none yet.

    Where there is no room for keys each frame counts as a node: more than there are, never fewer.
    """
    for node in range(first, min(count, len(nodes.node_key))):
        if nodes.node_key[node] == key:
            return node
    return count


@njit(cache=True, nogil=True)
def _raise_to(row: Deviation, frame: Deviation) -> None:
    """Raise a node to the deviations of a frame; frames of unknown IDs and with broken checks are counted."""
    for span in range(len(row.early)):
        row.early[span] = max(row.early[span], frame.early[span])
    row.late = max(row.late, frame.late)
    row.hurry = max(row.hurry, frame.hurry)
    row.delay = max(row.delay, frame.delay)
    row.unknown += frame.unknown
    row.dlc = max(row.dlc, frame.dlc)
    row.novelty = max(row.novelty, frame.novelty)
    row.range = max(row.range, frame.range)
    row.step = max(row.step, frame.step)
    row.turn = max(row.turn, frame.turn)
    row.rest = max(row.rest, frame.rest)
    row.rest_among_moves = max(row.rest_among_moves, frame.rest_among_moves)
    row.replay = max(row.replay, frame.replay)
    row.broken_check += frame.broken_check
    row.broken_counter += frame.broken_counter
    row.surprise = max(row.surprise, frame.surprise)


@njit(cache=True, nogil=True)
def _overdue(habit: Habit, elapsed_s: float) -> float:
    """Mean gaps by which a message has been silent for longer than is usual; 0 for an ID of too few frames."""
    if habit.gap_s <= 0.0:
        return 0.0
    return float(max(0.0, (elapsed_s - habit.long_gap_s) / habit.gap_s))
