"""The csv of Intrepid's Vehicle Spy, which it calls a bus traffic file.

Lines above the data name the networks with their protocols, then the columns, once for each kind of network. Rows of
other networks than CAN (J1708, LIN, FlexRay) are comments.
"""

import re
from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    COMMA,
    Bytes,
    ascii_word,
    decimal_number,
    hex_number,
    is_at,
    is_word,
    natural_number,
)
from graphids.core.captures.formats.delimited import UP_TO_TWO_HEX_DIGITS, byte_fields, csv_field_end
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_END,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    COMMENT,
    ERROR_FRAME,
    MISSING_FIELD,
    POINT,
    Row,
    put_bus,
    put_flagged_id,
    put_payload,
    put_remote,
    put_time,
)
from graphids.core.captures.formats.names import MAX_NAMES, NAME_BYTES, Names, names_table
from graphids.core.captures.formats.text_format import TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES

_LINE, _ARB_ID = map(ascii_word, ("line", "arb id"))
_T, _F = map(ascii_word, "tf")
_REL_TIME, _STATUS, _ERROR, _SENT, _DESCRIPTION, _NETWORK, _NODE, _ID = range(2, 10)  # columns


class Dialect(NamedTuple):
    """How many columns bytes have, and a table of the networks that are not CAN."""

    num_bytes: int
    other_networks: Bytes


def _dialect(head: bytes, match: re.Match[bytes]) -> Dialect:
    table = re.search(rb"^Network Description,.*\n((?:.*[^,\s].*\n)*)", head, re.MULTILINE | re.IGNORECASE)
    rows = [line.split(b",") for line in table[1].splitlines()] if table else []
    others = {
        name.strip().decode("ascii", "ignore")[:NAME_BYTES]
        for row in rows
        if len(row) > 3 and not row[3].strip().upper().startswith(b"CAN")
        for name in (row[0], row[2])
    }
    names = sorted(others - {""})[:MAX_NAMES]
    return Dialect(len(re.findall(rb",b\d+", match[0], re.IGNORECASE)), names_table(*names))


@partial(
    TextFormat,
    name="Vehicle Spy csv",
    example="2,2550.368293675,0.003818175,67371008,F,F,HS CAN $1A2,HS CAN,,1A2,F,F,00,11,22,FF,,,,,,,",
    header=header(
        r"line,abs time ?\(sec\),rel time ?\(sec\),status,er,tx,description,network,node,arb id,"
        r"remote(?:/edl-brs-esi)?,xtd(?:,b\d+){8,},value.*"
    ),
    leads=False,
    dialect=_dialect,
)
def vehicle_spy(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Number; seconds; seconds since the row before; status; error; sent; names; ID; remote; 29 bits; bytes."""
    first, after = at, csv_field_end(text, at, end)
    if is_word(text, first, after, _LINE):
        return _code_of_columns(text, at, end)
    if natural_number(text, at, end)[1] != after or after == at:
        return BAD_TIMESTAMP
    seconds, at = decimal_number(text, after + 1, end, POINT, 0)
    code = put_time(record, seconds)
    if code < 0 or not is_at(text, at, end, COMMA):
        return min(code, BAD_TIMESTAMP)
    is_error = 0
    for column in range(_REL_TIME, _ID):
        first = at + 1
        at = csv_field_end(text, first, end)
        if at >= end:
            return MISSING_FIELD
        if column == _ERROR:
            is_error = _truth(text, first, at)
        elif column == _NETWORK:
            if _is_listed(dialect.other_networks, text, first, at):
                return COMMENT
            if put_bus(record, names.buses, text, first, at) < 0:
                return BAD_BUS
    if is_error:
        return ERROR_FRAME if is_error > 0 else BAD_END
    return _put_id_and_bytes(record, text, at + 1, end, dialect.num_bytes)


@register_jitable
def _put_id_and_bytes(record: Row, text: Bytes, at: int, end: int, num_bytes: int) -> int:
    """`1A2,F,F,00,11,,,,,,,`, of which what follows the columns of bytes is not read."""
    identifier, at = hex_number(text, at, end)
    if not is_at(text, at, end, COMMA):
        return MISSING_FIELD if at >= end else BAD_ID
    remote_end = csv_field_end(text, at + 1, end)
    extended_end = csv_field_end(text, remote_end + 1, end)
    is_remote = _truth(text, at + 1, remote_end)
    is_extended = _truth(text, remote_end + 1, extended_end)
    if is_remote < 0 or is_extended < 0:
        return MISSING_FIELD if extended_end >= end else BAD_END
    code = put_flagged_id(record, identifier, is_extended > 0)
    if code < 0:
        return code
    count, at, word = byte_fields(text, extended_end, end, COMMA, num_bytes, UP_TO_TWO_HEX_DIGITS)
    if count < 0:
        return BAD_PAYLOAD
    if not is_at(text, at, end, COMMA):
        return MISSING_FIELD  # a line that is cut off after a byte would be a shorter frame
    if is_remote:
        return put_remote(record)
    return put_payload(record, min(count, MAX_PAYLOAD_BYTES), count, word, True)


@register_jitable
def _truth(text: Bytes, at: int, end: int) -> int:
    """1 for `T`, 0 for `F`, -1 for anything else."""
    return 1 if is_word(text, at, end, _T) else int(is_word(text, at, end, _F)) - 1


@register_jitable
def _code_of_columns(text: Bytes, at: int, end: int) -> int:
    """The columns of other networks are a comment; those of CAN do not come twice."""
    while at < end:
        first = at
        at = csv_field_end(text, first, end)
        if is_word(text, first, at, _ARB_ID):
            return BAD_TIMESTAMP
        at += 1
    return COMMENT


@register_jitable
def _is_listed(table: Bytes, text: Bytes, at: int, end: int) -> bool:
    """Whether `text[at:end]` is a name in the table."""
    for row in range(MAX_NAMES):
        if table[row, NAME_BYTES] == 0:
            break
        if table[row, NAME_BYTES] == end - at:
            is_equal = True
            for column in range(end - at):
                is_equal = is_equal and table[row, column] == text[at + column]
            if is_equal:
                return True
    return False
