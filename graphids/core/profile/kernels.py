"""Kernels: one pass over traffic that follows every message, to learn its habits or to measure deviations from them.

As in `graphs.kernels`, no kernel uses a constant or a kernel of another module, because numba's cache looks at this
file only; the numbers of spans and bytes come with the types of the records.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit
from graphids.core.profile.records import Deviation, Habit, State, Tolerance
from graphids.core.profile.traffic import Traffic

# A CUSUM forgives this share of a period with every frame, so that the drift of clocks does not add up.
_FORGIVEN = 0.05
# A CUSUM keeps no more than this many periods beyond what is tolerated, so that it comes down again after an attack.
_KEPT = 4.0
# A byte that rests for more than this share of its frames has no habit of moving.
_MOSTLY = 0.5


class Vehicle(NamedTuple):
    """What is known of the messages, in the order that `Traffic.message` counts.

    Attributes:
        habits: `HABITS` [V].
        tolerance: `TOLERANCE` [V].
        surprise: float32 [V, V], -log10 of the probability that the second ID follows the first.
    """

    habits: NDArray[np.void]
    tolerance: NDArray[np.void]
    surprise: NDArray[np.float32]


@njit(cache=True, nogil=True)
def observe(traffic: Traffic, states: NDArray[np.void], habits: NDArray[np.void], follows: NDArray[np.int64]) -> None:
    """Widen the habits of all messages by what the traffic shows, and count which ID follows which.

    Args:
        traffic: One block of attack-free traffic.
        states: `STATE` [V], zero where the block begins.
        habits: `HABITS` [V], with the periods filled in.
        follows: int64 [V, V], counts.
    """
    previous = -1
    for i in range(len(traffic.message)):
        message = traffic.message[i]
        if message >= 0:
            if previous >= 0:
                follows[previous, message] += 1
            _follow(states[message], habits[message].period_s, traffic, i)
            _widen(habits[message], states[message], traffic.dlc[i])
        previous = message


@njit(cache=True, nogil=True)
def tolerate(traffic: Traffic, states: NDArray[np.void], habits: NDArray[np.void], tolerance: NDArray[np.void]) -> None:
    """Raise the tolerance of all messages to how far the traffic goes beyond habits that did not see it."""
    for i in range(len(traffic.message)):
        message = traffic.message[i]
        if message < 0:
            continue
        state, habit, row = states[message], habits[message], tolerance[message]
        _follow(state, habit.period_s, traffic, i)
        for span in range(len(row.early)):
            row.early[span] = max(row.early[span], _early(habit, state, span))
        row.late = max(row.late, _late(habit, state))
        row.hurry = max(row.hurry, state.hurry - habit.hurry)
        row.delay = max(row.delay, state.delay - habit.delay)
        for b in range(traffic.dlc[i]):
            row.range[b] = max(row.range[b], _outside(habit, state, b))
            row.novelty[b] += _is_new(habit, state, b)
            row.step[b] = max(row.step[b], _beyond(abs(state.step[b]), habit.step[b]))
            row.turn[b] = max(row.turn[b], _beyond(abs(state.turn[b]), habit.turn[b]))
            if _moves(habit, b):
                row.rest[b] = max(row.rest[b], _beyond(state.rest[b], habit.rest[b]))
                moves = _beyond(state.rest_among_moves[b], habit.rest_among_moves[b])
                row.rest_among_moves[b] = max(row.rest_among_moves[b], moves)


@njit(cache=True, nogil=True)
def deviate(
    traffic: Traffic, states: NDArray[np.void], vehicle: Vehicle, previous: int, deviations: NDArray[np.void]
) -> int:
    """Measure how far every frame goes beyond what is known of the vehicle.

    Args:
        traffic: Frames that follow those that the states have seen.
        states: `STATE` [V], brought up to the last frame.
        vehicle: What is known.
        previous: Message of the frame before the first; -1 for none.
        deviations: `DEVIATION` [n], zero; filled.

    Returns:
        Message of the last frame.
    """
    for i in range(len(traffic.message)):
        message, row = traffic.message[i], deviations[i]
        if message < 0:
            row.unknown = 1.0
        else:
            state, habit, tolerance = states[message], vehicle.habits[message], vehicle.tolerance[message]
            _follow(state, habit.period_s, traffic, i)
            state.hurry = min(state.hurry, habit.hurry + tolerance.hurry + _KEPT)
            state.delay = min(state.delay, habit.delay + tolerance.delay + _KEPT)
            _compare_timing(row, habit, tolerance, state)
            _compare_payload(row, habit, tolerance, state, traffic.dlc[i])
            if previous >= 0:
                row.surprise = vehicle.surprise[previous, message]
        previous = message
    return int(previous)


@njit(cache=True, nogil=True)
def _follow(state: State, period_s: float, traffic: Traffic, i: int) -> None:
    """Bring the state of a message up to frame `i`, which is its own."""
    for k in range(len(state.times_s) - 1, 0, -1):
        state.times_s[k] = state.times_s[k - 1]
    state.times_s[0] = traffic.time_s[i]
    if state.frames:
        if period_s > 0.0:
            periods = (state.times_s[0] - state.times_s[1]) / period_s
            state.hurry = max(0.0, state.hurry + 1.0 - periods - _FORGIVEN)
            state.delay = max(0.0, state.delay + periods - 1.0 - _FORGIVEN)
        moved = 0
        for b in range(traffic.dlc[i]):
            moved += traffic.payload[i, b] != state.payload[b]
        for b in range(traffic.dlc[i]):
            step = np.int32(traffic.payload[i, b]) - np.int32(state.payload[b])
            state.turn[b] = step - state.step[b] if state.frames > 1 else 0
            state.step[b] = step
            if step:
                state.rest[b] = 0
                state.rest_among_moves[b] = 0
            else:
                state.rest[b] += 1
                state.rest_among_moves[b] += moved
    for b in range(traffic.dlc[i]):
        state.payload[b] = traffic.payload[i, b]
    state.frames += 1


@njit(cache=True, nogil=True)
def _widen(habit: Habit, state: State, dlc: int) -> None:
    """Widen the habits of a message by the frame that its state was just brought up to."""
    habit.frames += 1
    habit.dlcs |= 1 << dlc
    habit.hurry = max(habit.hurry, state.hurry)
    habit.delay = max(habit.delay, state.delay)
    if state.frames > 1:
        habit.longest_gap_s = max(habit.longest_gap_s, state.times_s[0] - state.times_s[1])
    for span in range(len(habit.shortest_s)):
        if state.frames > 1 << span:
            habit.shortest_s[span] = min(habit.shortest_s[span], state.times_s[0] - state.times_s[1 << span])
    for b in range(dlc):
        value = state.payload[b]
        habit.low[b] = min(habit.low[b], value)
        habit.high[b] = max(habit.high[b], value)
        habit.values[b, value >> 3] |= 1 << (value & 7)
        habit.step[b] = max(habit.step[b], abs(state.step[b]))
        habit.turn[b] = max(habit.turn[b], abs(state.turn[b]))
        habit.rest[b] = max(habit.rest[b], state.rest[b])
        habit.rest_among_moves[b] = max(habit.rest_among_moves[b], state.rest_among_moves[b])


@njit(cache=True, nogil=True)
def _compare_timing(row: Deviation, habit: Habit, tolerance: Tolerance, state: State) -> None:
    for span in range(len(row.early)):
        row.early[span] = max(0.0, _early(habit, state, span) - tolerance.early[span])
    row.late = max(0.0, _late(habit, state) - tolerance.late)
    row.hurry = max(0.0, state.hurry - habit.hurry - tolerance.hurry)
    row.delay = max(0.0, state.delay - habit.delay - tolerance.delay)


@njit(cache=True, nogil=True)
def _compare_payload(row: Deviation, habit: Habit, tolerance: Tolerance, state: State, dlc: int) -> None:
    row.dlc = 1.0 if not habit.dlcs & (1 << dlc) else 0.0
    for b in range(dlc):
        row.novelty += _is_new(habit, state, b) / (1.0 + tolerance.novelty[b])
        row.range = max(row.range, _beyond_tolerance(_outside(habit, state, b), tolerance.range[b]))
        step = _beyond(abs(state.step[b]), habit.step[b])
        row.step = max(row.step, _beyond_tolerance(step, tolerance.step[b]))
        turn = _beyond(abs(state.turn[b]), habit.turn[b])
        row.turn = max(row.turn, _beyond_tolerance(turn, tolerance.turn[b]))
        if _moves(habit, b):
            rest = _beyond(state.rest[b], habit.rest[b])
            row.rest = max(row.rest, _beyond_tolerance(rest, tolerance.rest[b]))
            moves = _beyond(state.rest_among_moves[b], habit.rest_among_moves[b])
            row.rest_among_moves = max(row.rest_among_moves, _beyond_tolerance(moves, tolerance.rest_among_moves[b]))


@njit(cache=True, nogil=True)
def _early(habit: Habit, state: State, span: int) -> float:
    """Periods by which the last frames came sooner than ever; 0 for an ID that is not cyclic, or for too few frames."""
    if habit.period_s <= 0.0 or state.frames <= 1 << span:
        return 0.0
    shortest, elapsed = habit.shortest_s[span], state.times_s[0] - state.times_s[1 << span]
    return max(0.0, (shortest - elapsed) / habit.period_s) if shortest < np.inf else 0.0


@njit(cache=True, nogil=True)
def _late(habit: Habit, state: State) -> float:
    """Periods by which the last gap was longer than ever."""
    if habit.period_s <= 0.0 or state.frames <= 1:
        return 0.0
    return float(max(0.0, (state.times_s[0] - state.times_s[1] - habit.longest_gap_s) / habit.period_s))


@njit(cache=True, nogil=True)
def _beyond(value: float, largest: float) -> float:
    """How far a value lies beyond the largest, in multiples of it."""
    return max(0.0, (value - largest) / (largest + 1.0))


@njit(cache=True, nogil=True)
def _beyond_tolerance(excess: float, tolerance: float) -> float:
    return max(0.0, (excess - tolerance) / (1.0 + tolerance))


@njit(cache=True, nogil=True)
def _outside(habit: Habit, state: State, b: int) -> float:
    """How far a byte lies outside its range, in multiples of it."""
    value, low, high = float(state.payload[b]), float(habit.low[b]), float(habit.high[b])
    return max(0.0, low - value, value - high) / (high - low + 1.0)


@njit(cache=True, nogil=True)
def _is_new(habit: Habit, state: State, b: int) -> float:
    value = state.payload[b]
    return 0.0 if habit.values[b, value >> 3] & (1 << (value & 7)) else 1.0


@njit(cache=True, nogil=True)
def _moves(habit: Habit, b: int) -> bool:
    """Whether a byte has the habit of moving: its longest rest is not most of what was seen of it."""
    return bool(habit.rest[b] < _MOSTLY * habit.frames)
