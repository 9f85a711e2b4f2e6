"""The log of BUSMASTER."""

import re
from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    Bytes,
    ascii_word,
    byte_list,
    decimal_byte_list,
    hex_number,
    is_at,
    is_direction,
    is_word,
    natural_number,
    prefixed_hex_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_TIMESTAMP,
    COMMENT,
    ERROR_FRAME,
    MISSING_FIELD,
    OTHER_BASE,
    RELATIVE_TIMES,
    Row,
    put_bus,
    put_flagged_id,
    put_payload,
    put_remote,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat

_COLON, _STAR = map(ord, ":*")
_MAX_FRACTION_DIGITS = 9
_ERR = ascii_word("err")
_S, _X, _SR, _XR = map(ascii_word, ("s", "x", "sr", "xr"))
_RELATIVE, _HEX, _DEC = map(ascii_word, ("***relative mode***", "***hex***", "***dec***"))


class Dialect(NamedTuple):
    """Whether IDs without `0x` and bytes are decimal numbers."""

    is_decimal: bool


def _dialect(head: bytes, _match: re.Match[bytes]) -> Dialect:
    base = re.search(rb"^\s*\*\*\*(HEX|DEC)\*\*\*", head, re.MULTILINE | re.IGNORECASE)
    return Dialect(is_decimal=base is not None and base[1].upper() == b"DEC")


@partial(
    TextFormat,
    name="BUSMASTER log",
    example="12:00:00:250 Rx 1 0x1A2 s 4 00 11 22 FF",
    line=re.compile(
        rb"\*\*\*(BUSMASTER|PROTOCOL CAN|\[START LOGGING|(HEX|DEC|(SYSTEM|ABSOLUTE|RELATIVE) MODE)\*\*\*).*"
        rb"|\d+:\d+:\d+:\d+\s+[RT]x\s+\d+\s+((0x)?[0-9a-fA-F]+\s+[sx]r?\s|ERR).*",
        re.IGNORECASE,
    ),
    dialect=_dialect,
    absolute_times="log again with BUSMASTER's time mode System or Absolute",
)
def busmaster(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """A time of day, which becomes seconds since midnight; direction, bus, ID, type, DLC and bytes."""
    if text[at] == _STAR:
        return _header_code(text, at, end, dialect.is_decimal)
    whole_s = 0
    for field in range(3):
        number, at = natural_number(text, at, end)
        if not is_at(text, at, end, _COLON) or number < 0 or (field > 0 and number >= 60):
            return BAD_TIMESTAMP
        whole_s = 60 * whole_s + number
        at += 1
    fraction, after = natural_number(text, at, end)
    if fraction < 0 or after - at > _MAX_FRACTION_DIGITS:
        return BAD_TIMESTAMP
    record.timestamp = whole_s + fraction / 10.0 ** (after - at)
    first = skip_blanks(text, after, end)
    at = skip_word(text, first, end)
    if not is_direction(text, first, at):
        return MISSING_FIELD if first == end else BAD_END
    first = skip_blanks(text, at, end)
    at = skip_word(text, first, end)
    if first == end or put_bus(record, names.buses, text, first, at) < 0:
        return MISSING_FIELD if first == end else BAD_BUS
    at = skip_blanks(text, at, end)
    if is_word(text, at, skip_word(text, at, end), _ERR):
        return ERROR_FRAME
    identifier, after = _identifier(text, at, end, dialect.is_decimal)
    first = skip_blanks(text, after, end)
    at = skip_word(text, first, end)
    if first == after and first < end:
        return BAD_ID
    is_remote = is_word(text, first, at, _SR) or is_word(text, first, at, _XR)
    is_extended = is_word(text, first, at, _X) or is_word(text, first, at, _XR)
    if identifier >= 0 and not (is_remote or is_extended or is_word(text, first, at, _S)):
        return MISSING_FIELD if first == end else BAD_END
    code = put_flagged_id(record, identifier, is_extended)
    if code < 0:
        return code
    dlc, after = read_dlc(text, skip_blanks(text, at, end), end)
    if dlc < 0:
        return BAD_DLC
    if is_remote:
        return put_remote(record)
    if dialect.is_decimal:
        count, at, word = decimal_byte_list(text, after, end, 65)
    else:
        count, at, word = byte_list(text, after, end, BLANK, 65)
    return put_payload(record, dlc, count, word, at == end)


@register_jitable
def _header_code(text: Bytes, at: int, end: int, is_decimal: bool) -> int:
    """The code of a line between stars. A file of several sessions has the header of each."""
    if is_word(text, at, end, _RELATIVE):
        return RELATIVE_TIMES
    is_other = is_word(text, at, end, _HEX) if is_decimal else is_word(text, at, end, _DEC)
    return OTHER_BASE if is_other else COMMENT


@register_jitable
def _identifier(text: Bytes, at: int, end: int, is_decimal: bool) -> tuple[int, int]:
    """An arbitration ID in the base of the file, or in hexadecimal digits after `0x`."""
    identifier, after = prefixed_hex_number(text, at, end)
    if identifier >= 0:
        return identifier, after
    return natural_number(text, at, end) if is_decimal else hex_number(text, at, end)
