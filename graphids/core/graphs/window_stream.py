"""The stream of windows: a capture's frames, whole or in chunks, as stretches of one bus that windows are cut from.

Windows of a capture are numbered from 0 in the order in which `stretches` yields them, which is the order of a
classifier's rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from graphids.core.frames import NORMAL, DataError, Frames, concat
from graphids.core.graphs.windows import window_starts


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive frames of one bus, the first of which starts a window.

    Attributes:
        channel: Name of the bus.
        frames: Without labels.
        starts: First frame of every full window.
        waiting: Frames at the end that wait for the rest of their window; the bus's next stretch begins with them.
    """

    channel: str
    frames: Frames
    starts: range
    waiting: int


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a capture: its number, the bus that carried it, and its frames, unlabelled."""

    number: int
    channel: str
    frames: Frames


def stretches(chunks: Iterable[Frames], window_size: int, stride: int) -> Iterator[list[Stretch]]:
    """Stretches of each chunk of one capture, bus by bus; together they hold the windows of the whole capture.

    Frames that a later window needs are carried over per bus, so memory is bounded by a chunk.
    """
    waiting: dict[str, Frames] = {}
    to_skip: dict[str, int] = {}  # with stride > window_size the next start can lie in a chunk yet to come
    for chunk in chunks:
        parts = []
        for channel, bus in split_buses(chunk).items():
            bus = concat([waiting[channel], bus]) if channel in waiting else bus
            skipped = min(to_skip.get(channel, 0), len(bus))
            bus = bus.take(slice(skipped, None))
            starts = window_starts(len(bus), window_size, stride)
            next_start = len(starts) * stride
            to_skip[channel] = to_skip.get(channel, 0) - skipped + max(next_start - len(bus), 0)
            # A slice would keep the whole chunk alive.
            waiting[channel] = bus.take(np.arange(min(next_start, len(bus)), len(bus)))
            parts.append(Stretch(channel, bus, starts, len(waiting[channel])))
        yield parts


def find_window(
    chunks: Iterable[Frames], number: int, window_size: int, stride: int, *, name: str = "the capture"
) -> Window:
    """The window with that number; chunks after the one that completes it are not read.

    Args:
        chunks: One capture, in chunks of any size. With several buses numbers depend on the size.
        number: From 0, as `predict --all` numbers its rows.
        window_size: Frames per window.
        stride: Frames between window starts.
        name: Of the capture, for the error.

    Raises:
        DataError: If there is no window with that number; the message says how many there are.
    """
    if number < 0:
        raise DataError(f"{name}: window is {number}, expected at least 0; windows are numbered from 0.")
    found = 0
    for parts in stretches(chunks, window_size, stride):
        for stretch in parts:
            if number - found < len(stretch.starts):
                first = stretch.starts[number - found]
                return Window(number, stretch.channel, stretch.frames.take(slice(first, first + window_size)))
            found += len(stretch.starts)
    if not found:
        raise DataError(
            f"{name}: its frames make no window of {window_size}; expected at least one window of frames on a bus."
        )
    raise DataError(
        f"{name}: there is no window {number}. It has {found} windows, numbered from 0 to {found - 1}; "
        "`graphids predict --all` writes them with their numbers."
    )


def split_buses(frames: Frames) -> dict[str, Frames]:
    """Frames by name of the bus that carried them, without labels, so that chunks of one capture can be joined."""
    plain = replace(frames, attack=None, attack_kind=None, kinds=(NORMAL,))
    buses = {}
    for index in np.unique(frames.channel):
        rows = plain.take(frames.channel == index) if len(frames.channels) > 1 else plain
        name = frames.channels[index]
        buses[name] = replace(rows, channel=np.zeros(len(rows), np.uint8), channels=(name,))
    return buses
