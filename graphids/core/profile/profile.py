"""A profile: the habits of a vehicle's messages, fitted on attack-free captures, and how far to trust each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.byte_roles import byte_roles
from graphids.core.frames import MAX_PAYLOAD_BYTES, DataError, Frames, num_attacked
from graphids.core.profile.kernels import Vehicle, observe, tolerate
from graphids.core.profile.records import HABITS, STATE, TOLERANCE
from graphids.core.profile.traffic import Traffic, traffic_of
from graphids.core.wire import likely_bit_rate, possible_times

# Blocks that a single capture is cut into: habits of two thirds are held against the third that they did not see.
BLOCKS = 3
_FEWEST_GAPS = 8
# Of a cyclic ID the middle 80 % of its gaps differ by less than this share of their median.
_CYCLIC_SPREAD = 0.6
_FRAMES_FOR_ROLES = 20_000
_UNSEEN_FOLLOWER = 0.05  # frames; what a pair that never occurred counts as


@dataclass(frozen=True, slots=True)
class Profile:
    """What a vehicle normally does on one bus.

    Attributes:
        node_key: uint32 [V], its arbitration IDs, sorted; bit 31 set for 29-bit ones.
        vehicle: Habits, tolerances and order of its messages.
        roles: uint8 [V, 8], the `Role` of each byte.
        frames: How many it was fitted on.
        seconds: How long they took.
        blocks: How many blocks were held against each other.
        bit_rate: Of the bus, bits per second, see `likely_bit_rate`.
    """

    node_key: NDArray[np.uint32]
    vehicle: Vehicle
    roles: NDArray[np.uint8]
    frames: int
    seconds: float
    blocks: int
    bit_rate: int

    @property
    def is_cyclic(self) -> NDArray[np.bool_]:
        """Which of the IDs are sent periodically, bool [V]."""
        return np.asarray(self.vehicle.habits["period_s"] > 0.0)


class _Block(NamedTuple):
    """One attack-free stretch of traffic, and every gap in it between frames of one message, with the message."""

    traffic: Traffic
    gap_of: NDArray[np.int32]
    gap_s: NDArray[np.float64]


def fit_profile(captures: Sequence[Frames]) -> Profile:
    """The profile of a vehicle's bus.

    Habits are fitted on all captures; the tolerance is how far each goes beyond the habits of the others, so that a
    byte that differs from drive to drive is not held to what one drive showed. A single capture is cut into three.

    Args:
        captures: Attack-free recordings of one bus of one vehicle, at least one with two frames.

    Raises:
        DataError: If a capture is known to hold attacks, or there is no traffic.
    """
    for frames in captures:
        if attacked := num_attacked(frames):
            raise DataError(
                f"A profile is fitted on attack-free traffic, found {attacked} attacked "
                f"frames of {len(frames)} in a capture. Leave it out."
            )
    held = [frames for frames in captures if len(frames) > 1]
    if not held:
        raise DataError(
            f"A profile is fitted on traffic, found none in {len(captures)} captures. Expected attack-free recordings "
            "of ten minutes or more."
        )
    node_key = np.unique(np.concatenate([frames.node_key() for frames in held]))
    bit_rate = max(map(likely_bit_rate, held))
    timed = [(frames, possible_times(frames, bit_rate)) for frames in held]
    if len(timed) == 1:
        timed = _thirds(*timed[0])
    blocks = [_block(traffic_of(frames, node_key, times_s)) for frames, times_s in timed]
    habits, follows = _habits(blocks, len(node_key))
    return Profile(
        node_key,
        Vehicle(habits, _tolerance(blocks, len(node_key)), _surprise(follows)),
        _roles([block.traffic for block in blocks], len(node_key)),
        frames=sum(map(len, held)),
        seconds=sum(float(times_s[-1] - times_s[0]) for _, times_s in timed),
        blocks=len(blocks),
        bit_rate=bit_rate,
    )


def _block(traffic: Traffic) -> _Block:
    order = np.argsort(traffic.message, kind="stable")
    message, times_s = traffic.message[order], traffic.time_s[order]
    same = message[1:] == message[:-1]
    return _Block(traffic, message[1:][same], np.diff(times_s)[same])


def _thirds(frames: Frames, times_s: NDArray[np.float64]) -> list[tuple[Frames, NDArray[np.float64]]]:
    cuts = np.searchsorted(times_s, np.linspace(times_s[0], times_s[-1], BLOCKS + 1)[1:-1])
    rows = [slice(a, b) for a, b in zip((0, *cuts), (*cuts, len(times_s)), strict=True) if b - a > 1]
    return [(frames.take(part), times_s[part]) for part in rows]


def _habits(blocks: Sequence[_Block], num_messages: int) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Habits over the blocks, `HABITS` [V], and which ID followed which, int64 [V, V]."""
    habits = np.zeros(num_messages, HABITS)
    habits["period_s"] = _periods(blocks, num_messages)
    habits["shortest_s"] = np.inf
    habits["low"] = 255
    follows = np.zeros((num_messages, num_messages), np.int64)
    for block in blocks:
        observe(block.traffic, np.zeros(num_messages, STATE), habits, follows)
    return habits, follows


def _tolerance(blocks: Sequence[_Block], num_messages: int) -> NDArray[np.void]:
    """How far any block goes beyond the habits of the others, `TOLERANCE` [V]; 0 where there is but one."""
    largest = np.zeros(num_messages, TOLERANCE)
    for left_out in blocks if len(blocks) > 1 else []:
        others, _ = _habits([block for block in blocks if block is not left_out], num_messages)
        beyond = np.zeros(num_messages, TOLERANCE)
        tolerate(_known(left_out.traffic, others), np.zeros(num_messages, STATE), others, beyond)
        for name in TOLERANCE.names or ():
            np.maximum(largest[name], beyond[name], out=largest[name])
    return largest


def _periods(blocks: Sequence[_Block], num_messages: int) -> NDArray[np.float64]:
    """Mean gap of every cyclic ID in seconds, 0 for the others, [V]."""
    message = np.concatenate([block.gap_of for block in blocks])
    gap_s = np.concatenate([block.gap_s for block in blocks])
    order = np.lexsort((gap_s, message))
    message, gap_s = message[order], gap_s[order]
    first = np.searchsorted(message, np.arange(num_messages + 1))
    count = np.diff(first)
    period_s = np.zeros(num_messages)
    enough = np.flatnonzero(count >= _FEWEST_GAPS)
    low, median, high = (gap_s[first[enough] + (count[enough] * share).astype(np.int64)] for share in (0.1, 0.5, 0.9))
    cyclic = enough[(median > 0) & (high - low < _CYCLIC_SPREAD * median)]
    sums = np.bincount(message, weights=gap_s, minlength=num_messages)
    period_s[cyclic] = sums[cyclic] / count[cyclic]
    return period_s


def _known(traffic: Traffic, habits: NDArray[np.void]) -> Traffic:
    """The traffic with messages that the habits have not seen as unknown ones."""
    seen = habits["frames"] > 0
    return traffic._replace(message=np.where(seen[traffic.message], traffic.message, -1).astype(np.int32))


def _surprise(follows: NDArray[np.int64]) -> NDArray[np.float32]:
    counted = follows + _UNSEEN_FOLLOWER
    surprise = -np.log10(counted / counted.sum(axis=1, keepdims=True))
    return np.asarray(surprise.astype(np.float16).astype(np.float32))  # as it is stored


def _roles(blocks: Sequence[Traffic], num_messages: int) -> NDArray[np.uint8]:
    message = np.concatenate([block.message for block in blocks])
    dlc = np.concatenate([block.dlc for block in blocks])
    payload = np.concatenate([block.payload for block in blocks])
    order = np.argsort(message, kind="stable")
    first = np.searchsorted(message[order], np.arange(num_messages + 1))
    roles = np.zeros((num_messages, MAX_PAYLOAD_BYTES), np.uint8)
    for index in range(num_messages):
        rows = order[first[index] : min(first[index + 1], first[index] + _FRAMES_FOR_ROLES)]
        roles[index] = byte_roles(payload[rows], int(np.bincount(dlc[rows]).argmax()))
    return roles
