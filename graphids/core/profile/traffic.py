"""Traffic: frames as habits are followed in them, with times that were possible on the wire."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames

UNKNOWN = -1
# A bus that says nothing for so long pauses; a slow one has to be silent for so many of its mean gaps.
_PAUSE_S, _PAUSE_GAPS = 0.4, 20.0


class Traffic(NamedTuple):
    """Frames of one bus, in recorded order, C-contiguous columns of one length `n`.

    Attributes:
        message: int32 [n], index of the arbitration ID in a list of known ones; `UNKNOWN` for any other.
        time_s: float64 [n], seconds, never falling: jumps of the clock and pauses of the bus taken out, bursts of USB
            adapters undone.
        dlc: uint8 [n].
        payload: uint8 [n, 8], zero beyond `dlc`.
    """

    message: NDArray[np.int32]
    time_s: NDArray[np.float64]
    dlc: NDArray[np.uint8]
    payload: NDArray[np.uint8]

    def then(self, later: "Traffic") -> "Traffic":
        """This traffic and the one that follows it."""
        return Traffic(
            np.concatenate((self.message, later.message)),
            np.concatenate((self.time_s, later.time_s)),
            np.concatenate((self.dlc, later.dlc)),
            np.concatenate((self.payload, later.payload)),
        )

    def since(self, row: int) -> "Traffic":
        """A copy of the frames from that row on."""
        return Traffic(
            self.message[row:].copy(), self.time_s[row:].copy(), self.dlc[row:].copy(), self.payload[row:].copy()
        )


def traffic_of(frames: Frames, node_key: NDArray[np.uint32], times_s: NDArray[np.float64]) -> Traffic:
    """The frames, with their arbitration IDs looked up.

    Args:
        frames: Of one bus.
        node_key: Known arbitration IDs, sorted.
        times_s: As `wire.possible_times` gives them, without pauses.
    """
    keys = frames.node_key()
    place = np.minimum(np.searchsorted(node_key, keys), max(len(node_key) - 1, 0))
    known = node_key[place] == keys if len(node_key) else np.zeros(len(keys), np.bool_)
    return Traffic(
        np.where(known, place, UNKNOWN).astype(np.int32),
        np.ascontiguousarray(times_s),
        np.ascontiguousarray(frames.dlc),
        np.ascontiguousarray(frames.payload),
    )


def longest_silence(frames: int, seconds: float) -> float:
    """Seconds for which a bus that carried so many frames in that time may be silent without pausing."""
    return max(_PAUSE_S, _PAUSE_GAPS * seconds / max(frames, 1))


def pauses(
    times_s: NDArray[np.float64], longest_s: float, *, before_s: float | None = None, paused_s: float = 0.0
) -> NDArray[np.float64]:
    """For how long the whole bus has paused before each frame, float64 [n], rising.

    Taken off the times, a pause makes no message late. One in a recording would otherwise hide every absence later:
    each message was as late once.

    Args:
        times_s: float64 [n], never falling.
        longest_s: As `longest_silence`; only what goes beyond it counts.
        before_s: Time of the frame before the first, if there was one.
        paused_s: Pauses up to it.
    """
    gaps_s = np.diff(times_s, prepend=times_s[:1] if before_s is None else before_s)
    return np.cumsum(np.concatenate(([paused_s], np.maximum(gaps_s - longest_s, 0.0))))[1:]
