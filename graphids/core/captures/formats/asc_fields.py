"""Fields of the lines of Vector ASC, which its frames of either kind share."""

from typing import NamedTuple

import numpy as np
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
    next_word,
)
from graphids.core.captures.formats.line_records import BAD_ID, Row, put_id

CANFD, ERROR_FRAME_WORD, TXRQ = map(ascii_word, ("canfd", "errorframe", "txrq"))
_J1939TP, _STATISTIC = map(ascii_word, ("j1939tp", "statistic:"))
_LENGTH, _BIT_COUNT, _ID = map(ascii_word, ("length", "bitcount", "id"))
_D, _R, _X, _SLASH = map(ord, "drx/")
_MAX_DLC = 15


class Dialect(NamedTuple):
    """Whether identifiers and bytes are decimal (`base dec`)."""

    is_decimal: bool


@register_jitable
def put_identifier(record: Row, text: Bytes, at: int, end: int, dialect: Dialect) -> int:
    """Store `18EBFF00x`, or its decimal value with the x, which says that it has 29 bits."""
    value, after = natural_number(text, at, end) if dialect.is_decimal else hex_number(text, at, end)
    is_extended = after + 1 == end and text[after] | 32 == _X
    if after + is_extended != end:
        return BAD_ID
    return put_id(record, value, is_extended)


@register_jitable
def read_asc_dlc(text: Bytes, at: int, end: int, dialect: Dialect) -> tuple[int, int]:
    """A word from 0 to 15 and the offset after it; -1 where there is none."""
    first, at = next_word(text, at, end)
    value, after = natural_number(text, first, at) if dialect.is_decimal else hex_number(text, first, at)
    return (value if after == at and value <= _MAX_DLC else -1), at


@register_jitable
def read_bytes(text: Bytes, at: int, end: int, limit: int, dialect: Dialect) -> tuple[int, int, np.uint64]:
    """At most `limit` bytes, as `byte_list` returns them."""
    if dialect.is_decimal:
        return decimal_byte_list(text, at, end, limit)
    return byte_list(text, at, end, BLANK, limit)


@register_jitable
def is_slashes(text: Bytes, at: int, end: int) -> bool:
    """Whether a comment begins at `at`."""
    return is_at(text, at, end, _SLASH) and is_at(text, at + 1, end, _SLASH)


@register_jitable
def is_end_of_frame(text: Bytes, at: int, end: int) -> bool:
    """Whether a frame ends at `at`: with the line, with a comment, or with its attributes (`Length = 240015 ...`)."""
    first, after = next_word(text, at, end)
    is_attribute = is_word(text, first, after, _LENGTH) or is_word(text, first, after, _BIT_COUNT)
    return first == end or is_slashes(text, first, end) or is_attribute or is_word(text, first, after, _ID)


@register_jitable
def is_natural(text: Bytes, at: int, end: int) -> bool:
    """Whether `text[at:end]` is decimal digits."""
    return at < end and natural_number(text, at, end)[1] == end


@register_jitable
def is_type(text: Bytes, at: int, end: int) -> bool:
    """Whether `text[at:end]` is `d` or `r`."""
    return end - at == 1 and (text[at] | 32 == _D or text[at] | 32 == _R)


@register_jitable
def is_remote_type(text: Bytes, at: int) -> bool:
    """Whether the type at `at` is `r`."""
    return bool(text[at] | 32 == _R)


@register_jitable
def has_marks_of_a_frame(text: Bytes, at: int, end: int) -> bool:
    """A channel and an ID after the first word, `CANFD` there, or a direction and a type anywhere.

    Except for events that have them too: `TxRq`, `J1939TP` and `Statistic:`.
    """
    _, time_end = next_word(text, at, end)
    channel, channel_end = next_word(text, time_end, end)
    second, second_end = next_word(text, channel_end, end)
    third, third_end = next_word(text, second_end, end)
    if is_word(text, channel, channel_end, CANFD):
        return not is_word(text, third, third_end, TXRQ) and not is_word(text, second, second_end, TXRQ)
    if is_natural(text, channel, channel_end):
        if is_word(text, second, second_end, _J1939TP) or is_word(text, second, second_end, _STATISTIC):
            return False
        if is_word(text, third, third_end, TXRQ):
            return False
        value, after = hex_number(text, second, second_end)
        if value >= 0 and (after == second_end or (after + 1 == second_end and text[after] | 32 == _X)):
            return True
    first, after = next_word(text, at, end)
    while after < end:
        second, second_end = next_word(text, after, end)
        if is_direction(text, first, after) and is_type(text, second, second_end):
            return True
        first, after = second, second_end
    return False
