"""What a recording holds, counted part by part: frames, IDs, times, gaps and load of each bus, and attacked frames."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import NORMAL, Frames, is_clock_jump
from graphids.core.wire import frame_bits


@dataclass(slots=True)
class BusSurvey:
    """One bus.

    Attributes:
        frames: How many.
        keys: Frames by node key.
        bits: Bit times that they took, estimated.
        first_s: Time of the first frame.
        last_s: Time of the last frame.
        jumped_s: What the jumps of the clock add up to.
        clock_jumps: How many there were.
        largest_gap_s: The longest time between two frames that is not a jump.
        largest_gap_at_s: When it began.
    """

    frames: int = 0
    keys: Counter[int] = field(default_factory=Counter)
    bits: int = 0
    first_s: float = np.nan
    last_s: float = np.nan
    jumped_s: float = 0.0
    clock_jumps: int = 0
    largest_gap_s: float = 0.0
    largest_gap_at_s: float | None = None

    @property
    def duration_s(self) -> float:
        """Time from the first to the last frame, jumps left out; 0 where the last one is out of place."""
        return max(self.last_s - self.first_s - self.jumped_s, 0.0)

    def per_second(self, amount: int) -> float | None:
        """An amount over the duration; None where no time passes."""
        return amount / self.duration_s if self.duration_s > 0 else None

    def add(self, timestamp: NDArray[np.float64], key: NDArray[np.uint32], bits: NDArray[np.int64]) -> None:
        """Count frames that follow those before them; the columns are of one length, at least 1."""
        if not self.frames:
            self.first_s = self.last_s = float(timestamp[0])
        before = np.concatenate(([self.last_s], timestamp[:-1]))
        steps = timestamp - before
        is_jump = is_clock_jump(steps)
        self.clock_jumps += int(is_jump.sum())
        self.jumped_s += float(steps[is_jump].sum())
        steps[is_jump] = 0.0
        longest = int(np.argmax(steps))
        if steps[longest] > self.largest_gap_s:
            self.largest_gap_s, self.largest_gap_at_s = float(steps[longest]), float(before[longest])
        self.frames += len(timestamp)
        self.last_s = float(timestamp[-1])
        self.bits += int(bits.sum())
        keys, counts = np.unique(key, return_counts=True)
        self.keys.update(dict(zip(keys.tolist(), counts.tolist(), strict=True)))


@dataclass(slots=True)
class Survey:
    """One recording; memory grows with the number of distinct IDs only.

    Attributes:
        buses: By name, in the order in which they appear.
        attacked: Attacked frames; None where there are no labels.
        kinds: Frames by the kind of attack that they belong to.
    """

    buses: dict[str, BusSurvey] = field(default_factory=dict)
    attacked: int | None = None
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def frames(self) -> int:
        """Frames of all buses."""
        return sum(bus.frames for bus in self.buses.values())

    @property
    def keys(self) -> Counter[int]:
        """Frames of all buses by node key."""
        total: Counter[int] = Counter()
        for bus in self.buses.values():
            total.update(bus.keys)
        return total

    def add(self, frames: Frames) -> None:
        """Count a part, which follows those before it."""
        key, bits = frames.node_key(), frame_bits(frames.dlc, frames.is_extended)
        present = np.flatnonzero(np.bincount(frames.channel))
        for index in map(int, present):
            rows: Any = slice(None) if len(present) == 1 else frames.channel == index
            bus = self.buses.setdefault(frames.channels[index], BusSurvey())
            bus.add(frames.timestamp[rows], key[rows], bits[rows])
        if frames.attack is not None and frames.attack_kind is not None:
            self.attacked = (self.attacked or 0) + int(frames.attack.sum())
            counts = np.bincount(frames.attack_kind, minlength=len(frames.kinds)).tolist()
            self.kinds.update({kind: n for kind, n in zip(frames.kinds, counts, strict=True) if n and kind != NORMAL})
