"""The csv of IXXAT's MiniMon and the first canAnalysers, with or without quotes, between commas or semicolons."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    Bytes,
    ascii_word,
    byte_list,
    hex_number,
    hex_pairs,
    is_at,
    is_word,
    natural_number,
    skip_blanks,
)
from graphids.core.captures.formats.delimited import field_end
from graphids.core.captures.formats.line_records import (
    BAD_END,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    ERROR_FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_flagged_id,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_STD, _EXT, _RTR, _ERROR = map(ascii_word, ("std", "ext", "rtr", "error"))
_QUOTE, _COLON = map(ord, '":')
# Of fewer digits some readers make milliseconds, others tenths of a second.
_MIN_FRACTION_DIGITS, _MAX_FRACTION_DIGITS = 3, 9


class Dialect(NamedTuple):
    """The byte between fields."""

    separator: int


@partial(
    TextFormat,
    name="IXXAT MiniMon csv",
    example='"00:00:12.250","1A2","Std","","00 11 22 FF"',
    header=header(
        r'"?time"?(?P<separator>[,;])"?identifier \(hex\)"?(?P=separator)"?format"?(?P=separator)"?flags"?'
        r'(?P=separator)"?data \(hex\)"?'
    ),
    leads=False,
    dialect=lambda _head, match: Dialect(separator=match["separator"][0]),
    absolute_times="record again with MiniMon's absolute times",
)
def ixxat_minimon(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, _names: Names) -> int:
    """A time of hours, minutes and seconds; ID, or a kind of error; `Std` or `Ext`; `Rtr` or nothing; bytes."""
    first, after, at = _unquoted(text, at, end, dialect.separator)
    code = _put_time_of_day(record, text, first, after)
    if code < 0 or at >= end:
        return MISSING_FIELD if code >= 0 else code
    identifier_at, identifier_end, at = _unquoted(text, at + 1, end, dialect.separator)
    width_at, width_end, at = _unquoted(text, at + 1, end, dialect.separator)
    flags_at, flags_end, at = _unquoted(text, at + 1, end, dialect.separator)
    data_at, data_end, line_end = _unquoted(text, at + 1, end, dialect.separator)
    is_open = is_at(text, at + 1, end, _QUOTE) and (at + 2 == end or text[end - 1] != _QUOTE)
    if at >= end or is_open:
        return MISSING_FIELD  # a line that is cut off after a byte would be a shorter frame
    if line_end != end or identifier_at < 0 or width_at < 0 or flags_at < 0 or data_at < 0:
        return BAD_END
    if identifier_end - _ERROR.size >= identifier_at and is_word(
        text, identifier_end - _ERROR.size, identifier_end, _ERROR
    ):
        return ERROR_FRAME
    identifier, after = hex_number(text, identifier_at, identifier_end)
    is_extended = is_word(text, width_at, width_end, _EXT)
    if after != identifier_end or identifier < 0:
        return BAD_ID
    if not is_extended and not is_word(text, width_at, width_end, _STD):
        return BAD_END
    code = put_flagged_id(record, identifier, is_extended)
    if code < 0:
        return code
    if is_word(text, flags_at, flags_end, _RTR):
        return put_remote(record)
    return _put_bytes(record, text, data_at, data_end) if flags_at == flags_end else BAD_END


@register_jitable
def _unquoted(text: Bytes, at: int, end: int, separator: int) -> tuple[int, int, int]:
    """First and end of the field at `at`, without its quotes, and the offset of the separator after it.

    The first is -1 where a quote is not closed before the separator.
    """
    if not is_at(text, at, end, _QUOTE):
        after = field_end(text, min(at, end), end, separator)
        return min(at, end), after, after
    closing = field_end(text, at + 1, end, _QUOTE)
    after = field_end(text, closing, end, separator)
    return (at + 1 if after == closing + 1 else -1), closing, after


@register_jitable
def _put_time_of_day(record: Row, text: Bytes, at: int, end: int) -> int:
    """Store `00:30:06.866` as seconds."""
    whole_s = 0
    for field in range(3):
        number, at = natural_number(text, max(at, 0), end)
        if number < 0 or (field > 0 and number >= 60) or not is_at(text, at, end, _COLON if field < 2 else POINT):
            return BAD_TIMESTAMP
        whole_s = 60 * whole_s + number
        at += 1
    fraction, after = natural_number(text, at, end)
    if after != end or not _MIN_FRACTION_DIGITS <= after - at <= _MAX_FRACTION_DIGITS:
        return BAD_TIMESTAMP
    return put_time(record, whole_s + fraction / 10.0 ** (after - at))


@register_jitable
def _put_bytes(record: Row, text: Bytes, at: int, end: int) -> int:
    """Store `00 11 22`."""
    first = skip_blanks(text, at, end)
    count, after, word = hex_pairs(text, first, min(first + 2, end))
    if count == 1:
        more, after, rest = byte_list(text, after, end, BLANK, 65)
        count, word = count + more, word | rest << np.uint64(8)
    if skip_blanks(text, after, end) != end:
        return BAD_PAYLOAD
    return put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True)
