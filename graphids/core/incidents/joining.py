"""Joining: windows that alert, as they come, into incidents; state is kept for each bus.

What belongs together, and when it is over, is `OpenIncident`'s to say. An expert that speaks of one arbitration ID for
`LATCHED_AFTER_S` without a pause has said what it can: it is muted, and what the network sees is not. A bus that the
model cannot judge has one incident that says so, in place of all others.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.data.coverage import MIN_COVERAGE, Coverage
from graphids.core.frames import is_clock_jump
from graphids.core.incidents.alert_window import LEARNED, NO_ID, AlertWindow, BusRows, Signal, rows_by_bus
from graphids.core.incidents.open_incident import LATCHED_AFTER_S, OpenIncident
from graphids.core.profile.experts import EXPERTS
from graphids.core.window_scores import ScoredChunk

# How much of a bus is seen before it is judged whether the model knows it.
COVERAGE_AFTER_S = 10.0
# Incidents that a bus can have at a time, about a megabyte each at most; one begins in ten seconds, and few last.
MAX_OPEN = 32
# An ID of which an expert has not spoken for that long is attacked again if it does. Of timing it stays muted: a
# message that is late now and then is not attacked anew each time.
UNMUTED_AFTER_S = 60.0
_TIMING = frozenset(expert.event for expert in EXPERTS if expert.judges_timing)
NOT_COVERED = "not_covered"


class Ended(NamedTuple):
    """An incident that is over, or that the capture ended in.

    Attributes:
        channel: Name of the bus.
        incident: What it showed.
        ongoing: Whether it may go on after the capture.
        known_share: Share of the frames of the bus so far whose IDs are known, 0 to 1.
        jumps: How often the clock of the bus had jumped before it began.
    """

    channel: str
    incident: OpenIncident
    ongoing: bool
    known_share: float
    jumps: int


@dataclass(slots=True)
class Joiner:
    """Joins the windows of one capture; the incidents are the same however it is cut into chunks.

    Attributes:
        window_size: Frames per window.
        mutes_uncovered: Whether a bus that the model cannot judge has no other incidents.
    """

    window_size: int
    mutes_uncovered: bool = True
    _buses: dict[str, "_Bus"] = field(default_factory=dict)
    _windows: int = 0
    _coverage: dict[str, Coverage] = field(default_factory=dict)

    @property
    def muted_windows(self) -> int:
        """Windows so far in which only muted experts spoke, after their incident."""
        return sum(bus.muted_windows for bus in self._buses.values())

    def add(self, chunk: ScoredChunk) -> list[Ended]:
        """The incidents that are over at the end of the next chunk, those of a bus in the order in which they ended."""
        ended = []
        for channel, rows in rows_by_bus(chunk, self.window_size, self._windows):
            if rows.first < rows.end:
                bus = self._buses.setdefault(channel, _Bus(channel, self.window_size, self.mutes_uncovered))
                ended += bus.add(rows)
        self._windows += len(chunk.scores)
        self._coverage = chunk.scores.bus_coverage
        return ended

    def finish(self) -> list[Ended]:
        """Those that the end of the capture ends, bus by bus."""
        return [ended for name, bus in self._buses.items() for ended in bus.finish(self._coverage[name])]


@dataclass(slots=True)
class _Bus:
    """One bus of a capture.

    Attributes:
        channel: Its name.
        window_size: Frames per window.
        mutes_uncovered: As in `Joiner`.
        muted_windows: As in `Joiner`.
        begin_s: Begin of its first window after the last jump of the clock, or after it was found not to be covered.
        jumps: How often the clock jumped.
        last_s: Begin of its last window.
        end_s: End of its last window.
        windows: How many there were.
        known: Frames of known IDs in them, which is exact however the capture is cut.
        is_covered: Whether the model can judge it; None as long as that is open.
        open: Incidents that may go on.
        uncovered: The one that says that the bus is not covered.
        muted: Events and IDs that have said what they can, and the end of the last window in which they spoke.
    """

    channel: str
    window_size: int
    mutes_uncovered: bool
    muted_windows: int = 0
    begin_s: float = np.nan
    jumps: int = 0
    last_s: float = np.nan
    end_s: float = np.nan
    windows: int = 0
    known: int = 0
    is_covered: bool | None = None
    open: list[OpenIncident] = field(default_factory=list)
    uncovered: OpenIncident | None = None
    muted: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def known_share(self) -> float:
        """Share of the frames of its windows whose IDs are known."""
        return self.known / (self.windows * self.window_size)

    def add(self, rows: BusRows) -> list[Ended]:
        """Incidents that are over at the end of these rows, at least one."""
        scores, of = rows.scores, slice(rows.first, rows.end)
        start_s, end_s = scores.start_s[of], scores.end_s[of]
        if not self.windows:
            self.begin_s = self.last_s = float(start_s[0])
        speaks = scores.alert[of] | scores.evidence.alarms[of]
        jumps = is_clock_jump(np.diff(start_s, prepend=self.last_s))
        windows = self.windows + 1 + np.arange(len(start_s))
        known = self.known + np.cumsum(np.rint(scores.coverage[of] * self.window_size).astype(np.int64))
        turns = self._turns(start_s, known / (windows * self.window_size), jumps)
        ended: list[Ended] = []
        for row in np.flatnonzero(speaks | jumps | turns).tolist():
            self.windows, self.known = int(windows[row]), int(known[row])
            if jumps[row]:
                ended += self._jump(float(start_s[row]))
            ended += self._close(float(start_s[row]))
            self.end_s = float(end_s[row])
            if turns[row]:
                ended += self._judge(self.known_share >= MIN_COVERAGE)
                ended += self._close(float(start_s[row]))
            if speaks[row]:
                self._place(rows.window(rows.first + row))
        self.windows, self.known = int(windows[-1]), int(known[-1])
        self.last_s, self.end_s = float(start_s[-1]), float(end_s[-1])
        return ended + self._close(self.last_s)

    def finish(self, coverage: Coverage) -> list[Ended]:
        """The incidents that the end of the capture ends."""
        ended = self._judge(coverage.is_enough)
        over = sorted(self.open, key=_by_end)
        ended += [self._ended(incident, ongoing=self.end_s < incident.over_s) for incident in over]
        self.open = []
        if self.uncovered is not None:
            ended.append(self._ended(self.uncovered, ongoing=True))
        return ended

    def _turns(
        self, start_s: NDArray[np.float64], share: NDArray[np.float64], jumps: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Windows at which it turns out that the bus is covered, or is not.

        It is judged once it has been seen for long enough, or its clock jumps, and again once the share is enough. One
        that was covered stays so up to the end: a flood of unknown IDs is an incident and not another vehicle.
        """
        turns = np.zeros(len(start_s), np.bool_)
        if self.is_covered:
            return turns
        first = 0
        if self.is_covered is None:
            is_time = jumps | (start_s >= self.begin_s + COVERAGE_AFTER_S)
            first = int(is_time.argmax()) if is_time.any() else len(turns)
            turns[first : first + 1] = True
        enough = np.flatnonzero(share[first:] >= MIN_COVERAGE)[:1] + first
        turns[enough] = True
        return turns

    def _jump(self, start_s: float) -> list[Ended]:
        """The clock jumps to `start_s`: what that ends, all that was open, for no time counts on."""
        if self.is_covered is None:
            self._judge(self.known_share >= MIN_COVERAGE)
        over = sorted(self.open, key=_by_end) + ([] if self.uncovered is None else [self.uncovered])
        ended = [self._ended(incident, ongoing=False) for incident in over]
        self.open, self.begin_s, self.jumps = [], start_s, self.jumps + 1
        if self.uncovered is not None:
            is_still = self.known_share < MIN_COVERAGE
            self.uncovered = OpenIncident(start_s, start_s, None, _UNCOVERED) if is_still else None
        return ended

    def _judge(self, is_covered: bool) -> list[Ended]:
        """It turns out that the model can, or cannot, judge the bus; what that ends."""
        was, self.is_covered = self.is_covered, is_covered
        if was is is_covered:
            return []
        if is_covered:
            over, self.uncovered, self.begin_s = self.uncovered, None, self.end_s
            return [] if over is None else [self._ended(over, ongoing=False)]
        self.uncovered = OpenIncident(self.begin_s, self.end_s, None, _UNCOVERED)
        if was is None and self.mutes_uncovered:
            for incident in self.open:
                self.uncovered.absorb(incident)
            self.open = []
        return []

    def _close(self, now_s: float) -> list[Ended]:
        if self.is_covered is None:  # whether they are incidents at all is open
            return []
        over = sorted((incident for incident in self.open if now_s >= incident.over_s), key=_by_end)
        self.open = [incident for incident in self.open if incident not in over]
        return [self._ended(incident, ongoing=False) for incident in over]

    def _ended(self, incident: OpenIncident, *, ongoing: bool) -> Ended:
        if incident.first_signal is _UNCOVERED:
            incident.end_s, incident.suppressed = self.end_s, incident.windows
        return Ended(self.channel, incident, ongoing, self.known_share, self.jumps)

    def _place(self, window: AlertWindow) -> None:
        """Give every signal of a window to the incident that it is part of."""
        beside = [incident for incident in self.open if window.start_s < incident.over_s]
        loud = [signal for signal in window.signals if signal.raises_alarm and not self._is_muted(signal, window)]
        taken = [self._take(signal, window, beside) for signal in loud]
        learned = taken[-1] if taken and loud[-1].event == LEARNED else None
        suspects = {key for key, _ in window.suspects}
        for signal in window.signals:
            if signal in loud:
                continue
            owners = [each for each in beside if each.shows(signal)][:1] if signal.raises_alarm else []
            if learned is not None and learned not in owners and signal.node_key in suspects:
                owners.append(learned)  # gives its alarm a reason
            for owner in owners:
                owner.take(signal, window)
            taken += owners
        self.muted_windows += not taken

    def _is_muted(self, signal: Signal, window: AlertWindow) -> bool:
        """Whether an expert has said of an ID what it can; after a minute of quiet, what is not of timing is new."""
        spoke_s = self.muted.get(signal[:2])
        if spoke_s is None:
            return False
        if signal.event not in _TIMING and abs(window.start_s - spoke_s) >= UNMUTED_AFTER_S:
            del self.muted[signal[:2]]
            return False
        self.muted[signal[:2]] = window.end_s
        return True

    def _take(self, signal: Signal, window: AlertWindow, beside: list[OpenIncident]) -> OpenIncident:
        """Give a signal to the one of the incidents that go on that it fits best, or begin one with it."""
        affinities = [incident.affinity(signal, window) for incident in beside]
        if max(affinities, default=0):
            incident = beside[affinities.index(max(affinities))]
        elif self.uncovered is not None and self.mutes_uncovered:
            incident, signal = self.uncovered, _UNCOVERED
        elif len(self.open) >= MAX_OPEN:
            incident = self.open[-1]
        else:
            incident = OpenIncident(window.start_s, window.end_s, window.frames(), signal)
            self.open.append(incident)
            beside.append(incident)
        trace = incident.take(signal, window)
        incident.heard_s = window.end_s
        is_expert = signal.event not in (LEARNED, NOT_COVERED)
        if is_expert and trace is not None and trace.last_s - trace.since_s >= LATCHED_AFTER_S:
            self.muted[signal[:2]] = window.end_s
        return incident


_UNCOVERED = Signal(NOT_COVERED, NO_ID, 0.0, 0.0, raises_alarm=True)


def _by_end(incident: OpenIncident) -> float:
    return incident.over_s
