"""Fields of lines whose separator is the file's own choice; otherwise as in `byte_parsers`."""

import re

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import COMMA, Bytes, hex_number, is_at, natural_number
from graphids.core.captures.formats.line_records import POINT

_ZERO, _QUOTE = map(ord, '0"')
TWO_HEX_DIGITS, UP_TO_TWO_HEX_DIGITS, DECIMAL = range(3)  # notations of a byte


def decimal_sign(head: bytes, separator: bytes) -> int:
    """The byte of the decimal sign in the first line that begins with a number; `.` where none has one."""
    signs = b"." if separator == b"," else b".,"
    number = re.search(rb"^[ \t]*-?\d+([%s])\d" % signs, head, re.MULTILINE)
    return number[1][0] if number else POINT


@register_jitable
def field_end(text: Bytes, at: int, end: int, separator: int) -> int:
    """Offset of the next separator, or `end`."""
    while at < end and text[at] != separator:
        at += 1
    return at


@register_jitable
def csv_field_end(text: Bytes, at: int, end: int) -> int:
    """Offset of the next comma that is not in quotes, or `end`."""
    if is_at(text, at, end, _QUOTE):
        at = field_end(text, at + 1, end, _QUOTE)
    return field_end(text, at, end, COMMA)


@register_jitable
def byte_value(text: Bytes, at: int, end: int, notation: int) -> int:
    """The byte that `text[at:end]` is in one of the notations above; -1 where it is none.

    `07` is not a decimal number: whoever pads those, pads them to three digits.
    """
    size = end - at
    if notation == DECIMAL:
        value, after = natural_number(text, at, end)
        is_byte = size <= 3 and value <= 255 and not (size == 2 and text[at] == _ZERO)
    else:
        value, after = hex_number(text, at, end)
        is_byte = size == 2 or (size == 1 and notation == UP_TO_TWO_HEX_DIGITS)
    return value if after == end and is_byte else -1


@register_jitable
def byte_fields(
    text: Bytes, at: int, end: int, separator: int, number: int, notation: int
) -> tuple[int, int, np.uint64]:
    """`number` fields, each after a separator, of which the first ones hold bytes and the others are empty.

    Returns how many bytes there are (-1 where a field is neither), the offset after the fields, and the first eight
    bytes as a word. A line that ends early ends within the empty ones.
    """
    count, word = 0, np.uint64(0)
    for field in range(number):
        if at >= end or text[at] != separator:
            break
        first = at + 1
        at = field_end(text, first, end, separator)
        if first == at:
            continue
        value = byte_value(text, first, at, notation)
        if value < 0 or count != field:
            return -1, at, word
        if count < 8:
            word |= np.uint64(value) << np.uint64(8 * count)
        count += 1
    return count, at, word
