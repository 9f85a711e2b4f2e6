"""The traces of the CrySyS data set."""

import re
from functools import partial

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    ascii_word,
    decimal_number,
    hex_number,
    is_word,
    skip_blanks,
    skip_word,
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
    put_remote,
    put_spaced_payload,
    put_time,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TIME, TextFormat

_DLC = ascii_word("dlc:")
_ZERO, _ONE = map(ord, "01")


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
    after = skip_word(text, flags, end)
    first, at = at, skip_blanks(text, after, end)
    if identifier < 0 or (flags == first and flags < end):
        return BAD_ID
    if flags == end or at == end:
        return MISSING_FIELD
    if after != flags + 3:
        return BAD_END
    for flag in range(flags, after):
        if text[flag] != _ZERO and text[flag] != _ONE:
            return BAD_END
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
    return put_spaced_payload(record, text, at, end, dlc)
