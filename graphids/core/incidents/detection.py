"""Detection: the frames of a capture in, its incidents out."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from graphids.core.classifier import WindowClassifier
from graphids.core.frames import format_arbitration_id
from graphids.core.incidents.alert_window import LEARNED, NO_ID
from graphids.core.incidents.context import context_of
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.joining import NOT_COVERED, Ended, Joiner
from graphids.core.incidents.open_incident import OpenIncident
from graphids.core.incidents.reasons import not_covered_reason, reason_for
from graphids.core.profile.profile import Profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.core.window_scores import ScoredChunk

MAX_IDS = 8
# One window in which the network alone sees something is the most frequent false alarm.
_FEW_WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose traffic it is, and who judges it.

    Attributes:
        window_size: Frames per window of the model.
        profile: Of the vehicle; None where the model judges raw features.
        vehicle: As the caller calls it.
        model_digest: Of the model, empty where it was not verified.
        profile_digest: sha256 of the profile; empty where there is none.
        redacts_payloads: Whether lines of context hide the bytes that were sent.
        mutes_uncovered: Whether a bus that the model cannot judge has no incident but the one that says so.
    """

    window_size: int
    profile: Profile | None = None
    vehicle: str = ""
    model_digest: str = ""
    profile_digest: str = ""
    redacts_payloads: bool = False
    mutes_uncovered: bool = True

    @classmethod
    def of(cls, classifier: WindowClassifier, *, vehicle: str = "", model_digest: str = "") -> "Subject":
        """What a classifier judges, with the profile that it judges by."""
        profile = classifier.profile
        digest = "" if profile is None else hashlib.sha256(profile_bytes(profile)).hexdigest()
        return cls(classifier.preprocessing.window_size, profile, vehicle, model_digest, digest)


@dataclass(slots=True)
class Detection:
    """The incidents of one capture, while its scored chunks pass by.

    Attributes:
        subject: What they are told of.
    """

    subject: Subject
    _joiner: Joiner = field(init=False)

    def __post_init__(self) -> None:
        self._joiner = Joiner(self.subject.window_size, self.subject.mutes_uncovered)

    @property
    def muted_windows(self) -> int:
        """As in `Joiner`."""
        return self._joiner.muted_windows

    def add(self, chunk: ScoredChunk) -> list[Incident]:
        """The incidents that are over at the end of the next chunk."""
        return [described(ended, self.subject) for ended in self._joiner.add(chunk)]

    def finish(self) -> list[Incident]:
        """Those that the end of the capture ends."""
        return [described(ended, self.subject) for ended in self._joiner.finish()]


def incidents_of(chunks: Iterable[ScoredChunk], subject: Subject) -> Iterator[Incident]:
    """The incidents of a capture, each once it is over; the same however the capture is cut into chunks."""
    detection = Detection(subject)
    for chunk in chunks:
        yield from detection.add(chunk)
    yield from detection.finish()


def described(ended: Ended, subject: Subject) -> Incident:
    """What a person acts on."""
    incident, event = ended.incident, ended.incident.main_event()
    key = incident.first_signal.node_key
    named = "" if key == NO_ID else format_arbitration_id(key)
    identity = f"{ended.channel}\n{incident.start_s!r}\n{incident.first_signal.event}\n{named}"
    if ended.jumps:  # a clock that was set back shows the same time again
        identity += f"\n{ended.jumps}"
    is_covered = event != NOT_COVERED
    return Incident(
        id=hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:12],
        vehicle=subject.vehicle,
        channel=ended.channel,
        start_s=incident.start_s,
        end_s=incident.end_s,
        ongoing=ended.ongoing,
        event=event,
        kind=_likeliest(incident.kinds) if is_covered else "",
        arbitration_ids=_named_ids(incident) if is_covered else (),
        score=incident.score,
        severity=_severity(incident) if is_covered else "medium",
        windows=incident.windows,
        suppressed=incident.suppressed,
        coverage=incident.coverage / incident.windows if is_covered else ended.known_share,
        reason=reason_for(incident, subject.profile) if is_covered else not_covered_reason(ended.known_share),
        context=context_of(incident.first, key, redacted=subject.redacts_payloads),
        model_digest=subject.model_digest,
        profile_digest=subject.profile_digest,
        loudest_window=incident.loudest,
    )


def _likeliest(kinds: Counter[str]) -> str:
    return max(sorted(kinds), key=kinds.__getitem__, default="")


def _named_ids(incident: OpenIncident) -> tuple[tuple[str, float], ...]:
    ids = [(format_arbitration_id(key), sure) for key, sure in incident.ids().items() if key != NO_ID]
    return tuple(ids[:MAX_IDS])


def _severity(incident: OpenIncident) -> str:
    """High where network and experts agree in several windows, low where one of them spoke once or twice.

    Experts are those that raise alarms: a state is shown by a new way of driving too.
    """
    learned = incident.events[LEARNED].windows if LEARNED in incident.events else 0
    experts = max(
        (
            traces.windows
            for name, traces in incident.events.items()
            if name != LEARNED and traces.main.signal.raises_alarm
        ),
        default=0,
    )
    return ("low", "medium", "high")[(learned > _FEW_WINDOWS) + (experts > _FEW_WINDOWS)]
