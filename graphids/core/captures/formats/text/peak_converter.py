"""The csv that PEAK-Converter makes of a trace."""

import re
from functools import partial

from graphids.core.captures.formats.byte_parsers import Bytes
from graphids.core.captures.formats.line_records import Row
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text.pcan_trace import Dialect, dialect_of, parse_fields, read_settings
from graphids.core.captures.formats.text_format import TextFormat, header


def _dialect(head: bytes, match: re.Match[bytes]) -> Dialect:
    """The start of the recording, from the lines before the header."""
    before = head[: head.index(match[0])]
    return dialect_of(b"NOBdTIRLD", read_settings(before), before, has_start=True)


@partial(
    TextFormat,
    name="PEAK-Converter csv",
    example="1 0.250 1 Rx DT 01A2 - 4 00 11 22 FF",
    header=header(r"number time \(ms\) bus direction type id \(hex\) reserved length d0( d\d| d\.\.\.)*"),
    leads=False,
    dialect=_dialect,
)
def peak_converter(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """The columns of a trace of version 2, in one order."""
    return parse_fields(record, text, at, end, dialect, names)
