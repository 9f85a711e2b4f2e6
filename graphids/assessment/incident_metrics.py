"""What a finished model's incidents are worth: attacks found, after how long, and how many false alarms.

An incident belongs to an attack that it overlaps, or that it follows within `REACH_S`; one that belongs to none is a
false alarm. `not_covered` is neither: it says that nothing can be said.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.assessment.attack_events import Attack, attacks_of
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import Capture, unbroken_runs
from graphids.core.incidents.detection import Detection, Subject
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.incident_rows import row_of
from graphids.core.incidents.joining import NOT_COVERED

_LATE = 0.9  # of the attacks that are found, so many are found within the later of both delays


class Verdicts(NamedTuple):
    """What `predict` says of the windows of a capture, in recorded order.

    Attributes:
        start_s: float64 [G].
        end_s: float64 [G].
        score: float64 [G].
        alert: bool [G], of the network or of experts.
        kind: str [G], "normal" where there is no alert.
    """

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    score: NDArray[np.float64]
    alert: NDArray[np.bool_]
    kind: NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedCapture:
    """One capture with its attacks and what a model says of it.

    Attributes:
        name: Of the capture.
        attacks: From its labels.
        attack_free_s: Seconds outside of them.
        incidents: Of the model.
        verdicts: On the windows.
        muted_windows: Windows in which only muted experts spoke.
    """

    name: str
    attacks: tuple[Attack, ...]
    attack_free_s: float
    incidents: tuple[Incident, ...]
    verdicts: Verdicts
    muted_windows: int

    def found_by(self, attack: Attack) -> Incident | None:
        """The first incident that belongs to an attack."""
        own = (i for i in self.incidents if i.event != NOT_COVERED and attack.reaches(i.start_s, i.end_s))
        return min(own, key=lambda incident: incident.start_s, default=None)

    def delay_s(self, attack: Attack) -> float | None:
        """From an attack's first frame to the end of the first window in it that alerts; None where none does."""
        windows = self.verdicts
        ends = windows.end_s[windows.alert & attack.reaches(windows.start_s, windows.end_s)]
        return float(ends.min()) - attack.first_s if len(ends) else None

    def false_alarms(self) -> list[Incident]:
        """Incidents that belong to no attack."""
        judged = [incident for incident in self.incidents if incident.event != NOT_COVERED]
        return [i for i in judged if not any(a.reaches(i.start_s, i.end_s) for a in self.attacks)]

    def in_alarm_s(self) -> float:
        """Seconds of windows that alert and belong to no attack, those that overlap counted once."""
        start_s, end_s, _, alert, _ = self.verdicts
        for attack in self.attacks:
            alert = alert & ~attack.reaches(start_s, end_s)
        return _covered_s(start_s[alert], end_s[alert])


@dataclass(frozen=True, slots=True)
class FoundAttacks:
    """Attacks of one kind, or of all.

    Attributes:
        attacks: How many there are.
        found: How many have an incident.
        median_delay_s: Of those that are found; None where none is.
        late_delay_s: Within which 90 % of those are found.
        right_event: Share of those whose first incident has an event by which such attacks show; None where unknown.
        right_id: Share of those whose first incident names an ID that carries the attack first; None where unknown.
    """

    attacks: int
    found: int
    median_delay_s: float | None = None
    late_delay_s: float | None = None
    right_event: float | None = None
    right_id: float | None = None

    @property
    def recall(self) -> float | None:
        """Share of the attacks that are found; None without one."""
        return self.found / self.attacks if self.attacks else None

    def metrics(self) -> dict[str, float]:
        """What is defined, by name."""
        named = {"recall": self.recall, **asdict(self)}
        return {name: float(value) for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class IncidentMetrics:
    """A model's incidents on some captures.

    Attributes:
        by_kind: Attacks of each kind.
        whole: All attacks.
        false_alarms: Incidents that belong to no attack, without `not_covered`.
        not_covered: Incidents that say that the model cannot judge a capture.
        hours: Of attack-free time.
        in_alarm_s: Of it, seconds of windows that alert.
        muted_windows: Windows in which only muted experts spoke, after their incident.
        asked_per_hour: False-alarm incidents that the vehicle's alarms were chosen for; None where it has none.
    """

    by_kind: dict[str, FoundAttacks]
    whole: FoundAttacks
    false_alarms: int
    not_covered: int
    hours: float
    in_alarm_s: float
    muted_windows: int
    asked_per_hour: float | None = None

    @property
    def false_alarms_per_hour(self) -> float | None:
        """Of attack-free time; None where there is none."""
        return self.false_alarms / self.hours if self.hours > 0 else None

    @property
    def time_in_alarm(self) -> float | None:
        """Share of attack-free time in windows that alert; None where there is none."""
        return min(self.in_alarm_s / (self.hours * 3600), 1.0) if self.hours > 0 else None

    def metrics(self) -> dict[str, float]:
        """What is defined: `incidents/recall`, `incidents/<kind>/recall`, `incidents/false_alarms_per_hour` ..."""
        overall = {
            "false_alarms_per_hour": self.false_alarms_per_hour,
            "asked_per_hour": self.asked_per_hour,
            "false_alarms": self.false_alarms,
            "time_in_alarm": self.time_in_alarm,
            "attack_free_hours": self.hours,
            "muted_windows": self.muted_windows,
            "not_covered": self.not_covered,
        }
        attacks = self.whole.metrics() if self.by_kind else {}
        named = attacks | {name: float(value) for name, value in overall.items() if value is not None}
        for kind, found in self.by_kind.items():
            named |= {f"{kind}/{name}": value for name, value in found.metrics().items()}
        return {f"incidents/{name}": value for name, value in named.items()}


def judge(classifier: WindowClassifier, capture: Capture) -> JudgedCapture:
    """What `predict` would say of a capture by default, warm-up and experts included, beside its attacks."""
    detection, frames = Detection(Subject.of(classifier)), capture.frames
    incidents, parts = [], []
    for chunk in classifier.score_chunks([frames]) if len(frames) else ():
        incidents += detection.add(chunk)
        scores = chunk.scores
        parts.append(Verdicts(scores.start_s, scores.end_s, scores.score, scores.alert, scores.kind))
    incidents += detection.finish()
    numbers = np.empty(0)
    parts = parts or [Verdicts(numbers, numbers, numbers, np.empty(0, np.bool_), np.empty(0, np.str_))]
    attacks = tuple(attacks_of(frames))
    return JudgedCapture(
        name=capture.name,
        attacks=attacks,
        attack_free_s=_attack_free_s(frames.timestamp, attacks),
        incidents=tuple(incidents),
        verdicts=Verdicts(*map(np.concatenate, zip(*parts, strict=True))),
        muted_windows=detection.muted_windows,
    )


def measure_incidents(judged: Sequence[JudgedCapture], asked_per_hour: float | None = None) -> IncidentMetrics:
    """Hold incidents against attacks; see `IncidentMetrics`."""
    kinds = sorted({attack.kind for capture in judged for attack in capture.attacks})
    return IncidentMetrics(
        by_kind={kind: _found(judged, {kind}) for kind in kinds},
        whole=_found(judged, set(kinds)),
        false_alarms=sum(len(capture.false_alarms()) for capture in judged),
        not_covered=sum(incident.event == NOT_COVERED for capture in judged for incident in capture.incidents),
        hours=sum(capture.attack_free_s for capture in judged) / 3600,
        in_alarm_s=sum(capture.in_alarm_s() for capture in judged),
        muted_windows=sum(capture.muted_windows for capture in judged),
        asked_per_hour=asked_per_hour,
    )


def incidents_record(judged: Sequence[JudgedCapture], measured: IncidentMetrics) -> dict[str, Any]:
    """Figures, every attack with the incident that found it, and every incident without its frames; JSON-able."""
    attacks, incidents = [], []
    for capture in judged:
        for attack in capture.attacks:
            found = capture.found_by(attack)
            attacks.append(
                {
                    "capture": capture.name,
                    "kind": attack.kind,
                    "first_s": attack.first_s,
                    "last_s": attack.last_s,
                    "incident": found.id if found else None,
                    "delay_s": capture.delay_s(attack) if found else None,
                    "right_event": attack.is_right_event(found) if found else None,
                    "right_id": attack.is_right_id(found) if found else None,
                }
            )
        false = {incident.id for incident in capture.false_alarms()}
        for incident in capture.incidents:
            row = {name: value for name, value in row_of(incident).items() if name != "context"}
            incidents.append({"capture": capture.name, "false_alarm": incident.id in false, **row})
    return {"metrics": measured.metrics(), "attacks": attacks, "incidents": incidents}


def _found(judged: Sequence[JudgedCapture], kinds: set[str]) -> FoundAttacks:
    attacks = [(capture, attack) for capture in judged for attack in capture.attacks if attack.kind in kinds]
    found = [(c, attack, incident) for c, attack in attacks if (incident := c.found_by(attack)) is not None]
    delays = [delay for capture, attack, _ in found if (delay := capture.delay_s(attack)) is not None]
    return FoundAttacks(
        attacks=len(attacks),
        found=len(found),
        median_delay_s=float(np.median(delays)) if delays else None,
        late_delay_s=float(np.quantile(delays, _LATE)) if delays else None,
        right_event=_share(attack.is_right_event(incident) for _, attack, incident in found),
        right_id=_share(attack.is_right_id(incident) for _, attack, incident in found),
    )


def _share(answers: Iterable[bool | None]) -> float | None:
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else None


def _attack_free_s(timestamp: NDArray[np.float64], attacks: Sequence[Attack]) -> float:
    runs = unbroken_runs(timestamp) if len(timestamp) else []
    whole_s = sum(max(float(timestamp[run][-1] - timestamp[run][0]), 0.0) for run in runs)
    spans_s = np.array([(attack.first_s, attack.last_s) for attack in attacks], np.float64).reshape(-1, 2)
    return max(whole_s - _covered_s(*spans_s.T), 0.0)


def _covered_s(start_s: NDArray[np.float64], end_s: NDArray[np.float64]) -> float:
    """Seconds that spans cover together."""
    if not len(start_s):
        return 0.0
    order = np.argsort(start_s, kind="stable")
    start_s, reached_s = start_s[order], np.maximum.accumulate(end_s[order])
    new_from_s = np.maximum(start_s, np.concatenate((start_s[:1], reached_s[:-1])))
    return float((reached_s - new_from_s).clip(min=0.0).sum())
