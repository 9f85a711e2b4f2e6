"""What a training learns from and is measured on: windows of each split, by vehicle."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphids.core.data.dataset import joined
from graphids.core.data.injected import Injections, Windowing
from graphids.core.data.splits import SPLITS, Split
from graphids.core.frames import Capture
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.profile.profile import Profile

# Of the attack windows of training, validation and test have this share each.
_MEASURED_SHARE = 1 / 3
# A piece that attacks are laid over holds the frames of as many windows at least.
_FEWEST_WINDOWS = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """How captures become windows; as `CANDataModule` takes them.

    Attributes:
        windowing: How windows are cut.
        split: Mode of the split of labelled captures.
        gap_s: Seconds between blocks of time.
        split_seed: Of the split.
        are_attacked: Whether any capture is known to hold attacks: then these are measured, and none that is injected.
        injects: Whether attacks are laid over attack-free captures.
        features: "raw" or "deviations".
        hold_out: A vehicle's name, or "auto".
        holds_out_one: Whether "auto" holds one out.
        injected_windows: Attack windows of each kind and vehicle in training.
        injection_seed: Draws the attacks.
    """

    windowing: Windowing
    split: str
    gap_s: float | None
    split_seed: int
    are_attacked: bool
    injects: bool
    features: str
    hold_out: str
    holds_out_one: bool
    injected_windows: int
    injection_seed: int

    @property
    def fewest_frames(self) -> int:
        """Of a piece that attacks are laid over."""
        return _FEWEST_WINDOWS * self.windowing.window_size

    def windows_per_kind(self, split: str) -> int:
        """Attack windows of each kind and vehicle in a split."""
        return self.injected_windows if split == "train" else max(1, round(self.injected_windows * _MEASURED_SHARE))

    def of_injection(self) -> dict[str, Any]:
        """All that decides which attacks are laid over which frames, JSON-able."""
        return asdict(self)


@dataclass(slots=True)
class Material:
    """Windows of each split and where they come from.

    Attributes:
        parts: Vehicle and graphs, by split.
        split: Which frames they were cut from.
        profiles: Of each vehicle's training recordings; none where features are raw.
        held_out: Vehicle that only the test has; empty for none.
        skipped: Kinds that could not be laid over a vehicle's traffic.
        short: Missing windows, by vehicle and kind.
        left_out: Vehicles that are in no split, with the reason.
    """

    split: Split
    held_out: str = ""
    parts: dict[str, list[tuple[str, PackedGraphs]]] = field(default_factory=lambda: {name: [] for name in SPLITS})
    profiles: dict[str, Profile] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    short: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def graphs(self, captures: Sequence[Capture], windowing: Windowing) -> dict[str, PackedGraphs]:
        """The graphs of each split, checked as `split_windows` does."""
        parts = {name: [graphs for _, graphs in self.parts[name]] for name in SPLITS}
        return joined(captures, self.split, parts, windowing.window_size, windowing.stride)

    def vehicles(self, split: str) -> NDArray[np.str_]:
        """Vehicle of each window of a split, str [G]."""
        names = [name for name, _ in self.parts[split]]
        return np.repeat(np.array(names, dtype=np.str_), [len(graphs) for _, graphs in self.parts[split]])

    def summary(self, graphs: Mapping[str, PackedGraphs]) -> dict[str, Any]:
        """Windows by vehicle, split and class, and what is missing, JSON-able.

        Args:
            graphs: As `graphs` gave them.
        """
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for name in SPLITS:
            vehicle, classes, label = self.vehicles(name), graphs[name].classes, graphs[name].label
            for own in sorted(set(vehicle.tolist())):
                windows = np.bincount(label[vehicle == own], minlength=len(classes)).tolist()
                counts.setdefault(own, {})[name] = dict(zip(classes, windows, strict=True))
        return {
            "held_out": self.held_out,
            "vehicles": counts,
            "skipped": self.skipped,
            "short": self.short,
            "left_out": self.left_out,
        }

    def add(self, split: str, vehicle: str, graphs: Sequence[PackedGraphs]) -> None:
        """Add windows of a vehicle to a split."""
        self.parts[split] += [(vehicle, part) for part in graphs if len(part)]

    def add_injected(self, split: str, vehicle: str, found: Injections) -> None:
        """Add injected windows to a split, and what of them is missing."""
        self.add(split, vehicle, found.graphs)
        for name, kinds in found.skipped.items():
            self.skipped[name] = sorted({*self.skipped.get(name, []), *kinds})
        for name, missing in found.short.items():
            self.short[name] = dict(Counter(self.short.get(name, {})) + Counter(missing))
