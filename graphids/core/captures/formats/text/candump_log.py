"""The log of can-utils, as `candump -l` writes it."""

import re
from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    TAB,
    Bytes,
    ascii_word,
    decimal_number,
    hex_number,
    hex_pairs,
    is_at,
    is_word,
    natural_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.dates import date_time
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_LABEL,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    CAN_FD,
    COMMENT,
    ERROR_FRAME,
    FRAME,
    ID_TOO_LARGE,
    MISSING_FIELD,
    POINT,
    Row,
    put_bus,
    put_id,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import DATE_TIME, TIME, Labels, TextFormat
from graphids.core.frames import MAX_PAYLOAD_BYTES, MAX_STANDARD_ID

ERROR_FRAME_BIT = 0x2000_0000  # CAN_ERR_FLAG of Linux' can.h, which candump writes into the identifier
ABSOLUTE_TIMES = "record again with `candump -t a`, or with `candump -l`"
CANDUMP_TIME = rb"\((" + TIME + rb"|" + DATE_TIME + rb")\)"
DROPCOUNT = ascii_word("dropcount:")
_HASH, _OPEN, _CLOSE, _MINUS, _UNDERSCORE = map(ord, "#()-_")
_ZERO, _ONE, _F, _R, _T = map(ord, "01FRT")


class Dialect(NamedTuple):
    """How many columns of labels follow the frame: the data set CrySyS has two, CAN-MIRGU one."""

    num_labels: int


def _dialect(_head: bytes, match: re.Match[bytes]) -> Dialect:
    return Dialect(len(match["labels"].split()))


@partial(
    TextFormat,
    name="candump -l",
    example="(1700000000.000250) can0 1A2#00112233445566FF",
    line=re.compile(CANDUMP_TIME + rb"\s+\S+\s+[0-9a-fA-F]+#\S*(?P<labels>(\s+(False|True|[01])\b){0,2}).*"),
    dialect=_dialect,
    labels=lambda dialect: Labels.ATTACK if dialect.num_labels else Labels.NONE,
    absolute_times=ABSOLUTE_TIMES,
)
def candump_log(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Time, bus, ID, `#` and payload, or `#R` for a remote frame; then a direction, or labels."""
    code, at = put_candump_time_and_bus(record, names.buses, text, at, end)
    if code < 0:
        return COMMENT if is_dropcount(text, at, end) else code
    start, at = put_candump_id(record, text, at, end)
    if start < 0:
        return start
    if not is_at(text, at, end, _HASH):
        return MISSING_FIELD if at == end else BAD_ID
    if is_at(text, at + 1, end, _HASH):
        return CAN_FD
    if is_at(text, at + 1, end, _R):
        code = put_remote(record)
        length, after = natural_number(text, at + 2, end)
        if after > at + 3 or length > MAX_PAYLOAD_BYTES:
            return BAD_DLC
        at = after
    else:
        count, at, word = hex_pairs(text, at + 1, end)
        code = put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True)
        length = count
    if is_at(text, at, end, _UNDERSCORE) and code >= 0:
        raw_dlc, after = hex_number(text, at + 1, end)
        if after != at + 2 or raw_dlc <= MAX_PAYLOAD_BYTES or length != MAX_PAYLOAD_BYTES:
            return BAD_DLC
        at = after
    if start == ERROR_FRAME and code >= 0:
        code = start
    if code < 0 or (at < end and text[at] != BLANK and text[at] != TAB):
        return code if code < 0 else BAD_PAYLOAD
    at = skip_blanks(text, at, end)
    if not dialect.num_labels:
        is_direction = at + 1 == end and (text[at] == _R or text[at] == _T)
        return code if at == end or is_direction else BAD_END
    label_code = _put_labels(record, text, at, end, dialect.num_labels)
    return label_code if label_code < 0 else code


@register_jitable
def put_candump_time_and_bus(record: Row, buses: Bytes, text: Bytes, at: int, end: int) -> tuple[int, int]:
    """`(1700000000.000250) can0`, or a date and time of day between the brackets; the offset of what follows."""
    if not is_at(text, at, end, _OPEN):
        return BAD_TIMESTAMP, at
    seconds, after = decimal_number(text, at + 1, end, POINT, 0)
    if is_at(text, after, end, _MINUS):
        seconds, after = date_time(text, at + 1, end)
    code = put_time(record, seconds)
    if code < 0 or not is_at(text, after, end, _CLOSE):
        return min(code, BAD_TIMESTAMP), at
    at = skip_blanks(text, after + 1, end)
    after = skip_word(text, at, end)
    if at == end or put_bus(record, buses, text, at, after) < 0:
        return (MISSING_FIELD if at == end else BAD_BUS), at
    return FRAME, skip_blanks(text, after, end)


@register_jitable
def put_candump_id(record: Row, text: Bytes, first: int, end: int) -> tuple[int, int]:
    """`1A2`: an ID of three digits has 11 bits, of eight 29 bits or says error frame."""
    identifier, at = hex_number(text, first, end)
    digits = at - first
    if digits == 8 and ERROR_FRAME_BIT <= identifier < 2 * ERROR_FRAME_BIT:
        return ERROR_FRAME, at
    if digits == 3 and identifier > MAX_STANDARD_ID:
        return ID_TOO_LARGE, at
    if digits != 3 and digits != 8:
        return (MISSING_FIELD if first == end else BAD_ID), at
    return put_id(record, identifier, digits == 8), at


@register_jitable
def is_dropcount(text: Bytes, at: int, end: int) -> bool:
    """`DROPCOUNT: dropped 3 CAN frames ...`, which `candump -d` writes when the socket lost frames."""
    return at + DROPCOUNT.size < end and is_word(text, at, at + DROPCOUNT.size, DROPCOUNT)


@register_jitable
def _put_labels(record: Row, text: Bytes, at: int, end: int, number: int) -> int:
    """As many labels, each `False`, `True`, `0` or `1`: any that is set marks an attacked frame."""
    attack = False
    for _ in range(number):
        if at == end:
            return MISSING_FIELD
        after = skip_word(text, at, end)
        size = after - at
        is_set = (size == 1 and text[at] == _ONE) or (size == 4 and text[at] == _T)
        if not is_set and not ((size == 1 and text[at] == _ZERO) or (size == 5 and text[at] == _F)):
            return BAD_LABEL
        attack |= is_set
        at = skip_blanks(text, after, end)
    record.attack = attack
    return FRAME if at == end else BAD_END
