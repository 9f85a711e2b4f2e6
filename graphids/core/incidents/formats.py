"""Every form in which incidents are written, by the name that `--format` takes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TextIO

from graphids.core.incidents.cef import cef_line
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.incident_rows import COLUMNS as _OWN_COLUMNS
from graphids.core.incidents.incident_rows import row_of
from graphids.core.incidents.terminal import text_lines, wants_colour
from graphids.core.row_formats import row_format

COLUMNS = ("capture", *_OWN_COLUMNS)  # docs/incident.schema.json is the schema


class IncidentFormat(NamedTuple):
    """How incidents are written.

    Attributes:
        write: The incident, and the name of its capture or "", as text without the last line's end. One line, but for
            `text`.
        head: Line before the first incident; "" for none.
    """

    write: Callable[[Incident, str], str]
    head: str = ""


def _of_rows(name: str) -> IncidentFormat:
    form = row_format(name, COLUMNS)
    return IncidentFormat(
        lambda incident, capture: form.write({**({"capture": capture} if capture else {}), **row_of(incident)}),
        form.head,
    )


FORMATS = {
    "text": IncidentFormat(text_lines),
    "jsonl": _of_rows("jsonl"),
    "csv": _of_rows("csv"),
    "cef": IncidentFormat(cef_line),
}


def format_for(name: str, stream: TextIO | None) -> IncidentFormat:
    """The format of that name, one of `FORMATS`; `text` is coloured where there is a stream that shows colours."""
    if name == "text" and stream is not None and wants_colour(stream):
        return IncidentFormat(partial(text_lines, colour=True))
    return FORMATS[name]
