"""The trace of an OpenXC vehicle interface: a JSON object a line, of which raw CAN messages are frames.

https://github.com/openxc/openxc-message-format describes it. Signals, diagnostic answers, commands and metadata in the
same trace are comments. Their values may be any JSON; a raw message has numbers and plain strings alone.
"""

import re
from functools import partial

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    ascii_word,
    decimal_number,
    hex_pairs,
    is_at,
    is_word,
    natural_number,
    skip_blanks,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_END,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    COMMENT,
    MISSING_FIELD,
    POINT,
    Row,
    put_bus,
    put_flagged_id,
    put_id,
    put_payload,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat
from graphids.core.frames import MAX_PAYLOAD_BYTES

# Fields of a raw message, and keys that no raw message has.
_TIMESTAMP, _BUS, _ID, _DATA, _FORMAT, _OF_OTHERS, _UNKNOWN = range(7)
_KEYS = tuple(map(ascii_word, ("timestamp", "bus", "id", "data", "frame_format")))
_FORMER_DATA = ascii_word("value")
_KEYS_OF_OTHERS = tuple(map(ascii_word, ("name", "mode", "command", "command_response", "metadata")))
_STANDARD, _EXTENDED = map(ascii_word, ("standard", "extended"))
_QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE, _MINUS, _ZERO, _NINE, _X = map(ord, '"\\:,{}-09x')
_FIRST_PRINTABLE, _LAST_PRINTABLE = 32, 126


@partial(
    TextFormat,
    name="OpenXC trace",
    example='{"timestamp": 1700000000.000250, "bus": 1, "id": 418, "data": "0x001122ff"}',
    line=re.compile(
        rb'\{(?=.*"timestamp"\s*:)(?=.*"bus"\s*:)(?=.*"id"\s*:)(?!.*"(?:name|mode|command)"\s*:)'
        rb'.*"(?:data|value)"\s*:\s*"(?:0x)?(?:[0-9a-f]{2})*".*\}',
        re.IGNORECASE,
    ),
)
def openxc(record: Row, text: Bytes, at: int, end: int, _dialect: object, names: Names) -> int:
    """`{"timestamp": seconds, "bus": 1, "id": decimal, "data": "0x..."}` in any order, perhaps with `frame_format`."""
    if text[at] != _OPEN:
        return BAD_END
    is_cut_off = text[end - 1] != _CLOSE
    bounds = np.zeros((_OF_OTHERS, 2), dtype=np.int64)  # of the values
    while at < end and text[at] != _CLOSE:
        key = skip_blanks(text, at + 1, end)
        key_end = _string_end(text, key, end)
        colon = skip_blanks(text, key_end, end) if key_end > 0 else end
        value = skip_blanks(text, colon + 1, end)
        if not is_at(text, colon, end, _COLON):
            return MISSING_FIELD if is_cut_off else BAD_END
        field = _field_of(text, key + 1, key_end - 1)
        if field == _OF_OTHERS:
            return MISSING_FIELD if is_cut_off else COMMENT
        value_end = _string_end(text, value, end) if is_at(text, value, end, _QUOTE) else _word_end(text, value, end)
        at = skip_blanks(text, value_end, end)
        if value_end <= value or at >= end:
            return MISSING_FIELD if is_cut_off else BAD_END
        if field == _UNKNOWN or bounds[field, 1] > 0 or (text[at] != _COMMA and text[at] != _CLOSE):
            return BAD_END
        bounds[field, 0], bounds[field, 1] = value, value_end
    if at != end - 1:
        return MISSING_FIELD if at >= end else BAD_END
    return _put_message(record, text, bounds, names)


@register_jitable
def _put_message(record: Row, text: Bytes, bounds: NDArray[np.int64], names: Names) -> int:
    """Store the values of a raw message."""
    for field in (_TIMESTAMP, _BUS, _ID, _DATA):
        if bounds[field, 1] == 0:
            return MISSING_FIELD
    first, end = bounds[_TIMESTAMP]
    seconds, after = decimal_number(text, first, end, POINT, 0)
    code = put_time(record, seconds)
    if code < 0 or after != end or _is_padded(text, first, end):
        return min(code, BAD_TIMESTAMP)
    first, end = bounds[_BUS]
    after = natural_number(text, first, end)[1]
    if after != end or _is_padded(text, first, end) or put_bus(record, names.buses, text, first, end) < 0:
        return BAD_BUS
    first, end = bounds[_ID]
    identifier, after = natural_number(text, first, end)
    if after != end or _is_padded(text, first, end):
        return BAD_ID
    first, end = bounds[_FORMAT]
    if end == 0:
        code = put_id(record, identifier, False)
    else:
        is_extended = is_word(text, first + 1, end - 1, _EXTENDED)
        is_known = is_extended or is_word(text, first + 1, end - 1, _STANDARD)
        code = put_flagged_id(record, identifier, is_extended) if is_known else BAD_END
    if code < 0:
        return code
    first, end = bounds[_DATA]
    has_prefix = end - first >= 4 and text[first + 1] == _ZERO and text[first + 2] | 32 == _X
    count, after, word = hex_pairs(text, first + 3 if has_prefix else first + 1, end - 1)
    if text[first] != _QUOTE or after != end - 1:
        return BAD_PAYLOAD
    return put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True)


@register_jitable
def _field_of(text: Bytes, at: int, end: int) -> int:
    """The field of the key `text[at:end]`."""
    for field in range(_OF_OTHERS):
        if is_word(text, at, end, _KEYS[field]):
            return field
    if is_word(text, at, end, _FORMER_DATA):
        return _DATA
    for key in _KEYS_OF_OTHERS:
        if is_word(text, at, end, key):
            return _OF_OTHERS
    return _UNKNOWN


@register_jitable
def _string_end(text: Bytes, at: int, end: int) -> int:
    """Offset after the string in quotes that begins at `at`; -1 where there is none of printable ASCII."""
    if not is_at(text, at, end, _QUOTE):
        return -1
    at += 1
    while at < end and text[at] != _QUOTE:
        if text[at] == _BACKSLASH or not _FIRST_PRINTABLE <= text[at] <= _LAST_PRINTABLE:
            return -1
        at += 1
    return at + 1 if at < end else -1


@register_jitable
def _word_end(text: Bytes, at: int, end: int) -> int:
    """Offset after a number or another value without quotes."""
    while at < end and text[at] not in (_COMMA, _CLOSE, _QUOTE) and text[at] > _FIRST_PRINTABLE:
        at += 1
    return at


@register_jitable
def _is_padded(text: Bytes, at: int, end: int) -> bool:
    """Whether the number has zeros before it, which JSON's numbers have not."""
    at += is_at(text, at, end, _MINUS)
    return is_at(text, at, end, _ZERO) and at + 1 < end and _ZERO <= text[at + 1] <= _NINE
