"""Records of a profile: what is followed of a message, its extremes, and how far a window goes beyond them.

Compiled code reaches the fields by name, as in `graphs.features`. "Gap" is the time from one frame of an arbitration ID
to its next, "period" its mean; a byte "rests" while it keeps its value from frame to frame.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES

SPANS = (1, 2, 4, 8)  # frames over which the shortest time is kept: one injected frame halves the first
_BYTES = (MAX_PAYLOAD_BYTES,)

# What is followed of a message from frame to frame.
STATE = np.dtype(
    [
        ("frames", np.int64),
        ("times_s", np.float64, (SPANS[-1] + 1,)),  # of its last frames, the latest first
        ("hurry", np.float64),  # CUSUM of early frames, in periods
        ("delay", np.float64),  # CUSUM of late frames, in periods
        ("step", np.int32, _BYTES),  # last difference of each byte
        ("turn", np.int32, _BYTES),  # last difference of two differences
        ("rest", np.int32, _BYTES),  # frames that each byte has rested
        ("rest_among_moves", np.int32, _BYTES),  # changes of its neighbours meanwhile
        ("payload", np.uint8, _BYTES),  # of its last frame
    ],
    align=True,
)
# Extremes of a message over attack-free traffic: its habits.
HABITS = np.dtype(
    [
        ("frames", np.int64),
        ("period_s", np.float64),  # mean gap; 0 where the ID is not cyclic, so that its timing means nothing
        ("longest_gap_s", np.float64),
        ("shortest_s", np.float64, (len(SPANS),)),  # shortest time over each of the spans
        ("hurry", np.float64),
        ("delay", np.float64),
        ("step", np.int32, _BYTES),  # largest difference of a byte
        ("turn", np.int32, _BYTES),  # largest difference of two differences
        ("rest", np.int32, _BYTES),
        ("rest_among_moves", np.int32, _BYTES),
        ("low", np.uint8, _BYTES),
        ("high", np.uint8, _BYTES),
        ("values", np.uint8, (MAX_PAYLOAD_BYTES, 32)),  # a bit for each value that a byte takes
        ("dlcs", np.uint16),  # a bit for each DLC
    ],
    align=True,
)
# How far beyond the habits of some blocks another block of the same vehicle went.
TOLERANCE = np.dtype(
    [
        ("early", np.float32, (len(SPANS),)),
        ("late", np.float32),
        ("hurry", np.float32),
        ("delay", np.float32),
        ("step", np.float32, _BYTES),
        ("turn", np.float32, _BYTES),
        ("rest", np.float32, _BYTES),
        ("rest_among_moves", np.float32, _BYTES),
        ("range", np.float32, _BYTES),
        ("novelty", np.float32, _BYTES),
    ],
    align=True,
)
# How far one message goes beyond its habits and tolerance in one window: the largest value among its frames, 0 within.
DEVIATION = np.dtype(
    [
        ("early", np.float32, (len(SPANS),)),  # periods, over each of the spans
        ("late", np.float32),  # periods, at the end of the window too: an absent message has no other sign
        ("hurry", np.float32),  # periods
        ("delay", np.float32),  # periods
        ("unknown", np.float32),  # frames of an ID that the profile does not hold
        ("dlc", np.float32),  # 1 for a DLC that the ID never had
        ("novelty", np.float32),  # bytes with a value that they never had
        ("range", np.float32),  # multiples of the byte's range
        ("step", np.float32),  # multiples of the largest step
        ("turn", np.float32),  # multiples of the largest turn
        ("rest", np.float32),  # multiples of the longest rest
        ("rest_among_moves", np.float32),  # multiples of the most changes of neighbours during a rest
        ("surprise", np.float32),  # -log10 of the probability of the ID after the one before it
    ],
    align=True,
)


def deviation_names() -> list[str]:
    """Names of the deviations' columns, in order: what a model stores and compares."""
    names = []
    for name in DEVIATION.names or ():
        shape = DEVIATION.fields[name][0].shape  # type: ignore[index]
        names += [f"{name}_{span}" for span in SPANS] if shape else [name]
    return names


class State(Protocol):
    """A record of `STATE` as compiled code sees it."""

    frames: int
    times_s: NDArray[np.float64]
    hurry: float
    delay: float
    step: NDArray[np.int32]
    turn: NDArray[np.int32]
    rest: NDArray[np.int32]
    rest_among_moves: NDArray[np.int32]
    payload: NDArray[np.uint8]


class Habit(Protocol):
    """A record of `HABITS` as compiled code sees it."""

    frames: int
    period_s: float
    longest_gap_s: float
    shortest_s: NDArray[np.float64]
    hurry: float
    delay: float
    step: NDArray[np.int32]
    turn: NDArray[np.int32]
    rest: NDArray[np.int32]
    rest_among_moves: NDArray[np.int32]
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]
    values: NDArray[np.uint8]
    dlcs: int


class Tolerance(Protocol):
    """A record of `TOLERANCE` as compiled code sees it."""

    early: NDArray[np.float32]
    late: float
    hurry: float
    delay: float
    step: NDArray[np.float32]
    turn: NDArray[np.float32]
    rest: NDArray[np.float32]
    rest_among_moves: NDArray[np.float32]
    range: NDArray[np.float32]
    novelty: NDArray[np.float32]


class Deviation(Protocol):
    """A record of `DEVIATION` as compiled code sees it."""

    early: NDArray[np.float32]
    late: float
    hurry: float
    delay: float
    unknown: float
    dlc: float
    novelty: float
    range: float
    step: float
    turn: float
    rest: float
    rest_among_moves: float
    surprise: float
