"""The incidents of a capture, while its scored windows pass by."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from graphids.core.classifier import WindowScores
from graphids.core.incidents.incident import Incident
from graphids.wording import counted

# Windows that alert and are closer than this are one incident.
QUIET_S = 10.0


class Subject(NamedTuple):
    """What every incident says of its origin: as the attributes of `Incident`."""

    vehicle: str = ""
    model_digest: str = ""
    profile_digest: str = ""


def incidents_of(scored: Iterable[WindowScores], subject: Subject) -> Iterator[Incident]:
    """Incidents of one capture, each once it is over, those of several buses one after another.

    Args:
        scored: Of one capture, chunk by chunk.
        subject: What they are told of.
    """
    open_: dict[str, _Open] = {}
    for scores in scored:
        for row in scores.alert.nonzero()[0].tolist():
            channel, start_s = str(scores.channel[row]), float(scores.start_s[row])
            current = open_.get(channel)
            if current is not None and not 0 <= start_s - current.start_s <= current.end_s - current.start_s + QUIET_S:
                yield current.incident(channel, subject, ongoing=False)
                current = None
            if current is None:
                current = open_[channel] = _Open(start_s)
            current.add(scores, row)
    for channel, current in open_.items():
        yield current.incident(channel, subject, ongoing=False)


@dataclass(slots=True)
class _Open:
    """An incident that may go on."""

    start_s: float
    end_s: float = 0.0
    score: float = 0.0
    windows: int = 0
    coverage: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    ids: Counter[str] = field(default_factory=Counter)

    def add(self, scores: WindowScores, row: int) -> None:
        self.end_s = max(float(scores.end_s[row]), self.end_s) if self.windows else float(scores.end_s[row])
        self.score = max(self.score, float(scores.score[row]))
        self.windows += 1
        self.coverage += float(scores.coverage[row])
        self.kinds[str(scores.kind[row])] += 1
        self.ids.update(scores.arbitration_ids[row])

    def incident(self, channel: str, subject: Subject, *, ongoing: bool) -> Incident:
        named = self.ids.most_common(3)
        first = f"0x{named[0][0]} first of all" if named else "no ID in particular"
        return Incident(
            id=hashlib.sha256(f"{channel}\n{self.start_s!r}".encode("utf-8", "surrogateescape")).hexdigest()[:12],
            channel=channel,
            start_s=self.start_s,
            end_s=self.end_s,
            ongoing=ongoing,
            event="learned",
            kind=self.kinds.most_common(1)[0][0],
            arbitration_ids=tuple((name, count / self.windows) for name, count in named),
            score=self.score,
            severity="medium" if self.windows > 1 else "low",
            windows=self.windows,
            suppressed=0,
            coverage=self.coverage / self.windows,
            reason=f"The network finds {counted(self.windows, 'window')} suspicious, {first}",
            **subject._asdict(),
        )
