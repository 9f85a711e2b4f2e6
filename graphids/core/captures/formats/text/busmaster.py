"""The log of BUSMASTER."""

import re
from functools import partial

from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    ascii_word,
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
    Row,
    put_bus,
    put_flagged_id,
    put_remote,
    put_spaced_payload,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat

_COLON, _STAR = map(ord, ":*")
_MAX_FRACTION_DIGITS = 9
_ERR = ascii_word("err")
_S, _X, _SR, _XR = map(ascii_word, ("s", "x", "sr", "xr"))


@partial(
    TextFormat,
    name="BUSMASTER log",
    example="12:00:00:250 Rx 1 0x1A2 s 4 00 11 22 FF",
    line=re.compile(rb"\*\*\*BUSMASTER.*|\d+:\d+:\d+:\d+ [RT]x \d+ 0x.*"),
)
def busmaster(record: Row, text: Bytes, at: int, end: int, _dialect: object, names: Names) -> int:
    """A time of day, which becomes seconds since midnight; direction, bus, ID, type, DLC and bytes."""
    if text[at] == _STAR:
        return COMMENT
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
    identifier, after = prefixed_hex_number(text, at, end)
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
    return put_spaced_payload(record, text, after, end, dlc)
