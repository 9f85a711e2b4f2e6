"""A model's incidents on labelled captures, in words."""

from textwrap import fill

from graphids.assessment.incident_metrics import FoundAttacks, IncidentMetrics
from graphids.wording import aligned, counted, format_metric, time_words

NO_ATTACK = (
    "None of the captures holds an attack: only false alarms, time in alarm and coverage are measured; recall, delay, "
    "AUROC and average precision are undefined."
)
NO_LABELS = "No capture has labels, and all are taken for attack-free. "
_COLUMNS = ("kind", "attacks", "found", "recall", "median delay s", "90 % delay s", "right event", "right ID")


def incident_summary(measured: IncidentMetrics) -> str:
    """A line per attack kind, `-` where a figure is undefined, and a sentence on false alarms."""
    table = incident_table(measured)
    return "\n".join(filter(None, (table, fill(false_alarm_sentence(measured), 118))))


def incident_table(measured: IncidentMetrics) -> str:
    """A line per attack kind and one for all; nothing without attacks."""
    if not measured.by_kind:
        return ""
    rows = [_row(kind, found) for kind, found in (*measured.by_kind.items(), ("all", measured.whole))]
    return f"in incidents\n{aligned([_COLUMNS, *rows])}"


def false_alarm_sentence(measured: IncidentMetrics) -> str:
    """False-alarm incidents seen and asked for, time in alarm, and what was muted or not judged.

    >>> print(false_alarm_sentence(IncidentMetrics({}, FoundAttacks(0, 0), 3, 0, 0.5, 9.0, 0, asked_per_hour=6.0)))
    false-alarm incidents: 3 in 30.0 minutes without an attack, 6.0 an hour (6 asked); in alarm for 0.50 % of that time.
    """
    if not measured.hours > 0:
        return "false-alarm incidents: undefined, no time without an attack."
    asked = "" if measured.asked_per_hour is None else f" ({measured.asked_per_hour:g} asked)"
    muted = f"; {counted(measured.muted_windows, 'muted window')}" if measured.muted_windows else ""
    strange = f"; {counted(measured.not_covered, 'incident')} not_covered" if measured.not_covered else ""
    return (
        f"false-alarm incidents: {measured.false_alarms:,} in {time_words(measured.hours)} without an attack, "
        f"{format_metric(measured.false_alarms_per_hour, 1)} an hour{asked}; in alarm for "
        f"{100 * (measured.time_in_alarm or 0.0):.2f} % of that time{muted}{strange}."
    )


def _row(kind: str, found: FoundAttacks) -> tuple[str, ...]:
    return (
        kind,
        str(found.attacks),
        str(found.found),
        format_metric(found.recall),
        format_metric(found.median_delay_s, 2),
        format_metric(found.late_delay_s, 2),
        format_metric(found.right_event),
        format_metric(found.right_id),
    )
