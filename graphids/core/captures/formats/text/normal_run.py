"""The text of HCRL's attack-free drives, which is what python-can 1 prints of a message."""

import re
from functools import partial

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    ascii_word,
    decimal_number,
    hex_number,
    is_word,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_ID,
    BAD_TIMESTAMP,
    FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text.crysys_trace import put_flagged_frame
from graphids.core.captures.formats.text_format import TextFormat

_TIMESTAMP, _ID = map(ascii_word, ("timestamp:", "id:"))


@partial(
    TextFormat,
    name="HCRL normal text",
    example="Timestamp: 1700000000.000250        ID: 01a2    000    DLC: 4    00 11 22 ff",
    line=re.compile(rb"Timestamp:\s*\d.*\sID:\s.*\s[01]{3}\s+DLC:.*"),
)
def normal_run(record: Row, text: Bytes, at: int, end: int, _dialect: object, _names: Names) -> int:
    """Time and ID with their names, flags, DLC with its name, and bytes."""
    code, at = put_named_time(record, text, at, end)
    if code < 0:
        return code
    identifier, at = hex_number(text, at, end)
    return put_flagged_frame(record, identifier, text, at, end, True)


@register_jitable
def put_named_time(record: Row, text: Bytes, at: int, end: int) -> tuple[int, int]:
    """The start of a line, `Timestamp: 1700000000.000250    ID:`, and the offset of the ID."""
    after = skip_word(text, at, end)
    if not is_word(text, at, after, _TIMESTAMP):
        return BAD_TIMESTAMP, at
    seconds, after = decimal_number(text, skip_blanks(text, after, end), end, POINT, 0)
    at = skip_blanks(text, after, end)
    code = put_time(record, seconds)
    if code < 0 or (at == after and at < end):
        return min(code, BAD_TIMESTAMP), at
    after = at + _ID.size
    if after > end or not is_word(text, at, after, _ID):
        return (MISSING_FIELD if after > end else BAD_ID), at
    return FRAME, skip_blanks(text, after, end)
