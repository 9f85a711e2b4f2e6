"""Traffic: frames as habits are followed in them, with times that were possible on the wire."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames

UNKNOWN = -1


class Traffic(NamedTuple):
    """Frames of one bus, in recorded order, C-contiguous columns of one length `n`.

    Attributes:
        message: int32 [n], index of the arbitration ID in a list of known ones; `UNKNOWN` for any other.
        time_s: float64 [n], seconds, never falling: jumps of the clock taken out, bursts of USB adapters undone.
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
        times_s: As `wire.possible_times` gives them.
    """
    return Traffic(
        messages_of(frames.node_key(), node_key),
        np.ascontiguousarray(times_s),
        np.ascontiguousarray(frames.dlc),
        np.ascontiguousarray(frames.payload),
    )


def messages_of(keys: NDArray[np.uint32], node_key: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Places of keys, uint32 [n], among known ones, uint32 [V], sorted; int32 [n], `UNKNOWN` for any other."""
    place = np.minimum(np.searchsorted(node_key, keys), max(len(node_key) - 1, 0))
    known = node_key[place] == keys if len(node_key) else np.zeros(len(keys), np.bool_)
    return np.where(known, place, UNKNOWN).astype(np.int32)
