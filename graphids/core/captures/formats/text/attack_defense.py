"""The csv of HCRL's Attack & Defense Challenge."""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    COMMA,
    Bytes,
    ascii_word,
    byte_list,
    hex_pairs,
    is_at,
    is_word,
    skip_blanks,
    skip_field,
)
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_END,
    BAD_KIND,
    BAD_LABEL,
    FRAME,
    MISSING_FIELD,
    Row,
    put_csv_start,
    put_payload,
    read_dlc,
)
from graphids.core.captures.formats.names import Names, name_index
from graphids.core.captures.formats.text_format import Labels, TextFormat, header

_ATTACK, _NORMAL = map(ascii_word, ("attack", "normal"))


class Dialect(NamedTuple):
    """Which of the last columns are there: `Class`, and `SubClass` after it, which names the kind of an attack."""

    has_class: bool
    has_subclass: bool


def _labels(dialect: Dialect) -> Labels:
    if dialect.has_subclass:
        return Labels.KIND
    return Labels.ATTACK if dialect.has_class else Labels.NONE


@partial(
    TextFormat,
    name="Attack & Defense Challenge csv",
    example="1700000000.125,1A2,4,00 11 22 FF,Normal,Normal",
    header=header(r"timestamp,arbitration_id,dlc,data(?P<class>,class(?P<subclass>,subclass)?)?"),
    dialect=lambda _head, match: Dialect(match["class"] is not None, match["subclass"] is not None),
    labels=_labels,
)
def attack_defense(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Bytes between blanks; then `Normal` or `Attack`, and the kind of attack."""
    code, at = put_csv_start(record, text, at, end, 0)
    if code < 0:
        return code
    dlc, at = read_dlc(text, at, end)
    if dlc < 0:
        return BAD_DLC
    if not is_at(text, at, end, COMMA):
        return MISSING_FIELD if at == end else BAD_DLC
    data_end = skip_field(text, at + 1, end)
    # The comma separates the first byte as a blank does the others.
    count, after, word = hex_pairs(text, at + 1, min(at + 3, data_end))
    if count == 1:
        more, after, rest = byte_list(text, after, data_end, BLANK, 65)
        count += more
        word |= rest << np.uint64(8)
    code = put_payload(record, dlc, count, word, skip_blanks(text, after, data_end) == data_end)
    if code < 0 or not dialect.has_class:
        return code if code < 0 or data_end == end else BAD_END
    return _put_class(record, text, data_end + 1, end, dialect, names)


@register_jitable
def _put_class(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """`Attack[,Fuzzing]` to the line's end."""
    after = skip_field(text, at, end)
    if after <= at:
        return MISSING_FIELD
    is_attack = is_word(text, at, after, _ATTACK)
    if not is_attack and not is_word(text, at, after, _NORMAL):
        return BAD_LABEL
    record.attack = is_attack
    if not dialect.has_subclass:
        return FRAME if after == end else BAD_END
    if after + 1 >= end:
        return MISSING_FIELD
    if skip_field(text, after + 1, end) != end:
        return BAD_END
    kind = name_index(names.kinds, text, after + 1, end, True)
    record.kind = kind
    return FRAME if kind >= 0 and (kind > 0) == is_attack else BAD_KIND
