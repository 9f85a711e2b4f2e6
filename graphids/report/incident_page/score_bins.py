"""The scores of a capture over time, in memory that does not grow with the capture: the largest score of each bin."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import is_clock_jump
from graphids.core.window_scores import WindowScores

MAX_BINS = 1024
_FIRST_WIDTH_S = 0.05
_BIN = np.dtype(
    [
        ("score", np.float64),  # the largest
        ("window", np.int64),  # number of the window that has it, -1 where the bin has no window
        ("first_s", np.float64),  # timestamps of the first and the last frame of the bin's windows
        ("last_s", np.float64),
        ("alerts", np.int64),
        ("jumps", np.int64),  # of the clock, before one of its windows
    ]
)


@dataclass(slots=True)
class BusBins:
    """The windows of one bus by the time that passed since the capture's first window; a jump of the clock takes a bin.

    Attributes:
        width_s: Of a bin; it doubles whenever the bins do not reach far enough.
        bins: `_BIN` [MAX_BINS].
        elapsed_s: When its last window so far began.
    """

    width_s: float = _FIRST_WIDTH_S
    bins: NDArray[np.void] = field(default_factory=lambda: _empty(MAX_BINS))
    elapsed_s: float = 0.0
    _now_s: float = 0.0
    _last_s: float = np.nan  # start of the window before

    def add(self, scores: WindowScores, rows: NDArray[np.int64], windows_before: int) -> None:
        """Count the windows of the bus, `rows` of a chunk's scores, at least one."""
        start_s = scores.start_s[rows]
        steps = np.diff(start_s, prepend=start_s[0] if np.isnan(self._last_s) else self._last_s)
        is_jump = is_clock_jump(steps)
        # Small steps back are left in: without them bursts of a USB adapter would make the time run ahead.
        elapsed = (self._now_s + np.cumsum(np.where(is_jump, self.width_s, steps))).clip(min=0)
        self._now_s, self._last_s = float(elapsed[-1]), float(start_s[-1])
        self.elapsed_s = max(self.elapsed_s, float(elapsed.max()))
        while self.elapsed_s >= MAX_BINS * self.width_s:
            self._double()
        index = (elapsed / self.width_s).astype(np.int64)
        first, last = int(index.min()), int(index.max())
        new = _empty(last - first + 1)
        self._fill(new, scores, rows, index - first)
        new["window"][new["window"] >= 0] += windows_before
        np.add.at(new["jumps"], index - first, is_jump)
        self.bins[first : last + 1] = _united(self.bins[first : last + 1], new)

    def _fill(
        self, new: NDArray[np.void], scores: WindowScores, rows: NDArray[np.int64], index: NDArray[np.int64]
    ) -> None:
        ordered = np.lexsort((scores.score[rows], index))  # the last of a bin has its largest score
        last = np.append(np.diff(index[ordered]) > 0, True)
        peaks = ordered[last]
        new["score"][index[peaks]] = scores.score[rows[peaks]]
        new["window"][index[peaks]] = rows[peaks]
        np.fmin.at(new["first_s"], index, scores.start_s[rows])
        np.fmax.at(new["last_s"], index, scores.end_s[rows])
        np.add.at(new["alerts"], index, scores.alert[rows])

    def _double(self) -> None:
        half = _united(self.bins[0::2], self.bins[1::2])
        self.bins, self.width_s = np.concatenate((half, _empty(MAX_BINS - len(half)))), self.width_s * 2

    def place_s(self, start_s: float, end_s: float) -> float:
        """How long after the capture's first window the first bin begins that meets these timestamps."""
        met = self.bins_between(start_s, end_s)
        return float(met[0]) * self.width_s if len(met) else 0.0

    def bins_between(self, start_s: float, end_s: float) -> NDArray[np.int64]:
        """Bins with windows that meet these timestamps, in order; a clock that was set back can give distant ones."""
        return np.flatnonzero((self.bins["first_s"] <= end_s) & (self.bins["last_s"] >= start_s))


class ScoreBins:
    """The bins of every bus of a capture, filled while its scores pass by."""

    def __init__(self) -> None:
        self.buses: dict[str, BusBins] = {}
        self._first_s = np.nan
        self._windows = 0

    def add(self, scores: WindowScores) -> None:
        """Count the windows of the next chunk."""
        for channel in dict.fromkeys(scores.channel.tolist()):
            rows = np.flatnonzero(scores.channel == channel)
            self._bus(channel, float(scores.start_s[rows[0]])).add(scores, rows, self._windows)
        self._windows += len(scores)

    @property
    def elapsed_s(self) -> float:
        """Time from the capture's first window to its last; a jump of the clock takes a bin."""
        return max((bus.elapsed_s for bus in self.buses.values()), default=0.0)

    def _bus(self, channel: str, start_s: float) -> BusBins:
        if channel not in self.buses:
            self._first_s = start_s if np.isnan(self._first_s) else self._first_s
            offset_s = start_s - self._first_s
            is_one_clock = offset_s >= 0 and not is_clock_jump(np.array(offset_s))
            self.buses[channel] = BusBins(_now_s=offset_s if is_one_clock else 0.0)
        return self.buses[channel]


def _empty(length: int) -> NDArray[np.void]:
    bins = np.zeros(length, _BIN)
    for name in ("score", "first_s", "last_s"):
        bins[name] = np.nan
    bins["window"] = -1
    return bins


def _united(one: NDArray[np.void], other: NDArray[np.void]) -> NDArray[np.void]:
    """Bins that hold what two hold, one by one."""
    is_larger = (other["window"] >= 0) & ~(other["score"] <= one["score"])
    united = np.where(is_larger, other, one)
    united["first_s"] = np.fmin(one["first_s"], other["first_s"])
    united["last_s"] = np.fmax(one["last_s"], other["last_s"])
    for name in ("alerts", "jumps"):
        united[name] = one[name] + other[name]
    return united
