"""The intervals in which an attack ran, as an index gives them, and the frames that lie within."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import LogFormatError

# What a number may be in instead of seconds, and what it then has to be divided by.
_UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_MAX_INTEGER = 1 << 63
_OTHER_UNIT = 10  # how many times beyond the capture's end


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Intervals of one capture.

    Attributes:
        seconds: [k, 2] begin and end of each, both included.
        is_elapsed: Whether they count from the capture's first frame; otherwise they are on its own clock.
        where: The index, for errors.
    """

    seconds: NDArray[np.float64]
    is_elapsed: bool
    where: str

    def __len__(self) -> int:
        """How many there are."""
        return len(self.seconds)

    def of_frames(self, timestamp: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the frames at `timestamp`, in recorded order and at least one, lie within any interval.

        Raises:
            LogFormatError: If there is an interval without any frame: what it labels would be lost.
        """
        within = np.zeros(len(timestamp), dtype=np.bool_)
        origin_s = float(timestamp[0]) if self.is_elapsed else 0.0
        for number, (begin_s, end_s) in enumerate(self.seconds + origin_s, start=1):
            meets = (timestamp >= begin_s) & (timestamp <= end_s)
            if not meets.any():
                raise self._error(number, timestamp)
            within |= meets
        return within

    def _error(self, number: int, timestamp: NDArray[np.float64]) -> LogFormatError:
        begin, end = self.seconds[number - 1].tolist()
        first, last = float(timestamp.min()), float(timestamp.max())
        start = f", the first frame is at {float(timestamp[0])!r}" if self.is_elapsed else ""
        return LogFormatError(
            f"{self.where}: interval {number}, [{begin!r}, {end!r}], meets no frame: the capture's clock runs from "
            f"{first!r} to {last!r} s{start}. {self._remedy((begin, end), timestamp)}"
        )

    def _remedy(self, interval: tuple[float, float], timestamp: NDArray[np.float64]) -> str:
        other = not self.is_elapsed
        declared = '`"time": "elapsed"`' if other else "no `time`, for seconds on the capture's own clock"
        if _meets(interval, other, timestamp):
            return f"If it counts from {'the first frame' if other else 'the epoch'}, give the entry {declared}."
        for unit, factor in _UNITS.items():
            for is_elapsed in (self.is_elapsed, other):
                in_seconds = (interval[0] / factor, interval[1] / factor)
                if _is_far_beyond(interval[0], is_elapsed, timestamp) and _meets(in_seconds, is_elapsed, timestamp):
                    change = f" and give the entry {declared}" if is_elapsed == other else ""
                    return f"Expected seconds; if these are {unit}, divide them by {factor:.0f}{change}."
        return (
            "Expected at least one frame in every interval; correct it, or move it to the capture that it belongs to."
        )


def _meets(interval: tuple[float, float], is_elapsed: bool, timestamp: NDArray[np.float64]) -> bool:
    origin_s = float(timestamp[0]) if is_elapsed else 0.0
    return bool(np.any((timestamp >= interval[0] + origin_s) & (timestamp <= interval[1] + origin_s)))


def _is_far_beyond(begin: float, is_elapsed: bool, timestamp: NDArray[np.float64]) -> bool:
    """Whether `begin` is so large that it may be in another unit; just past the end it is in seconds."""
    largest = np.ptp(timestamp) if is_elapsed else np.abs(timestamp).max()
    return bool(begin > _OTHER_UNIT * largest)


def parse_intervals(value: object, time: object, where: str) -> Intervals:
    """Intervals from the entries `intervals` and `time` of an index; none where it has none.

    Raises:
        LogFormatError: If they are not a list of pairs of finite numbers, each begin before its end, or `time` is
            neither `"absolute"` nor `"elapsed"`.
    """
    if time not in (None, "absolute", "elapsed"):
        raise LogFormatError(
            f'{where}: time is {str(time)[:40]!r}. Expected "absolute", for intervals on the clock of the capture, or '
            '"elapsed", for seconds since its first frame.'
        )
    pairs: object = [] if value is None else value
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise LogFormatError(f"{where}: intervals are {str(value)[:120]}. Expected a list of [begin, end] in seconds.")
    seconds = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    wrong = ~np.isfinite(seconds).all(axis=1) | (seconds[:, 0] > seconds[:, 1])
    if wrong.any():
        begin, end = seconds[wrong][0].tolist()
        raise LogFormatError(
            f"{where}: interval {int(np.argmax(wrong)) + 1} is [{begin!r}, {end!r}]. Expected finite seconds, the "
            "begin not after the end."
        )
    return Intervals(seconds, time == "elapsed", where)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    is_integer = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_INTEGER
    return is_integer or isinstance(value, float)
