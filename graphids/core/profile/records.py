"""Records of a profile: what is followed of a message, its extremes, and how far a window goes beyond them.

Compiled code reaches the fields by name, as in `graphs.features`. "Gap" is the time from one frame of an arbitration ID
to its next, "period" its mean; a byte "rests" while it keeps its value from frame to frame.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES

SPANS = (1, 2, 4, 8)  # frames over which the shortest time is kept: one injected frame halves the first
REPLAYED = 4  # frames that must say again what others said before, to be a replay
_BYTES = (MAX_PAYLOAD_BYTES,)
NOVELTIES = ("novelty", "range", "step", "turn")  # excesses that a stream makes usual by showing them

# What is followed of a message from frame to frame.
STATE = np.dtype(
    [
        ("frames", np.int64),
        ("pause", np.int64),  # how often the bus had paused before its last frame
        ("timed", np.int64),  # frames since it last paused
        ("times_s", np.float64, (SPANS[-1] + 1,)),  # of its last frames, the latest first
        ("hurry", np.float64),  # CUSUM of early frames, in mean gaps
        ("delay", np.float64),  # CUSUM of late frames, in mean gaps
        ("value", np.int32, _BYTES),  # of the signal that begins at each byte
        ("step", np.int32, _BYTES),  # last difference of each signal
        ("turn", np.int32, _BYTES),  # last difference of two differences
        ("rest", np.int32, _BYTES),  # frames that each signal has rested
        ("rest_among_moves", np.int32, _BYTES),  # changes of other bytes meanwhile
        ("usual", np.float32, (len(NOVELTIES), MAX_PAYLOAD_BYTES)),  # excess that this stream has made usual
        ("payload", np.uint8, _BYTES),  # of its last frame
        ("said", np.uint64, (REPLAYED - 1,)),  # hashes of what its last frames said, the latest first
        ("replay", np.int32),  # changes in a row that it made before in this stream
    ],
    align=True,
)
# Limits of a message over attack-free traffic: its habits.
HABITS = np.dtype(
    [
        ("frames", np.int64),
        ("gap_s", np.float64),  # mean gap, in which timing is measured; 0 where there are too few
        ("is_cyclic", np.bool_),
        ("long_gap_s", np.float64),  # 99 % of its gaps are shorter
        ("short_s", np.float64, (len(SPANS),)),  # 99 % of the times over each of the spans are longer
        ("hurry", np.float64),
        ("delay", np.float64),
        ("step", np.int32, _BYTES),  # largest difference of a signal
        ("turn", np.int32, _BYTES),  # largest difference of two differences
        ("rest", np.int32, _BYTES),
        ("rest_among_moves", np.int32, _BYTES),
        ("low", np.int32, _BYTES),
        ("high", np.int32, _BYTES),
        ("width", np.uint8, _BYTES),  # bytes of the signal that begins at each byte; 0 for the second byte of one
        ("values", np.uint8, (MAX_PAYLOAD_BYTES, 32)),  # a bit for each value that a byte takes
        ("dlcs", np.uint16),  # a bit for each DLC
        ("says", np.uint64),  # the bits of a payload that are neither counter nor checksum
        ("replay", np.int32),  # most changes in a row that it made before in the same block
    ],
    align=True,
)
TIMES = ("early", "late", "hurry", "delay")
_QUANTITIES = (
    ("early", (len(SPANS),)),  # mean gaps, over each of the spans
    ("late", ()),  # mean gaps
    ("hurry", ()),  # mean gaps
    ("delay", ()),  # mean gaps
    ("replay", ()),  # multiples of the longest replay
    ("novelty", _BYTES),  # 1 for a value that the byte never had
    ("range", _BYTES),  # multiples of the signal's range
    ("step", _BYTES),  # multiples of the largest step
    ("turn", _BYTES),  # multiples of the largest turn
    ("rest", _BYTES),  # multiples of the longest rest
    ("rest_among_moves", _BYTES),  # multiples of the most changes of other bytes during a rest
)
# How far one frame goes beyond the habits of its message, 0 within them.
EXCESS = np.dtype([(name, np.float32, shape) for name, shape in _QUANTITIES], align=True)
_SPANS = (len(SPANS),)
_DECADES = "decades"  # of an exponential tail, beyond the largest excess that blocks showed which were left out
_DEVIATIONS: tuple[tuple[str, tuple[int, ...], str, str], ...] = (
    ("early", _SPANS, _DECADES, "time over {} frames of the ID, shorter than usual"),
    ("late", (), _DECADES, "time since the ID's last frame, longer than usual; at the window's end too"),
    ("hurry", (), _DECADES, "sum of how early its frames came"),
    ("delay", (), _DECADES, "sum of how late its frames came"),
    ("unknown", (), "frames", "frames of an ID that the profile does not hold"),
    ("dlc", (), "1", "1 for a payload length that the ID never had"),
    ("novelty", (), _DECADES, "byte with a value that it never had, until that is usual"),
    ("range", (), _DECADES, "signal outside its range, until that is usual"),
    ("step", (), _DECADES, "difference of a signal from frame to frame, until that is usual"),
    ("turn", (), _DECADES, "difference of two such differences, until that is usual"),
    ("rest", (), _DECADES, "frames for which a signal that moves has kept its value"),
    ("rest_among_moves", (), _DECADES, "changes of other bytes while a signal that moves has kept its value"),
    ("replay", (), _DECADES, "changes in a row that the ID made before in this stream, frame for frame"),
    ("broken_check", (), "frames", "frames in which a parity or a sum does not hold"),
    ("broken_counter", (), "frames", "frames whose counter took another step than ever"),
    ("surprise", (), _DECADES, "-log10 of the probability of the ID after the one before it"),
)
# How unusual one message is in one window: the largest value among its frames, or their sum where frames are counted.
DEVIATION = np.dtype([(name, np.float32, shape) for name, shape, _, _ in _DEVIATIONS], align=True)


def deviation_columns() -> list[tuple[str, str, str]]:
    """Name, unit and meaning of the deviations' columns, in order."""
    return [
        (f"{name}_{span}" if shape else name, unit, meaning.format(span))
        for name, shape, unit, meaning in _DEVIATIONS
        for span in (SPANS if shape else (0,))
    ]


def deviation_names() -> list[str]:
    """Names of the deviations' columns, in order: what a model stores and compares."""
    return [name for name, _, _ in deviation_columns()]


class State(Protocol):
    """A record of `STATE` as compiled code sees it."""

    frames: int
    pause: int
    timed: int
    times_s: NDArray[np.float64]
    hurry: float
    delay: float
    value: NDArray[np.int32]
    step: NDArray[np.int32]
    turn: NDArray[np.int32]
    rest: NDArray[np.int32]
    rest_among_moves: NDArray[np.int32]
    usual: NDArray[np.float32]
    payload: NDArray[np.uint8]
    said: NDArray[np.uint64]
    replay: int


class Habit(Protocol):
    """A record of `HABITS` as compiled code sees it."""

    frames: int
    gap_s: float
    is_cyclic: bool
    long_gap_s: float
    short_s: NDArray[np.float64]
    hurry: float
    delay: float
    step: NDArray[np.int32]
    turn: NDArray[np.int32]
    rest: NDArray[np.int32]
    rest_among_moves: NDArray[np.int32]
    low: NDArray[np.int32]
    high: NDArray[np.int32]
    width: NDArray[np.uint8]
    values: NDArray[np.uint8]
    dlcs: int
    says: int
    replay: int


class Excess(Protocol):
    """A record of `EXCESS` as compiled code sees it."""

    early: NDArray[np.float32]
    late: float
    hurry: float
    delay: float
    replay: float
    novelty: NDArray[np.float32]
    range: NDArray[np.float32]
    step: NDArray[np.float32]
    turn: NDArray[np.float32]
    rest: NDArray[np.float32]
    rest_among_moves: NDArray[np.float32]


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
    replay: float
    broken_check: float
    broken_counter: float
    surprise: float
