"""Vector ASC, as CANoe, CANalyzer, python-can and converters write it.

A file is lines of header, in any order, frames, and events of other kinds. A line with the marks of a frame is a frame
or bad: an event is passed over only if it has none of them. `TxRq` is passed over, because the request to transmit is
followed by the frame itself, as `Tx`, when the bus carries it.
"""

import re
from functools import partial

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.asc_fields import (
    CANFD,
    ERROR_FRAME_WORD,
    TXRQ,
    Dialect,
    has_marks_of_a_frame,
    is_end_of_frame,
    is_natural,
    is_remote_type,
    is_slashes,
    is_type,
    put_identifier,
    read_asc_dlc,
    read_bytes,
)
from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    ascii_word,
    decimal_number,
    hex_number,
    is_direction,
    is_word,
    natural_number,
    next_word,
    skip_blanks,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_TIMESTAMP,
    CAN_FD,
    COMMENT,
    ERROR_FRAME,
    MISSING_FIELD,
    OTHER_BASE,
    POINT,
    RELATIVE_TIMES,
    Row,
    put_bus,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TIME, TextFormat
from graphids.core.frames import MAX_PAYLOAD_BYTES

_BASE, _HEX, _DEC, _TIMESTAMPS, _ABSOLUTE = map(ascii_word, ("base", "hex", "dec", "timestamps", "absolute"))
_ZERO, _ONE = map(ascii_word, "01")
_A, _Z, _UNDERSCORE = map(ord, "az_")
# Flags of a CANFD event, hexadecimal in either base: EDL, BRS and ESI, without which the frame is a classic one.
_FD_FLAGS, _RTR = 0x7000, 0x10
_BASE_LINE = re.compile(rb"^[ \t]*base[ \t]+(\w+)", re.MULTILINE | re.IGNORECASE)
_FIELDS_AFTER_DATA = 8  # of a CANFD event: duration, length, flags, CRC, four of bit timing


def _dialect(head: bytes, _match: re.Match[bytes]) -> Dialect:
    """The base of the first `base` line; hexadecimal where the head has none."""
    base = _BASE_LINE.search(head)
    return Dialect(is_decimal=base is not None and base[1].lower() == b"dec")


@partial(
    TextFormat,
    name="Vector ASC",
    example="2.501000 1  6F9             Rx   d 2 05 0C",
    line=re.compile(
        rb"date\s+\w+\s+\w+\s+\d+\s.*|base\s+(?:hex|dec)\b.*|(?:no\s+)?internal\s+events\s+logged.*"
        rb"|begin\s+triggerblock.*|"
        + TIME
        + rb"\s+(?:\d+\s+[0-9a-f]+x?\s+(?:Rx|Tx|TxRq)\s+[dr](?:\s.*)?|\d+\s+ErrorFrame(?:\s.*)?"
        rb"|CANFD\s+\d+\s+(?:Rx|Tx|TxRq)\s.*|CAN\s+\d+\s+Status:.*|\d+\s+Statistic:.*|Start\s+of\s+measurement)",
        re.IGNORECASE,
    ),
    dialect=_dialect,
    absolute_times="export the recording again with `timestamps absolute`",
)
def vector_asc(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Time, channel, ID with an x where it is extended, direction, d or r, DLC, bytes; or another event."""
    if is_slashes(text, at, end):
        return COMMENT
    seconds, after = decimal_number(text, at, end, POINT, 0)
    first, first_end = next_word(text, after, end)
    if np.isnan(seconds) or first == after < end:
        code = _code_of_header(text, at, end, dialect)
        return BAD_TIMESTAMP if code == COMMENT and has_marks_of_a_frame(text, at, end) else code
    if is_word(text, first, first_end, CANFD):
        code = _put_canfd_event(record, text, first_end, end, dialect, names)
    elif is_natural(text, first, first_end):
        code = _put_channel_event(record, text, first, end, dialect, names)
    else:
        code = COMMENT
    if code == COMMENT:
        return BAD_END if has_marks_of_a_frame(text, at, end) else COMMENT
    time_code = put_time(record, seconds)
    return time_code if time_code < 0 else code


@register_jitable
def _code_of_header(text: Bytes, at: int, end: int, dialect: Dialect) -> int:
    """`COMMENT`, unless a `base` line changes how the lines after it are to be read, or all along."""
    first, after = next_word(text, at, end)
    if not is_word(text, first, after, _BASE):
        return COMMENT
    first, after = next_word(text, after, end)
    if not is_word(text, first, after, _DEC if dialect.is_decimal else _HEX):
        return OTHER_BASE
    first, after = next_word(text, after, end)
    if not is_word(text, first, after, _TIMESTAMPS):
        return COMMENT
    first, after = next_word(text, after, end)
    return COMMENT if is_word(text, first, after, _ABSOLUTE) else RELATIVE_TIMES


@register_jitable
def _put_channel_event(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """`1 6F9 Rx d 2 05 0C`, `1 6F9 Rx r`, `1 ErrorFrame` or an event that is not a frame."""
    bus, bus_end = next_word(text, at, end)
    first, first_end = next_word(text, bus_end, end)
    direction, after = next_word(text, first_end, end)
    is_error_frame = is_word(text, first, first_end, ERROR_FRAME_WORD)
    if not is_error_frame and not is_direction(text, direction, after):
        return MISSING_FIELD if direction == end and hex_number(text, first, end)[1] == end else COMMENT
    if put_bus(record, names.buses, text, bus, bus_end) < 0:
        return BAD_BUS
    if is_error_frame:
        return ERROR_FRAME
    code = put_identifier(record, text, first, first_end, dialect)
    if code < 0:
        return code
    first, after = next_word(text, after, end)
    if not is_type(text, first, after):
        return MISSING_FIELD if first == end else BAD_END
    dlc, data = read_asc_dlc(text, after, end, dialect)
    if is_remote_type(text, first):
        return put_remote(record) if is_end_of_frame(text, data if dlc >= 0 else after, end) else BAD_END
    if dlc < 0:
        return MISSING_FIELD if skip_blanks(text, after, end) == end else BAD_DLC
    count, after, word = read_bytes(text, data, end, 65, dialect)
    return put_payload(record, min(dlc, MAX_PAYLOAD_BYTES), count, word, is_end_of_frame(text, after, end))


@register_jitable
def _put_canfd_event(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """`1 Rx 6F9 [name] 0 0 2 2 05 0C ...`: BRS, ESI, DLC, number of bytes, bytes, eight more fields."""
    bus, bus_end = next_word(text, at, end)
    direction, direction_end = next_word(text, bus_end, end)
    first, after = next_word(text, direction_end, end)
    if is_word(text, direction, direction_end, TXRQ):
        return COMMENT
    if not is_direction(text, direction, direction_end):
        return MISSING_FIELD if direction == end else BAD_END
    if not is_natural(text, bus, bus_end) or put_bus(record, names.buses, text, bus, bus_end) < 0:
        return BAD_BUS
    if is_word(text, first, after, ERROR_FRAME_WORD):
        return ERROR_FRAME
    code = put_identifier(record, text, first, after, dialect)
    if code < 0:
        return MISSING_FIELD if first == end else code
    brs, brs_end = next_word(text, after, end)
    if brs < end and (_A <= text[brs] | 32 <= _Z or text[brs] == _UNDERSCORE):
        brs, brs_end = next_word(text, brs_end, end)  # after the symbolic name
    esi, esi_end = next_word(text, brs_end, end)
    if not _is_bit(text, brs, brs_end) or not _is_bit(text, esi, esi_end):
        return MISSING_FIELD if esi == end else BAD_END
    dlc, after = read_asc_dlc(text, esi_end, end, dialect)
    size, size_end = next_word(text, after, end)
    num_bytes, data = natural_number(text, size, size_end)
    if dlc < 0 or num_bytes < 0 or data != size_end:
        return MISSING_FIELD if size == end else BAD_DLC
    if is_word(text, brs, brs_end, _ONE) or is_word(text, esi, esi_end, _ONE) or num_bytes > MAX_PAYLOAD_BYTES:
        return CAN_FD
    count, after, word = read_bytes(text, data, end, num_bytes, dialect)
    flags = _flags(text, after, end)
    if count == num_bytes and (flags < 0 or flags & _FD_FLAGS):
        return MISSING_FIELD if flags < 0 else CAN_FD
    if num_bytes == 0 and (dlc > 0 or flags & _RTR):
        return put_remote(record)
    return put_payload(record, min(dlc, MAX_PAYLOAD_BYTES), count, word, count == num_bytes)


@register_jitable
def _is_bit(text: Bytes, at: int, end: int) -> bool:
    return is_word(text, at, end, _ZERO) or is_word(text, at, end, _ONE)


@register_jitable
def _flags(text: Bytes, at: int, end: int) -> int:
    """The third of the eight fields after the bytes of a CANFD event; -1 unless there are eight."""
    flags = -1
    for field in range(_FIELDS_AFTER_DATA):
        first, at = next_word(text, at, end)
        value, after = hex_number(text, first, at)
        if value < 0 or after != at:
            return -1
        if field == 2:
            flags = value
    return flags if at == end else -1
