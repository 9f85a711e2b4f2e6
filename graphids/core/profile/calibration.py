"""What an excess means: how rarely attack-free frames went as far beyond habits that had not seen them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.profile.records import EXCESS, TIMES

_LN10 = float(np.log(10.0))
# Least mean excess, so that jitter does not count for much where a message is very regular: in mean gaps, and in
# multiples of what a signal showed.
_LEAST_OF_TIMES, _LEAST_OF_SIGNALS = 0.05, 0.5


class Tally(NamedTuple):
    """Excesses of attack-free frames, `EXCESS` [V] each: how many there were, their sum and the largest."""

    exceeded: NDArray[np.void]
    total: NDArray[np.void]
    largest: NDArray[np.void]


class Calibration(NamedTuple):
    """From excesses to decades: those of the exponential tail of attack-free frames, beyond the largest of them.

    Attributes:
        largest: `EXCESS` [V], what left-out blocks showed; no more than that is no deviation.
        rate: `EXCESS` [V], decades for each unit beyond it.
    """

    largest: NDArray[np.void]
    rate: NDArray[np.void]


def no_excesses(num_messages: int) -> Tally:
    """A tally of nothing."""
    return Tally(*(np.zeros(num_messages, EXCESS) for _ in Tally._fields))


def calibrated(tally: Tally) -> Calibration:
    """The calibration by excesses of blocks that were left out one by one.

    The mean excess of each quantity is drawn towards that of the whole vehicle, as if one more frame had shown it.

    Args:
        tally: Of all blocks.
    """
    rate = np.zeros(len(tally.exceeded), EXCESS)
    for name in EXCESS.names or ():
        count, total = tally.exceeded[name].astype(np.float64), tally.total[name].astype(np.float64)
        least = _LEAST_OF_TIMES if name in TIMES else _LEAST_OF_SIGNALS
        usual = max(total.sum() / max(count.sum(), 1.0), least)
        rate[name] = 1.0 / np.maximum((total + usual) / (count + 1.0), least) / _LN10
    return Calibration(tally.largest, rate)
