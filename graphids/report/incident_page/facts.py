"""What a report of a capture tells: everything that its page is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from graphids.core.data.coverage import Coverage
from graphids.core.explanation import Explanation
from graphids.core.frames import Frames
from graphids.core.incidents.incident import Incident
from graphids.core.vehicle_names import VehicleNames
from graphids.report.incident_page.score_bins import ScoreBins


class Evidence(NamedTuple):
    """The most suspicious window of an incident: its explanation and its frames."""

    explanation: Explanation
    frames: Frames


@dataclass(frozen=True, slots=True)
class Judge:
    """By what a capture was judged.

    Attributes:
        model: Its URI, or "base".
        model_digest: graphids.digest; empty where it was not verified.
        threshold: Lowest score that alerts.
        profile_digest: sha256 of the vehicle's profile; empty for a model of raw features.
        profile_s: Seconds of attack-free traffic that the profile was fitted on.
        names: Name of the file with the names of messages; empty for none.
    """

    model: str
    model_digest: str
    threshold: float
    profile_digest: str = ""
    profile_s: float = 0.0
    names: str = ""


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """A judged capture.

    Attributes:
        name: Of the capture.
        sha256: Of its file; empty where it is not one file.
        vehicle: As the caller calls it; empty where nobody does.
        judge: By what it was judged.
        windows: How many were scored.
        alerts: How many of them alert.
        bins: Their scores over time.
        coverage: By bus, what the model knows of its frames.
        unscored: By bus, frames in no window.
        counts: What the reader found besides frames.
        num_incidents: How many there are.
        incidents: Those that are listed, in the order of their start.
        detailed: Ids of those that are shown in detail.
        evidence: By such an id; an incident without any is told in words.
        vehicle_names: Names of messages; None for none.
    """

    name: str
    sha256: str
    vehicle: str
    judge: Judge
    windows: int
    alerts: int
    bins: ScoreBins
    coverage: Mapping[str, Coverage]
    unscored: Mapping[str, int]
    counts: Mapping[str, int]
    num_incidents: int
    incidents: tuple[Incident, ...]
    detailed: frozenset[str] = frozenset()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    vehicle_names: VehicleNames | None = None
