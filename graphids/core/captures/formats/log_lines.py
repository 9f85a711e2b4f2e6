"""Lines of the log formats; compiled by numba. Each function parses one line into one record and returns its code."""

from numba import njit

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    COMMA,
    Bytes,
    ascii_word,
    byte_list,
    decimal_number,
    hex_number,
    is_at,
    is_word,
    natural_number,
    prefixed_hex_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
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
    put_flagged_id,
    put_id,
    put_payload,
    put_remote,
    put_spaced_payload,
    put_time,
    read_dlc,
)

_COLON, _STAR, _ONE = ord(":"), ord("*"), ord("1")
_TIMESTAMP, _ID, _DLC = map(ascii_word, ("timestamp:", "id:", "dlc:"))
_RX, _TX, _ERR, _RTR = map(ascii_word, ("rx", "tx", "err", "rtr"))
_MAX_FRACTION_DIGITS = 9
_S, _X, _SR, _XR = map(ascii_word, ("s", "x", "sr", "xr"))
_DT, _RR, _FD, _FB, _FE, _BI = map(ascii_word, ("dt", "rr", "fd", "fb", "fe", "bi"))
_ER, _ERROR, _ST, _EC, _EV, _WARNG = map(ascii_word, ("er", "error", "st", "ec", "ev", "warng"))


@njit(nogil=True)
def normal_run(record: Row, text: Bytes, at: int, end: int) -> int:
    """`Timestamp: 1700000000.000250        ID: 01a2    000    DLC: 4    00 11 22 ff`."""
    behind = skip_word(text, at, end)
    if not is_word(text, at, behind, _TIMESTAMP):
        return BAD_TIMESTAMP
    seconds, behind = decimal_number(text, skip_blanks(text, behind, end), end, POINT, 0)
    at = skip_blanks(text, behind, end)
    code = put_time(record, seconds)
    if code < 0 or (at == behind and at < end):
        return min(code, BAD_TIMESTAMP)
    behind = at + _ID.size
    if behind > end or not is_word(text, at, behind, _ID):
        return MISSING_FIELD if behind > end else BAD_ID
    identifier, at = hex_number(text, skip_blanks(text, behind, end), end)
    code = put_id(record, identifier, False)
    return code if code < 0 else _put_flags_and_payload(record, text, at, end, True)


@njit(nogil=True)
def crysys_trace(record: Row, text: Bytes, at: int, end: int) -> int:
    """`1700000000.000250        01a2    000    4    00 11 22 ff`."""
    seconds, at = decimal_number(text, at, end, POINT, 0)
    first = skip_blanks(text, at, end)
    code = put_time(record, seconds)
    if code < 0 or first == at:
        return min(code, BAD_TIMESTAMP)
    identifier, at = hex_number(text, first, end)
    code = put_id(record, identifier, False)
    return code if code < 0 else _put_flags_and_payload(record, text, at, end, False)


@njit(nogil=True)
def _put_flags_and_payload(record: Row, text: Bytes, at: int, end: int, has_key: bool) -> int:
    """`000    4    00 11 ...`, with `DLC:` before the 4 where there is a key; flags 100 mark a remote frame."""
    flags = skip_blanks(text, at, end)
    _, behind = natural_number(text, flags, end)
    first, at = at, skip_blanks(text, behind, end)
    if flags == end or at == end:
        return MISSING_FIELD
    if behind != flags + 3 or flags == first or at == behind:
        return BAD_END
    if has_key:
        if at + _DLC.size > end or not is_word(text, at, at + _DLC.size, _DLC):
            return BAD_DLC
        at = skip_blanks(text, at + _DLC.size, end)
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
    for field in range(3):
        number, at = natural_number(text, at, end)
        if not is_at(text, at, end, _COLON) or number < 0 or (field > 0 and number >= 60):
            return BAD_TIMESTAMP
        whole_s = 60 * whole_s + number
        at += 1
    fraction, behind = natural_number(text, at, end)
    if fraction < 0 or behind - at > _MAX_FRACTION_DIGITS:
        return BAD_TIMESTAMP
    record.timestamp = whole_s + fraction / 10.0 ** (behind - at)
    first = skip_blanks(text, behind, end)
    at = skip_word(text, first, end)
    if not is_word(text, first, at, _RX) and not is_word(text, first, at, _TX):
        return MISSING_FIELD if first == end else BAD_END
    first = skip_blanks(text, at, end)
    at = skip_word(text, first, end)
    if first == end or put_channel(record, channel_names, text, first, at) < 0:
        return MISSING_FIELD if first == end else BAD_CHANNEL
    at = skip_blanks(text, at, end)
    if is_word(text, at, skip_word(text, at, end), _ERR):
        return ERROR_FRAME
    identifier, behind = prefixed_hex_number(text, at, end)
    first = skip_blanks(text, behind, end)
    at = skip_word(text, first, end)
    if first == behind and first < end:
        return BAD_ID
    is_remote = is_word(text, first, at, _SR) or is_word(text, first, at, _XR)
    is_extended = is_word(text, first, at, _X) or is_word(text, first, at, _XR)
    if identifier >= 0 and not (is_remote or is_extended or is_word(text, first, at, _S)):
        return MISSING_FIELD if first == end else BAD_END
    code = put_flagged_id(record, identifier, is_extended)
    if code < 0:
        return code
    dlc, behind = read_dlc(text, skip_blanks(text, at, end), end)
    if dlc < 0:
        return BAD_DLC
    if is_remote:
        return put_remote(record)
    return put_spaced_payload(record, text, behind, end, dlc)


@njit(nogil=True)
def canhacker(record: Row, text: Bytes, at: int, end: int) -> int:
    """`10,250 1A2      4 00 11 22 FF             comment`: decimal comma; whatever follows the bytes is comment."""
    seconds, at = decimal_number(text, at, end, COMMA, 0)
    first = skip_blanks(text, at, end)
    code = put_time(record, seconds)
    if code < 0 or first == at:
        return min(code, BAD_TIMESTAMP)
    identifier, at = hex_number(text, first, end)
    code = put_flagged_id(record, identifier, at - first == 8)
    if code < 0:
        return code
    dlc, at = read_dlc(text, skip_blanks(text, at, end), end)
    if dlc < 0 or skip_word(text, at, end) != at:
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
            time_code = put_time(record, origin_s + seconds)
            if time_code < 0 or behind != at:
                return min(time_code, BAD_TIMESTAMP)
        elif column == ord("B"):
            if put_channel(record, channel_names, text, first, at) < 0:
                return BAD_CHANNEL
        elif column == ord("T") or column == ord("d"):
            is_type = column == ord("T")
            code = _pcan_type(text, first, at) if is_type else _pcan_direction(text, first, at, code)
            if code != FRAME and code != REMOTE_FRAME:
                return code
        elif column == ord("I"):
            identifier, behind = hex_number(text, first, at)
            if identifier == 0xFFFF_FFFF:
                return COMMENT  # a status message of version 1.0, which has no type column
            id_code = put_flagged_id(record, identifier if behind == at else -1, at - first > 4)
            if id_code < 0:
                return id_code
        elif column == ord("L") or column == ord("l"):
            dlc, behind = read_dlc(text, first, at)
            if dlc < 0 or behind != at:
                return BAD_DLC
    if code == REMOTE_FRAME or is_word(text, skip_blanks(text, at, end), end, _RTR):
        return put_remote(record)
    return put_spaced_payload(record, text, at, end, dlc)


@njit(nogil=True)
def _pcan_direction(text: Bytes, first: int, end: int, code: int) -> int:
    """`code` for `Rx` and `Tx`; up to version 1.3 other words stand here for what is no frame."""
    if is_word(text, first, end, _RX) or is_word(text, first, end, _TX):
        return code
    if is_word(text, first, end, _ERROR):
        return ERROR_FRAME
    return COMMENT if is_word(text, first, end, _WARNG) else BAD_END


@njit(nogil=True)
def _pcan_type(text: Bytes, first: int, end: int) -> int:
    """Code of a type."""
    if is_word(text, first, end, _DT):
        return FRAME
    if is_word(text, first, end, _RR):
        return REMOTE_FRAME
    if is_word(text, first, end, _ER):
        return ERROR_FRAME
    for fd_type in (_FD, _FB, _FE, _BI):
        if is_word(text, first, end, fd_type):
            return CAN_FD
    for status in (_ST, _EC, _EV):
        if is_word(text, first, end, status):
            return COMMENT
    return BAD_END
