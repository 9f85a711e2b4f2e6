"""Lines of the log formats; compiled by numba. Each function parses one line into one record and returns its code."""

from numba import njit

from graphids.core.data.formats.byte_parsers import (
    BLANK,
    COMMA,
    Bytes,
    byte_list,
    decimal_number,
    hex_number,
    is_at,
    natural_number,
    prefixed_hex_number,
    skip_blanks,
    skip_word,
)
from graphids.core.data.formats.line_records import (
    BAD_CHANNEL,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_TIMESTAMP,
    CAN_FD,
    COMMENT,
    ERROR_FRAME,
    FRAME,
    MISSING_FIELD,
    POINT,
    REMOTE_FRAME,
    Row,
    put_channel,
    put_id,
    put_payload,
    put_remote,
    put_spaced_payload,
    put_time,
    read_dlc,
)

_COLON, _STAR, _ONE, _R = ord(":"), ord("*"), ord("1"), ord("R")


@njit(nogil=True)
def normal_run(record: Row, text: Bytes, at: int, end: int) -> int:
    """`Timestamp: 1700000000.000250        ID: 01a2    000    DLC: 4    00 11 22 ff`."""
    at = skip_blanks(text, skip_word(text, at, end), end)
    seconds, at = decimal_number(text, at, end, POINT, 0)
    if put_time(record, seconds) < 0:
        return BAD_TIMESTAMP
    at = skip_blanks(text, at, end)
    if at + 3 > end or text[at] != ord("I") or text[at + 2] != _COLON:
        return MISSING_FIELD if at + 3 > end else BAD_ID
    identifier, at = hex_number(text, skip_blanks(text, at + 3, end), end)
    code = put_id(record, identifier, False)
    return code if code < 0 else _put_flags_and_payload(record, text, at, end, True)


@njit(nogil=True)
def crysys_trace(record: Row, text: Bytes, at: int, end: int) -> int:
    """`1700000000.000250        01a2    000    4    00 11 22 ff`."""
    seconds, at = decimal_number(text, at, end, POINT, 0)
    first = skip_blanks(text, at, end)
    if put_time(record, seconds) < 0 or first == at:
        return BAD_TIMESTAMP
    identifier, at = hex_number(text, first, end)
    code = put_id(record, identifier, False)
    return code if code < 0 else _put_flags_and_payload(record, text, at, end, False)


@njit(nogil=True)
def _put_flags_and_payload(record: Row, text: Bytes, at: int, end: int, has_key: bool) -> int:
    """`000    4    00 11 ...`, with `DLC:` before the 4 where there is a key; flags 100 mark a remote frame."""
    flags = skip_blanks(text, at, end)
    _, behind = natural_number(text, flags, end)
    at = skip_blanks(text, behind, end)
    if flags == end or at == end:
        return MISSING_FIELD
    if behind != flags + 3:
        return BAD_END
    if has_key:
        if at + 4 > end or text[at] != ord("D") or text[at + 3] != _COLON:
            return BAD_DLC
        at = skip_blanks(text, at + 4, end)
    dlc, at = read_dlc(text, at, end)
    if dlc < 0:
        return BAD_DLC
    if text[flags] == _ONE:
        return put_remote(record)
    return put_spaced_payload(record, text, at, end, dlc)


@njit(nogil=True)
def busmaster(record: Row, channel_names: Bytes, text: Bytes, at: int, end: int) -> int:
    """`12:00:00:250 Rx 1 0x1A2 s 4 00 11 22 FF`: a time of day becomes seconds since midnight."""
    if text[at] == _STAR:
        return COMMENT
    whole_s = 0
    for _ in range(3):
        number, at = natural_number(text, at, end)
        if number < 0 or not is_at(text, at, end, _COLON):
            return BAD_TIMESTAMP
        whole_s = 60 * whole_s + number
        at += 1
    fraction, behind = natural_number(text, at, end)
    if fraction < 0:
        return BAD_TIMESTAMP
    record.timestamp = whole_s + fraction / 10.0 ** (behind - at)
    first = skip_blanks(text, skip_word(text, skip_blanks(text, behind, end), end), end)
    at = skip_word(text, first, end)
    if first == end or put_channel(record, channel_names, text, first, at) < 0:
        return MISSING_FIELD if first == end else BAD_CHANNEL
    at = skip_blanks(text, at, end)
    if is_at(text, at, end, ord("E")):  # `ERR`
        return ERROR_FRAME
    identifier, at = prefixed_hex_number(text, at, end)
    first = skip_blanks(text, at, end)
    at = skip_word(text, first, end)
    code = put_id(record, identifier, is_at(text, first, end, ord("x")))
    if code < 0:
        return code
    dlc, behind = read_dlc(text, skip_blanks(text, at, end), end)
    if dlc < 0:
        return BAD_DLC
    if at == first + 2 and text[first + 1] == ord("r"):  # `sr`, `xr`
        return put_remote(record)
    return put_spaced_payload(record, text, behind, end, dlc)


@njit(nogil=True)
def canhacker(record: Row, text: Bytes, at: int, end: int) -> int:
    """`10,250 1A2      4 00 11 22 FF             comment`: decimal comma; whatever follows the bytes is comment."""
    seconds, at = decimal_number(text, at, end, COMMA, 0)
    first = skip_blanks(text, at, end)
    if put_time(record, seconds) < 0 or first == at:
        return BAD_TIMESTAMP
    identifier, at = hex_number(text, first, end)
    code = put_id(record, identifier, at - first == 8)
    if code < 0:
        return code
    dlc, at = read_dlc(text, skip_blanks(text, at, end), end)
    if dlc < 0:
        return BAD_DLC
    count, at, word = byte_list(text, at, end, BLANK, dlc)
    return put_payload(record, dlc, count, word, count == dlc or at == end)


@njit(nogil=True)
def pcan(record: Row, channel_names: Bytes, text: Bytes, at: int, end: int, columns: Bytes, origin_s: float) -> int:
    """A PCAN trace's line: fields between blanks, in the order of the letters of its `$COLUMNS`.

    N number, O offset in ms, B bus, I identifier, d direction, T type, R reserved, L or l length, D data. Up to
    version 1.3 the direction also names what is no frame (`Warng`, `Error`).
    """
    if text[at] == ord(";"):
        return COMMENT
    code, dlc = FRAME, 0
    for column in columns:
        if column == ord("D"):
            break
        first = skip_blanks(text, at, end)
        at = skip_word(text, first, end)
        if first == end:
            return MISSING_FIELD
        if column == ord("O"):
            seconds, behind = decimal_number(text, first, at, POINT, 3)
            if put_time(record, origin_s + seconds) < 0 or behind != at:
                return BAD_TIMESTAMP
        elif column == ord("B"):
            if put_channel(record, channel_names, text, first, at) < 0:
                return BAD_CHANNEL
        elif column == ord("T") or column == ord("d"):
            code = _pcan_type(text, first, at, code)
            if code != FRAME and code != REMOTE_FRAME:
                return code
        elif column == ord("I"):
            identifier, behind = hex_number(text, first, at)
            if identifier == 0xFFFF_FFFF:
                return COMMENT  # a status message of version 1.0, which has no type column
            id_code = put_id(record, identifier if behind == at else -1, at - first > 4)
            if id_code < 0:
                return id_code
        elif column == ord("L") or column == ord("l"):
            dlc, behind = read_dlc(text, first, at)
            if dlc < 0 or behind != at:
                return BAD_DLC
    if code == REMOTE_FRAME or is_at(text, skip_blanks(text, at, end), end, _R):  # `RTR`
        return put_remote(record)
    return put_spaced_payload(record, text, at, end, dlc)


@njit(nogil=True)
def _pcan_type(text: Bytes, first: int, end: int, code: int) -> int:
    """Code of a type (`DT`, `RR`, `FD`, `ER`, `ST` ...) or of a direction (`Rx` and `Tx` leave `code` as it is)."""
    pair = (text[first] << 8) | (text[first + 1] if first + 1 < end else 0)
    if pair == 0x5278 or pair == 0x5478:  # Rx, Tx
        return code
    if pair == 0x4454:  # DT
        return FRAME
    if pair == 0x5252:  # RR
        return REMOTE_FRAME
    if pair == 0x4644 or pair == 0x4642 or pair == 0x4645 or pair == 0x4249:  # FD, FB, FE, BI
        return CAN_FD
    if pair == 0x4552 or pair == 0x4572:  # ER, Error
        return ERROR_FRAME
    if pair == 0x5354 or pair == 0x4543 or pair == 0x4556 or pair == 0x5761:  # ST, EC, EV, Warng
        return COMMENT
    return BAD_END
