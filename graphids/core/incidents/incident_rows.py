"""Rows of incidents, flat: what `docs/incident.schema.json` describes."""

from graphids.core.incidents.incident import Incident
from graphids.wording import utc_text

UTC_FIELDS = ("start_utc", "end_utc")  # of captures with absolute times
COLUMNS = (
    "id",
    "vehicle",
    "channel",
    "start_s",
    "end_s",
    *UTC_FIELDS,
    "ongoing",
    "event",
    "kind",
    "arbitration_ids",
    "id_scores",
    "score",
    "severity",
    "windows",
    "suppressed",
    "coverage",
    "reason",
    "context",
    "model_digest",
    "profile_digest",
    "loudest_window",
)


def row_of(incident: Incident) -> dict[str, object]:
    """An incident as one line: IDs and how sure each is in two lists of one length."""
    values = incident.to_dict()
    times = (utc_text(incident.start_s), utc_text(incident.end_s))
    values |= dict(zip(UTC_FIELDS, times, strict=True)) if all(times) else {}
    values["arbitration_ids"] = [name for name, _ in incident.arbitration_ids]
    values["id_scores"] = [sure for _, sure in incident.arbitration_ids]
    values["context"] = list(incident.context)
    return {name: values[name] for name in COLUMNS if name in values}
