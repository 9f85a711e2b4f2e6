"""The wire: how long classic CAN frames keep a bus busy."""

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES


def _bits_of_frames() -> NDArray[np.int64]:
    data = 8 * np.arange(MAX_PAYLOAD_BYTES + 1)
    return np.stack([47 + data + (33 + data) // 16, 67 + data + (53 + data) // 16])


_BITS = _bits_of_frames()


def frame_bits(dlc: NDArray[np.uint8], is_extended: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Bit times that frames keep the bus busy, interframe space included, int64 [n].

    44 bits of frame, 64 with a 29-bit identifier, and 3 of interframe space around the data (ISO 11898-1), and
    stuffing estimated at a quarter of its worst case: one bit in four of those that are stuffed, which are the first
    34 or 54 and the data.

    Args:
        dlc: uint8 [n], 0 to 8.
        is_extended: bool [n].
    """
    return np.asarray(_BITS[is_extended.astype(np.intp), dlc])
