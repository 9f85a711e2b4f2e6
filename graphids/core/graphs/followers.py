"""Followers of a capture's buses, chunk after chunk, beside the stretches that windows are cut from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from graphids.core.frames import Frames, concat
from graphids.core.graphs.window_stream import Stretch, split_buses
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile
from graphids.core.wire import elapsing_times

# Of a drive: what it shows at its beginning is usual in it, whatever earlier drives showed.
WARM_UP_S = 10.0


class Followers:
    """A follower for each bus of a capture that arrives in chunks; none where the profile is None.

    The first seconds of each bus enter the profile that the rest of it is judged by, unless an alarm was raised within
    them: those of its frames that windows held which were judged. The stored profile never changes.

    Args:
        profile: Of the vehicle.
        warm_up_s: How many seconds; 0 judges every frame by the profile as it is.
    """

    def __init__(self, profile: Profile | None, warm_up_s: float = WARM_UP_S) -> None:
        self._profile = profile
        self._warm_up_s = warm_up_s
        self._by_bus: dict[str, _Bus] = {}

    def passing(self, chunks: Iterable[Frames]) -> Iterator[Frames]:
        """The chunks, each followed before it is passed on, and cut where the warm-up of a bus ends.

        All windows of a part have to be judged before the next one is asked for.
        """
        for chunk in chunks:
            if self._profile is None:
                yield chunk
            else:
                yield from self._passing(chunk, self._profile)

    def _passing(self, chunk: Frames, profile: Profile) -> Iterator[Frames]:
        first = 0
        for last, ending in (*self._ends_of_warm_up(chunk, profile), (len(chunk), None)):
            part = chunk.take(slice(first, last))
            for channel, frames in split_buses(part).items():
                self._by_bus[channel].follow(frames)
            if len(part) or not len(chunk):
                yield part
            if ending is not None:
                ending.end_warm_up()
            first = last

    def _ends_of_warm_up(self, chunk: Frames, profile: Profile) -> list[tuple[int, "_Bus"]]:
        """Rows of the chunk, rising, before which the warm-up of a bus ends, and that bus."""
        ends = []
        for index, channel in enumerate(chunk.channels):
            rows = np.flatnonzero(chunk.channel == index)
            if not len(rows):
                continue
            bus = self._by_bus.setdefault(channel, _Bus(Follower(profile), self._warm_up_s))
            within = bus.count_warm_up(chunk.timestamp[rows])
            if within is not None:
                ends.append((int(rows[within]), bus))
        return sorted(ends, key=lambda end: end[0])

    def of(self, channel: str) -> Follower | None:
        """That of a bus of which frames have passed."""
        return self._by_bus[channel].follower if channel in self._by_bus else None

    def is_warming_up(self, channel: str) -> bool:
        """Whether alarms on the bus still keep its first seconds out of the profile."""
        return channel in self._by_bus and self._by_bus[channel].waits

    def keep_out(self, channel: str) -> None:
        """Do not let the first seconds of the bus enter the profile: an alarm was raised within them."""
        self._by_bus[channel].is_kept_out = True

    def warmed_up(self) -> dict[str, bool]:
        """Buses whose warm-up has ended, and whether their first seconds entered the profile."""
        return {channel: not bus.is_kept_out for channel, bus in self._by_bus.items() if not bus.waits}

    def forget(self, stretch: Stretch) -> None:
        """Drop the frames of its bus that no later window holds."""
        if follower := self.of(stretch.channel):
            follower.forget(stretch.needed_from)


@dataclass(slots=True)
class _Bus:
    """A follower, and the frames of the warm-up so far."""

    follower: Follower
    remaining_s: float
    waits: bool = field(init=False)
    is_kept_out: bool = False
    last_s: float = np.nan
    frames: list[Frames] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waits = self.remaining_s > 0

    def count_warm_up(self, timestamp: np.ndarray) -> int | None:
        """How many of the next frames, in a chunk, belong to the warm-up; None if all do, or if it has ended."""
        if not self.waits:
            return None
        before = timestamp[:1] if np.isnan(self.last_s) else [self.last_s]
        times_s = elapsing_times(np.concatenate((before, timestamp)))
        elapsed_s = times_s[1:] - times_s[0]
        self.last_s, within = float(timestamp[-1]), int(np.searchsorted(elapsed_s, self.remaining_s))
        self.remaining_s -= float(elapsed_s[-1])
        return within if within < len(timestamp) else None

    def follow(self, frames: Frames) -> None:
        """Follow the next frames, none of them beyond the end of the warm-up before `end_warm_up`."""
        self.follower.follow(frames)
        if self.waits:
            self.frames.append(frames)

    def end_warm_up(self) -> None:
        """Let the frames of the warm-up enter the profile, as far as they have been judged."""
        self.waits = False
        judged = self.follower.forgotten
        self.is_kept_out |= not judged
        if not self.is_kept_out:
            self.follower.widen(concat(self.frames).take(slice(0, judged)))
        self.frames.clear()
