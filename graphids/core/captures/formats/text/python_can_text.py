"""Messages as python-can prints them: `can_logger` without a file, `can.Printer`, or `print(message)`.

Since python-can 2; what version 1 printed is `normal_run`.
"""

import re
from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    Bytes,
    ascii_word,
    byte_list,
    hex_number,
    is_direction,
    is_word,
    natural_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    CAN_FD,
    ERROR_FRAME,
    MISSING_FIELD,
    Row,
    put_bus,
    put_flagged_id,
    put_payload,
    put_remote,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text.crysys_trace import skip_quoted
from graphids.core.captures.formats.text.normal_run import put_named_time
from graphids.core.captures.formats.text_format import TIME, TextFormat
from graphids.core.frames import MAX_PAYLOAD_BYTES

_STANDARD, _EXTENDED, _ERROR, _REMOTE, _FD = 1, 2, 4, 8, 16
_S, _X, _E, _R, _F = map(ascii_word, "sxerf")
_BRS, _ESI, _DL, _DLC, _CHANNEL = map(ascii_word, ("bs", "ei", "dl:", "dlc:", "channel:"))


class Dialect(NamedTuple):
    """Whether the messages name their channel, which is the bus."""

    has_channel: bool


@partial(
    TextFormat,
    name="python-can message text",
    example="Timestamp: 1700000000.000250    ID:      1a2    S Rx                DL:  2    00 ff    Channel: can0",
    line=re.compile(
        rb"Timestamp:\s*" + TIME + rb"\s+ID:\s*[0-9a-fA-F]+\s+[SX]\s.*?\sDLC?:.*?(?P<channel>\sChannel:.*)?"
    ),
    dialect=lambda _head, match: Dialect(has_channel=match["channel"] is not None),
)
def python_can_text(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Time, ID, flags, DLC, bytes, their text where they are letters and digits, and the channel."""
    code, at = put_named_time(record, text, at, end)
    if code < 0:
        return code
    identifier, after = hex_number(text, at, end)
    if skip_word(text, after, end) != after:
        return BAD_ID
    flags, at = _read_flags(text, after, end)
    if flags < 0:
        return flags
    dlc, at = natural_number(text, skip_blanks(text, at, end), end)
    if flags & _FD:
        return CAN_FD
    if dlc < 0 or dlc > MAX_PAYLOAD_BYTES or skip_word(text, at, end) != at:
        return BAD_DLC
    count, at, word = byte_list(text, at, end, BLANK, 65)
    at = skip_quoted(text, at, end, count)
    after = skip_word(text, at, end)
    is_channel = is_word(text, at, after, _CHANNEL)
    code = put_payload(record, 0 if flags & _REMOTE else dlc, count, word, at == end or is_channel)
    if code < 0:
        return code
    if is_channel != dialect.has_channel:
        return MISSING_FIELD if at == end else BAD_END
    if is_channel and put_bus(record, names.buses, text, skip_blanks(text, after, end), end) < 0:
        return MISSING_FIELD if after == end else BAD_BUS
    if flags & _ERROR:
        return ERROR_FRAME
    code = put_flagged_id(record, identifier, flags & _EXTENDED > 0)
    return put_remote(record) if code >= 0 and flags & _REMOTE else code


@register_jitable
def _read_flags(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """`X Rx E R F BS EI` up to `DL:`, of which one of `S` and `X` has to be there; or a code."""
    flags = 0
    while True:
        first = skip_blanks(text, at, end)
        at = skip_word(text, first, end)
        if first == end:
            return MISSING_FIELD, at
        if is_word(text, first, at, _DL) or is_word(text, first, at, _DLC):
            width = flags & (_STANDARD | _EXTENDED)
            return (flags if width in (_STANDARD, _EXTENDED) else BAD_END), at
        flag = _flag(text, first, at)
        if flag < 0:
            return flag, at
        flags |= flag


@register_jitable
def _flag(text: Bytes, first: int, at: int) -> int:
    """The bit of a flag, 0 where it says nothing about a classic frame, a code where it is none."""
    if is_word(text, first, at, _S):
        return _STANDARD
    if is_word(text, first, at, _X):
        return _EXTENDED
    if is_word(text, first, at, _E):
        return _ERROR
    if is_word(text, first, at, _R):
        return _REMOTE
    if is_word(text, first, at, _F):
        return _FD
    is_silent = is_direction(text, first, at) or is_word(text, first, at, _BRS) or is_word(text, first, at, _ESI)
    return 0 if is_silent else BAD_END
