"""Fields of a line, read from bytes: numbers, payloads, words.

Every function takes the text (uint8), the offset to start `at` and the `end` of the line, never reads past `end`, and
returns a value with the offset after it.
"""

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

BLANK, TAB, COMMA = 32, 9, 44
NOT_A_DIGIT = 255
_LOWER_R, _LOWER_T, _LOWER_X = map(ord, "rtx")


def _digit_values(alphabet: str) -> NDArray[np.int64]:
    values = np.full(256, NOT_A_DIGIT)
    values[np.frombuffer(alphabet.encode(), dtype=np.uint8)] = np.arange(len(alphabet))
    return values


_HEX = _digit_values("0123456789abcdef")
_HEX[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = np.arange(10, 16)
_BASE64 = _digit_values("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
# Powers of ten up to 10**22 are exact in float64, so that one division rounds once, as Python's float() does.
_POWERS_OF_TEN = np.array([float(10**power) for power in range(23)])
_MAX_DIGITS = 18  # an int64 holds any 18 digits


def ascii_word(text: str) -> Bytes:
    """Bytes of a word in lower case, as `is_word` takes it."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


@register_jitable
def skip_blanks(text: Bytes, at: int, end: int) -> int:
    """Offset of the first byte that is neither blank nor tab."""
    while at < end and (text[at] == BLANK or text[at] == TAB):
        at += 1
    return at


@register_jitable
def skip_word(text: Bytes, at: int, end: int) -> int:
    """Offset of the first blank or tab."""
    while at < end and text[at] != BLANK and text[at] != TAB:
        at += 1
    return at


@register_jitable
def next_word(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Offsets of the first and after the last byte of the next word; both `end` where there is none."""
    first = skip_blanks(text, at, end)
    return first, skip_word(text, first, end)


@register_jitable
def skip_field(text: Bytes, at: int, end: int) -> int:
    """Offset of the first comma."""
    while at < end and text[at] != COMMA:
        at += 1
    return at


@register_jitable
def is_at(text: Bytes, at: int, end: int, byte: int) -> bool:
    """Whether the byte at `at` is `byte`, within the line."""
    return at < end and text[at] == byte


@register_jitable
def is_word(text: Bytes, at: int, end: int, word: Bytes) -> bool:
    """Whether `text[at:end]` is `word`, which is given in lower case, in letters of any case."""
    if end - at != word.size:
        return False
    for column in range(word.size):
        byte = text[at + column]
        if (byte | 32 if 65 <= byte <= 90 else byte) != word[column]:
            return False
    return True


@register_jitable
def is_direction(text: Bytes, at: int, end: int) -> bool:
    """Whether `text[at:end]` is `Rx` or `Tx`, in letters of any case."""
    return end - at == 2 and (text[at] | 32 == _LOWER_R or text[at] | 32 == _LOWER_T) and text[at + 1] | 32 == _LOWER_X


@register_jitable
def hex_number(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Value of the hexadecimal digits from `at`, -1 where there are none; huge values saturate."""
    value, first = 0, at
    while at < end and _HEX[text[at]] != NOT_A_DIGIT:
        value = min(value * 16 + int(_HEX[text[at]]), 1 << 40)
        at += 1
    return (value if at > first else -1), at


@register_jitable
def prefixed_hex_number(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """A hexadecimal number that has to start with `0x`."""
    if not is_at(text, at, end, 48) or at + 1 >= end or text[at + 1] | 32 != 120:
        return -1, at
    return hex_number(text, at + 2, end)


@register_jitable
def natural_number(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Value of the decimal digits from `at`, -1 where there are none; huge values saturate."""
    value, first = 0, at
    while at < end and 48 <= text[at] <= 57:
        value = min(value * 10 + int(_HEX[text[at]]), 1 << 40)
        at += 1
    return (value if at > first else -1), at


@register_jitable
def _exponent(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Value of `e-05` from `at`; 0 where there is no exponent."""
    if not (at < end and text[at] | 32 == 101):
        return 0, at
    sign = -1 if is_at(text, at + 1, end, 45) else 1
    first = at + 2 if at + 1 < end and (text[at + 1] == 45 or text[at + 1] == 43) else at + 1
    value, after = natural_number(text, first, end)
    return (sign * value, after) if 0 <= value < 100 else (0, at)


@register_jitable
def decimal_number(text: Bytes, at: int, end: int, point: int, shift: int) -> tuple[float, int]:
    """The decimal number at `at`, divided by `10**shift`, as float64.

    Equal to Python's `float()` as long as its digits make an integer below 2**53 (15 to 16 digits), within one unit
    in the last place beyond that. `point` is the byte of the decimal sign. NaN where there is no number.
    """
    negative = is_at(text, at, end, 45)
    at += negative
    mantissa, digits, scale, first = 0, 0, shift, at
    in_fraction = False
    while at < end:
        if 48 <= text[at] <= 57:
            if digits < _MAX_DIGITS:
                mantissa = mantissa * 10 + int(_HEX[text[at]])
                digits += mantissa > 0
                scale += in_fraction
            elif not in_fraction:
                return np.nan, at
        elif text[at] == point and not in_fraction and at > first:
            in_fraction = True
        else:
            break
        at += 1
    if at == first or text[at - 1] == point:
        return np.nan, at
    exponent, at = _exponent(text, at, end)
    scale -= exponent
    if abs(scale) < _POWERS_OF_TEN.size:
        value = mantissa / _POWERS_OF_TEN[scale] if scale >= 0 else mantissa * _POWERS_OF_TEN[-scale]
    else:
        value = mantissa * 10.0**-scale
    return (-value if negative else value), at


@register_jitable
def hex_pairs(text: Bytes, at: int, end: int) -> tuple[int, int, np.uint64]:
    """Bytes written without a gap (`0A1B`): their number, the offset after them, and the first eight as a word.

    A word holds payload byte `i` in its bits `8 * i` and up. Stops before the first character that begins no pair.
    """
    count, word = 0, np.uint64(0)
    while at + 1 < end:
        high, low = _HEX[text[at]], _HEX[text[at + 1]]
        if high == NOT_A_DIGIT or low == NOT_A_DIGIT:
            break
        if count < 8:
            word |= np.uint64((high << 4) | low) << np.uint64(8 * count)
        count += 1
        at += 2
    return count, at, word


@register_jitable
def byte_list(text: Bytes, at: int, end: int, separator: int, limit: int) -> tuple[int, int, np.uint64]:
    """At most `limit` two-digit bytes, each after a `separator` (a blank means any run of blanks).

    Returns their number, the offset of the first thing that is not such a byte, and the first eight as a word.
    """
    count, word = 0, np.uint64(0)
    while count < limit:
        first = skip_blanks(text, at, end) if separator == BLANK else at + is_at(text, at, end, separator)
        after = first + 2
        if first == at or after > end:
            break
        high, low = _HEX[text[first]], _HEX[text[first + 1]]
        if high == NOT_A_DIGIT or low == NOT_A_DIGIT:
            break
        if after < end and text[after] != separator and text[after] != BLANK and text[after] != TAB:
            break
        if count < 8:
            word |= np.uint64((high << 4) | low) << np.uint64(8 * count)
        count += 1
        at = after
    return count, skip_blanks(text, at, end), word


@register_jitable
def decimal_byte_list(text: Bytes, at: int, end: int, limit: int) -> tuple[int, int, np.uint64]:
    """At most `limit` numbers from 0 to 255, each after blanks; returns what `byte_list` does."""
    count, word = 0, np.uint64(0)
    while count < limit:
        first, after = next_word(text, at, end)
        value, digits_end = natural_number(text, first, after)
        if first in (at, end) or digits_end != after or value > 255:
            break
        if count < 8:
            word |= np.uint64(value) << np.uint64(8 * count)
        count += 1
        at = after
    return count, skip_blanks(text, at, end), word


@register_jitable
def base64_bytes(text: Bytes, at: int, end: int) -> tuple[int, int, np.uint64]:
    """Bytes in base64: their number (-1 where padding or bits are wrong), the offset after them, and the word."""
    bits, num_bits, count, characters, word = 0, 0, 0, 0, np.uint64(0)
    padding = 0
    while at < end and _BASE64[text[at]] != NOT_A_DIGIT:
        bits = ((bits << 6) | int(_BASE64[text[at]])) & 0xFFFF
        num_bits += 6
        characters += 1
        if num_bits >= 8:
            num_bits -= 8
            if count < 8:
                word |= np.uint64((bits >> num_bits) & 0xFF) << np.uint64(8 * count)
            count += 1
        at += 1
    while is_at(text, at, end, 61):
        padding += 1
        at += 1
    whole = padding <= 2 and (characters + padding) % 4 == 0 and bits & ((1 << num_bits) - 1) == 0
    return (count if whole else -1), at, word
