"""A window has one number, however its capture arrives."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from graphids.core.frames import DataError, Frames
from graphids.core.graphs.window_stream import Window, find_windows, stretches
from graphids.core.graphs.windows import dropped_tails

WINDOW, STRIDE = 4, 2


def find_window(chunks: Iterable[Frames], number: int, window_size: int, stride: int, **options: Any) -> Window:
    return next(find_windows(chunks, [number], window_size, stride, **options))


def two_buses(num_frames: int) -> Frames:
    """Frames of can0 and can1 in turn, numbered by their timestamps."""
    return Frames(
        timestamp=np.arange(num_frames, dtype=np.float64),
        arbitration_id=np.full(num_frames, 0x1A4, np.uint32),
        dlc=np.zeros(num_frames, np.uint8),
        payload=np.zeros((num_frames, 8), np.uint8),
        is_extended=np.zeros(num_frames, np.bool_),
        channel=(np.arange(num_frames) % 2).astype(np.uint8),
        channels=("can0", "can1"),
    )


def in_chunks(frames: Frames, size: int) -> Iterator[Frames]:
    return (frames.take(slice(first, first + size)) for first in range(0, len(frames), size))


def test_windows_of_a_whole_capture_are_numbered_bus_after_bus() -> None:
    windows = [find_window([two_buses(12)], number, WINDOW, STRIDE) for number in range(4)]

    assert [(w.channel, w.frames.timestamp.tolist()) for w in windows] == [
        ("can0", [0, 2, 4, 6]),
        ("can0", [4, 6, 8, 10]),
        ("can1", [1, 3, 5, 7]),
        ("can1", [5, 7, 9, 11]),
    ]


def test_windows_of_a_capture_in_chunks_are_numbered_as_the_chunks_complete_them() -> None:
    windows = [find_window(in_chunks(two_buses(12), 8), number, WINDOW, STRIDE) for number in range(4)]

    assert [(w.channel, w.frames.timestamp[0]) for w in windows] == [("can0", 0), ("can1", 1), ("can0", 4), ("can1", 5)]


@pytest.mark.parametrize("stride", [1, 2, 4, 7])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_chunks_of_any_size_hold_the_windows_of_the_whole(size: int, stride: int) -> None:
    frames = two_buses(41)

    def first_frames(chunks: Iterator[Frames]) -> list[float]:
        parts = [part for stretch in stretches(chunks, WINDOW, stride) for part in stretch]
        return sorted(part.frames.timestamp[start] for part in parts for start in part.starts)

    assert first_frames(in_chunks(frames, size)) == first_frames(iter([frames]))


# Clocks of the field that start again: after a second, a minute, 2^32 microseconds, and at midnight.
@pytest.mark.parametrize("period_s", [1.0, 60.0, 2**32 / 1e6, 86_400.0])
@pytest.mark.parametrize("stride", [1, 2, 4, 7])
@pytest.mark.parametrize("size", [1, 3, 10, 100])
def test_no_window_lies_across_a_wrap_of_the_clock_and_every_other_is_there(
    size: int, stride: int, period_s: float
) -> None:
    """Before the wrap as in a capture that ends there, after it as in one that begins there."""
    steady = two_buses(41)
    times = period_s - 0.02 + 0.001 * np.arange(41)
    frames = replace(steady, timestamp=np.where(times < period_s, times, times - period_s))
    before, after = frames.take(slice(0, 20)), frames.take(slice(20, None))

    def windows(chunks: Iterator[Frames]) -> list[list[float]]:
        parts = [part for stretch in stretches(chunks, WINDOW, stride) for part in stretch]
        return sorted(p.frames.timestamp[start : start + WINDOW].tolist() for p in parts for start in p.starts)

    found = windows(in_chunks(frames, size))

    assert found == sorted(windows(iter([before])) + windows(iter([after])))
    assert all(max(times) - min(times) < 0.1 for times in found)


def test_frames_that_a_jump_of_the_clock_cuts_off_are_counted_for_good() -> None:
    frames = two_buses(20).take(np.arange(0, 20, 2))  # of can0
    frames = replace(frames, timestamp=np.array([10.0, 10.1, 10.2, 10.3, 10.4, 0.1, 0.2, 0.3, 0.4, 0.5]))

    parts = [part for chunk in stretches(in_chunks(frames, 2), WINDOW, WINDOW) for part in chunk]

    assert [part.left_over for part in parts] == [2, 0, 2, 4, 2]


@pytest.mark.parametrize("stride", [1, 2, 4, 7])
@pytest.mark.parametrize("size", [1, 3, 10, 100])
@pytest.mark.parametrize("jumps", [[], [20], [4, 18, 19, 20, 33]])
def test_frames_that_no_window_holds_are_those_of_the_whole_at_the_end_of_every_chunk(
    size: int, stride: int, jumps: list[int]
) -> None:
    frames = two_buses(82).take(np.arange(0, 82, 2))  # of can0
    frames = replace(frames, timestamp=np.arange(41) * 0.01 - np.searchsorted(jumps, np.arange(41), side="right"))

    parts = [part for chunk in stretches(in_chunks(frames, size), WINDOW, stride) for part in chunk]

    ends = [min(size * number, 41) for number in range(1, len(parts) + 1)]
    assert [part.left_over for part in parts] == [dropped_tails(frames.timestamp[:end], WINDOW, stride) for end in ends]


def test_no_chunk_is_read_beyond_the_window() -> None:
    def chunks() -> Iterator[Frames]:
        yield from in_chunks(two_buses(8), 4)
        pytest.fail("read on")

    assert find_window(chunks(), 1, WINDOW, STRIDE).frames.timestamp.tolist() == [1, 3, 5, 7]


def test_a_number_too_high_is_answered_with_how_many_windows_there_are() -> None:
    with pytest.raises(DataError, match=r"drive\.log: there is no window 4\. It has 4 windows, numbered from 0 to 3"):
        find_window([two_buses(12)], 4, WINDOW, STRIDE, name="drive.log")


@pytest.mark.parametrize("size", [1, 8, 41])
def test_several_windows_by_one_pass_are_those_found_one_by_one(size: int) -> None:
    frames, numbers = two_buses(41), [7, 0, 3, 7]

    found = list(find_windows(in_chunks(frames, size), numbers, WINDOW, STRIDE))

    assert [window.number for window in found] == [0, 3, 7]
    for window in found:
        alone = find_window(in_chunks(frames, size), window.number, WINDOW, STRIDE)
        assert (alone.channel, alone.first) == (window.channel, window.first)
        assert alone.frames.timestamp.tolist() == window.frames.timestamp.tolist()


def test_of_several_windows_the_first_that_is_not_there_is_named_and_none_needs_no_capture() -> None:
    with pytest.raises(DataError, match=r"there is no window 4\. It has 4 windows"):
        list(find_windows([two_buses(12)], [9, 1, 4], WINDOW, STRIDE))
    assert list(find_windows(iter(()), [], WINDOW, STRIDE)) == []
