"""An incident as a flat record, which JSON lines and csv write; docs/incident.schema.json is its schema."""

import csv
import io
import json
from typing import cast

from graphids.core.incidents.incident import Incident
from graphids.wording import spreadsheet_text, utc_text

# Columns of csv, in order; every record has all of them but the first, which names the capture, and the two of UTC.
COLUMNS = (
    "capture",
    "id",
    "vehicle",
    "channel",
    "start_s",
    "end_s",
    "start_utc",
    "end_utc",
    "duration_s",
    "ongoing",
    "event",
    "kind",
    "severity",
    "score",
    "arbitration_ids",
    "id_scores",
    "windows",
    "suppressed",
    "coverage",
    "reason",
    "context",
    "model_digest",
    "profile_digest",
)


def incident_record(incident: Incident, capture: str = "") -> dict[str, object]:
    """The incident as a dict of numbers, texts and lists of them, in the order of `COLUMNS`.

    Args:
        incident: Of any capture.
        capture: Its name; without one there is no field of it.

    Returns:
        `start_utc` and `end_utc` only where timestamps count from 1970; `id_scores` is that of each of
        `arbitration_ids`, 0 to 1.
    """
    utc = {"start_utc": utc_text(incident.start_s), "end_utc": utc_text(incident.end_s)}
    values: dict[str, object] = {
        **incident.to_dict(),
        **(utc if all(utc.values()) else {}),
        **({"capture": capture} if capture else {}),
        "duration_s": incident.end_s - incident.start_s,
        "arbitration_ids": [arbitration_id for arbitration_id, _ in incident.arbitration_ids],
        "id_scores": [suspicion for _, suspicion in incident.arbitration_ids],
        "context": list(incident.context),
    }
    return {name: values[name] for name in COLUMNS if name in values}


def json_line(incident: Incident, capture: str = "") -> str:
    """The record as one line of JSON, ASCII only, so that no name in it can move a terminal's cursor."""
    return json.dumps(incident_record(incident, capture))


def csv_row(incident: Incident, capture: str = "") -> str:
    """The record as a row of `COLUMNS`; lists are joined, by spaces and the frames of the context by semicolons."""
    record = incident_record(incident, capture)
    separators = {"arbitration_ids": " ", "id_scores": " ", "context": "; "}
    for name, separator in separators.items():
        record[name] = separator.join(map(str, cast("list[object]", record[name])))
    return _csv_line([_cell(record.get(name, "")) for name in COLUMNS])


def csv_head() -> str:
    """The line of csv that names the columns."""
    return _csv_line(list(COLUMNS))


def _csv_line(cells: list[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()


def _cell(value: object) -> object:
    return spreadsheet_text(value) if isinstance(value, str) else value
