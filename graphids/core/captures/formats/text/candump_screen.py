"""What candump writes to the screen with a time that begins at zero, `candump -t z`."""

import re
from functools import partial

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    Bytes,
    ascii_word,
    byte_list,
    is_at,
    is_word,
    natural_number,
    skip_blanks,
)
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_PAYLOAD,
    CAN_FD,
    ERROR_FRAME,
    MISSING_FIELD,
    Row,
    put_payload,
    put_remote,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text.candump_log import ABSOLUTE_TIMES, put_candump_start
from graphids.core.captures.formats.text_format import TIME, TextFormat
from graphids.core.frames import MAX_PAYLOAD_BYTES

_REMOTE_REQUEST = ascii_word("remote request")
_QUOTE, _LEFT, _RIGHT = map(ord, "'[]")


@partial(
    TextFormat,
    name="candump -t z",
    example="(000.000250)  can0  000001A2   [4]  00 11 22 FF",
    line=re.compile(rb"\(" + TIME + rb"\)\s+\S+\s+[0-9a-fA-F]+\s+\[\d+\].*"),
    absolute_times=ABSOLUTE_TIMES,
)
def candump_screen(record: Row, text: Bytes, at: int, end: int, _dialect: object, names: Names) -> int:
    """Time, bus, ID, DLC in brackets and bytes, perhaps with the text of `candump -a`."""
    start, at = put_candump_start(record, names.buses, text, at, end)
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
    if start == ERROR_FRAME:  # its meaning follows the bytes, as text
        return start if count == dlc else BAD_PAYLOAD
    return put_payload(record, dlc, count, word, at == end or text[at] == _QUOTE)
