"""The csv that CSS Electronics' `mdf2csv` makes of a CANedge's MF4, and their CANsub writes.

Not the csv of asammdf, which spreads the bytes of a frame over several lines.
"""

from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    decimal_number,
    hex_number,
    hex_pairs,
    is_at,
    natural_number,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    CAN_FD,
    MISSING_FIELD,
    POINT,
    Row,
    put_bus,
    put_flagged_id,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_SEMICOLON, _ZERO, _ONE = map(ord, ";01")
_MAX_DLC = 15  # as it stood on the bus: from 9 to 15 a classic frame has 8 bytes, one of CAN FD 12 to 64
_EDL, _RTR = 1, 4


class Dialect(NamedTuple):
    """Flags before the bytes: `Dir;EDL;BRS`, and in later versions `ESI;RTR`."""

    num_flags: int


@partial(
    TextFormat,
    name="CANedge csv",
    example="1700000000.000250;1;1A2;0;4;4;0;0;0;0;0;001122FF",
    header=header("timestampepoch;buschannel;id;ide;dlc;datalength;dir;edl;brs(?P<later>;esi;rtr)?;databytes"),
    dialect=lambda _head, match: Dialect(num_flags=5 if match["later"] else 3),
)
def canedge(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Time, bus, ID, whether it has 29 bits, DLC, number of bytes, flags of 0 or 1, bytes in hexadecimal digits."""
    seconds, at = decimal_number(text, at, end, POINT, 0)
    code = put_time(record, seconds)
    if code < 0 or not is_at(text, at, end, _SEMICOLON):
        return min(code, BAD_TIMESTAMP)
    first = at + 1
    at = _field_end(text, first, end)
    if at == end:
        return MISSING_FIELD
    if put_bus(record, names.buses, text, first, at) < 0:
        return BAD_BUS
    identifier, at = hex_number(text, at + 1, end)
    if at + 2 >= end:
        return MISSING_FIELD
    if identifier < 0 or text[at] != _SEMICOLON:
        return BAD_ID
    if not _are_flags(text, at + 1, end, 1):
        return BAD_END
    code = put_flagged_id(record, identifier, text[at + 1] == _ONE)
    if code < 0:
        return code
    dlc, at = natural_number(text, at + 3, end)
    num_bytes, after = natural_number(text, at + 1, end)
    if after >= end:
        return MISSING_FIELD
    if dlc < 0 or dlc > _MAX_DLC or num_bytes < 0 or text[at] != _SEMICOLON or text[after] != _SEMICOLON:
        return BAD_DLC
    flags = after + 1
    at = flags + 2 * dialect.num_flags
    if not _are_flags(text, flags, end, dialect.num_flags):
        return MISSING_FIELD if at > end else BAD_END
    if text[flags + 2 * _EDL] == _ONE:
        return CAN_FD
    if dialect.num_flags > _RTR and text[flags + 2 * _RTR] == _ONE:
        return put_remote(record) if at == end else BAD_END
    if num_bytes != min(dlc, MAX_PAYLOAD_BYTES):
        return BAD_DLC
    count, at, word = hex_pairs(text, at, end)
    return put_payload(record, num_bytes, count, word, True) if at == end else BAD_PAYLOAD


@register_jitable
def _field_end(text: Bytes, at: int, end: int) -> int:
    """Offset of the next semicolon."""
    while at < end and text[at] != _SEMICOLON:
        at += 1
    return at


@register_jitable
def _are_flags(text: Bytes, at: int, end: int, number: int) -> bool:
    """Whether `number` fields of 0 or 1 come next, each with its semicolon."""
    if at + 2 * number > end:
        return False
    for flag in range(at, at + 2 * number, 2):
        if not _ZERO <= text[flag] <= _ONE or text[flag + 1] != _SEMICOLON:
            return False
    return True
