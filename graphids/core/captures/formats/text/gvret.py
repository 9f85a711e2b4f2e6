"""The csv of SavvyCAN, which it calls GVRET.

SavvyCAN writes eight bytes in every row, `00` beyond `LEN`, and a comma after the last; GVRET firmware and converters
write as many as `LEN` says, or leave the other fields empty.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    COMMA,
    Bytes,
    ascii_word,
    byte_list,
    is_at,
    is_direction,
    is_word,
    skip_field,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    MISSING_FIELD,
    Row,
    put_bus,
    put_csv_start,
    put_flagged_id,
    put_payload,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_TRUE, _FALSE = map(ascii_word, ("true", "false"))


class Dialect(NamedTuple):
    """Whether the direction has a column, before the bus."""

    has_direction: bool


@partial(
    TextFormat,
    name="SavvyCAN GVRET csv",
    example="1000250,000001A2,false,0,3,00,11,FF",
    header=header(r"time stamp,id,extended(?P<direction>,dir)?,bus,len(?:,d[1-8])*,?"),
    dialect=lambda _head, match: Dialect(has_direction=match["direction"] is not None),
)
def gvret(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Microseconds; whether the ID has 29 bits; the bus; DLC; its bytes, then zeros or empty fields."""
    code, at = put_csv_start(record, text, at, end, 6)
    if code < 0:
        return code
    after = skip_field(text, at, end)
    is_extended = is_word(text, at, after, _TRUE)
    if not is_extended and not is_word(text, at, after, _FALSE):
        return BAD_END if after < end else MISSING_FIELD
    code = put_flagged_id(record, record.arbitration_id, is_extended)
    if code < 0:
        return code
    at = after + 1
    if dialect.has_direction:
        after = skip_field(text, at, end)
        if not is_direction(text, at, after):
            return BAD_END if after < end else MISSING_FIELD
        at = after + 1
    after = skip_field(text, at, end)
    if at >= end or put_bus(record, names.buses, text, at, after) < 0:
        return MISSING_FIELD if at >= end else BAD_BUS
    dlc, at = read_dlc(text, after + 1, end)
    if dlc < 0:
        return BAD_DLC
    count, at, word = byte_list(text, at, end, COMMA, 65)
    while is_at(text, at, end, COMMA):
        at += 1
    return put_payload(record, dlc, dlc if _is_padded(dlc, count, word) else count, word, at == end)


@register_jitable
def _is_padded(dlc: int, count: int, word: np.uint64) -> bool:
    """Whether only zeros follow the `dlc` bytes, up to eight in all.

    Any other value beyond `LEN` contradicts it: SavvyCAN writes `00` there, and which of the two is wrong is not known.
    """
    return dlc < count <= MAX_PAYLOAD_BYTES and word >> np.uint64(8 * dlc) == 0
