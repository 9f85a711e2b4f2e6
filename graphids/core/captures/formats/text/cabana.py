"""The csv of comma's cabana.

Today's cabana writes `0x` before IDs and bytes. The one that ran in browsers wrote IDs in decimal and bytes without a
prefix. Neither says how many bits an ID has, or how many bytes there should be.
"""

from functools import partial

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    COMMA,
    Bytes,
    decimal_number,
    hex_pairs,
    is_at,
    natural_number,
    prefixed_hex_number,
    skip_field,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_bus,
    put_id,
    put_payload,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_ZERO, _LOWER_X = map(ord, "0x")


@partial(
    TextFormat,
    name="cabana csv",
    example="240.479,0x1A2,0,0x001122FF",
    header=header("time,addr,bus,data"),
)
def cabana(record: Row, text: Bytes, at: int, end: int, _dialect: object, names: Names) -> int:
    """Time; ID, decimal where it has no `0x`; the bus; bytes in hexadecimal digits."""
    seconds, at = decimal_number(text, at, end, POINT, 0)
    code = put_time(record, seconds)
    if code < 0 or not is_at(text, at, end, COMMA):
        return min(code, BAD_TIMESTAMP)
    first = at + 1
    if _has_prefix(text, first, end):
        identifier, at = prefixed_hex_number(text, first, end)
    else:
        identifier, at = natural_number(text, first, end)
    code = put_id(record, identifier, False)
    if code < 0 or not is_at(text, at, end, COMMA):
        missing = MISSING_FIELD if at >= end else BAD_ID
        return missing if code == FRAME or first >= end else code
    first = at + 1
    at = skip_field(text, first, end)
    if first >= end or put_bus(record, names.buses, text, first, at) < 0:
        return MISSING_FIELD if first >= end else BAD_BUS
    if at == end:
        return MISSING_FIELD
    first = at + 1
    count, at, word = hex_pairs(text, first + 2 if _has_prefix(text, first, end) else first, end)
    return put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True) if at == end else BAD_PAYLOAD


@register_jitable
def _has_prefix(text: Bytes, at: int, end: int) -> bool:
    """Whether `0x` comes next, in letters of any case."""
    return at + 1 < end and text[at] == _ZERO and text[at + 1] | 32 == _LOWER_X
