"""Reasons: what an incident showed as a sentence with figures, by what is usual for the vehicle.

Figures are those of the window in which the event stood out most.
"""

from collections.abc import Callable

import numpy as np

from graphids.core.frames import format_arbitration_id
from graphids.core.incidents.alert_window import LEARNED
from graphids.core.incidents.open_incident import MAX_IDS_PER_EVENT, OpenIncident, Trace
from graphids.core.incidents.usual import Usual, seconds_text
from graphids.core.profile.profile import Profile
from graphids.core.profile.records import SPANS
from graphids.wording import counted

# A message is slow whose mean gap is so many times the usual one, the drift of clocks forgiven as in `profile.kernels`;
# a silence turned to decades and back is as long as it was, but for rounding.
_SLOW, _MEASURED = 1.05, 1.01
_MOST, _MOST_OF_EVENTS = 1000.0, 10.0  # decades, as in `profile.kernels`
_WORDS = {
    "unknown_id": "unknown IDs",
    "diagnostic_request": "diagnostic requests",
    "wrong_length": "wrong lengths",
    "too_early": "frames that come too early",
    "too_frequent": "frames that come too often",
    "missing": "missing frames",
    "counter_broken": "broken counters",
    "checksum_broken": "broken checksums",
    "value_never_seen": "values never seen",
    "out_of_range": "signals out of range",
    "implausible_step": "implausible steps",
    "frozen_signal": "frozen signals",
    "replayed_sequence": "replayed sequences",
    LEARNED: "an alarm of the network",
}

_OF_THE_BUS = {
    "bus_overload": "the bus is overloaded",
    "bus_error": "the bus has errors",
    "unknown_state": "the vehicle is in a state that the profile has not seen",
}


def reason_for(incident: OpenIncident, profile: Profile | None) -> str:
    """One sentence: what stands out most with its figures, and what else was seen.

    Args:
        incident: With at least one event.
        profile: Of the vehicle; None where the model judges raw features.
    """
    event = incident.main_event()
    trace = incident.events[event].main
    others = [
        f"{_WORDS.get(name, name)}{'' if name == LEARNED else _of_ids(len(traces.by_id))}"
        for name, traces in incident.events.items()
        if name != event
    ]
    if event == LEARNED:
        main = _learned(incident)
    elif event in _OF_THE_BUS:
        main = _OF_THE_BUS[event]
    else:
        main = _SENTENCES.get(event, _state(f"shows {event}"))(trace, Usual(trace, profile))
    more = len(incident.events[event].by_id) - 1
    if more and event != LEARNED:
        main += f"; and so for {'at least ' if more + 1 >= MAX_IDS_PER_EVENT else ''}{counted(more, 'other ID')}"
    return f"{main}; also {', '.join(others)}" if others else main


def not_covered_reason(known_share: float) -> str:
    """Why a bus cannot be judged, by the share of its frames whose IDs are known."""
    return (
        f"the model knows the IDs of {known_share:.1%} of the frames and cannot judge the bus: it is of another "
        "vehicle, or unknown IDs flood it"
    )


def _learned(incident: OpenIncident) -> str:
    kind = f" of the kind {max(sorted(incident.kinds), key=incident.kinds.__getitem__)}" if incident.kinds else ""
    named = [
        f"0x{format_arbitration_id(key)} ({sure:.0%})" for key, sure in list(incident.ids().items())[:3] if key >= 0
    ]
    suspects = f"; most suspicious {', '.join(named)}" if named else ""
    seen = "only the network sees it:" if incident.events.keys() == {LEARNED} else "the network sees"
    return f"{seen} an attack{kind}, score {incident.score:.2f}{suspects}"


def _unknown_id(_trace: Trace, usual: Usual) -> str:
    return _joined(f"{usual.name} is not an ID of this vehicle", usual.rate())


def _diagnostic_request(_trace: Trace, usual: Usual) -> str:
    return _joined(f"{usual.name} asks for diagnosis, which this vehicle's traffic never did", usual.rate())


def _wrong_length(_trace: Trace, usual: Usual) -> str:
    habit, own = usual.habit, usual.own
    known = [] if habit is None else [str(length) for length in range(16) if int(habit["dlcs"]) >> length & 1]
    found = [] if own is None else [str(length) for length in np.unique(own.dlc).tolist() if str(length) not in known]
    said = f"with {' and '.join(found)} bytes" if found else "of a length that it never had"
    return _joined(f"{usual.name} {said}", f"{' or '.join(known)} in {usual.profiled()}" if known else "")


def _too_early(_trace: Trace, usual: Usual) -> str:
    """The shortest gap, or, where no gap alone is short, the frames that took less time together than they do."""
    habit, times_s = usual.habit, np.empty(0) if usual.own is None else usual.own.timestamp
    for span, least_s in zip(SPANS, [np.inf] * len(SPANS) if habit is None else habit["short_s"], strict=True):
        shortest_s = float((times_s[span:] - times_s[:-span]).min(initial=np.inf))
        if not shortest_s < least_s:
            continue
        found = f"{seconds_text(shortest_s)} after the frame before"
        if span > 1:
            found = f"{span + 1} frames within {seconds_text(shortest_s)}"
        which = "the gaps" if span == 1 else "such times"
        longer = f"99 % of {which} in {usual.profiled()} are longer than {seconds_text(least_s)}"
        figures = (usual.period(), longer if np.isfinite(least_s) else "")
        return _joined(f"{usual.name} sent {found}", ", ".join(filter(None, figures)))
    figures = (usual.rate(), usual.period())
    return _joined(f"{usual.name} sent sooner than usual", ", ".join(filter(None, figures)))


def _too_frequent(_trace: Trace, usual: Usual) -> str:
    return _joined(f"{usual.name} sent too often", ", ".join(filter(None, (usual.rate(), usual.period()))))


def _missing(trace: Trace, usual: Usual) -> str:
    habit = usual.habit
    if habit is None or usual.profile is None:
        return f"{usual.name} is missing"
    calibration = usual.profile.vehicle.calibration
    largest, rate = (float(of[usual.message]["late"]) for of in calibration)
    excess = trace.signal.deviation / rate + largest if rate > 0 else largest
    silent_s, longest_s = (float(habit["long_gap_s"] + each * habit["gap_s"]) for each in (excess, largest))
    if _is_slow(usual, habit, silent_s):
        return _joined(f"{usual.name} comes too late", ", ".join(filter(None, (usual.rate(), usual.period()))))
    if usual.own is not None and not len(usual.own):
        silent_s = max(silent_s, usual.seconds)
    is_capped = trace.signal.deviation >= (_MOST if habit["is_cyclic"] else _MOST_OF_EVENTS)
    return _joined(
        f"{usual.name} silent for {'more than ' if is_capped else ''}{seconds_text(silent_s)}",
        f"{usual.period()} (longest gap in {usual.profiled()}: {seconds_text(longest_s)})",
    )


def _is_slow(usual: Usual, habit: np.void, silent_s: float) -> bool:
    """Whether it is how late each frame was that added up, and not one silence of so many seconds.

    Such a silence may lie in the window, or have begun before it. Then the frames after it come as they usually do.
    """
    if usual.own is None or len(usual.own) < 2:
        return False
    gaps_s = np.diff(usual.own.timestamp)
    longest_s = max(float(gaps_s.max()), usual.end_s - float(usual.own.timestamp[-1]))
    slow_s = max((habit["gap_s"] + habit["long_gap_s"]) / 2, _SLOW * habit["gap_s"])
    return bool(silent_s > _MEASURED * longest_s and gaps_s.mean() > slow_s)


def _broken(what: str) -> Callable[[Trace, Usual], str]:
    def sentence(trace: Trace, usual: Usual) -> str:
        of = "" if usual.own is None else f" of {len(usual.own):,}"
        broken = f"{trace.signal.deviation:,.0f}{of} frames in {seconds_text(usual.seconds)}"
        held = f"it held in every frame of {usual.profiled()}" if usual.profile is not None else ""
        return _joined(f"{usual.name}: {what} in {broken}", held)

    return sentence


def _replayed_sequence(trace: Trace, usual: Usual) -> str:
    habit, said = usual.habit, f"{usual.name} repeats what it sent before, frame for frame"
    if habit is None or usual.profile is None:
        return said
    largest, rate = (float(of[usual.message]["replay"]) for of in usual.profile.vehicle.calibration)
    longest = int(habit["replay"])
    excess = trace.signal.deviation / rate + largest if rate > 0 else largest
    changes = longest + excess * (longest + 1)  # as `_beyond` of `profile.kernels` measures it
    return _joined(said, f"{changes:,.0f} changes in a row, at most {longest:,} in {usual.profiled()}")


def _state(what: str) -> Callable[[Trace, Usual], str]:
    return lambda trace, usual: _joined(f"{usual.name} {what}", _rarity(trace, usual))


def _value_never_seen(trace: Trace, usual: Usual) -> str:
    byte = usual.byte_of_new_value()
    place = f"{usual.name} has a byte with" if byte is None else f"byte {byte} of {usual.name} has"
    return _joined(f"{place} a value that it never had", _rarity(trace, usual))


def _out_of_range(trace: Trace, usual: Usual) -> str:
    byte = usual.byte_out_of_range()
    place = f"{usual.name} has a signal" if byte is None else f"a signal in byte {byte} of {usual.name} is"
    return _joined(f"{place} outside its range", _rarity(trace, usual))


def _rarity(trace: Trace, usual: Usual) -> str:
    return f"{trace.signal.deviation:,.1f} decades beyond what {usual.profiled() or 'attack-free traffic'} shows"


_SENTENCES: dict[str, Callable[[Trace, Usual], str]] = {
    "unknown_id": _unknown_id,
    "diagnostic_request": _diagnostic_request,
    "wrong_length": _wrong_length,
    "too_early": _too_early,
    "too_frequent": _too_frequent,
    "missing": _missing,
    "checksum_broken": _broken("the checksum does not hold"),
    "counter_broken": _broken("the counter does not count"),
    "replayed_sequence": _replayed_sequence,
    "frozen_signal": _state("has a signal that rests while others move"),
    "value_never_seen": _value_never_seen,
    "out_of_range": _out_of_range,
    "implausible_step": _state("has a signal that jumps as it never did"),
}


def _joined(what: str, figures: str) -> str:
    return f"{what}, {figures}" if figures else what


def _of_ids(number: int) -> str:
    return f" of {counted(number, 'ID')}" if number > 1 else ""
