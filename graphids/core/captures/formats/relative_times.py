"""Times that each count from the frame before, found by their values where no header says so.

Taken for times since a start they go back at every other frame, and sorting the rows would make it worse.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphids.core.captures.formats.text_format import Recognised
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import LogFormatError

# As in `clock`: recorders deliver up to a tenth of the frames out of order.
_MAX_BACKWARD_SHARE = 0.1
# From this many times on, their way up and down tells gaps from a recording in which neighbours changed places.
_MANY = 20
_MAX_PROGRESS = 0.1
# A bus in operation has gaps far below this; without a 0 to begin with, only such times are taken for gaps.
_MAX_GAP_S = 0.1
_MAX_EQUAL_SHARE = 0.75


def require_absolute(path: Path, recognised: Recognised, head: bytes) -> None:
    """Refuse a file whose first times are gaps, where the format's tool can write them.

    Args:
        path: Named in the error.
        recognised: The format found in `head`.
        head: The first bytes of the file; a line that they cut off is a bad one, and left out.

    Raises:
        LogFormatError: Naming the option of the tool that writes times since a start.
    """
    if not recognised.format.absolute_times:
        return
    parts = TextParser(path, recognised, drop_bad_lines=True).parse(head[recognised.data_start :])
    times = np.concatenate([np.empty(0), *(part.timestamp for part in parts)])
    if not are_gaps(times):
        return
    steps = np.diff(times)
    raise LogFormatError(
        f"{path}: the times are relative, each counted from the frame before: the first {len(times)} start at "
        f"{times[0]:g}, and {np.count_nonzero(steps <= 0)} of their {len(steps)} steps do not advance. Expected times "
        f"that count from one start; {recognised.format.absolute_times}."
    )


def are_gaps(times: NDArray[np.float64]) -> bool:
    """Whether times in recorded order count from the frame before each: small, and as often down as up."""
    if len(times) < 3:
        return False
    steps = np.diff(times)
    backward_share = np.count_nonzero(steps < 0) / len(steps)
    middle = len(times) // 2
    progress = np.median(times[middle:]) - np.median(times[:middle])
    is_advancing = len(times) >= _MANY and progress > _MAX_PROGRESS * np.abs(steps).sum()
    if times[0] == 0:  # candump writes 0 for the first frame, with -t z too
        return (backward_share > _MAX_BACKWARD_SHARE and not is_advancing) or _are_mostly_equal(times[1:])
    is_reversed = backward_share > 1 - _MAX_BACKWARD_SHARE
    is_small = len(times) >= _MANY and 0 < np.median(times) < _MAX_GAP_S
    return bool(is_small and backward_share > _MAX_BACKWARD_SHARE and not is_advancing and not is_reversed)


def _are_mostly_equal(times: NDArray[np.float64]) -> bool:
    """Gaps of a single sender, to the resolution of the clock."""
    values, counts = np.unique(times, return_counts=True)
    return len(times) >= 3 and values[np.argmax(counts)] > 0 and counts.max() > _MAX_EQUAL_SHARE * len(times)
