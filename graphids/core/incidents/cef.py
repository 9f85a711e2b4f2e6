"""An incident in ArcSight's Common Event Format (CEF:0), which SIEMs read.

After "ArcSight Common Event Format (CEF): Implementation Standard", version 25: seven header fields between pipes, then
`key=value` pairs. A pipe and a backslash are escaped in the header, which has no line breaks; an equals sign, a
backslash and line breaks in values. Fields that a SIEM names itself come with a label.
"""

import re

from graphids import __version__
from graphids.core.incidents.event_words import event_words
from graphids.core.incidents.incident import Incident
from graphids.wording import printable, shortened, utc_text

# The standard takes 0 to 3 for low, 4 to 6 for medium, 7 and 8 for high, 9 and 10 for very high.
_SEVERITY = {"low": 3, "medium": 6, "high": 8}
_UNKNOWN_SEVERITY = 5
# Longest values that the standard's dictionary allows, in characters.
_LONGEST = {"msg": 1023, "externalId": 40, "deviceExternalId": 255, "deviceInboundInterface": 128, "fname": 1023}
_LONGEST_CUSTOM = 4000
_LONGEST_HEADER = 512
_BREAKS = {"\n": r"\n", "\r": r"\r"}


def cef_line(incident: Incident, capture: str = "") -> str:
    """The incident as one line of CEF, without a syslog header.

    Times are milliseconds since 1970 in `rt` (when the incident ended, so far), `start` and `end`; where a capture's
    clock starts elsewhere, they are seconds in `cfp3` and `cfp4` instead.
    """
    severity = _SEVERITY.get(incident.severity, _UNKNOWN_SEVERITY)
    head = ("graphids", "graphids", __version__, incident.event, event_words(incident.event), str(severity))
    return "|".join(["CEF:0", *map(_header, head), " ".join(_extension(incident, capture))])


def _extension(incident: Incident, capture: str) -> list[str]:
    fields = {
        "externalId": incident.id,
        "deviceExternalId": incident.vehicle,
        "deviceInboundInterface": incident.channel,
        "fname": capture,
        **_times(incident),
        "cnt": str(incident.windows),
        "msg": incident.reason,
    }
    ids = " ".join(f"{arbitration_id}:{suspicion:.3f}" for arbitration_id, suspicion in incident.arbitration_ids)
    labelled = [
        ("cs1", "arbitrationIds", ids),
        ("cs2", "attackKind", incident.kind),
        ("cs3", "modelDigest", incident.model_digest),
        ("cs4", "profileDigest", incident.profile_digest),
        ("cn1", "suppressedWindows", str(incident.suppressed)),
        ("cn2", "ongoing", str(int(incident.ongoing))),
        ("cfp1", "score", repr(incident.score)),
        ("cfp2", "coverage", repr(incident.coverage)),
        *_relative_times(incident),
    ]
    custom = {
        name: text for key, label, value in labelled if value for name, text in ((f"{key}Label", label), (key, value))
    }
    present = {key: value for key, value in (fields | custom).items() if value}
    return [f"{key}={_value(value, _LONGEST.get(key, _LONGEST_CUSTOM))}" for key, value in present.items()]


def _times(incident: Incident) -> dict[str, str]:
    if not _is_absolute(incident):
        return {}
    start, end = (str(round(seconds * 1000)) for seconds in (incident.start_s, incident.end_s))
    return {"rt": end, "start": start, "end": end}


def _relative_times(incident: Incident) -> list[tuple[str, str, str]]:
    if _is_absolute(incident):
        return []
    return [("cfp3", "startSeconds", repr(incident.start_s)), ("cfp4", "endSeconds", repr(incident.end_s))]


def _is_absolute(incident: Incident) -> bool:
    return utc_text(incident.start_s) is not None and utc_text(incident.end_s) is not None


def _header(text: str) -> str:
    r"""A header field: one line, with pipes and backslashes escaped.

    >>> print(_header("a|b\\c\nd"))
    a\|b\\c d
    """
    line = printable(re.sub(r"[\r\n]+", " ", shortened(text, _LONGEST_HEADER)))
    return line.replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str, longest: int) -> str:
    r"""The value of a pair: equals signs, backslashes and line breaks escaped, and what a terminal would obey.

    >>> print(_value("a=b|c\\d\ne\x1b", 99))
    a\=b|c\\d\ne\\x1b
    """
    return "".join(
        _BREAKS.get(char) or printable(char).replace("\\", "\\\\").replace("=", "\\=")
        for char in shortened(text, longest)
    )
