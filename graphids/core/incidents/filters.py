"""Filters: which incidents are reported, in the order of AUTOSAR's intrusion detection system manager.

Block state, forward every nth, aggregation, threshold, rate limitation (AUTOSAR, Specification of Intrusion Detection
System Manager, filter chains). Each is off by default, and what one keeps back is counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from graphids.core.frames import DataError
from graphids.core.incidents.incident import EVENTS, Incident
from graphids.core.incidents.joining import NOT_COVERED

_PER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Filters:
    """Which incidents are reported. That a bus is not covered always is.

    Attributes:
        block: Events that are not reported.
        every: Of each event only every nth, the first included.
        aggregate_s: Incidents of one event on one bus that end within so many seconds of the end of the last that was
            reported are counted in the next one of that event that is; where none follows, in `kept_back` alone.
        threshold: Least number of windows that alert.
        rate: At most so many incidents an hour; 0 for any number.

    Raises:
        DataError: If an event is unknown, or a number out of range.
    """

    block: tuple[str, ...] = ()
    every: int = 1
    aggregate_s: float = 0.0
    threshold: int = 1
    rate: int = 0

    def __post_init__(self) -> None:
        if unknown := [event for event in self.block if event not in EVENTS]:
            raise DataError(f"block is {unknown[0]!r}, expected some of {', '.join(EVENTS)}.")
        for name, least in (("every", 1), ("aggregate_s", 0), ("threshold", 1), ("rate", 0)):
            if not least <= getattr(self, name) < float("inf"):  # false for NaN too
                raise DataError(f"{name} is {getattr(self, name)}, expected a number of at least {least}.")


NO_FILTERS = Filters()


@dataclass(slots=True)
class FilteredIncidents:
    """Filters an incident at a time, and counts what it keeps back.

    Attributes:
        filters: Which are reported.
        kept_back: How many incidents were not.
    """

    filters: Filters
    kept_back: int = 0
    _met: dict[tuple[str, str], int] = field(default_factory=dict)
    _reported_s: dict[tuple[str, str], float] = field(default_factory=dict)
    _waiting: dict[tuple[str, str], int] = field(default_factory=dict)  # windows of those that were aggregated
    _hour: list[float] = field(default_factory=list)

    def passing(self, incidents: Iterable[Incident]) -> Iterator[Incident]:
        """Those that are reported; `suppressed` also counts windows of those that were aggregated into one."""
        for incident in incidents:
            key = (incident.channel, incident.event)
            if incident.event != NOT_COVERED and not self._passes(key, incident):
                self.kept_back += 1
                continue
            waiting = self._waiting.pop(key, 0)
            yield (
                replace(incident, windows=incident.windows + waiting, suppressed=incident.suppressed + waiting)
                if waiting
                else incident
            )

    def _passes(self, key: tuple[str, str], incident: Incident) -> bool:
        filters = self.filters
        if incident.event in filters.block:
            return False
        self._met[key] = self._met.get(key, 0) + 1
        if (self._met[key] - 1) % filters.every:
            return False
        # Incidents come once they are over, so that a long one begins before what was reported before it. Those that
        # wait longer for their end may have ended a little earlier.
        if abs(incident.end_s - self._reported_s.get(key, -float("inf"))) < filters.aggregate_s:
            self._waiting[key] = self._waiting.get(key, 0) + incident.windows
            return False
        if incident.windows < filters.threshold:
            return False
        if filters.rate:
            self._hour = [end_s for end_s in self._hour if abs(incident.end_s - end_s) < _PER_S]
            if len(self._hour) >= filters.rate:
                return False
            self._hour.append(incident.end_s)
        self._reported_s[key] = incident.end_s
        return True
