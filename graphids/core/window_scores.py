"""Scores of windows: one row each, and the chunks of a capture in which they were made."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.data.coverage import Coverage
from graphids.core.graphs.window_stream import Stretch
from graphids.core.profile.experts import Evidence, no_evidence


@dataclass(frozen=True, slots=True)
class WindowScores:
    """One row per window, bus by bus, in recorded order within a bus.

    Attributes:
        start_s: float64 [G], timestamp of the window's first frame.
        end_s: float64 [G], timestamp of its last frame.
        score: float64 [G], 1 - P(normal), 0 to 1.
        alert: bool [G], `by_network` or `evidence.alarms`.
        by_network: bool [G], the score reaches the threshold.
        kind: str [G], the likeliest attack kind where `alert`, else "normal".
        arbitration_ids: For every window the IDs that the network holds for attacked, the most suspicious first, as
            hex: "1A4" for 11 bits, 8 digits for 29 bits. Where experts alone raise the alarm, that of the expert which
            is surest comes first. One that is overdue may be among them without a frame in the window. Empty where
            there is no alert.
        suspicion: How sure the network is of each of them, 0 to 1.
        channel: str [G], the bus that carried the window.
        coverage: float64 [G], share of the window's frames whose ID the model knows, 0 to 1.
        id_coverage: float64 [G], share of the window's distinct IDs that it knows.
        evidence: Of the experts, for every window; they say nothing where the profile has no alarms.
        unscored_frames: By bus, the number of frames that no scored window holds: the tail, also before a jump of the
            clock, or all of them where there are fewer than a window.
        bus_coverage: By bus, what the model knows of all frames of the recording so far, in a window or not.
        warmed_up: Buses whose warm-up has ended, and whether their first seconds entered the profile.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]
    by_network: NDArray[np.bool_]
    kind: NDArray[np.str_]
    arbitration_ids: tuple[tuple[str, ...], ...]
    suspicion: tuple[tuple[float, ...], ...]
    channel: NDArray[np.str_]
    coverage: NDArray[np.float64]
    id_coverage: NDArray[np.float64]
    evidence: Evidence
    unscored_frames: dict[str, int] = field(default_factory=dict)
    bus_coverage: dict[str, Coverage] = field(default_factory=dict)
    warmed_up: dict[str, bool] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.score)


class ScoredChunk(NamedTuple):
    """The windows that a chunk of a capture completes.

    Attributes:
        scores: Of all buses.
        stretches: One for each bus of the chunk, in the order of the rows; the windows lie in their frames.
    """

    scores: WindowScores
    stretches: list[Stretch]


class ScoredCapture(NamedTuple):
    """The windows of a whole capture, bus by bus, and the chunks in which they were scored."""

    scores: WindowScores
    chunks: list[ScoredChunk]


def join_scores(parts: Sequence[WindowScores]) -> WindowScores:
    """The rows of all parts, in their order; of what is told by bus the last word counts."""

    def column(name: str, dtype: Any) -> NDArray[Any]:
        return np.concatenate([np.empty(0, dtype), *(getattr(part, name) for part in parts)])

    return WindowScores(
        start_s=column("start_s", np.float64),
        end_s=column("end_s", np.float64),
        score=column("score", np.float64),
        alert=column("alert", np.bool_),
        by_network=column("by_network", np.bool_),
        kind=column("kind", np.str_),
        arbitration_ids=tuple(ids for part in parts for ids in part.arbitration_ids),
        suspicion=tuple(each for part in parts for each in part.suspicion),
        channel=column("channel", np.str_),
        coverage=column("coverage", np.float64),
        id_coverage=column("id_coverage", np.float64),
        evidence=Evidence(
            *(
                np.concatenate([empty, *(getattr(part.evidence, name) for part in parts)])
                for name, empty in zip(Evidence._fields, no_evidence(0), strict=True)
            )
        ),
        unscored_frames={name: count for part in parts for name, count in part.unscored_frames.items()},
        bus_coverage={name: known for part in parts for name, known in part.bus_coverage.items()},
        warmed_up={name: entered for part in parts for name, entered in part.warmed_up.items()},
    )
