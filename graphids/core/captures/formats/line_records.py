"""What one log line becomes: a row, and a code that says what the line was."""

from typing import Protocol

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    COMMA,
    Bytes,
    byte_list,
    decimal_number,
    hex_number,
    is_at,
    natural_number,
)
from graphids.core.captures.formats.names import name_index
from graphids.core.frames import MAX_EXTENDED_ID, MAX_PAYLOAD_BYTES, MAX_STANDARD_ID, MAX_TIMESTAMP_S

POINT = ord(".")

# One record per row, not one array per column: a parser is then handed one pointer, and a row is one cache line.
# `found` is the number of payload bytes of a line whose length is wrong.
ROW = np.dtype(
    [
        ("timestamp", "<f8"),
        ("payload", "<u8"),
        ("arbitration_id", "<u4"),
        ("kind", "<i2"),
        ("dlc", "u1"),
        ("is_extended", "?"),
        ("channel", "u1"),
        ("attack", "u1"),
        ("found", "u1"),
    ],
    align=True,
)


class Row(Protocol):
    """A record of `ROW` as compiled code sees it."""

    timestamp: float
    payload: np.uint64
    arbitration_id: int
    kind: int
    dlc: int
    is_extended: bool
    channel: int
    attack: int
    found: int


# What a line turned out to be, as plain integers for the compiled code; negative where it is bad.
FRAME, REMOTE_FRAME, ERROR_FRAME, COMMENT, BLANK_LINE = range(5)
BAD_TIMESTAMP, BAD_ID, ID_TOO_LARGE, BAD_DLC, BAD_PAYLOAD, LENGTH_MISMATCH = range(-1, -7, -1)
BAD_LABEL, BAD_BUS, BAD_END, CAN_FD, BAD_KIND, MISSING_FIELD = range(-7, -13, -1)
LINE_TOO_LONG, NUL_BYTE, TIME_TOO_LARGE = range(-13, -16, -1)
# Of header lines that change what the lines after them mean, which are refused even where bad lines are dropped.
RELATIVE_TIMES, OTHER_BASE, OTHER_HEADER = range(-16, -19, -1)
NUM_COUNTED = BLANK_LINE + 1


@register_jitable
def put_time(record: Row, seconds: float) -> int:
    """Store a timestamp; NaN if none was found. Infinite if the start of the recording was, which some formats add."""
    record.timestamp = seconds
    if np.isfinite(seconds):
        return FRAME if abs(seconds) < MAX_TIMESTAMP_S else TIME_TOO_LARGE
    return BAD_TIMESTAMP


@register_jitable
def put_id(record: Row, identifier: int, is_extended: bool) -> int:
    """Store an arbitration ID, with 29 bits if the format says so or the value needs them; -1 if none was found."""
    if identifier < 0:
        return BAD_ID
    if identifier > MAX_EXTENDED_ID:
        return ID_TOO_LARGE
    record.arbitration_id = identifier
    record.is_extended = is_extended or identifier > MAX_STANDARD_ID
    return FRAME


@register_jitable
def put_flagged_id(record: Row, identifier: int, is_extended: bool) -> int:
    """Store an arbitration ID of a format that says how many bits each has; one of 11 bits has to fit them."""
    if not is_extended and identifier > MAX_STANDARD_ID:
        return ID_TOO_LARGE
    return put_id(record, identifier, is_extended)


@register_jitable
def put_bus(record: Row, names: Bytes, text: Bytes, at: int, end: int) -> int:
    """Store the index of the bus named `text[at:end]`."""
    channel = name_index(names, text, at, end, False)
    if channel < 0:
        return BAD_BUS
    record.channel = channel
    return FRAME


@register_jitable
def put_payload(record: Row, dlc: int, count: int, word: np.uint64, is_whole: bool) -> int:
    """Store a payload of `count` bytes where `dlc` were announced; `is_whole` if no other text follows it."""
    record.dlc = dlc
    record.payload = word
    record.found = min(count, 255)
    if count == dlc and is_whole:
        return FRAME
    if is_whole or count > MAX_PAYLOAD_BYTES:
        return LENGTH_MISMATCH
    return BAD_PAYLOAD if count < dlc else BAD_END


@register_jitable
def put_remote(record: Row) -> int:
    """Store a remote frame, which carries no payload."""
    record.dlc = 0
    return REMOTE_FRAME


@register_jitable
def read_dlc(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """DLC from 0 to 8 and the offset after it; -1 where there is none."""
    value, after = natural_number(text, at, end)
    return (value if value <= MAX_PAYLOAD_BYTES else -1), after


@register_jitable
def put_spaced_payload(record: Row, text: Bytes, at: int, end: int, dlc: int) -> int:
    """`dlc` bytes between blanks up to the line's end."""
    count, at, word = byte_list(text, at, end, BLANK, 65)
    return put_payload(record, dlc, count, word, at == end)


@register_jitable
def put_csv_start(record: Row, text: Bytes, at: int, end: int, shift: int) -> tuple[int, int]:
    """`1700000000.000250,1A2,`: timestamp in units of `10**-shift` seconds, and ID; the offset after the comma."""
    seconds, at = decimal_number(text, at, end, POINT, shift)
    code = put_time(record, seconds)
    if code < 0 or not is_at(text, at, end, COMMA):
        return min(code, BAD_TIMESTAMP), at
    identifier, at = hex_number(text, at + 1, end)
    code = put_id(record, identifier, False)
    if code == FRAME and not is_at(text, at, end, COMMA):
        code = MISSING_FIELD if at == end else BAD_ID
    return code, at + 1
