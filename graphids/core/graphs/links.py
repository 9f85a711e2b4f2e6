"""Links: for each element the latest earlier one with the same key.

Everything about a window's graph follows from two such arrays: for each frame its ID's frame before, and for each
pair of neighbouring frames the same pair before. A frame opens a node of a window exactly if its ID's frame before
lies outside the window, so no window needs a table of its own.
"""

import numpy as np
from numba import njit

_HASH = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2^64 over the golden ratio (Knuth, TAOCP vol. 3, 6.4)


@njit(cache=True, nogil=True)
def previous_occurrence(keys):  # type: ignore[no-untyped-def]
    """Index of the latest earlier element with the same key; -1 where there is none.

    An open-addressing hash table, doubled when half full: a bus has few IDs, whose table stays in the cache.

    Args:
        keys: uint64 [n].

    Returns:
        int64 [n].
    """
    previous = np.empty(len(keys), np.int64)
    bits = 10
    latest = np.full(1 << bits, -1, np.int64)  # index of the latest element of the key that owns the slot
    used = 0
    for i in range(len(keys)):
        slot = _slot(keys, keys[i], latest, bits)
        previous[i] = latest[slot]
        latest[slot] = i
        used += previous[i] < 0
        if 2 * used > len(latest):
            bits += 1
            old, latest = latest, np.full(1 << bits, -1, np.int64)
            for index in old:
                if index >= 0:
                    latest[_slot(keys, keys[index], latest, bits)] = index
    return previous


@njit(cache=True, nogil=True)
def _slot(keys, key, latest, bits):  # type: ignore[no-untyped-def]
    slot = np.int64((key * _HASH) >> np.uint64(64 - bits))
    while latest[slot] >= 0 and keys[latest[slot]] != key:
        slot = (slot + 1) & (len(latest) - 1)
    return slot


@njit(cache=True, nogil=True)
def pair_keys(node_key):  # type: ignore[no-untyped-def]
    """Key of (frame before, frame), uint64 [n], for each frame; element 0 has no frame before and holds garbage."""
    keys = np.empty(len(node_key), np.uint64)
    before = np.uint64(0)
    for i in range(len(node_key)):
        key = np.uint64(node_key[i])
        keys[i] = (before << np.uint64(32)) | key
        before = key
    return keys
