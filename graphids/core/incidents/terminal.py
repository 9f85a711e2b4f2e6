"""An incident as the lines that a person reads on a terminal."""

import os
from typing import TextIO

from graphids.core.frames import hex_node_key
from graphids.core.incidents.event_words import event_words
from graphids.core.incidents.incident import Incident
from graphids.wording import counted, printable, time_words, utc_text

# Of ECMA-48: bold red, bold yellow, bold cyan; bold, faint, and back to normal.
_COLOUR = {"high": "1;31", "medium": "1;33", "low": "1;36"}
_BOLD, _FAINT = "1", "2"
_INDENT = " " * 8
_MOST_IDS = 6
# A share of known frames below which a person has to know it to judge the rest.
_MUCH_COVERAGE = 0.9


def text_lines(incident: Incident, capture: str = "", *, colour: bool = False) -> str:
    """When, what and where; on which IDs and how sure; why.

    Args:
        incident: Of any capture.
        capture: Its name, where there are several.
        colour: Whether severity, title and lesser words are coloured.

    Returns:
        Two or three lines, without the last line's end; nothing in them moves a cursor but those colours.
    """
    severity = _painted(f"{printable(incident.severity).upper():7}", _COLOUR.get(incident.severity, _BOLD), colour)
    title = _painted(_title(incident), _BOLD, colour)
    lines = [
        f"{severity} {title}  {printable(_when(incident))}{printable(_where(incident, capture))}",
        _INDENT + _painted(printable(_how_sure(incident)), _FAINT, colour),
        *([_INDENT + printable(as_sentence(incident.reason))] if incident.reason else []),
    ]
    return "\n".join(lines)


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours, and nobody asked for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shown_id(name: str) -> str:
    """An arbitration ID as a person reads it; one that has a message's name stays as it is.

    >>> shown_id("1A4"), shown_id("0x1A4"), shown_id("EngineSpeed (0x1A4)")
    ('0x1A4', '0x1A4', 'EngineSpeed (0x1A4)')
    """
    return name if name.startswith("0x") or hex_node_key(name) == -1 else f"0x{name}"


def bus_words(channel: str) -> str:
    """A bus as a person reads it: some recorders give buses numbers.

    >>> bus_words("can0"), bus_words("1")
    ('can0', 'bus 1')
    """
    return f"bus {channel}" if channel[:1].isdigit() else channel


def as_sentence(reason: str) -> str:
    """A reason with a capital letter, as a line of its own begins.

    >>> as_sentence("only the network sees it")
    'Only the network sees it'
    """
    return reason[:1].upper() + reason[1:]


def times_shown(start_s: float, end_s: float) -> str:
    """From when to when: in UTC where times are absolute, else in seconds of the recorder's clock.

    >>> times_shown(1e9, 1e9 + 2.5), times_shown(12.5, 15.0)
    ('2001-09-09 01:46:40.000 to 01:46:42.500 UTC', '12.500 s to 15.000 s')
    """
    start, end = utc_text(start_s), utc_text(end_s)
    if start is None or end is None:
        return f"{start_s:.3f} s to {end_s:.3f} s"
    (day, start), (last_day, end) = start.split("T"), end.split("T")
    return f"{day} {start[:12]} to {'' if day == last_day else f'{last_day} '}{end[:12]} UTC"


def _title(incident: Incident) -> str:
    kind = f" ({incident.kind})" if incident.kind else ""
    return printable(event_words(incident.event) + kind)


def _when(incident: Incident) -> str:
    lasted = duration_words(incident.end_s - incident.start_s)
    times = times_shown(incident.start_s, incident.end_s)
    return f"{times}, {'still going on after ' if incident.ongoing else ''}{lasted}"


def duration_words(seconds: float) -> str:
    """How long something lasted.

    >>> duration_words(0.9), duration_words(75)
    ('0.90 s', '1.2 minutes')
    """
    return f"{seconds:.2f} s" if seconds < 60 else time_words(seconds / 3600)


def _where(incident: Incident, capture: str) -> str:
    places = [f"on {bus_words(incident.channel)}"] if incident.channel else []
    places += [f"of {incident.vehicle}"] if incident.vehicle else []
    places += [f"in {capture}"] if capture else []
    return f", {' '.join(places)}" if places else ""


def _how_sure(incident: Incident) -> str:
    """The IDs with how sure each is, and the windows behind it."""
    ids = [f"{shown_id(name)} {suspicion:.2f}" for name, suspicion in incident.arbitration_ids[:_MOST_IDS]]
    if (more := len(incident.arbitration_ids) - _MOST_IDS) > 0:
        ids.append(f"{more} more")
    parts = [
        ", ".join(ids),
        f"score {incident.score:.3f} in {counted(incident.windows, 'window')}",
        f"{incident.suppressed:,} not reported on their own" if incident.suppressed else "",
        f"only {incident.coverage:.0%} of the frames known" if incident.coverage < _MUCH_COVERAGE else "",
    ]
    return "; ".join(part for part in parts if part)


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
