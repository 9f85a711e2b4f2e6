"""An incident as a line of JSON or csv; docs/incident.schema.json is the schema."""

import csv
import io
import json

from graphids.core.incidents.incident import Incident
from graphids.core.incidents.incident_rows import COLUMNS as _OWN_COLUMNS
from graphids.core.incidents.incident_rows import row_of
from graphids.wording import spreadsheet_text

COLUMNS = ("capture", *_OWN_COLUMNS)


def json_line(incident: Incident, capture: str = "") -> str:
    """The row as one line of JSON, ASCII only, so that no name in it can move a terminal's cursor."""
    return json.dumps({**({"capture": capture} if capture else {}), **row_of(incident)})


def csv_row(incident: Incident, capture: str = "") -> str:
    """The row under `COLUMNS`; lists are joined, by spaces, and the frames of the context by semicolons."""
    row = {"capture": capture, **row_of(incident)}
    return _csv_line([_cell(row.get(name, "")) for name in COLUMNS])


def csv_head() -> str:
    """The line of csv that names the columns."""
    return _csv_line(list(COLUMNS))


def _csv_line(cells: list[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list):
        texts = [str(each) for each in value]
        value = ("; " if any(" " in text for text in texts) else " ").join(texts)
    return spreadsheet_text(value) if isinstance(value, str) else value
