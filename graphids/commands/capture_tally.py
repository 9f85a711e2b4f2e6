"""What `predict` counts of a capture while its chunks pass by, and says of it in the end."""

from dataclasses import dataclass, field

from graphids.core.classifier import WindowScores
from graphids.core.data.coverage import MIN_COVERAGE, Coverage

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
    def waiting(self) -> int:
        """Frames, over all buses, that still wait for the rest of their window, or waited when the clock jumped."""
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
            f"{name}: not covered: the model knows {known.words()}, and has to know {MIN_COVERAGE:.0%} of the frames "
            "to judge them: they are another vehicle's, or unknown IDs flood the bus, and neither an alert nor its "
            "absence means anything; train a model on this vehicle, or pass --allow-uncovered for exit code 0."
            for name, known in self.not_covered().items()
        ]

    def sentence(self) -> str:
        """Windows, alerts, frames in no window, unknown IDs of each bus, and what makes the scores less certain."""
        unknown = ", ".join(
            f"{bus + ': ' if len(self.coverage) > 1 else ''}{known.ids - known.known_ids} of {known.ids} "
            f"arbitration IDs unknown to the model ({1 - known.share:.1%} of the frames)"
            for bus, known in self.coverage.items()
        )
        return (
            f"{self.windows} windows, {self.alerts} alerts; {self.waiting} frames made no window; "
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
