"""CRTD, the log of the Open Vehicle Monitoring System, OVMS.

https://docs.openvehicles.com/en/latest/crtd/ describes it, and allows bytes of one digit and record types that are yet
to come; OVMS writes neither, and here both are errors. A line has no DLC: one cut off between two bytes looks whole.
"""

import re
from functools import partial

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    Bytes,
    ascii_word,
    byte_list,
    decimal_number,
    hex_number,
    is_word,
    natural_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_END,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    COMMENT,
    MISSING_FIELD,
    POINT,
    Row,
    put_bus,
    put_flagged_id,
    put_payload,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TIME, TextFormat
from graphids.core.frames import MAX_PAYLOAD_BYTES

_STANDARD, _EXTENDED, _FIRST_BUS = map(ascii_word, ("11", "29", "1"))
_C, _R, _T = map(ord, "CRT")


@partial(
    TextFormat,
    name="CRTD log",
    example="1700000000.000250 1R11 1A2 00 11 22 FF",
    # Comments of types that are no hexadecimal number, which would be the ID of a CrySyS trace.
    line=re.compile(
        TIME + rb"\s+\d*(?:[RT](?:11|29)\s+[0-9a-fA-F]+(?:\s+[0-9a-fA-F]{2})*|C(?:XX|EV|ER|ST|VR)(?:\s.*)?)"
    ),
)
def crtd(record: Row, text: Bytes, at: int, end: int, _dialect: object, names: Names) -> int:
    """Time; bus and type of the record in one word; ID and bytes, each of two digits."""
    seconds, after = decimal_number(text, at, end, POINT, 0)
    first = skip_blanks(text, after, end)
    code = put_time(record, seconds)
    if code < 0 or first == after < end:
        return min(code, BAD_TIMESTAMP)
    at = skip_word(text, first, end)
    _, kind = natural_number(text, first, at)
    if at - kind != 3:
        return MISSING_FIELD if at == end else BAD_END
    if text[kind] == _C:
        return COMMENT
    is_extended = is_word(text, kind + 1, at, _EXTENDED)
    if (text[kind] != _R and text[kind] != _T) or not (is_extended or is_word(text, kind + 1, at, _STANDARD)):
        return BAD_END
    if kind > first:
        code = put_bus(record, names.buses, text, first, kind)
    else:  # the first bus, says the specification
        code = put_bus(record, names.buses, _FIRST_BUS, 0, 1)
    return code if code < 0 else _put_id_and_bytes(record, text, at, end, is_extended)


@register_jitable
def _put_id_and_bytes(record: Row, text: Bytes, at: int, end: int, is_extended: bool) -> int:
    """What follows the type: `1A2 00 11 22`."""
    first = skip_blanks(text, at, end)
    at = skip_word(text, first, end)
    identifier, after = hex_number(text, first, at)
    code = put_flagged_id(record, identifier if after == at else -1, is_extended)
    if code < 0:
        return MISSING_FIELD if first == end else code
    count, at, word = byte_list(text, at, end, BLANK, 65)
    if at < end and count <= MAX_PAYLOAD_BYTES:
        return BAD_PAYLOAD
    return put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, at == end)
