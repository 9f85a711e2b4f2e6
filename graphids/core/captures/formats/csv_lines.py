"""Lines of the csv formats; compiled by numba. Each function parses one line into one record and returns its code."""

import numpy as np
from numba import njit

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    COMMA,
    Bytes,
    ascii_word,
    base64_bytes,
    byte_list,
    decimal_number,
    hex_pairs,
    is_at,
    is_word,
    name_index,
    natural_number,
    prefixed_hex_number,
    skip_blanks,
)
from graphids.core.captures.formats.line_records import (
    BAD_CHANNEL,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_KIND,
    BAD_LABEL,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    CAN_FD,
    ERROR_FRAME,
    FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_channel,
    put_csv_start,
    put_flagged_id,
    put_payload,
    put_remote,
    put_time,
    read_dlc,
)
from graphids.core.frames import MAX_PAYLOAD_BYTES

_ZERO, _ONE = ord("0"), ord("1")
_MAX_FD_BYTES = 64
_R, _T = ord("R"), ord("T")
_ATTACK, _NORMAL, _TRUE, _FALSE, _RX, _TX = map(ascii_word, ("attack", "normal", "true", "false", "rx", "tx"))


@njit(nogil=True)
def _field_end(text: Bytes, at: int, end: int) -> int:
    while at < end and text[at] != COMMA:
        at += 1
    return at


@njit(nogil=True)
def can_train_and_test(record: Row, text: Bytes, at: int, end: int, variant: int) -> int:
    """`1700000000.000250,1A2,00112233445566FF[,0]`: variant 1 with the label."""
    code, at = put_csv_start(record, text, at, end, 0)
    if code < 0:
        return code
    count, at, word = hex_pairs(text, at, end)
    if at < end and text[at] != COMMA:
        return BAD_PAYLOAD
    code = put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True)
    if code < 0 or variant == 0:
        return code if code < 0 or at == end else BAD_END
    if at >= end - 1:
        return MISSING_FIELD
    record.attack = text[at + 1] - _ZERO
    return FRAME if at + 2 == end and _ZERO <= text[at + 1] <= _ONE else BAD_LABEL


@njit(nogil=True)
def car_hacking(record: Row, text: Bytes, at: int, end: int) -> int:
    """`1700000000.000250,01a2,4,00,11,22,ff,R`: as many byte fields as DLC says; T marks an injection."""
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


@njit(nogil=True)
def attack_defense(record: Row, kind_names: Bytes, text: Bytes, at: int, end: int, variant: int) -> int:
    """`1700000000.125,1A2,4,00 11 22 FF[,Attack[,Fuzzing]]`: variant 1 with class, 2 with subclass."""
    code, at = put_csv_start(record, text, at, end, 0)
    if code < 0:
        return code
    dlc, at = read_dlc(text, at, end)
    if dlc < 0:
        return BAD_DLC
    if not is_at(text, at, end, COMMA):
        return MISSING_FIELD if at == end else BAD_DLC
    data_end = _field_end(text, at + 1, end)
    # The comma separates the first byte as a blank does the others.
    count, behind, word = hex_pairs(text, at + 1, min(at + 3, data_end))
    if count == 1:
        more, behind, rest = byte_list(text, behind, data_end, BLANK, 65)
        count += more
        word |= rest << np.uint64(8)
    code = put_payload(record, dlc, count, word, skip_blanks(text, behind, data_end) == data_end)
    if code < 0 or variant == 0:
        return code if code < 0 or data_end == end else BAD_END
    return _put_class(record, kind_names, text, data_end + 1, end, variant)


@njit(nogil=True)
def _put_class(record: Row, kind_names: Bytes, text: Bytes, at: int, end: int, variant: int) -> int:
    """`Attack[,Fuzzing]` to the line's end."""
    behind = _field_end(text, at, end)
    if behind <= at:
        return MISSING_FIELD
    is_attack = is_word(text, at, behind, _ATTACK)
    if not is_attack and not is_word(text, at, behind, _NORMAL):
        return BAD_LABEL
    record.attack = is_attack
    if variant == 1:
        return FRAME if behind == end else BAD_END
    if behind + 1 >= end:
        return MISSING_FIELD
    if _field_end(text, behind + 1, end) != end:
        return BAD_END
    kind = name_index(kind_names, text, behind + 1, end, True)
    record.kind = kind
    return FRAME if kind >= 0 and (kind > 0) == is_attack else BAD_KIND


@njit(nogil=True)
def gvret(record: Row, channel_names: Bytes, text: Bytes, at: int, end: int, variant: int) -> int:
    """`1000250,000001A2,false,0,3,00,11,FF`: microseconds; variant 1 with a direction before the bus."""
    code, at = put_csv_start(record, text, at, end, 6)
    if code < 0:
        return code
    behind = _field_end(text, at, end)
    is_extended = is_word(text, at, behind, _TRUE)
    if not is_extended and not is_word(text, at, behind, _FALSE):
        return BAD_END if behind < end else MISSING_FIELD
    code = put_flagged_id(record, record.arbitration_id, is_extended)
    if code < 0:
        return code
    at = behind + 1
    if variant == 1:
        behind = _field_end(text, at, end)
        if not is_word(text, at, behind, _RX) and not is_word(text, at, behind, _TX):
            return BAD_END if behind < end else MISSING_FIELD
        at = behind + 1
    behind = _field_end(text, at, end)
    if at >= end or put_channel(record, channel_names, text, at, behind) < 0:
        return MISSING_FIELD if at >= end else BAD_CHANNEL
    dlc, at = read_dlc(text, behind + 1, end)
    if dlc < 0:
        return BAD_DLC
    count, at, word = byte_list(text, at, end, COMMA, 65)
    while is_at(text, at, end, COMMA):
        at += 1
    return put_payload(record, dlc, count, word, at == end)


@njit(nogil=True)
def python_can_csv(record: Row, text: Bytes, at: int, end: int) -> int:
    """`1700000000.000250,0x1a2,0,0,0,3,ABH/`: extended, remote and error flags, DLC, payload in base64."""
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
