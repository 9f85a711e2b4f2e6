"""What a recorder's clock did: counts of what windows can bear, an error where times cannot be seconds."""

import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import JUMP_AHEAD_S, JUMP_BACK_S, DataError, Frames

# With fewer frames of a bus than this nothing can be said of its rate.
JUDGED_FRAMES = 100
# Recorders that merge buses or buffers deliver a few frames out of order; in shuffled rows every second step goes back.
MAX_BACKWARD_SHARE = 0.1
# A bus in operation carries 100 to 3,000 frames per second; 1 Mbit/s has room for 20,000. A bench with one sender may
# be slow, but ten senders that together stay below 10 frames per second are none.
MAX_GAP_S, MAX_GAP_OF_MANY_S, MANY_IDS = 1.0, 0.1, 10
MAX_RATE_HZ, BURST_FRAMES = 100_000, 2_000
LOADED_BUS_RATE_HZ = 5_000  # at 500 kbit/s
# The timer of Windows ticks every 15.6 ms, in which a busy bus carries some 40 frames.
MAX_TICK_S, MIN_ADVANCING_SHARE = 0.02, 0.1
# From this many times on, their distribution and their order tell gaps from rows that changed places.
_MANY = 20
_MAX_PROGRESS = 0.1
_MAX_EQUAL_SHARE = 0.75


@dataclass(slots=True)
class Clock:
    """Times of the frames of one file or table, met part by part.

    Attributes:
        source: Where the frames are from, named in errors.
        counts: By the bus' index in `channels`: `equal_timestamps` (as the frame before), `backward_timestamps`,
            `clock_jumps` (back by over half a second, ahead by over an hour) and `negative_timestamps`.
    """

    source: str | os.PathLike[str]
    counts: dict[int, Counter[str]] = field(default_factory=dict)
    _last_s: dict[int, float] = field(default_factory=dict)
    _steps: Counter[int] = field(default_factory=Counter)
    _judged: set[int] = field(default_factory=set)

    def observe(self, frames: Frames) -> None:
        """Count the steps between the frames of each bus, those before `frames` included.

        Raises:
            DataError: If the times of a bus cannot be seconds in recorded order.
        """
        if not len(frames):
            return
        present = np.flatnonzero(np.bincount(frames.channel))
        for bus in map(int, present):
            rows = slice(None) if len(present) == 1 else frames.channel == bus
            self._observe_bus(bus, frames.channels[bus], frames.timestamp[rows], frames.arbitration_id[rows])

    def totals(self) -> dict[str, int]:
        """`counts` over all buses."""
        total: Counter[str] = Counter()
        for counted in self.counts.values():
            total.update(counted)
        return dict(total)

    def _observe_bus(self, bus: int, bus_name: str, timestamp: NDArray[np.float64], ids: NDArray[np.uint32]) -> None:
        steps = np.empty_like(timestamp)
        steps[0] = timestamp[0] - self._last_s.get(bus, timestamp[0] - 1.0)  # a bus' first frame follows nothing
        np.subtract(timestamp[1:], timestamp[:-1], out=steps[1:])
        shortest_s, longest_s = float(steps.min()), float(steps.max())
        counts = self.counts.setdefault(bus, Counter())
        for name, met in (
            ("equal_timestamps", shortest_s <= 0 and steps == 0),
            ("backward_timestamps", shortest_s < 0 and steps < 0),
            ("clock_jumps", shortest_s < -JUMP_BACK_S and steps < -JUMP_BACK_S),
            ("clock_jumps", longest_s > JUMP_AHEAD_S and steps > JUMP_AHEAD_S),
            ("negative_timestamps", timestamp < 0),
        ):
            counts[name] += int(np.count_nonzero(met))
        self._last_s[bus] = float(timestamp[-1])
        self._steps[bus] += len(timestamp)
        where = f"{self.source}: bus {bus_name!r}" if bus_name else f"{self.source}"
        backward, frames = counts["backward_timestamps"], self._steps[bus]
        is_disordered = frames >= JUDGED_FRAMES and backward > MAX_BACKWARD_SHARE * frames
        is_falling = frames >= _MANY and backward >= (1 - MAX_BACKWARD_SHARE) * (frames - 1)
        if is_disordered or is_falling:
            raise DataError(
                f"{where}: time goes back at {backward} of the first {frames} frames. Expected frames in the order in "
                f"which the bus carried them, with at most {MAX_BACKWARD_SHARE:.0%} out of place; "
                f"{_remedy_for_order(timestamp)}"
            )
        if bus not in self._judged and len(timestamp) >= JUDGED_FRAMES:
            self._judged.add(bus)
            _check_rate(where, timestamp, steps[1:], len(np.unique(ids)))


def _remedy_for_order(timestamp: NDArray[np.float64]) -> str:
    """What to do about times that go back again and again: rows are to be sorted only where that mends their order."""
    steps = np.diff(timestamp)
    back, span_s = steps[steps < 0], float(np.ptp(timestamp))
    if not len(back):
        return "export the recording again."
    if timestamp.min() < 0 and np.count_nonzero(np.diff(np.abs(timestamp)) < 0) <= MAX_BACKWARD_SHARE * len(steps):
        return "without their minus sign these times rise: strip the sign. To sort them would reverse the recording."
    if len(back) >= (1 - MAX_BACKWARD_SHARE) * len(steps):
        return "the latest frame comes first: reverse the order of the rows."
    if are_gaps(timestamp):
        return (
            "the times are relative, each counted from the frame before: export the recording again with times that "
            "count from one start (candump -l), and leave the rows as they are."
        )
    if -back.max() > span_s / 2:
        return (
            f"this clock starts again within {span_s:.3g} s, so the frames are in order but not their times: export "
            "the recording with absolute times, and leave the rows as they are."
        )
    return "sort the rows by their timestamps if they were shuffled, or export the recording again."


def are_gaps(times: NDArray[np.float64]) -> bool:
    """Whether times in recorded order count from the frame before each.

    Such times go down as often as up and are short, or begin with the 0 that a tool writes for the first frame. Times
    that count from one start do so where rows changed places or the clock starts again: those are told apart here.
    """
    if len(times) < 3 or times.min() < 0:
        return False
    steps = np.diff(times)
    is_from_zero = bool(times[0] == 0)
    backward_share = np.count_nonzero(steps < 0) / len(steps)
    if backward_share <= MAX_BACKWARD_SHARE:
        return is_from_zero and _are_mostly_equal(times[1:])
    if _starts_again(steps, float(np.ptp(times))):
        return False
    if len(times) < _MANY:
        return is_from_zero
    is_short = is_from_zero or np.median(times) < MAX_GAP_OF_MANY_S
    is_reversed = backward_share >= 1 - MAX_BACKWARD_SHARE
    return bool(is_short and not (is_reversed or _are_advancing(times, steps) or _are_shuffled(times)))


def _starts_again(steps: NDArray[np.float64], span_s: float) -> bool:
    """Whether times rise and fall to their start, as a clock of a short period does and gaps, up and down, do not."""
    back = steps[steps < 0]
    is_rising_between = len(back) < 0.4 * len(steps)
    return span_s > MAX_GAP_OF_MANY_S and is_rising_between and -float(back.max()) > span_s / 2


def _are_advancing(times: NDArray[np.float64], steps: NDArray[np.float64]) -> bool:
    """Whether the later times are the larger, although neighbours changed places."""
    middle = len(times) // 2
    progress_s = np.median(times[middle:]) - np.median(times[:middle])
    return bool(progress_s > _MAX_PROGRESS * np.abs(steps).sum())


def _are_shuffled(times: NDArray[np.float64]) -> bool:
    """Whether times in any order are moments: evenly spread, half of them nowhere closer than a bus carries frames.

    Gaps are mostly short, with a few long ones, or nearly equal.
    """
    span_s, half = float(np.ptp(times)), len(times) // 2
    ordered = np.sort(times)
    densest_s = float((ordered[half:] - ordered[:-half]).min())
    is_even = 0.35 < float(times.mean() - ordered[0]) / span_s < 0.65
    return is_even and densest_s * LOADED_BUS_RATE_HZ >= half


def _are_mostly_equal(times: NDArray[np.float64]) -> bool:
    """Whether they can be the gaps of a single sender, to the resolution of the clock."""
    values, counts = np.unique(times, return_counts=True)
    return len(times) >= 3 and values[np.argmax(counts)] > 0 and counts.max() > _MAX_EQUAL_SHARE * len(times)


def _check_rate(where: str, timestamp: NDArray[np.float64], steps: NDArray[np.float64], num_ids: int) -> None:
    ahead = steps[steps > 0]
    gap_s = float(np.median(ahead)) if len(ahead) else 0.0
    if len(ahead) < MIN_ADVANCING_SHARE * len(steps) and not 0 < gap_s <= MAX_TICK_S:
        apart = f", {gap_s:g} s apart" if len(ahead) else ""
        raise DataError(
            f"{where}: {len(timestamp)} frames share {len(np.unique(timestamp))} times{apart}. Timestamps do not "
            "advance as seconds do. Expected the time of every frame; seconds since 1970 that were float32 once "
            "are rounded to 128 s. Export the recording again with float64 times."
        )
    if gap_s > MAX_GAP_S or (gap_s > MAX_GAP_OF_MANY_S and num_ids >= MANY_IDS):
        # Gaps on a bus in operation are 0.1 to 10 ms.
        unit, factor = ("microseconds", 1_000_000) if gap_s >= 20 else ("milliseconds", 1_000)
        raise DataError(
            f"{where}: the median gap between {len(timestamp)} frames of {num_ids} IDs is {gap_s:g}, that is "
            f"{1 / gap_s:.3g} frames per second if timestamps are seconds, and a bus in operation carries hundreds. "
            f"Expected seconds; if these are {unit}, divide them by {factor}."
        )
    span_s = float(np.ptp(timestamp))
    if len(timestamp) >= BURST_FRAMES and span_s * MAX_RATE_HZ < len(timestamp):
        raise DataError(
            f"{where}: {len(timestamp)} frames lie within {span_s:g} s. Timestamps do not advance as seconds do: a bus "
            "of 1 Mbit/s carries at most 20,000 frames per second. Export the recording again with its timestamps, in "
            "seconds."
        )
