"""What `predict` counts of a capture while its chunks pass by, and says of it in the end."""

from dataclasses import dataclass, field
from typing import Any

from graphids.core.classifier import WindowScores
from graphids.core.data.coverage import Coverage
from graphids.wording import counted

# What makes scores less certain, or drops frames.
_REMARKABLE = ("bad_lines", "error_frames", "unterminated_last_line", "backward_timestamps", "clock_jumps")


@dataclass(slots=True)
class CaptureTally:
    """The counts of a capture's last line, kept while chunks pass by."""

    name: str
    windows: int = 0
    alerts: int = 0
    unscored: dict[str, int] = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # what the reader found besides frames

    @property
    def left_over(self) -> int:
        """Frames, over all buses, that no window holds: after the last one, or before a jump of the clock."""
        return sum(self.unscored.values())

    def add(self, scores: WindowScores) -> None:
        """Count the next chunk's windows."""
        self.windows += len(scores)
        self.alerts += int(scores.alert.sum())
        self.unscored |= scores.unscored_frames
        self.coverage = scores.bus_coverage

    def not_covered(self) -> dict[str, Coverage]:
        """Buses that the model cannot judge, by capture and bus."""
        return {f"{self.name}{_on(bus)}": known for bus, known in self.coverage.items() if not known.is_enough}

    def warnings(self) -> list[str]:
        """A sentence for each bus that the model cannot judge."""
        return [
            f"{name}: not covered: {known.problem()}; train a model on this vehicle or give it the vehicle's profile, "
            "or pass --allow-uncovered to go on without exit code 4."
            for name, known in self.not_covered().items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Every count, as fields of JSON."""
        return {
            "capture": self.name,
            "windows": self.windows,
            "alerts": self.alerts,
            "frames_in_no_window": self.left_over,
            "is_covered": not self.not_covered(),
            "buses": [{"channel": bus, **known.to_dict()} for bus, known in self.coverage.items()],
            "counts": self.counts,
        }

    def sentence(self) -> str:
        """Windows, alerts, frames in no window, unknown IDs of each bus, and what makes the scores less certain."""
        unknown = ", ".join(
            f"{bus + ': ' if len(self.coverage) > 1 else ''}{known.ids - known.known_ids} of {known.ids} "
            f"arbitration IDs unknown to the model ({1 - known.share:.1%} of the frames)"
            for bus, known in self.coverage.items()
        )
        return (
            f"{counted(self.windows, 'window')}, {counted(self.alerts, 'alert')}; "
            f"{counted(self.left_over, 'frame')} in no window; "
            f"{unknown}{self._remarks()}"
        )

    def _remarks(self) -> str:
        remarks = [
            f"{number} {name.replace('_', ' ')}"
            for name, number in self.counts.items()
            if number and name in _REMARKABLE
        ]
        return f"; {', '.join(remarks)}" if remarks else ""


def _on(bus: str) -> str:
    return f" on {bus}" if bus else ""
