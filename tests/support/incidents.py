"""Incidents by hand."""

from dataclasses import replace
from typing import Any

from graphids.core.incidents.incident import Incident

# One of each kind of character that means something to a terminal, a spreadsheet, CEF, HTML or JSON.
HOSTILE = "=cmd|x\\y\"<b>&\n\r\x1b[31m\u202e,';\u2028{}"

FLOOD = Incident(
    id="5f2a5f2a5f2a",
    vehicle="red van",
    channel="can0",
    start_s=1_234_567_890.5,
    end_s=1_234_567_902.9,
    ongoing=False,
    event="too_frequent",
    kind="dos",
    arbitration_ids=(("000", 0.98), ("1A4", 0.41)),
    score=0.998,
    severity="high",
    windows=188,
    suppressed=2,
    coverage=0.62,
    reason="0x000 sent 1,824 times a second, at most 0 in 34 minutes of profile",
    context=("(1234567890.500000) can0 000#00", "(1234567890.500400) can0 1A4#0102"),
    model_digest="ab" * 32,
    profile_digest="cd" * 32,
)
SILENCE = replace(
    FLOOD,
    id="777777777777",
    vehicle="",
    channel="",
    start_s=12.5,
    end_s=13.4,
    ongoing=True,
    event="missing",
    kind="",
    arbitration_ids=(("1A4", 0.97),),
    severity="medium",
    windows=1,
    suppressed=0,
    coverage=1.0,
    reason="0x1A4 silent for 0.90 s, expected every 0.02 s",
    context=(),
)


def hostile_incident(**changes: Any) -> Incident:
    """Every text of it is hostile."""
    texts = dict.fromkeys(("id", "vehicle", "channel", "event", "kind", "severity", "reason", "model_digest"), HOSTILE)
    return replace(FLOOD, **{**texts, "arbitration_ids": ((HOSTILE, 0.5),), "context": (HOSTILE,), **changes})
