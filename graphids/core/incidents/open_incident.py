"""An incident while it goes on: what its windows have shown so far, in bounded memory."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from graphids.core.frames import NORMAL, Frames
from graphids.core.incidents.alert_window import LEARNED, NO_ID, AlertWindow, Signal

# What is left of one incident that stays on: it is reported once, and what it shows from then on is counted.
LATCHED_AFTER_S = 10.0
# Symptoms of one attack show up together; the slowest expert sums lateness over about a second.
TOGETHER_S = 2.0
# How long nothing of an incident is seen until it is over: isolated windows come and go, but what alerts steadily, with
# no pause of a second, and then stops has stopped.
QUIET_S, QUIET_AFTER_STEADY_S, _PAUSE_S = 10.0, 5.0, 1.0
# IDs whose evidence is kept of each event: fuzzing shows thousands.
MAX_IDS_PER_EVENT = 64
# Of the first of them the frames of a window are kept, 7 kB each at 256 frames.
_IDS_WITH_FRAMES = 8
# A bus of whose frames more than this share carries unknown IDs is flooded, and everything else on it is disturbed.
_FLOODED = 0.1
# What a flood of unknown IDs does to messages that nobody attacks: they wait for the bus, and then come close together.
# Among random IDs are some by which testers ask.
_EFFECTS = frozenset({"missing", "too_early", "too_frequent", "diagnostic_request", LEARNED})
# How much a window counts in which an event shows: what somebody sent before what follows from it, what no message of
# the vehicle can be before what is wrong with one, a state before a score without words.
_WEIGHTS = {"unknown_id": 2.0, "diagnostic_request": 2.0, "missing": 0.5, LEARNED: 0.02}
_WEIGHT_OF_STATES = 0.25


@dataclass(slots=True)
class Trace:
    """One event of one arbitration ID within an incident.

    Attributes:
        signal: The strongest so far.
        windows: How many showed it.
        since_s: Begin of the first of them after the last pause of `TOGETHER_S`.
        last_s: End of the last of them.
        seen_s: Begin and end of the window of the strongest.
        frames: Of that window; None where they were not handed on, or there are many IDs.
    """

    signal: Signal
    windows: int
    since_s: float
    last_s: float
    seen_s: tuple[float, float]
    frames: Frames | None


@dataclass(slots=True)
class EventTraces:
    """One event within an incident, of any IDs.

    Attributes:
        windows: How many showed it.
        by_id: Its traces by node key, of the first `MAX_IDS_PER_EVENT`.
        last: Number of the last window that showed it.
    """

    windows: int = 0
    by_id: dict[int, Trace] = field(default_factory=dict)
    last: int = -1

    @property
    def main(self) -> Trace:
        """Of the ID that showed it in most windows; of several the strongest."""
        return max(self.by_id.values(), key=lambda trace: (trace.windows, trace.signal.strength))


@dataclass(slots=True, eq=False)
class OpenIncident:
    """Windows of one bus that alert and belong together.

    Attributes:
        start_s: Begin of the first.
        end_s: End of the last.
        heard_s: End of the last in which something spoke that is not muted.
        windows: How many.
        suppressed: Of them those since it was latched.
        score: Highest of the network.
        kinds: How often the network found each attack kind likeliest.
        sure: How sure it was of each ID, at most; by node key.
        events: What was seen.
        coverage: Sum over the windows.
        first: Frames of the window that it began with; None where they were not handed on.
        first_signal: What it began with.
        loudest: Number of the window with the highest score.
    """

    start_s: float
    end_s: float
    first: Frames | None
    first_signal: Signal
    windows: int = 0
    suppressed: int = 0
    score: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    sure: dict[int, float] = field(default_factory=dict)
    events: dict[str, EventTraces] = field(default_factory=dict)
    coverage: float = 0.0
    loudest: int = -1
    heard_s: float = -np.inf
    _last: int = -1
    _longest_pause_s: float = 0.0
    _is_flooded: bool = False

    def affinity(self, signal: Signal, window: AlertWindow) -> int:
        """How clearly a signal is part of this incident; 0 where it begins one of its own.

        In its first seconds an incident takes what is seen together with it. Later it takes what is about its own IDs
        or events, unless only muted experts speak of it by then, and the effects of a flood: one message that is late
        for a whole drive must not hide an attack on another, or another attack on it.
        """
        is_young = window.start_s < self.start_s + LATCHED_AFTER_S
        is_beside = window.start_s <= self.end_s + TOGETHER_S
        only_learned = self.events.keys() == {LEARNED}
        keys = {key for key, _ in window.suspects} if signal.event == LEARNED else {signal.node_key}
        is_heard = window.start_s < self.heard_s + QUIET_S
        if is_heard and any(key in traces.by_id for traces in self.events.values() for key in keys):
            return 3
        if is_heard and signal.event in self.events and (signal.event != LEARNED or is_young or only_learned):
            return 2
        return int(is_beside and (is_young or (self._is_flooded and signal.event in _EFFECTS)))

    @property
    def over_s(self) -> float:
        """When it is over, if nothing of it is seen until then."""
        is_steady = self._longest_pause_s < _PAUSE_S <= self.end_s - self.start_s
        return self.end_s + (QUIET_AFTER_STEADY_S if is_steady else QUIET_S)

    def shows(self, signal: Signal) -> bool:
        """Whether it has shown that event of that ID."""
        return signal.event in self.events and signal.node_key in self.events[signal.event].by_id

    def absorb(self, other: "OpenIncident") -> None:
        """Count the windows of another as its own, and nothing else of it."""
        self.windows += other.windows
        self.coverage += other.coverage
        self.kinds += other.kinds
        if other.score > self.score:
            self.score, self.loudest = other.score, other.loudest

    def take(self, signal: Signal, window: AlertWindow) -> Trace | None:
        """Add what a window shows; the trace of it, None where the event has shown too many IDs."""
        self._count(window)
        traces = self.events.setdefault(signal.event, EventTraces())
        traces.windows += traces.last != window.number
        traces.last = window.number
        trace = traces.by_id.get(signal.node_key)
        if trace is None:
            if len(traces.by_id) >= MAX_IDS_PER_EVENT:
                return None
            times_s = (window.start_s, window.end_s)
            frames = window.frames() if len(traces.by_id) < _IDS_WITH_FRAMES else None
            trace = Trace(signal, 1, *times_s, seen_s=times_s, frames=frames)
            traces.by_id[signal.node_key] = trace
            return trace
        trace.windows += 1
        if window.start_s > trace.last_s + TOGETHER_S:
            trace.since_s = window.start_s
        trace.last_s = window.end_s
        is_latched = window.start_s >= self.start_s + LATCHED_AFTER_S
        if signal.strength > trace.signal.strength and not is_latched:
            trace.signal, trace.seen_s = signal, (window.start_s, window.end_s)
            trace.frames = None if trace.frames is None else window.frames()
        return trace

    def _count(self, window: AlertWindow) -> None:
        """Count a window once, however many signals it has."""
        if window.number == self._last:
            return
        self._last = window.number
        self._longest_pause_s = max(self._longest_pause_s, window.start_s - self.end_s)
        self.end_s = max(self.end_s, window.end_s)
        self.windows += 1
        self.suppressed += window.start_s >= self.start_s + LATCHED_AFTER_S
        self.coverage += window.coverage
        self._is_flooded = window.coverage < 1 - _FLOODED
        if self.loudest < 0 or window.score > self.score:
            self.score, self.loudest = window.score, window.number
        if window.kind != NORMAL:
            self.kinds[window.kind] += 1
        for key, sure in window.suspects:
            if key in self.sure or len(self.sure) < MAX_IDS_PER_EVENT:
                self.sure[key] = max(self.sure.get(key, 0.0), sure)

    def main_event(self) -> str:
        """The event that stands out most: by the windows that showed it, weighted, then by its strength."""
        return max(self.events, key=self._weight, default=self.first_signal.event)

    def _weight(self, event: str) -> tuple[float, float]:
        main = self.events[event].main.signal
        usual = 1.0 if main.raises_alarm else _WEIGHT_OF_STATES
        return self.events[event].windows * _WEIGHTS.get(event, usual), main.strength

    def ids(self) -> dict[int, float]:
        """How sure it is of each arbitration ID, 0 to 1, by node key; that of the main event first, then by sureness.

        A deviation of d decades beyond its limit is one in 10^d of attack-free traffic.
        """
        sure = dict(self.sure)
        for event, traces in self.events.items():
            for key, trace in traces.by_id.items():
                if event != LEARNED and key != NO_ID:
                    sure[key] = max(sure.get(key, 0.0), 1 - 10.0 ** -min(trace.signal.strength, 9.0))
        main = self.events[self.main_event()].main.signal.node_key if self.events else NO_ID
        return dict(sorted(sure.items(), key=lambda item: (item[0] != main, -item[1], item[0])))
