"""Kernels: one pass over traffic that follows every message, to learn its habits or to measure deviations from them.

As in `graphs.kernels`, no kernel uses a constant or a kernel of another module, because numba's cache looks at this
file only; the numbers of spans and bytes come with the types of the records.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit
from graphids.core.profile.calibration import Calibration, Tally
from graphids.core.profile.records import Excess, Habit, State
from graphids.core.profile.traffic import Traffic

# A CUSUM forgives this share of a mean gap with every frame, so that the drift of clocks does not add up.
_FORGIVEN = 0.05
# A CUSUM keeps no more than this many mean gaps beyond what was ever seen, so that it comes down again after an attack.
_KEPT = 4.0
# A byte that rests for more than this share of its frames has no habit of moving.
_MOSTLY = 0.5
# Whatever is new becomes usual within seconds of being present: another driving state, not an attack.
_USUAL_AFTER_S = 5.0
# More decades than this say no more; of an ID that is not cyclic, timing says little.
_MOST, _MOST_OF_EVENTS = 1000.0, 10.0
_MULTIPLIER, _SPREAD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03), np.uint64(32)
_NOVELTY, _RANGE, _STEP, _TURN = range(4)  # places in `State.usual`


class Stream(NamedTuple):
    """What is known of a bus at the end of the frames that have passed.

    Attributes:
        states: `STATE` [V].
        seen: uint64 [a power of two], a hash of what messages have said, four frames each, at the place that its lowest
            bits name: the latest of those that fall together.
        excess: `EXCESS` [1], to work in.
    """

    states: NDArray[np.void]
    seen: NDArray[np.uint64]
    excess: NDArray[np.void]


class Vehicle(NamedTuple):
    """What is known of the messages, in the order that `Traffic.message` counts.

    Attributes:
        habits: `HABITS` [V].
        calibration: Of excesses beyond them.
        surprise: float32 [V, V], -log10 of the probability that the second ID follows the first.
    """

    habits: NDArray[np.void]
    calibration: Calibration
    surprise: NDArray[np.float32]


@njit(cache=True, nogil=True)
def observe(traffic: Traffic, stream: Stream, habits: NDArray[np.void], follows: NDArray[np.int64]) -> None:
    """Widen the habits of all messages by what the traffic shows, and count which ID follows which.

    Args:
        traffic: One block of attack-free traffic.
        stream: New where the block begins.
        habits: `HABITS` [V], with the mean gaps and widths filled in.
        follows: int64 [V, V], counts.
    """
    words = traffic.payload.view(np.uint64)
    previous = -1
    for i in range(len(traffic.message)):
        message = traffic.message[i]
        if message >= 0:
            if previous >= 0:
                follows[previous, message] += 1
            state = stream.states[message]
            _follow(state, habits[message], traffic, i)
            _recall(state, stream.seen, words[i, 0] & habits[message].says, message)
            _widen(habits[message], state, traffic.dlc[i])
        previous = message


@njit(cache=True, nogil=True)
def tally_excesses(traffic: Traffic, stream: Stream, habits: NDArray[np.void], tally: Tally) -> None:
    """Add to a tally how far the traffic goes beyond habits that did not see it.

    Args:
        traffic: One block of attack-free traffic.
        stream: New where the block begins.
        habits: `HABITS` [V], of other blocks.
        tally: Added to.
    """
    words = traffic.payload.view(np.uint64)
    row = stream.excess[0]
    for i in range(len(traffic.message)):
        message = traffic.message[i]
        if message < 0:
            continue
        state = stream.states[message]
        _follow(state, habits[message], traffic, i)
        _recall(state, stream.seen, words[i, 0] & habits[message].says, message)
        _exceed(row, habits[message], state, traffic.dlc[i])
        exceeded, total, largest = tally.exceeded[message], tally.total[message], tally.largest[message]
        for span in range(len(row.early)):
            exceeded.early[span] += row.early[span] > 0.0
            total.early[span] += row.early[span]
            largest.early[span] = max(largest.early[span], row.early[span])
        exceeded.late += row.late > 0.0
        total.late += row.late
        largest.late = max(largest.late, row.late)
        exceeded.hurry += row.hurry > 0.0
        total.hurry += row.hurry
        largest.hurry = max(largest.hurry, row.hurry)
        exceeded.delay += row.delay > 0.0
        total.delay += row.delay
        largest.delay = max(largest.delay, row.delay)
        exceeded.replay += row.replay > 0.0
        total.replay += row.replay
        largest.replay = max(largest.replay, row.replay)
        _add(exceeded.novelty, total.novelty, largest.novelty, row.novelty)
        _add(exceeded.range, total.range, largest.range, row.range)
        _add(exceeded.step, total.step, largest.step, row.step)
        _add(exceeded.turn, total.turn, largest.turn, row.turn)
        _add(exceeded.rest, total.rest, largest.rest, row.rest)
        _add(exceeded.rest_among_moves, total.rest_among_moves, largest.rest_among_moves, row.rest_among_moves)


@njit(cache=True, nogil=True)
def deviate(traffic: Traffic, stream: Stream, vehicle: Vehicle, previous: int, deviations: NDArray[np.void]) -> int:
    """Measure how unusual every frame is for the vehicle.

    Args:
        traffic: Frames that follow those that the stream has seen.
        stream: Brought up to the last frame.
        vehicle: What is known.
        previous: Message of the frame before the first; -1 for none.
        deviations: `DEVIATION` [n], zero; filled but for what `checks` finds.

    Returns:
        Message of the last frame.
    """
    words = traffic.payload.view(np.uint64)
    beyond = stream.excess[0]
    for i in range(len(traffic.message)):
        message, row = traffic.message[i], deviations[i]
        if message < 0:
            row.unknown = 1.0
        else:
            state, habit = stream.states[message], vehicle.habits[message]
            largest, rate = vehicle.calibration.largest[message], vehicle.calibration.rate[message]
            _follow(state, habit, traffic, i)
            _recall(state, stream.seen, words[i, 0] & habit.says, message)
            state.hurry = min(state.hurry, habit.hurry + largest.hurry + _KEPT)
            state.delay = min(state.delay, habit.delay + largest.delay + _KEPT)
            _exceed(beyond, habit, state, traffic.dlc[i])
            most = _MOST if habit.is_cyclic else _MOST_OF_EVENTS
            for s in range(len(row.early)):
                row.early[s] = min(most, _decades(beyond.early[s], largest.early[s], rate.early[s]))
            row.late = min(most, _decades(beyond.late, largest.late, rate.late))
            row.hurry = min(most, _decades(beyond.hurry, largest.hurry, rate.hurry))
            row.delay = min(most, _decades(beyond.delay, largest.delay, rate.delay))
            row.dlc = 0.0 if habit.dlcs & (1 << traffic.dlc[i]) else 1.0
            row.replay = _decades(beyond.replay, largest.replay, rate.replay)
            row.novelty = _most(beyond.novelty, largest.novelty, rate.novelty)
            row.range = _most(beyond.range, largest.range, rate.range)
            row.step = _most(beyond.step, largest.step, rate.step)
            row.turn = _most(beyond.turn, largest.turn, rate.turn)
            row.rest = _most(beyond.rest, largest.rest, rate.rest)
            row.rest_among_moves = _most(beyond.rest_among_moves, largest.rest_among_moves, rate.rest_among_moves)
            if previous >= 0:
                row.surprise = vehicle.surprise[previous, message]
        previous = message
    return int(previous)


@njit(cache=True, nogil=True)
def _follow(state: State, habit: Habit, traffic: Traffic, i: int) -> None:
    """Bring the state of a message up to frame `i`, which is its own."""
    for k in range(len(state.times_s) - 1, 0, -1):
        state.times_s[k] = state.times_s[k - 1]
    state.times_s[0] = traffic.time_s[i]
    if state.pause != traffic.pause[i]:
        state.pause, state.timed = traffic.pause[i], 0
    if state.timed and habit.gap_s > 0.0:
        gaps = (state.times_s[0] - state.times_s[1]) / habit.gap_s
        state.hurry = max(0.0, state.hurry + 1.0 - gaps - _FORGIVEN)
        state.delay = max(0.0, state.delay + gaps - 1.0 - _FORGIVEN)
    moved = 0
    for b in range(traffic.dlc[i]):
        moved += traffic.payload[i, b] != state.payload[b]
    for b in range(traffic.dlc[i]):
        if habit.width[b] == 0:
            continue
        value = np.int32(traffic.payload[i, b])
        if habit.width[b] == 2:
            value = (value << 8) | np.int32(traffic.payload[i, b + 1])
        step = value - state.value[b] if state.frames else 0
        state.turn[b] = step - state.step[b] if state.frames > 1 else 0
        state.value[b], state.step[b] = value, step
        if step:
            state.rest[b] = 0
            state.rest_among_moves[b] = 0
        elif state.frames:
            state.rest[b] += 1
            state.rest_among_moves[b] += moved
    for b in range(traffic.dlc[i]):
        state.payload[b] = traffic.payload[i, b]
    state.frames += 1
    state.timed += 1


@njit(cache=True, nogil=True)
def _recall(state: State, seen: NDArray[np.uint64], word: np.uint64, message: int) -> None:
    """Find out whether what a message says, and said in the frames before, was said before in this stream."""
    word = (word ^ (word >> _HALF)) * _MULTIPLIER
    word ^= word >> _HALF
    whole = word + np.uint64(message + 1) * _SPREAD
    for k in range(len(state.said) - 1, -1, -1):
        whole = (whole + state.said[k] + _SPREAD) * _MULTIPLIER
        whole ^= whole >> _HALF
        state.said[k] = state.said[k - 1] if k else word
    place = whole & np.uint64(len(seen) - 1)
    is_known = state.frames > len(state.said) and seen[place] == whole
    # A message that says the same for long repeats itself without being replayed: changes are what counts.
    state.replay = state.replay + (state.said[0] != state.said[1]) if is_known else 0
    seen[place] = whole


@njit(cache=True, nogil=True)
def _widen(habit: Habit, state: State, dlc: int) -> None:
    """Widen the habits of a message by the frame that its state was just brought up to."""
    habit.frames += 1
    habit.dlcs |= 1 << dlc
    habit.hurry = max(habit.hurry, state.hurry)
    habit.delay = max(habit.delay, state.delay)
    habit.replay = max(habit.replay, state.replay)
    for b in range(dlc):
        byte = state.payload[b]
        habit.values[b, byte >> 3] |= 1 << (byte & 7)
        if habit.width[b]:
            habit.low[b] = min(habit.low[b], state.value[b])
            habit.high[b] = max(habit.high[b], state.value[b])
            habit.step[b] = max(habit.step[b], abs(state.step[b]))
            habit.turn[b] = max(habit.turn[b], abs(state.turn[b]))
            habit.rest[b] = max(habit.rest[b], state.rest[b])
            habit.rest_among_moves[b] = max(habit.rest_among_moves[b], state.rest_among_moves[b])


@njit(cache=True, nogil=True)
def _exceed(row: Excess, habit: Habit, state: State, dlc: int) -> None:
    """How far the frame that a state was brought up to goes beyond habits; what is new becomes usual."""
    gap_s = state.times_s[0] - state.times_s[1] if state.timed > 1 else 0.0
    is_timed = habit.gap_s > 0.0 and state.timed > 1
    for span in range(len(row.early)):
        row.early[span] = 0.0
        if is_timed and state.timed > 1 << span and habit.short_s[span] < np.inf:
            elapsed_s = state.times_s[0] - state.times_s[1 << span]
            row.early[span] = max(0.0, (habit.short_s[span] - elapsed_s) / habit.gap_s)
    row.late = max(0.0, (gap_s - habit.long_gap_s) / habit.gap_s) if is_timed else 0.0
    row.hurry = max(0.0, state.hurry - habit.hurry)
    row.delay = max(0.0, state.delay - habit.delay)
    row.replay = _beyond(state.replay, habit.replay)
    share = min(1.0, gap_s / _USUAL_AFTER_S)
    for b in range(len(row.novelty)):
        row.novelty[b] = row.range[b] = row.step[b] = row.turn[b] = row.rest[b] = row.rest_among_moves[b] = 0.0
        if b >= dlc:
            continue
        byte = state.payload[b]
        if not habit.values[b, byte >> 3] & (1 << (byte & 7)):
            row.novelty[b] = _unusual(state, _NOVELTY, b, 1.0, share)
        if habit.width[b] == 0:
            continue
        low, high, value = float(habit.low[b]), float(habit.high[b]), float(state.value[b])
        outside = max(0.0, low - value, value - high) / (high - low + 1.0)
        row.range[b] = _unusual(state, _RANGE, b, outside, share)
        row.step[b] = _unusual(state, _STEP, b, _beyond(abs(state.step[b]), habit.step[b]), share)
        row.turn[b] = _unusual(state, _TURN, b, _beyond(abs(state.turn[b]), habit.turn[b]), share)
        if habit.rest[b] < _MOSTLY * habit.frames:
            row.rest[b] = _beyond(state.rest[b], habit.rest[b])
            row.rest_among_moves[b] = _beyond(state.rest_among_moves[b], habit.rest_among_moves[b])


@njit(cache=True, nogil=True)
def _unusual(state: State, kind: int, b: int, excess: float, share: float) -> float:
    """What is left of an excess beyond what the stream has made usual, which rises towards it by a share."""
    beyond = max(0.0, excess - state.usual[kind, b])
    state.usual[kind, b] += share * beyond
    return float(beyond)


@njit(cache=True, nogil=True)
def _beyond(value: float, largest: float) -> float:
    """How far a value lies beyond the largest, in multiples of it."""
    return max(0.0, (value - largest) / (largest + 1.0))


@njit(cache=True, nogil=True)
def _add(
    count: NDArray[np.float32], total: NDArray[np.float32], largest: NDArray[np.float32], excess: NDArray[np.float32]
) -> None:
    for b in range(len(excess)):
        count[b] += excess[b] > 0.0
        total[b] += excess[b]
        largest[b] = max(largest[b], excess[b])


@njit(cache=True, nogil=True)
def _most(excess: NDArray[np.float32], largest: NDArray[np.float32], rate: NDArray[np.float32]) -> float:
    """Decades of the signal that is most unusual."""
    most = 0.0
    for b in range(len(excess)):
        if excess[b] > largest[b]:
            most = max(most, _decades(excess[b], largest[b], rate[b]))
    return most


@njit(cache=True, nogil=True)
def _decades(excess: float, largest: float, rate: float) -> float:
    """See `Calibration`."""
    return float(min(rate * max(0.0, excess - largest), _MOST))
