"""Lines of candump's two text formats; compiled by numba. Each parses one line into one record, returns its code."""

from numba import njit

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    TAB,
    Bytes,
    ascii_word,
    byte_list,
    decimal_number,
    hex_number,
    hex_pairs,
    is_at,
    is_word,
    natural_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_CHANNEL,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_LABEL,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    CAN_FD,
    ERROR_FRAME,
    FRAME,
    ID_TOO_LARGE,
    MISSING_FIELD,
    POINT,
    Row,
    put_channel,
    put_id,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.frames import MAX_PAYLOAD_BYTES, MAX_STANDARD_ID

ERROR_FRAME_BIT = 0x2000_0000  # CAN_ERR_FLAG of Linux' can.h, which candump writes into the identifier
_REMOTE_REQUEST = ascii_word("remote request")
_HASH, _QUOTE, _OPEN, _CLOSE, _LEFT, _RIGHT = map(ord, "#'()[]")
_ZERO, _ONE, _F, _R, _T = map(ord, "01FRT")


@njit(nogil=True)
def _put_candump_start(record: Row, channel_names: Bytes, text: Bytes, at: int, end: int) -> tuple[int, int]:
    """`(1700000000.000250) can0 1A2`: an ID of three digits has 11 bits, of eight 29 bits or says error frame."""
    seconds, behind = decimal_number(text, at + 1, end, POINT, 0)
    code = put_time(record, seconds)
    if not is_at(text, at, end, _OPEN) or code < 0 or not is_at(text, behind, end, _CLOSE):
        return min(code, BAD_TIMESTAMP), at
    at = skip_blanks(text, behind + 1, end)
    behind = skip_word(text, at, end)
    if at == end or put_channel(record, channel_names, text, at, behind) < 0:
        return (MISSING_FIELD if at == end else BAD_CHANNEL), at
    first = skip_blanks(text, behind, end)
    identifier, at = hex_number(text, first, end)
    digits = at - first
    if digits == 8 and ERROR_FRAME_BIT <= identifier < 2 * ERROR_FRAME_BIT:
        return ERROR_FRAME, at
    if digits == 3 and identifier > MAX_STANDARD_ID:
        return ID_TOO_LARGE, at
    if digits != 3 and digits != 8:
        return (MISSING_FIELD if first == end else BAD_ID), at
    return put_id(record, identifier, digits == 8), at


@njit(nogil=True)
def candump_log(record: Row, channel_names: Bytes, text: Bytes, at: int, end: int, variant: int) -> int:
    """`(1700000000.000250) can0 1A2#00112233445566FF [R]`, variant 1 with the two label flags of CrySyS."""
    start, at = _put_candump_start(record, channel_names, text, at, end)
    if start < 0:
        return start
    if not is_at(text, at, end, _HASH):
        return MISSING_FIELD if at == end else BAD_ID
    if is_at(text, at + 1, end, _HASH):
        return CAN_FD
    if is_at(text, at + 1, end, _R):
        code = put_remote(record)
        length, behind = natural_number(text, at + 2, end)
        if behind > at + 3 or length > MAX_PAYLOAD_BYTES:
            return BAD_DLC
        at = behind
    else:
        count, at, word = hex_pairs(text, at + 1, end)
        code = put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True)
    if start == ERROR_FRAME and code >= 0:
        code = start
    if code < 0 or (at < end and text[at] != BLANK and text[at] != TAB):
        return code if code < 0 else BAD_PAYLOAD
    at = skip_blanks(text, at, end)
    if variant == 0:
        is_direction = at + 1 == end and (text[at] == _R or text[at] == _T)
        return code if at == end or is_direction else BAD_END
    flags_code = _put_crysys_flags(record, text, at, end)
    return flags_code if flags_code < 0 else code


@njit(nogil=True)
def _put_crysys_flags(record: Row, text: Bytes, at: int, end: int) -> int:
    """Two flags, each `False`, `True`, `0` or `1`: any that is set marks an attacked frame."""
    attack = False
    for _ in range(2):
        if at == end:
            return MISSING_FIELD
        behind = skip_word(text, at, end)
        size = behind - at
        is_set = (size == 1 and text[at] == _ONE) or (size == 4 and text[at] == _T)
        if not is_set and not ((size == 1 and text[at] == _ZERO) or (size == 5 and text[at] == _F)):
            return BAD_LABEL
        attack |= is_set
        at = skip_blanks(text, behind, end)
    record.attack = attack
    return FRAME if at == end else BAD_END


@njit(nogil=True)
def candump_screen(record: Row, channel_names: Bytes, text: Bytes, at: int, end: int) -> int:
    """` (000.000250)  can0  000001A2   [4]  00 11 22 FF`, perhaps with the text of `candump -a`."""
    start, at = _put_candump_start(record, channel_names, text, at, end)
    if start < 0:
        return start
    first = skip_blanks(text, at, end)
    dlc, at = natural_number(text, first + 1, end)
    if not is_at(text, first, end, _LEFT) or not is_at(text, at, end, _RIGHT):
        return MISSING_FIELD if at >= end else BAD_DLC
    if at == first + 3:
        return CAN_FD  # candump writes the length of an FD frame with two digits
    if dlc < 0 or dlc > MAX_PAYLOAD_BYTES:
        return BAD_DLC
    if is_word(text, skip_blanks(text, at + 1, end), end, _REMOTE_REQUEST):
        return put_remote(record)
    count, at, word = byte_list(text, at + 1, end, BLANK, 65)
    if start == ERROR_FRAME:  # its meaning stands behind the bytes, as text
        return start if count == dlc else BAD_PAYLOAD
    return put_payload(record, dlc, count, word, at == end or text[at] == _QUOTE)
