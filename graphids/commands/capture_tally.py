"""What `predict` counts of a capture while its chunks pass by, and says of it in the end."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphids.core.data.coverage import Coverage
from graphids.core.window_scores import WindowScores
from graphids.wording import counted, printable

# What makes scores less certain, or drops frames.
_REMARKABLE = ("bad_lines", "error_frames", "unterminated_last_line", "backward_timestamps", "clock_jumps")


@dataclass(slots=True)
class CaptureTally:
    """The counts of a capture's last line, kept while chunks pass by."""

    name: str
    windows: int = 0
    alerts: int = 0
    incidents: int = 0  # that are reported, but for those that say that a bus is not covered
    filtered_incidents: int = 0
    muted_windows: int = 0
    unscored: dict[str, int] = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    warmed_up: dict[str, bool] = field(default_factory=dict)  # as in `WindowScores`
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
        self.warmed_up = scores.warmed_up

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
            "incidents": self.incidents,
            "filtered_incidents": self.filtered_incidents,
            "muted_windows": self.muted_windows,
            "frames_in_no_window": self.left_over,
            "is_covered": not self.not_covered(),
            "warmed_up": self.warmed_up,
            "buses": [{"channel": bus, **known.to_dict()} for bus, known in self.coverage.items()],
            "counts": self.counts,
        }

    def sentence(self) -> str:
        """Windows, alerts, incidents, frames in no window, unknown IDs of each bus; what makes scores less certain."""
        unknown = ", ".join(
            f"{bus + ': ' if len(self.coverage) > 1 else ''}{known.ids - known.known_ids} of {known.ids} "
            f"arbitration IDs unknown to the model ({1 - known.share:.1%} of the frames)"
            for bus, known in self.coverage.items()
        )
        return (
            f"{counted(self.windows, 'window')}, {counted(self.alerts, 'alert')}, "
            f"{counted(self.incidents, 'incident')}{self._kept_back()}; "
            f"{counted(self.left_over, 'frame')} in no window; "
            f"{unknown}{self._warm_up()}{self._remarks()}"
        )

    def _kept_back(self) -> str:
        parts = [
            *([f"{self.filtered_incidents:,} more filtered"] if self.filtered_incidents else []),
            *([f"{counted(self.muted_windows, 'muted window')}"] if self.muted_windows else []),
        ]
        return f" ({', '.join(parts)})" if parts else ""

    def _warm_up(self) -> str:
        said = {
            True: "first seconds were added to the profile",
            False: "first seconds raised an alert or made no window, and were not added to the profile",
        }
        return "".join(f"; {f'{bus}: ' if bus else ''}{said[entered]}" for bus, entered in self.warmed_up.items())

    def _remarks(self) -> str:
        remarks = [
            f"{number} {name.replace('_', ' ')}"
            for name, number in self.counts.items()
            if number and name in _REMARKABLE
        ]
        return f"; {', '.join(remarks)}" if remarks else ""


def _on(bus: str) -> str:
    return f" on {bus}" if bus else ""


def summary_of(tallies: Sequence[CaptureTally]) -> dict[str, Any]:
    """Sums over all captures, and the counts and the coverage of each."""
    return {
        "windows": sum(tally.windows for tally in tallies),
        "alerts": sum(tally.alerts for tally in tallies),
        "incidents": sum(tally.incidents for tally in tallies),
        "is_covered": not any(tally.not_covered() for tally in tallies),
        "captures": [tally.to_dict() for tally in tallies],
    }


def print_last_lines(tallies: Sequence[CaptureTally]) -> None:
    """On standard error a line for each capture, one for all of several, and the warnings."""
    for tally in tallies:
        print(printable(f"{tally.name}: {tally.sentence()}"), file=sys.stderr)
    if len(tallies) > 1:
        total = summary_of(tallies)
        counts = [counted(total[f"{noun}s"], noun) for noun in ("window", "alert", "incident")]
        print(f"{len(tallies)} captures: {', '.join(counts)}", file=sys.stderr)
    for warning in (warning for tally in tallies for warning in tally.warnings()):
        print(printable(f"graphids predict: {warning}"), file=sys.stderr)
