"""The traces of the CrySyS data set."""

import re
from functools import partial

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    TAB,
    Bytes,
    ascii_word,
    byte_list,
    decimal_number,
    hex_number,
    is_word,
    skip_blanks,
)
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_TIMESTAMP,
    ERROR_FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_flagged_id,
    put_payload,
    put_remote,
    put_time,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TIME, TextFormat

_DLC = ascii_word("dlc:")
_ZERO, _ONE, _QUOTE = map(ord, "01'")


@partial(
    TextFormat,
    name="CrySyS trace",
    example="1700000000.000250        01a2    000    4    00 11 22 ff",
    line=re.compile(TIME + rb"\s+[0-9a-fA-F]+\s+[01]{3}\s+\d(\s+[0-9a-fA-F]{2})*"),
)
def crysys_trace(record: Row, text: Bytes, at: int, end: int, _dialect: object, _names: Names) -> int:
    """Time, ID, flags, DLC and bytes."""
    seconds, at = decimal_number(text, at, end, POINT, 0)
    first = skip_blanks(text, at, end)
    code = put_time(record, seconds)
    if code < 0 or first == at:
        return min(code, BAD_TIMESTAMP)
    identifier, at = hex_number(text, first, end)
    return put_flagged_frame(record, identifier, text, at, end, False)


@register_jitable
def put_flagged_frame(record: Row, identifier: int, text: Bytes, at: int, end: int, has_key: bool) -> int:
    """`000    4    00 11 ...`, with `DLC:` before the 4 where there is a key.

    The flags are python-can's, which both data sets were recorded with: remote frame, 29-bit ID, error frame.
    """
    flags = skip_blanks(text, at, end)
    if identifier < 0 or (flags == at and flags < end):
        return BAD_ID
    at = flags + 3
    if at >= end:
        return MISSING_FIELD
    for flag in range(flags, at):
        if text[flag] != _ZERO and text[flag] != _ONE:
            return BAD_END
    if text[at] != BLANK and text[at] != TAB:
        return BAD_END
    at = skip_blanks(text, at, end)
    if has_key:
        if at + _DLC.size > end or not is_word(text, at, at + _DLC.size, _DLC):
            return BAD_DLC
        at = skip_blanks(text, at + _DLC.size, end)
    dlc, at = read_dlc(text, at, end)
    if dlc < 0:
        return BAD_DLC
    if text[flags + 2] == _ONE:
        return ERROR_FRAME
    code = put_flagged_id(record, identifier, text[flags + 1] == _ONE)
    if code < 0:
        return code
    if text[flags] == _ONE:
        return put_remote(record)
    count, at, word = byte_list(text, at, end, BLANK, 65)
    if has_key and at < end:
        at = skip_quoted(text, at, end, count)
    return put_payload(record, dlc, count, word, at == end)


@register_jitable
def skip_quoted(text: Bytes, at: int, end: int, count: int) -> int:
    """The offset after `'AB'`, the text that python-can adds to `count` bytes which are letters and digits."""
    after = at + count + 2
    if after > end or text[at] != _QUOTE or text[after - 1] != _QUOTE:
        return at
    return skip_blanks(text, after, end)
