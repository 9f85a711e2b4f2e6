"""The csv of the data set can-train-and-test."""

from functools import partial
from typing import NamedTuple

from graphids.core.captures.formats.byte_parsers import COMMA, Bytes, hex_pairs
from graphids.core.captures.formats.line_records import (
    BAD_END,
    BAD_LABEL,
    BAD_PAYLOAD,
    FRAME,
    MISSING_FIELD,
    Row,
    put_csv_start,
    put_payload,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import Labels, TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_ZERO, _ONE = ord("0"), ord("1")


class Dialect(NamedTuple):
    """Whether the last column is there, which marks attacked frames."""

    has_attack: bool


@partial(
    TextFormat,
    name="can-train-and-test csv",
    example="1700000000.000250,1A2,00112233445566FF,0",
    header=header(r"timestamp,arbitration_id,data_field(?P<attack>,attack)?"),
    dialect=lambda _head, match: Dialect(has_attack=match["attack"] is not None),
    labels=lambda dialect: Labels.ATTACK if dialect.has_attack else Labels.NONE,
)
def can_train_and_test(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, _names: Names) -> int:
    """Time, ID and payload in hexadecimal digits; then 0 or 1."""
    code, at = put_csv_start(record, text, at, end, 0)
    if code < 0:
        return code
    count, at, word = hex_pairs(text, at, end)
    if at < end and text[at] != COMMA:
        return BAD_PAYLOAD
    code = put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True)
    if code < 0 or not dialect.has_attack:
        return code if code < 0 or at == end else BAD_END
    if at >= end - 1:
        return MISSING_FIELD
    record.attack = text[at + 1] - _ZERO
    return FRAME if at + 2 == end and _ZERO <= text[at + 1] <= _ONE else BAD_LABEL
