"""Windows: runs of consecutive frames of one capture, each of which becomes a graph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import unbroken_runs


def window_starts(num_frames: int, window_size: int, stride: int) -> range:
    """First frame index of every full window.

    A trailing partial window is dropped: padding would invent frames the bus never carried.

    Args:
        num_frames: Frames in one capture. Never concatenate captures; a window must not span two.
        window_size: Frames per window, not seconds.
        stride: Frames between consecutive starts; `stride < window_size` overlaps.

    Raises:
        ValueError: If `window_size` or `stride` is below 1.

    >>> list(window_starts(num_frames=7, window_size=3, stride=2))
    [0, 2, 4]
    >>> list(window_starts(num_frames=2, window_size=3, stride=2))
    []
    """
    for name, value in (("window_size", window_size), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1 frame.")
    return range(0, max(num_frames - window_size + 1, 0), stride)


def unbroken_window_starts(timestamp: NDArray[np.float64], window_size: int, stride: int) -> NDArray[np.int64]:
    """First frame index of every full window of a capture, int64 [G]; none lies across a jump of its clock.

    After a jump the first frame starts a window. Where the clock does not jump these are the `window_starts`.

    >>> unbroken_window_starts(np.array([5.0, 5.1, 5.2, 5.3, 0.0, 0.1, 0.2]), window_size=3, stride=2)
    array([0, 4])
    """
    starts = [
        run.start + np.asarray(window_starts(run.stop - run.start, window_size, stride), dtype=np.int64)
        for run in unbroken_runs(timestamp)
    ]
    return np.concatenate(starts)


def dropped_tail(num_frames: int, window_size: int, stride: int) -> int:
    """Frames after the last full window that no window holds.

    >>> dropped_tail(num_frames=8, window_size=3, stride=2)
    1
    """
    starts = window_starts(num_frames, window_size, stride)
    return num_frames - (starts[-1] + window_size) if starts else num_frames


def dropped_tails(timestamp: NDArray[np.float64], window_size: int, stride: int) -> int:
    """`dropped_tail` of a capture: at its end, and before every jump of its clock."""
    return sum(dropped_tail(run.stop - run.start, window_size, stride) for run in unbroken_runs(timestamp))


def window_classes(
    attack_kind: NDArray[np.integer], starts: Sequence[int] | NDArray[np.int64], window_size: int
) -> NDArray[np.int64]:
    """Class of every window: the kind that most of its attacked frames belong to.

    One attacked frame makes an attack window; between kinds with equally many frames the smaller index wins.

    Args:
        attack_kind: Kind of every frame, [n], 0 for normal.
        starts: First frame of every window.
        window_size: Frames per window.

    Returns:
        int64 [G], 0 where no frame of the window is attacked.

    >>> window_classes(np.array([0, 0, 2, 2, 1, 0, 0]), starts=range(0, 6, 2), window_size=2)
    array([0, 2, 1])
    """
    first = np.asarray(starts, dtype=np.int64)
    classes = np.zeros(len(first), dtype=np.int64)
    most = np.zeros(len(first), dtype=np.int64)
    for kind in np.unique(attack_kind[attack_kind > 0]):
        seen = np.concatenate(([0], np.cumsum(attack_kind == kind)))
        in_window = seen[first + window_size] - seen[first]
        classes[in_window > most] = kind
        most = np.maximum(most, in_window)
    return classes
