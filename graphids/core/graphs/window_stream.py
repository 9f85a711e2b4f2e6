"""The stream of windows: a capture's frames, whole or in chunks, as stretches of one bus that windows are cut from.

Windows of a capture are numbered from 0 in the order in which `stretches` yields them, which is the order of a
classifier's rows.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import NORMAL, DataError, Frames, concat, is_clock_jump, unbroken_runs
from graphids.core.graphs.windows import window_starts


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive frames of one bus, the first of which starts a window.

    Attributes:
        channel: Name of the bus.
        frames: Without labels.
        first: Number of the first of them among all frames of the bus.
        starts: First frame of every full window, int64 [G]; none lies across a jump of the clock.
        needed_from: Number of the first frame that a window of a later stretch may hold.
        left_over: Frames of the bus so far that no window holds: those after its last window, and those that a jump of
            the clock cut off. As `dropped_tails` of the same frames.
    """

    channel: str
    frames: Frames
    first: int
    starts: NDArray[np.int64]
    needed_from: int
    left_over: int

    def between(self, first: int, last: int, window_size: int) -> "Stretch":
        """The stretch of its windows from number `first` to before `last`, counted from its own first one."""
        starts = self.starts[first:last]
        begin = int(starts[0]) if len(starts) else 0
        end = int(starts[-1]) + window_size if len(starts) else 0
        is_last = last == len(self.starts)
        return replace(
            self,
            frames=self.frames.take(slice(begin, end)),
            first=self.first + begin,
            starts=starts - begin,
            needed_from=self.needed_from if is_last else self.first + int(self.starts[last]),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """One window of a capture.

    Attributes:
        number: Among all windows of the capture, from 0.
        channel: Name of the bus that carried it.
        frames: Without labels.
        first: Number of the first of them among all frames of the bus.
    """

    number: int
    channel: str
    frames: Frames
    first: int = 0


def stretches(chunks: Iterable[Frames], window_size: int, stride: int) -> Iterator[list[Stretch]]:
    """Stretches of each chunk of one capture, bus by bus; together they hold the windows of the whole capture.

    Frames that a later window needs are carried over per bus, so memory is bounded by a chunk. After a jump of the
    clock the next frame starts a window, wherever a chunk ends.
    """
    buses: dict[str, _Bus] = {}
    for chunk in chunks:
        yield [
            buses.setdefault(channel, _Bus(channel)).stretch(frames, window_size, stride)
            for channel, frames in split_buses(chunk).items()
        ]


@dataclass(slots=True)
class _Bus:
    """What a bus carries over from chunk to chunk."""

    channel: str
    waiting: Frames | None = None
    passed: int = 0  # frames of all chunks
    to_skip: int = 0  # with stride > window_size the next start can lie in a chunk yet to come
    last_s: float = np.nan
    after_window: int = 0  # frames of the unbroken run so far after its last window
    cut_off: int = 0  # such frames of the runs before

    def stretch(self, frames: Frames, window_size: int, stride: int) -> Stretch:
        """The stretch of a chunk's frames, of which there is at least one."""
        carried = 0 if self.waiting is None else len(self.waiting)
        if is_clock_jump(frames.timestamp[:1] - self.last_s).item():
            self.to_skip = 0
            if not carried:  # else the frames carried over are the first run
                self._end_run()
        self.last_s = float(frames.timestamp[-1])
        first, self.passed = self.passed - carried, self.passed + len(frames)
        frames = concat([self.waiting, frames]) if self.waiting is not None else frames
        runs = unbroken_runs(frames.timestamp)
        skipped = min(self.to_skip, runs[0].stop)
        self.to_skip = self.to_skip - skipped if len(runs) == 1 else 0
        starts, next_start = [], 0
        for number, run in enumerate(runs):
            if number:
                self._end_run()
            begin = run.start if number else skipped
            in_run = window_starts(run.stop - begin, window_size, stride)
            starts.append(begin + np.asarray(in_run, dtype=np.int64))
            next_start = begin + len(in_run) * stride
            self.after_window += run.stop - max(run.start, carried)
            if in_run:
                self.after_window = run.stop - (begin + in_run[-1] + window_size)
        self.to_skip += max(next_start - len(frames), 0)
        # A slice would keep the whole chunk alive.
        self.waiting = frames.take(np.arange(min(next_start, len(frames)), len(frames)))
        left_over = self.cut_off + self.after_window
        return Stretch(
            channel=self.channel,
            frames=frames.take(slice(skipped, None)),
            first=first + skipped,
            starts=np.concatenate(starts) - skipped,
            needed_from=self.passed - len(self.waiting),
            left_over=left_over,
        )

    def _end_run(self) -> None:
        self.cut_off, self.after_window = self.cut_off + self.after_window, 0


def find_windows(
    chunks: Iterable[Frames],
    numbers: Collection[int],
    window_size: int,
    stride: int,
    *,
    name: str = "the capture",
    on_passed: Callable[[Stretch], None] = lambda _: None,
) -> Iterator[Window]:
    """The windows with those numbers, in their order, by one pass; chunks after the last of them are not read.

    Args:
        chunks: One capture, in chunks of any size. With several buses numbers depend on the size.
        numbers: From 0, as `predict --all` numbers its rows.
        window_size: Frames per window.
        stride: Frames between window starts.
        name: Of the capture, for the error.
        on_passed: Called with the stretch of windows before each of them, perhaps none, in each chunk.

    Raises:
        DataError: If there is no window with one of the numbers; the message says how many there are.
    """
    wanted = deque(sorted(set(numbers)))
    if wanted and wanted[0] < 0:
        raise DataError(f"{name}: window is {wanted[0]}, expected at least 0; windows are numbered from 0.")
    found = 0
    for parts in stretches(chunks, window_size, stride) if wanted else ():
        for stretch in parts:
            passed = 0  # windows of the stretch
            while wanted and (index := wanted[0] - found) < len(stretch.starts):
                on_passed(stretch.between(passed, index, window_size))
                first, passed = int(stretch.starts[index]), index + 1
                frames = stretch.frames.take(slice(first, first + window_size))
                yield Window(wanted.popleft(), stretch.channel, frames, first=stretch.first + first)
            if not wanted:
                return
            found += len(stretch.starts)
            on_passed(stretch.between(passed, len(stretch.starts), window_size))
    if not wanted:
        return
    if not found:
        raise DataError(
            f"{name}: its frames make no window of {window_size}; expected at least one window of frames on a bus."
        )
    raise DataError(
        f"{name}: there is no window {wanted[0]}. It has {found} windows, numbered from 0 to {found - 1}; "
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
