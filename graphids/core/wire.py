"""The wire: how long classic CAN frames keep a bus busy, and what follows for the times at which they were stamped."""

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit
from graphids.core.frames import MAX_PAYLOAD_BYTES, Frames, without_clock_jumps

# The rates that vehicles use; one that is not known is taken for the usual one of its kind.
USUAL_BIT_RATE, USUAL_BIT_RATE_J1939, HIGHEST_BIT_RATE = 500_000, 250_000, 1_000_000
_LOAD_OVER_S = 0.1
# A host that empties its adapter's buffer stamps what it finds within milliseconds; more is a wrong bit rate.
_LONGEST_BURST_S = 0.02


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


def likely_bit_rate(frames: Frames) -> int:
    """Bits per second of the bus that the frames were recorded on.

    500 kbit/s, or 250 kbit/s where most identifiers have 29 bits (SAE J1939), as long as the busiest 100 ms fit.
    """
    usual = USUAL_BIT_RATE_J1939 if len(frames) and frames.is_extended.mean() > 0.5 else USUAL_BIT_RATE
    rates = [rate for rate in (usual, USUAL_BIT_RATE, HIGHEST_BIT_RATE) if rate >= usual]
    busiest = _busiest_bits(frames)
    return next((rate for rate in rates if busiest <= rate * _LOAD_OVER_S), HIGHEST_BIT_RATE)


def _busiest_bits(frames: Frames) -> int:
    """Most bits within any of the tenths of a second that follow one another."""
    if not len(frames):
        return 0
    place = ((frames.timestamp - frames.timestamp[0]) / _LOAD_OVER_S).astype(np.int64)
    _, place = np.unique(place, return_inverse=True)
    return int(np.bincount(place, weights=frame_bits(frames.dlc, frames.is_extended)).max())


def elapsing_times(timestamp: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times that never fall, float64 [n]: jumps of the clock taken out, smaller steps back counted as none."""
    return np.asarray(np.maximum.accumulate(without_clock_jumps(timestamp)))


def possible_times(frames: Frames, bit_rate: int | None = None) -> NDArray[np.float64]:
    """Times at which the frames can have ended, float64 [n], never falling; see `without_bursts`."""
    rate = likely_bit_rate(frames) if bit_rate is None else bit_rate
    wire_s = frame_bits(frames.dlc, frames.is_extended) / rate
    return np.asarray(np.maximum.accumulate(without_bursts(elapsing_times(frames.timestamp), wire_s)))


def without_bursts(timestamp: NDArray[np.float64], wire_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times at which the frames can have ended, float64 [n].

    An adapter that hands over several frames at once stamps them later than they were on the wire. A frame ended at
    the latest where the next one began; none is moved back by more than 20 ms.

    Args:
        timestamp: float64 [n], seconds, as recorded.
        wire_s: float64 [n], seconds that each frame takes on the wire.
    """
    return np.asarray(_without_bursts(timestamp, wire_s, _LONGEST_BURST_S))


@njit(cache=True)
def _without_bursts(
    timestamp: NDArray[np.float64], wire_s: NDArray[np.float64], longest_s: float
) -> NDArray[np.float64]:
    ends = timestamp.copy()
    for i in range(len(ends) - 2, -1, -1):
        latest = ends[i + 1] - wire_s[i + 1]
        if ends[i] > latest:
            ends[i] = max(latest, ends[i] - longest_s)
    return ends
