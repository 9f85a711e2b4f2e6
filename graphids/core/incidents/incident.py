"""One incident: what happened, when, on which bus and to which arbitration IDs, and how sure that is."""

from dataclasses import asdict, dataclass
from typing import Any

from graphids.core.incidents.event_words import EVENT_WORDS

# In the manner of AUTOSAR's intrusion detection (security events of an IDS manager): what was seen, not what was meant.
EVENTS = tuple(EVENT_WORDS)


@dataclass(frozen=True, slots=True)
class Incident:
    """Windows of one bus that alert and follow each other closely.

    Attributes:
        id: The same for the same incident of the same capture, in hexadecimal.
        vehicle: As the caller calls it; empty where nobody does.
        channel: Name of the bus.
        start_s: Timestamp of the first frame of its first window.
        end_s: Timestamp of the last frame of its last window so far.
        ongoing: Whether it may go on: nothing quiet has come after it yet.
        event: One of `EVENTS`, of what stood out most.
        kind: The attack kind that the network finds likeliest; empty where it finds none.
        arbitration_ids: Hex, the most suspicious first, each with how sure that is, 0 to 1.
        score: Highest score of its windows, 0 to 1.
        severity: "low", "medium" or "high".
        windows: Of it that alert.
        suppressed: Of them those that a filter or a mute kept from being reported on their own.
        coverage: Share of the frames of its windows whose ID is known, 0 to 1.
        reason: One sentence in words and figures.
        context: Frames around the first evidence, as `candump -l` writes them; empty where they were not kept.
        model_digest: Of the model, empty where it was not verified.
        profile_digest: sha256 of the profile; empty where there is none.
        loudest_window: Number of its window with the highest score, as `explain --window` takes it; -1 for none.
    """

    id: str
    vehicle: str
    channel: str
    start_s: float
    end_s: float
    ongoing: bool
    event: str
    kind: str
    arbitration_ids: tuple[tuple[str, float], ...]
    score: float
    severity: str
    windows: int
    suppressed: int
    coverage: float
    reason: str
    context: tuple[str, ...] = ()
    model_digest: str = ""
    profile_digest: str = ""
    loudest_window: int = -1

    def to_dict(self) -> dict[str, Any]:
        """As plain values, JSON-able."""
        return asdict(self)
