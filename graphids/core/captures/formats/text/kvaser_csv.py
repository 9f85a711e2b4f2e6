"""The csv that Kvaser's converters make of a Memorator's log (kvlclib, Memorator Tools, "CSV Frame").

The base of IDs and that of bytes are options of their own. Lines above the column names state both; where they were cut
away, the first rows have to settle them, or the file is refused. Flags are those of canlib (`canMSG_EXT` ...).
"""

import re
from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    ascii_word,
    decimal_number,
    hex_number,
    is_at,
    is_word,
    natural_number,
    skip_blanks,
)
from graphids.core.captures.formats.delimited import DECIMAL, TWO_HEX_DIGITS, byte_fields, decimal_sign, field_end
from graphids.core.captures.formats.kvaser_bases import byte_evidence, id_evidence, settled
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    CAN_FD,
    COMMENT,
    ERROR_FRAME,
    LENGTH_MISMATCH,
    MISSING_FIELD,
    OTHER_BASE,
    Row,
    put_bus,
    put_flagged_id,
    put_id,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import HEAD_BYTES, TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_RTR, _STD, _EXT, _ERROR, _TXRQ, _FDF = 0x1, 0x2, 0x4, 0x20, 0x80, 0x10000
_MAX_DLC = 15
_HEX, _DEC, _ID_LINE, _DATA_LINE = map(ascii_word, ("hex", "dec", "format of id field", "format of data field"))
_FIRST_OF_FORMAT = ord("f")
_ID, _FLAGS, _DATA = 2, 3, 5  # columns
_STATED = rb"^[ \t\"]*Format of %s field[^\w\n]*(HEX|DEC)\b"


class Dialect(NamedTuple):
    """What the lines above the data settle: the two bases, how fields are divided, how many columns bytes have."""

    has_decimal_ids: bool
    notation_of_bytes: int
    separator: int
    decimal_sign: int
    num_bytes: int


def _dialect(head: bytes, match: re.Match[bytes]) -> Dialect:
    separator = match["separator"]
    num_bytes = len(re.findall(rb"data\d+", match[0], re.IGNORECASE))
    after_names = head.partition(match[0])[2]
    lines = after_names.splitlines()
    if len(head) >= HEAD_BYTES:
        lines = lines[:-1]  # the head ends anywhere, within a number too
    rows = [[field.strip(b' "') for field in line.split(separator)] for line in lines]
    ids = [(row[_ID], int(row[_FLAGS]) & _EXT > 0) for row in rows if len(row) > _DATA and row[_FLAGS].isdigit()]
    numbers = [byte for row in rows for byte in row[_DATA : _DATA + num_bytes]]
    has_decimal_ids, has_decimal_bytes = _stated(head, b"id"), _stated(head, b"data")
    if has_decimal_ids is None:
        has_decimal_ids = settled("Kvaser csv", "IDs", id_evidence(ids))
    if has_decimal_bytes is None:
        has_decimal_bytes = settled("Kvaser csv", "data bytes", byte_evidence(numbers))
    return Dialect(
        has_decimal_ids=has_decimal_ids,
        notation_of_bytes=DECIMAL if has_decimal_bytes else TWO_HEX_DIGITS,
        separator=separator[0],
        decimal_sign=decimal_sign(after_names, separator),
        num_bytes=num_bytes,
    )


def _stated(head: bytes, field: bytes) -> bool | None:
    """Whether a line of the head says that the numbers of a field are decimal; None where none says anything."""
    found = re.search(_STATED % field, head, re.MULTILINE | re.IGNORECASE)
    return found[1].upper() == b"DEC" if found else None


@partial(
    TextFormat,
    name="Kvaser csv",
    example="12.00025,1,1a2,2,3,00,11,ff,,,,,,1",
    header=header(
        r"time(?P<separator>[,;\t|])channel(?P=separator)id(?P=separator)flags(?P=separator)dlc"
        r"((?P=separator)data\d+)+((?P=separator)counter)?((?P=separator)abstime)?(?P=separator)?"
    ),
    leads=False,
    dialect=_dialect,
)
def kvaser_csv(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Seconds, channel, ID, flags, DLC, bytes up to the last column of them, a counter, perhaps a date."""
    separator = dialect.separator
    if text[at] | 32 == _FIRST_OF_FORMAT:
        return _code_of_base(text, at, end, dialect)
    seconds, at = decimal_number(text, at, end, dialect.decimal_sign, 0)
    code = put_time(record, seconds)
    if code < 0 or not is_at(text, at, end, separator):
        return min(code, BAD_TIMESTAMP)
    first = at + 1
    at = field_end(text, first, end, separator)
    if at == end:
        return MISSING_FIELD
    if put_bus(record, names.buses, text, first, at) < 0:
        return BAD_BUS
    first = at + 1
    id_end = field_end(text, first, end, separator)
    flags, at = natural_number(text, id_end + 1, end)
    if flags < 0 or not is_at(text, at, end, separator):
        return MISSING_FIELD if at >= end else BAD_END
    if flags & (_ERROR | _TXRQ | _FDF):
        return _code_of_others(flags)
    code = _put_identifier(record, text, first, id_end, flags, dialect.has_decimal_ids)
    if code < 0:
        return code
    dlc, at = natural_number(text, at + 1, end)
    if dlc < 0 or dlc > _MAX_DLC or not is_at(text, at, end, separator):
        return MISSING_FIELD if at >= end else BAD_DLC
    dlc = min(dlc, MAX_PAYLOAD_BYTES)
    count, at, word = byte_fields(text, at, end, separator, dialect.num_bytes, dialect.notation_of_bytes)
    if count < 0:
        return BAD_PAYLOAD
    if at == end and count < dlc:
        return MISSING_FIELD
    if flags & _RTR:  # whatever bytes the buffer held are printed
        record.dlc, record.found = dlc, count
        return put_remote(record) if count in (0, dlc) else LENGTH_MISMATCH
    return put_payload(record, dlc, count, word, True)


@register_jitable
def _code_of_base(text: Bytes, at: int, end: int, dialect: Dialect) -> int:
    """`OTHER_BASE` for a line such as `Format of data field,DEC` that contradicts the first ones of a joined file."""
    name_end = field_end(text, at, end, dialect.separator)
    first = skip_blanks(text, name_end + 1, end)
    is_decimal = is_word(text, first, end, _DEC)
    if not is_decimal and not is_word(text, first, end, _HEX):
        return BAD_TIMESTAMP
    is_other = (is_word(text, at, name_end, _ID_LINE) and is_decimal != dialect.has_decimal_ids) or (
        is_word(text, at, name_end, _DATA_LINE) and is_decimal != (dialect.notation_of_bytes == DECIMAL)
    )
    return OTHER_BASE if is_other else BAD_TIMESTAMP


@register_jitable
def _code_of_others(flags: int) -> int:
    """The code of what is not a classic frame. A request to transmit is followed by the frame as it was sent."""
    if flags & _ERROR:
        return ERROR_FRAME
    return COMMENT if flags & _TXRQ else CAN_FD


@register_jitable
def _put_identifier(record: Row, text: Bytes, first: int, end: int, flags: int, is_decimal: bool) -> int:
    """Store `text[first:end]`; without a flag of either width its value decides."""
    if is_decimal:
        identifier, after = natural_number(text, first, end)
    else:
        has_prefix = is_at(text, first, end, 48) and is_at(text, first + 1, end, 120)
        identifier, after = hex_number(text, first + 2 if has_prefix else first, end)
    if after != end or identifier < 0:
        return BAD_ID
    if flags & (_STD | _EXT):
        return put_flagged_id(record, identifier, flags & _EXT > 0)
    return put_id(record, identifier, False)
