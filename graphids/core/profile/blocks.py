"""Blocks: attack-free stretches of traffic, and the times between frames of one message in them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames
from graphids.core.profile.records import SPANS
from graphids.core.profile.traffic import Traffic

# Blocks that a single capture is cut into: habits of two thirds are held against the third that they did not see.
BLOCKS = 3
_FEWEST_GAPS = 8
# Of a cyclic ID the middle 80 % of its gaps differ by less than this share of their median.
_CYCLIC_SPREAD = 0.6
_PAUSES = 1.5  # median gaps that the mean gap of an ID has if it pauses
_RARE = 0.01  # share of gaps that are longer than what is usual, and of spans that are shorter


class Block(NamedTuple):
    """One attack-free stretch of traffic and the times between frames of one message in it.

    Attributes:
        traffic: Its frames.
        gap_of: int32 [n], the message of each gap.
        gap_s: float64 [n], every gap between frames of one message.
        long_gap_s: float64 [V], the rare gap of each message; 0 where there is none.
        short_s: float64 [V, spans], the rarely short times over each of the spans; infinite where there are none.
    """

    traffic: Traffic
    gap_of: NDArray[np.int32]
    gap_s: NDArray[np.float64]
    long_gap_s: NDArray[np.float64]
    short_s: NDArray[np.float64]


def block_of(traffic: Traffic, num_messages: int) -> Block:
    """The block that some traffic of `num_messages` known messages is."""
    order = np.argsort(traffic.message, kind="stable")
    message, times_s, pause = traffic.message[order], traffic.time_s[order], traffic.pause[order]
    same = (message[1:] == message[:-1]) & (pause[1:] == pause[:-1])
    gap_of, gap_s = message[1:][same], np.diff(times_s)[same]
    short_s = np.full((num_messages, len(SPANS)), np.inf)
    short_s[:, 0], long_gap_s = _quantiles(gap_of, gap_s, (_RARE, 1.0 - _RARE), num_messages)
    for column, span in enumerate(SPANS[1:], start=1):
        same = (message[span:] == message[:-span]) & (pause[span:] == pause[:-span])
        elapsed_s = (times_s[span:] - times_s[:-span])[same]
        (short_s[:, column],) = _quantiles(message[span:][same], elapsed_s, (_RARE,), num_messages)
    return Block(traffic, gap_of, gap_s, np.where(np.isfinite(long_gap_s), long_gap_s, 0.0), short_s)


def cut_in_thirds(frames: Frames, times_s: NDArray[np.float64]) -> list[tuple[Frames, NDArray[np.float64]]]:
    """Thirds of a capture's time, those with frames, each with its times."""
    cuts = np.searchsorted(times_s, np.linspace(times_s[0], times_s[-1], BLOCKS + 1)[1:-1])
    rows = [slice(a, b) for a, b in zip((0, *cuts), (*cuts, len(times_s)), strict=True) if b > a]
    return [(frames.take(part), times_s[part]) for part in rows]


def mean_gaps(blocks: Sequence[Block], num_messages: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean gap of every ID in seconds, 0 where there are too few, [V]; and which are cyclic, [V]."""
    message = np.concatenate([block.gap_of for block in blocks])
    gap_s = np.concatenate([block.gap_s for block in blocks])
    low, median, high = _quantiles(message, gap_s, (0.1, 0.5, 0.9), num_messages)
    count = np.bincount(message, minlength=num_messages)
    mean = np.bincount(message, gap_s, num_messages) / np.maximum(count, 1)
    mean[count < _FEWEST_GAPS] = 0.0
    is_cyclic = np.zeros(num_messages, np.bool_)
    has = mean > 0.0
    low, median, high = low[has], median[has], high[has]
    is_cyclic[has] = (high - low < _CYCLIC_SPREAD * median) & (mean[has] < _PAUSES * median)
    return mean, is_cyclic


def _quantiles(
    message: NDArray[np.int32], value: NDArray[np.float64], shares: tuple[float, ...], num_messages: int
) -> list[NDArray[np.float64]]:
    """Quantiles of the values of each message, float64 [V] for each share; infinite where it has none."""
    value = value[np.lexsort((value, message))]
    count = np.bincount(message, minlength=num_messages)
    first = np.cumsum(count) - count
    has = count > 0
    quantiles = [np.full(num_messages, np.inf) for _ in shares]
    for share, quantile in zip(shares, quantiles, strict=True):
        quantile[has] = value[first[has] + np.rint((count[has] - 1) * share).astype(np.int64)]
    return quantiles
