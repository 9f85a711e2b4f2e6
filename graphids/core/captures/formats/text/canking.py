"""The log of Kvaser's CanKing, which shows IDs and bytes in either base and does not say in which."""

import re
from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    Bytes,
    ascii_word,
    byte_list,
    decimal_byte_list,
    decimal_number,
    hex_number,
    is_word,
    natural_number,
    next_word,
)
from graphids.core.captures.formats.kvaser_bases import byte_evidence, id_evidence, settled
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_TIMESTAMP,
    COMMENT,
    ERROR_FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_bus,
    put_flagged_id,
    put_payload,
    put_time,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import HEAD_BYTES, TextFormat, header

_X, _R, _T = map(ascii_word, "xrt")
_ERROR_FRAME, _LOGGING = map(ascii_word, ("errorframe", "logging"))
_FRAME = re.compile(rb"\s*\d+\s+([0-9a-f]+)\s+(X\s+)?\d\s+((?:[0-9a-f]+\s+)*)-?\d+\.\d+\s+[RT]\s*", re.IGNORECASE)


class Dialect(NamedTuple):
    """The two bases, as far as the first lines settle them."""

    has_decimal_ids: bool
    has_decimal_bytes: bool


def _dialect(head: bytes, match: re.Match[bytes]) -> Dialect:
    lines = head.partition(match[0])[2].splitlines()
    if len(head) >= HEAD_BYTES:
        lines = lines[:-1]
    frames = [frame for frame in map(_FRAME.fullmatch, lines) if frame]
    return Dialect(
        has_decimal_ids=settled("CanKing log", "IDs", id_evidence((f[1], f[2] is not None) for f in frames)),
        has_decimal_bytes=settled("CanKing log", "data bytes", byte_evidence(b for f in frames for b in f[3].split())),
    )


@partial(
    TextFormat,
    name="CanKing log",
    example="0    000001A2         3  00  11  FF                      12.000250 R",
    header=header(r"chn\s+identifier\s+flg\s+dlc\s+d0[.\dd]*\s+time\s+dir"),
    leads=False,
    dialect=_dialect,
    absolute_times="log again with CanKing's absolute times",
)
def canking(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Channel, ID, X where it has 29 bits, DLC and bytes or `ErrorFrame`, seconds, direction."""
    first, at = next_word(text, at, end)
    if is_word(text, first, at, _LOGGING):
        return COMMENT  # `Logging stopped.`
    if natural_number(text, first, at)[1] != at or put_bus(record, names.buses, text, first, at) < 0:
        return BAD_BUS
    first, at = next_word(text, at, end)
    identifier, after = natural_number(text, first, at) if dialect.has_decimal_ids else hex_number(text, first, at)
    if after != at or identifier < 0:
        return MISSING_FIELD if first == end else BAD_ID
    first, after = next_word(text, at, end)
    if is_word(text, first, after, _ERROR_FRAME):
        return _put_time_and_end(record, text, after, end, ERROR_FRAME)
    is_extended = is_word(text, first, after, _X)
    code = put_flagged_id(record, identifier, is_extended)
    if code < 0:
        return code
    if is_extended:
        first, after = next_word(text, after, end)
    dlc, at = read_dlc(text, first, end)
    if dlc < 0 or at != after:
        return MISSING_FIELD if first == end else BAD_DLC
    if dialect.has_decimal_bytes:
        count, at, word = decimal_byte_list(text, at, end, dlc)
    else:
        count, at, word = byte_list(text, at, end, BLANK, dlc)
    code = put_payload(record, dlc, count, word, False)
    return code if code < 0 and count < dlc else _put_time_and_end(record, text, at, end, 0)


@register_jitable
def _put_time_and_end(record: Row, text: Bytes, at: int, end: int, code: int) -> int:
    """Store `12.000250 R`, up to the line's end; `code` is that of the line otherwise."""
    first, at = next_word(text, at, end)
    seconds, after = decimal_number(text, first, at, POINT, 0)
    time_code = put_time(record, seconds)
    if time_code < 0 or after != at:
        return MISSING_FIELD if first == end else min(time_code, BAD_TIMESTAMP)
    first, at = next_word(text, at, end)
    if not is_word(text, first, at, _R) and not is_word(text, first, at, _T):
        return MISSING_FIELD if first == end else BAD_END
    return code if at == end else BAD_END
