"""The trace of CanHacker."""

import re
from functools import partial
from typing import NamedTuple

from graphids.core.captures.formats.byte_parsers import (
    BLANK,
    COMMA,
    Bytes,
    byte_list,
    decimal_number,
    hex_number,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_TIMESTAMP,
    Row,
    put_flagged_id,
    put_payload,
    put_time,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, header


class Dialect(NamedTuple):
    """The byte of the decimal sign, which is that of the system's language."""

    decimal_sign: int


def _dialect(head: bytes, _match: re.Match[bytes]) -> Dialect:
    time = re.search(rb"^\s*-?\d+([.,])\d", head, re.MULTILINE)
    return Dialect(time[1][0] if time else COMMA)


@partial(
    TextFormat,
    name="CanHacker trace",
    example="10,250 1A2      4 00 11 22 FF",
    header=header(r"time\s+id\s+dlc\s+data(\s+comment)?"),
    dialect=_dialect,
    absolute_times="record again with CanHacker's absolute time stamps",
)
def canhacker(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, _names: Names) -> int:
    """Time, ID, DLC and bytes; whatever follows them is a comment."""
    seconds, at = decimal_number(text, at, end, dialect.decimal_sign, 0)
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
