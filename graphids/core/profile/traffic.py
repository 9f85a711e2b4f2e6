"""Traffic: frames as habits are followed in them, with times that were possible on the wire."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames

UNKNOWN = -1
# A bus that says nothing for so long pauses, if that is also so many periods of the ID that is sent third most often:
# where one ID makes most of the traffic, its absence alone leaves silences.
_PAUSE_S, _PAUSE_PERIODS, _OVERDUE_TOGETHER = 0.4, 3.0, 3


class Traffic(NamedTuple):
    """Frames of one bus, in recorded order, C-contiguous columns of one length `n`.

    Attributes:
        message: int32 [n], index of the arbitration ID in a list of known ones; `UNKNOWN` for any other.
        time_s: float64 [n], seconds, never falling: jumps of the clock and pauses of the bus taken out, bursts of USB
            adapters undone.
        dlc: uint8 [n].
        payload: uint8 [n, 8], zero beyond `dlc`.
        pause: int64 [n], how often the bus has paused before; no times are measured across a pause.
    """

    message: NDArray[np.int32]
    time_s: NDArray[np.float64]
    dlc: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    pause: NDArray[np.int64]

    def then(self, later: "Traffic") -> "Traffic":
        """This traffic and the one that follows it."""
        return Traffic(
            np.concatenate((self.message, later.message)),
            np.concatenate((self.time_s, later.time_s)),
            np.concatenate((self.dlc, later.dlc)),
            np.concatenate((self.payload, later.payload)),
            np.concatenate((self.pause, later.pause)),
        )

    def since(self, row: int) -> "Traffic":
        """A copy of the frames from that row on."""
        return Traffic(
            self.message[row:].copy(),
            self.time_s[row:].copy(),
            self.dlc[row:].copy(),
            self.payload[row:].copy(),
            self.pause[row:].copy(),
        )


class Times(NamedTuple):
    """Times of frames on a bus, pauses taken out.

    Attributes:
        time_s: float64 [n], seconds, never falling.
        pause: int64 [n], how often the bus has paused before.
        paused_s: float64 [n], for how long in all.
    """

    time_s: NDArray[np.float64]
    pause: NDArray[np.int64]
    paused_s: NDArray[np.float64]


def traffic_of(frames: Frames, node_key: NDArray[np.uint32], times: Times) -> Traffic:
    """The frames, with their arbitration IDs looked up.

    Args:
        frames: Of one bus.
        node_key: Known arbitration IDs, sorted.
        times: Of `wire.possible_times`, without pauses.
    """
    return Traffic(
        messages_of(frames.node_key(), node_key),
        np.ascontiguousarray(times.time_s),
        np.ascontiguousarray(frames.dlc),
        np.ascontiguousarray(frames.payload),
        times.pause,
    )


def longest_silence(counts: NDArray[np.int64], seconds: float) -> float:
    """Seconds for which a bus may be silent without pausing.

    Args:
        counts: int64 [V], how many frames of each ID there were.
        seconds: In that time.
    """
    third = np.sort(counts)[::-1][:_OVERDUE_TOGETHER].min(initial=np.iinfo(np.int64).max)
    return max(_PAUSE_S, _PAUSE_PERIODS * seconds / max(int(third), 1))


def without_pauses(
    times_s: NDArray[np.float64],
    longest_s: float,
    *,
    before_s: float | None = None,
    pause: int = 0,
    paused_s: float = 0.0,
) -> Times:
    """Times without what the whole bus was silent for.

    Nobody is late for a pause. One in a recording would otherwise hide every absence later: each message was as late
    once.

    Args:
        times_s: float64 [n], never falling.
        longest_s: As `longest_silence`; a longer one is a pause.
        before_s: Time of the frame before the first, pauses included, if there was one.
        pause: Pauses up to it.
        paused_s: How long they took.
    """
    gaps_s = np.diff(times_s, prepend=times_s[:1] if before_s is None else before_s)
    is_pause = gaps_s > longest_s
    # One sum from left to right, so that it does not depend on where chunks end.
    paused = np.cumsum(np.concatenate(([paused_s], np.where(is_pause, gaps_s, 0.0))))[1:]
    return Times(times_s - paused, pause + np.cumsum(is_pause), paused)


def messages_of(keys: NDArray[np.uint32], node_key: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Places of keys, uint32 [n], among known ones, uint32 [V], sorted; int32 [n], `UNKNOWN` for any other."""
    place = np.minimum(np.searchsorted(node_key, keys), max(len(node_key) - 1, 0))
    known = node_key[place] == keys if len(node_key) else np.zeros(len(keys), np.bool_)
    return np.where(known, place, UNKNOWN).astype(np.int32)
