"""Links: for each element the latest earlier one with the same key.

Everything about a window's graph follows from two such arrays: the previous frame of each frame's ID, and the
previous occurrence of each pair of neighbouring frames. A frame opens a node of a window exactly if the previous
frame of its ID lies outside the window, so no window needs a table of its own.
"""

import secrets
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit

_HASH = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2^64 over the golden ratio (Knuth, TAOCP vol. 3, 6.4)
# Drawn for each process: whoever knew it could send IDs that all fall into one slot, and every look-up would pass over
# all IDs before it. A random odd factor makes the hash universal (Dietzfelbinger et al., J. Algorithms 25, 1997).
_SEED = np.uint64(secrets.randbits(64) | 1)


class Links(NamedTuple):
    """Where each ID and each pair of IDs occurred before; -1 where it did not.

    Attributes:
        previous_of_id: int64 [n], the latest earlier frame of the frame's ID.
        previous_of_pair: int64 [n], the latest earlier frame of this ID that directly followed a frame of the same ID
            as this one did. Frame 0 follows none; its entry is never read.
    """

    previous_of_id: NDArray[np.int64]
    previous_of_pair: NDArray[np.int64]


def link_frames(node_key: NDArray[np.uint32]) -> Links:
    """The links of a capture's frames, uint32 [n] in recorded order."""
    return Links(
        previous_of_id=previous_occurrence(node_key.astype(np.uint64), _SEED),
        previous_of_pair=previous_occurrence(_pair_keys(node_key), _SEED),
    )


@njit(cache=True, nogil=True)
def previous_occurrence(keys: NDArray[np.uint64], seed: np.uint64) -> NDArray[np.int64]:
    """Index of the latest earlier element with the same key; -1 where there is none.

    An open-addressing hash table, doubled when half full: a bus has few IDs, whose table stays in the cache.

    Args:
        keys: uint64 [n].
        seed: Odd. It decides on slots, not on results.

    Returns:
        int64 [n].
    """
    previous = np.empty(len(keys), np.int64)
    bits = 10
    latest = np.full(1 << bits, -1, np.int64)  # index of the latest element of the key that owns the slot
    used = 0
    for i in range(len(keys)):
        slot = _slot(keys, keys[i], latest, bits, seed)
        previous[i] = latest[slot]
        latest[slot] = i
        used += previous[i] < 0
        if 2 * used > len(latest):
            bits += 1
            old, latest = latest, np.full(1 << bits, -1, np.int64)
            for index in old:
                if index >= 0:
                    latest[_slot(keys, keys[index], latest, bits, seed)] = index
    return previous


@njit(cache=True, nogil=True)
def _slot(keys: NDArray[np.uint64], key: np.uint64, latest: NDArray[np.int64], bits: int, seed: np.uint64) -> np.int64:
    mixed = key * seed
    # The second product spreads what a small factor would leave in the low bits.
    slot = np.int64(((mixed ^ (mixed >> np.uint64(32))) * _HASH) >> np.uint64(64 - bits))
    while latest[slot] >= 0 and keys[latest[slot]] != key:
        slot = (slot + 1) & (len(latest) - 1)
    return slot


@njit(cache=True, nogil=True)
def _pair_keys(node_key: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Key of (previous frame, frame), uint64 [n]; element 0 has no previous frame and holds garbage."""
    keys = np.empty(len(node_key), np.uint64)
    before = np.uint64(0)
    for i in range(len(node_key)):
        key = np.uint64(node_key[i])
        keys[i] = (before << np.uint64(32)) | key
        before = key
    return keys
