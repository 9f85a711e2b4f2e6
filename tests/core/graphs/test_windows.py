import doctest

import numpy as np
import pytest

from graphids.core.graphs import windows
from graphids.core.graphs.windows import dropped_tail, window_classes, window_starts


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(windows).failed == 0


@pytest.mark.parametrize(("num_frames", "window_size", "stride"), [(100, 7, 3), (10, 10, 1), (20, 5, 9), (3, 4, 1)])
def test_windows_and_dropped_tail_account_for_the_whole_capture(num_frames: int, window_size: int, stride: int) -> None:
    starts = window_starts(num_frames, window_size, stride)

    assert all(start + window_size <= num_frames for start in starts)
    assert len(starts) == sum(1 for s in range(0, num_frames, stride) if s + window_size <= num_frames)
    assert dropped_tail(num_frames, window_size, stride) == num_frames - max(
        (s + window_size for s in starts), default=0
    )


@pytest.mark.parametrize(("window_size", "stride", "named"), [(0, 1, "window_size is 0"), (4, -1, "stride is -1")])
def test_a_window_or_stride_below_one_frame_is_refused_by_name(window_size: int, stride: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        window_starts(10, window_size, stride)


def test_one_attacked_frame_makes_an_attack_window() -> None:
    kind = np.array([0, 0, 0, 3, 0, 0], dtype=np.int16)

    assert window_classes(kind, window_starts(6, 3, 1), 3).tolist() == [0, 3, 3, 3]


def test_a_window_is_of_the_kind_with_most_frames_and_of_the_smaller_index_at_a_tie() -> None:
    kind = np.array([2, 1, 2, 0, 2, 1], dtype=np.int16)

    assert window_classes(kind, range(0, 4, 3), 3).tolist() == [2, 1]


def test_no_window_has_no_class() -> None:
    assert window_classes(np.zeros(2, np.int16), window_starts(2, 3, 1), 3).tolist() == []
