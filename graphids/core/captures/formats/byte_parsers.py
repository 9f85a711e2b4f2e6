"""Fields of a log line, read from bytes: numbers, payloads, names.

Compiled by numba and called from `line_parsers`. Every function takes the text (uint8), the offset to start `at` and
the `end` of the line, never reads past `end`, and returns a value with the offset behind it.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

BLANK, TAB, COMMA = 32, 9, 44
LAST_PRINTABLE = 126
NOT_A_DIGIT = 255
MAX_NAMES = 256
# A row of a names table: up to 32 bytes of text, then its length. Length 0 marks the first free row.
NAME_BYTES = 32


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


def names_table(*first: str) -> Bytes:
    """A table for `name_index` that holds `first`."""
    names = np.zeros((MAX_NAMES, NAME_BYTES + 1), dtype=np.uint8)
    for row, name in enumerate(first):
        names[row, : len(name)] = np.frombuffer(name.encode(), dtype=np.uint8)
        names[row, NAME_BYTES] = len(name)
    return names


@njit(nogil=True)
def skip_blanks(text: Bytes, at: int, end: int) -> int:
    """Offset of the first byte that is neither blank nor tab."""
    while at < end and (text[at] == BLANK or text[at] == TAB):
        at += 1
    return at


@njit(nogil=True)
def skip_word(text: Bytes, at: int, end: int) -> int:
    """Offset of the first blank or tab."""
    while at < end and text[at] != BLANK and text[at] != TAB:
        at += 1
    return at


@njit(nogil=True)
def is_at(text: Bytes, at: int, end: int, byte: int) -> bool:
    """Whether `byte` stands at `at`, within the line."""
    return at < end and text[at] == byte


@njit(nogil=True)
def is_word(text: Bytes, at: int, end: int, word: Bytes) -> bool:
    """Whether `text[at:end]` is `word`, which is given in lower case, in letters of any case."""
    if end - at != word.size:
        return False
    for column in range(word.size):
        byte = text[at + column]
        if (byte | 32 if 65 <= byte <= 90 else byte) != word[column]:
            return False
    return True


@njit(nogil=True)
def hex_number(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Value of the hexadecimal digits from `at`, -1 where there is none; huge values saturate."""
    value, first = 0, at
    while at < end and _HEX[text[at]] != NOT_A_DIGIT:
        value = min(value * 16 + int(_HEX[text[at]]), 1 << 40)
        at += 1
    return (value if at > first else -1), at


@njit(nogil=True)
def prefixed_hex_number(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """A hexadecimal number that has to start with `0x`."""
    if not is_at(text, at, end, 48) or at + 1 >= end or text[at + 1] | 32 != 120:
        return -1, at
    return hex_number(text, at + 2, end)


@njit(nogil=True)
def natural_number(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Value of the decimal digits from `at`, -1 where there is none; huge values saturate."""
    value, first = 0, at
    while at < end and 48 <= text[at] <= 57:
        value = min(value * 10 + int(_HEX[text[at]]), 1 << 40)
        at += 1
    return (value if at > first else -1), at


@njit(nogil=True)
def _exponent(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """Value of `e-05` from `at`; 0 where no exponent stands there."""
    if not (at < end and text[at] | 32 == 101):
        return 0, at
    sign = -1 if is_at(text, at + 1, end, 45) else 1
    first = at + 2 if at + 1 < end and (text[at + 1] == 45 or text[at + 1] == 43) else at + 1
    value, behind = natural_number(text, first, end)
    return (sign * value, behind) if 0 <= value < 100 else (0, at)


@njit(nogil=True)
def decimal_number(text: Bytes, at: int, end: int, point: int, shift: int) -> tuple[float, int]:
    """The decimal number at `at`, divided by `10**shift`, as float64.

    Equal to Python's `float()` as long as its digits make an integer below 2**53 (15 to 16 digits), within one unit
    in the last place beyond that. `point` is the byte of the decimal sign. NaN where no number stands.
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


@njit(nogil=True)
def hex_pairs(text: Bytes, at: int, end: int) -> tuple[int, int, np.uint64]:
    """Bytes written without a gap (`0A1B`): their number, the offset behind them, and the first eight as a word.

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


@njit(nogil=True)
def byte_list(text: Bytes, at: int, end: int, separator: int, limit: int) -> tuple[int, int, np.uint64]:
    """At most `limit` two-digit bytes, each behind a `separator` (a blank stands for any run of blanks).

    Returns their number, the offset of what is not such a byte, and the first eight as a word.
    """
    count, word = 0, np.uint64(0)
    while count < limit:
        first = skip_blanks(text, at, end) if separator == BLANK else at + is_at(text, at, end, separator)
        behind = first + 2
        if first == at or behind > end:
            break
        high, low = _HEX[text[first]], _HEX[text[first + 1]]
        if high == NOT_A_DIGIT or low == NOT_A_DIGIT:
            break
        if behind < end and text[behind] != separator and text[behind] != BLANK and text[behind] != TAB:
            break
        if count < 8:
            word |= np.uint64((high << 4) | low) << np.uint64(8 * count)
        count += 1
        at = behind
    return count, skip_blanks(text, at, end), word


@njit(nogil=True)
def base64_bytes(text: Bytes, at: int, end: int) -> tuple[int, int, np.uint64]:
    """Bytes in base64: their number (-1 where padding or bits do not add up), the offset behind, and the word."""
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


@njit(nogil=True)
def num_names(names: Bytes) -> int:
    """Names that the table holds."""
    count = 0
    while count < MAX_NAMES and names[count, NAME_BYTES] > 0:
        count += 1
    return count


@njit(nogil=True)
def name_index(names: Bytes, text: Bytes, at: int, end: int, lower: bool) -> int:
    """Row of the name `text[at:end]` in the table `names`, added where it is new.

    -1 where the table is full, or the name is not 1 to `NAME_BYTES` printable ASCII characters.
    """
    size = end - at
    if size < 1 or size > NAME_BYTES:
        return -1
    for column in range(at, end):
        if text[column] < BLANK or text[column] > LAST_PRINTABLE:
            return -1
    for row in range(MAX_NAMES):
        is_free = names[row, NAME_BYTES] == 0
        if not is_free and names[row, NAME_BYTES] != size:
            continue
        equal = True
        for column in range(size):
            byte = text[at + column]
            if lower and 65 <= byte <= 90:
                byte += np.uint8(32)
            if is_free:
                names[row, column] = byte
            elif names[row, column] != byte:
                equal = False
                break
        if is_free:
            names[row, NAME_BYTES] = size
        if equal:
            return row
    return -1
