"""The csv of HCRL's Car-Hacking data set, which has no header."""

import re
from functools import partial

from graphids.core.captures.formats.byte_parsers import COMMA, Bytes, byte_list
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_LABEL,
    BAD_PAYLOAD,
    MISSING_FIELD,
    Row,
    put_csv_start,
    put_payload,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TIME, Labels, TextFormat

_R, _T = ord("R"), ord("T")


@partial(
    TextFormat,
    name="HCRL Car-Hacking csv",
    example="1700000000.000250,01a2,4,00,11,22,ff,R",
    line=re.compile(TIME + rb",[0-9a-fA-F]+,\d,([0-9a-fA-F]{2},)*[RT]"),
    labels=lambda _dialect: Labels.ATTACK,
)
def car_hacking(record: Row, text: Bytes, at: int, end: int, _dialect: object, _names: Names) -> int:
    """As many byte fields as DLC says; then T for an injected frame, R for any other."""
    code, at = put_csv_start(record, text, at, end, 0)
    if code < 0:
        return code
    dlc, at = read_dlc(text, at, end)
    if dlc < 0:
        return BAD_DLC
    count, at, word = byte_list(text, at, end, COMMA, 65)
    if at >= end - 1:
        return MISSING_FIELD
    if at + 2 != end or text[at] != COMMA or (text[at + 1] != _R and text[at + 1] != _T):
        return BAD_PAYLOAD if count < dlc else BAD_LABEL
    record.attack = text[at + 1] == _T
    return put_payload(record, dlc, count, word, True)
