"""What candump writes to the screen with `-t a`, `-A`, `-z`; with `-a`, `-S`, `-x`, `-e`, `-8` or `-d` beside it."""

import re
from functools import partial

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    Bytes,
    ascii_word,
    byte_list,
    hex_number,
    hex_pairs,
    is_at,
    is_direction,
    is_word,
    natural_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_END,
    BAD_PAYLOAD,
    CAN_FD,
    COMMENT,
    ERROR_FRAME,
    MISSING_FIELD,
    Row,
    put_payload,
    put_remote,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text.candump_log import (
    ABSOLUTE_TIMES,
    CANDUMP_TIME,
    is_dropcount,
    put_candump_id,
    put_candump_time_and_bus,
)
from graphids.core.captures.formats.text_format import TextFormat
from graphids.core.frames import MAX_PAYLOAD_BYTES

_REMOTE_REQUEST = ascii_word("remote request")
_QUOTE, _BACKTICK, _MINUS = map(ord, "'`-")
_LEFT, _RIGHT, _LEFT_BRACE, _RIGHT_BRACE = map(ord, "[]{}")
_BRS, _ESI = map(ord, "BE")
_MAX_RAW_DLC = 15
# What `-e` says of an error frame in the lines after it: `error_classes` in lib.c of can-utils.
_ERROR_CLASSES = tuple(
    map(
        ascii_word,
        (
            "tx-timeout",
            "lost-arbitration",
            "controller-problem",
            "protocol-violation",
            "transceiver-status",
            "no-acknowledgement-on-tx",
            "bus-off",
            "bus-error",
            "restarted-after-bus-off",
            "error-counter-tx-rx",
        ),
    )
)


@partial(
    TextFormat,
    name="candump screen output",
    example="(000.000250)  can0  000001A2   [4]  00 11 22 FF",
    # Neither in colours (`-c`) nor in bits (`-i`): `refused` says what to do about those.
    line=re.compile(
        rb"(?!.*\x1b)"
        + CANDUMP_TIME
        + rb"\s+\S+\s+([RT]X\s+[-B]\s+[-E]\s+)?[0-9a-fA-F]+\s+(\[\d+\](?!\s+[01]{8}(\s|$))|\{[0-9A-F]\}).*"
    ),
    absolute_times=ABSOLUTE_TIMES,
)
def candump_screen(record: Row, text: Bytes, at: int, end: int, _dialect: object, names: Names) -> int:
    """Time, bus, perhaps direction, ID, length in brackets and bytes, perhaps with their text; or about an error."""
    code, at = put_candump_time_and_bus(record, names.buses, text, at, end)
    if code < 0:
        return COMMENT if _is_error_class(text, at, end) or is_dropcount(text, at, end) else code
    at = _skip_direction(text, at, end)
    if at < 0:
        return BAD_END
    start, at = put_candump_id(record, text, at, end)
    if start < 0:
        return start
    dlc, at = _read_length(text, skip_blanks(text, at, end), end)
    if dlc < 0:
        return dlc
    if is_word(text, skip_blanks(text, at, end), end, _REMOTE_REQUEST):
        return put_remote(record)
    count, after, word = byte_list(text, at, end, BLANK, 65)
    if count == 0 and is_at(text, after + 2, end, _BACKTICK):
        count, after, word = _reversed_bytes(text, at, end)
    if start == ERROR_FRAME:  # its meaning follows the bytes, as text
        return start if count == dlc else BAD_PAYLOAD
    return put_payload(record, dlc, count, word, after == end or _is_text_of(text, after, end, count))


@register_jitable
def _skip_direction(text: Bytes, at: int, end: int) -> int:
    """The offset after `RX - -`, whose marks say bit rate switch and error state of FD; -1 where they are others."""
    after = skip_word(text, at, end)
    if not is_direction(text, at, after):
        return at
    for mark in (_BRS, _ESI):
        at = skip_blanks(text, after, end)
        after = skip_word(text, at, end)
        if after != at + 1 or (text[at] != _MINUS and text[at] != mark):
            return -1
    return skip_blanks(text, after, end)


@register_jitable
def _read_length(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """`[8]`, or `{E}` where the DLC may be 9 to 15 for eight bytes; a code where it is neither."""
    is_raw = is_at(text, at, end, _LEFT_BRACE)
    length, after = hex_number(text, at + 1, end) if is_raw else natural_number(text, at + 1, end)
    if not (is_raw or is_at(text, at, end, _LEFT)) or not is_at(text, after, end, _RIGHT_BRACE if is_raw else _RIGHT):
        return (MISSING_FIELD if after >= end else BAD_DLC), after
    if after == at + 3:
        return CAN_FD, after  # candump writes the length of an FD frame with two digits
    if length < 0 or length > (_MAX_RAW_DLC if is_raw else MAX_PAYLOAD_BYTES):
        return BAD_DLC, after
    return min(length, MAX_PAYLOAD_BYTES), after + 1


@register_jitable
def _reversed_bytes(text: Bytes, at: int, end: int) -> tuple[int, int, np.uint64]:
    """``33`22`11``, the last byte of the payload first, as `-S` writes it."""
    first = skip_blanks(text, at, end)
    count, at, left = hex_pairs(text, first, min(first + 2, end))
    more, at, rest = byte_list(text, at, end, _BACKTICK, 64)
    count += more
    left |= rest << np.uint64(8)
    word = np.uint64(0)
    for _ in range(min(count, 8)):
        word = (word << np.uint64(8)) | (left & np.uint64(0xFF))
        left >>= np.uint64(8)
    return count, at, word


@register_jitable
def _is_text_of(text: Bytes, at: int, end: int, count: int) -> bool:
    """Whether `'.A2'` follows, a character for each byte."""
    is_quote = text[at] == _QUOTE or text[at] == _BACKTICK
    return is_quote and at + count + 2 == end and text[end - 1] == text[at]


@register_jitable
def _is_error_class(text: Bytes, at: int, end: int) -> bool:
    """`controller-problem{rx-error-warning}`, what `-e` says of the error frame before this line."""
    brace = at
    while brace < end and text[brace] != _LEFT_BRACE:
        brace += 1
    if brace < end and text[end - 1] != _RIGHT_BRACE:
        return False
    for error_class in _ERROR_CLASSES:  # noqa: SIM110  (numba compiles no generator expression)
        if is_word(text, at, brace, error_class):
            return True
    return False
