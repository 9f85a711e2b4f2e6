"""Every form in which incidents are written, by the name that `--format` takes."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TextIO

from graphids.core.incidents.cef import cef_line
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.record import csv_head, csv_row, json_line
from graphids.core.incidents.terminal import text_lines, wants_colour


class IncidentFormat(NamedTuple):
    """How incidents are written.

    Attributes:
        write: The incident, and the name of its capture or "", as text without the last line's end. One line, but for
            `text`.
        head: Line before the first incident; "" for none.
    """

    write: Callable[[Incident, str], str]
    head: str = ""


FORMATS = {
    "text": IncidentFormat(text_lines),
    "jsonl": IncidentFormat(json_line),
    "csv": IncidentFormat(csv_row, csv_head()),
    "cef": IncidentFormat(cef_line),
}


def format_for(name: str, stream: TextIO | None) -> IncidentFormat:
    """The format of that name, one of `FORMATS`; `text` is coloured where there is a stream that shows colours."""
    if name == "text" and stream is not None and wants_colour(stream):
        return IncidentFormat(partial(text_lines, colour=True))
    return FORMATS[name]
