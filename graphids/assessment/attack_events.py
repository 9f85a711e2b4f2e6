"""The attacks of a labelled capture as events in time, which incidents are held against."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import UNNAMED_KIND, Frames, format_arbitration_id, unbroken_runs
from graphids.core.incidents.alert_window import LEARNED
from graphids.core.incidents.incident import Incident
from graphids.core.profile.alarms import INCIDENT_GAP_S

# An attack shows for a while after its last frame: windows that end later hold it, and what is missing is missed late.
REACH_S = 2.0
_BROKEN = {"checksum_broken", "counter_broken"}
_STRANGE = {"value_never_seen", "out_of_range", "implausible_step"}
_DENSE = {"too_early", "too_frequent"}
# What is seen of an attack, by the first word of its kind: `spoof_slow` is a `spoof`.
_EVENTS = {
    "dos": {"unknown_id", "bus_overload", *_DENSE},
    "fuzzy": {"unknown_id", "diagnostic_request", "wrong_length", *_DENSE, *_STRANGE},
    "suppress": {"missing"},
    "spoof": {*_DENSE, *_BROKEN, *_STRANGE, "unknown_id"},
    "flam": {*_DENSE},
    "replay": {*_DENSE, *_BROKEN, "replayed_sequence"},
    "diagnostic": {"diagnostic_request"},
    "masquerade": {*_BROKEN, *_STRANGE, "frozen_signal", "relation_broken", "replayed_sequence"},
}


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack on one bus.

    Attributes:
        kind: As the labels name it.
        first_s: Timestamp of its first frame.
        last_s: Timestamp of its last frame.
        arbitration_ids: Hex, of the frames that were injected or altered; empty where the labels do not tell them from
            the frames around them, as during a suppression.
    """

    kind: str
    first_s: float
    last_s: float
    arbitration_ids: frozenset[str] = frozenset()

    def reaches(self, start_s: NDArray[np.float64] | float, end_s: NDArray[np.float64] | float) -> NDArray[np.bool_]:
        """Whether spans from `start_s` to `end_s` overlap the attack or begin within `REACH_S` after it, bool."""
        return np.asarray((np.asarray(end_s) >= self.first_s) & (np.asarray(start_s) <= self.last_s + REACH_S))

    def is_right_id(self, incident: Incident) -> bool | None:
        """Whether the ID that an incident names first carries the attack; None where the labels do not say."""
        if not self.arbitration_ids:
            return None
        return bool(incident.arbitration_ids) and incident.arbitration_ids[0][0] in self.arbitration_ids

    def is_right_event(self, incident: Incident) -> bool | None:
        """Whether an incident's event is one by which such an attack shows; None for kinds of other names.

        Where only the network sees something, it has to name the kind.
        """
        expected = _EVENTS.get(_family(self.kind))
        if expected is None:
            return None
        return _family(incident.kind) == _family(self.kind) if incident.event == LEARNED else incident.event in expected


def attacks_of(frames: Frames) -> list[Attack]:
    """The attacks of one capture, by their first frames.

    Attacked frames of one kind are one attack where less than `INCIDENT_GAP_S` lies between them, as alarms are one
    incident. None goes on over a jump of the clock.

    Args:
        frames: Of one bus; without labels there are none.
    """
    if frames.attack is None or frames.attack_kind is None:
        return []
    marked, kinds = frames.attack != 0, frames.attack_kind
    found = []
    for run in unbroken_runs(frames.timestamp):
        of_run = np.arange(run.start, run.stop)
        attacked = of_run[(marked | (kinds != 0))[run]]
        for kind in np.unique(kinds[attacked]).tolist():
            rows = attacked[kinds[attacked] == kind]
            for part in np.split(rows, np.flatnonzero(np.diff(frames.timestamp[rows]) >= INCIDENT_GAP_S) + 1):
                found.append(_attack(frames, frames.kinds[kind] if kind else UNNAMED_KIND, part))
    return sorted(found, key=lambda attack: attack.first_s)


def _attack(frames: Frames, kind: str, rows: NDArray[np.int64]) -> Attack:
    times = frames.timestamp[rows]
    marked = rows[np.equal(frames.attack[rows], 1)] if frames.attack is not None else rows[:0]
    # Labels of whole intervals mark all frames in them, and any ID would be right.
    tells = len(marked) < rows[-1] - rows[0] + 1
    ids = frozenset(map(format_arbitration_id, np.unique(frames.node_key()[marked]))) if tells else frozenset()
    return Attack(kind, float(times.min()), float(times.max()), ids)


def _family(kind: str) -> str:
    return kind.lower().partition("_")[0]
