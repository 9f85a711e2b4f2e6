"""The csv that python-can writes."""

from functools import partial

from graphids.core.captures.formats.byte_parsers import (
    COMMA,
    Bytes,
    base64_bytes,
    decimal_number,
    is_at,
    natural_number,
    prefixed_hex_number,
)
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    CAN_FD,
    ERROR_FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_flagged_id,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_ZERO, _ONE = ord("0"), ord("1")
_MAX_FD_BYTES = 64


@partial(
    TextFormat,
    name="python-can csv",
    example="1700000000.000250,0x1a2,0,0,0,3,ABH/",
    header=header("timestamp,arbitration_id,extended,remote,error,dlc,data"),
)
def python_can_csv(record: Row, text: Bytes, at: int, end: int, _dialect: object, _names: Names) -> int:
    """Flags for 29 bits, remote and error frame; DLC; payload in base64."""
    seconds, at = decimal_number(text, at, end, POINT, 0)
    code = put_time(record, seconds)
    if code < 0 or not is_at(text, at, end, COMMA):
        return min(code, BAD_TIMESTAMP)
    identifier, at = prefixed_hex_number(text, at + 1, end)
    if identifier < 0 or at + 7 >= end:
        return BAD_ID if identifier < 0 else MISSING_FIELD
    for flag in range(at, at + 6, 2):
        if text[flag] != COMMA or not _ZERO <= text[flag + 1] <= _ONE or text[flag + 2] != COMMA:
            return BAD_END
    if text[at + 5] == _ONE:
        return ERROR_FRAME
    code = put_flagged_id(record, identifier, text[at + 1] == _ONE)
    if code < 0:
        return code
    is_remote = text[at + 3] == _ONE
    dlc, at = natural_number(text, at + 7, end)
    if not is_at(text, at, end, COMMA):
        return MISSING_FIELD if at == end else BAD_DLC
    if dlc < 0 or dlc > _MAX_FD_BYTES:
        return BAD_DLC
    if is_remote:
        return put_remote(record) if at + 1 == end else BAD_END
    if dlc > MAX_PAYLOAD_BYTES:
        return CAN_FD  # python-can writes FD frames into the same columns
    count, at, word = base64_bytes(text, at + 1, end)
    return put_payload(record, dlc, count, word, True) if count >= 0 and at == end else BAD_PAYLOAD
