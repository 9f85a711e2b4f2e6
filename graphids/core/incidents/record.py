"""An incident as a line of JSON or csv; docs/incident.schema.json is the schema."""

import json

from graphids.core.incidents.incident import Incident
from graphids.core.incidents.incident_rows import COLUMNS as _OWN_COLUMNS
from graphids.core.incidents.incident_rows import row_of
from graphids.wording import csv_line

COLUMNS = ("capture", *_OWN_COLUMNS)


def json_line(incident: Incident, capture: str = "") -> str:
    """The row as one line of JSON, ASCII only, so that no name in it can move a terminal's cursor."""
    return json.dumps({**({"capture": capture} if capture else {}), **row_of(incident)})


def csv_row(incident: Incident, capture: str = "") -> str:
    """The row under `COLUMNS`."""
    row = {"capture": capture, **row_of(incident)}
    return csv_line(row.get(name, "") for name in COLUMNS)


def csv_head() -> str:
    """The line of csv that names the columns."""
    return csv_line(COLUMNS)
