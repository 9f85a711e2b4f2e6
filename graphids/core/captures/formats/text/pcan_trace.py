"""The traces of PEAK's tools, `.trc`, in versions 1.0 to 2.1."""

import re
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import (
    Bytes,
    ascii_word,
    decimal_number,
    hex_number,
    is_direction,
    is_word,
    skip_blanks,
    skip_word,
)
from graphids.core.captures.formats.line_records import (
    BAD_BUS,
    BAD_DLC,
    BAD_END,
    BAD_TIMESTAMP,
    CAN_FD,
    COMMENT,
    ERROR_FRAME,
    FRAME,
    MISSING_FIELD,
    OTHER_HEADER,
    POINT,
    REMOTE_FRAME,
    Row,
    put_bus,
    put_flagged_id,
    put_remote,
    put_spaced_payload,
    put_time,
    read_dlc,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, quoted
from graphids.core.frames import LogFormatError

_RTR = ascii_word("rtr")
_DT, _RR, _FD, _FB, _FE, _BI = map(ascii_word, ("dt", "rr", "fd", "fb", "fe", "bi"))
_ER, _ERROR, _ST, _EC, _EV, _WARNG = map(ascii_word, ("er", "error", "st", "ec", "ev", "warng"))
_SETTING_NAMES = tuple(map(ascii_word, ("$fileversion=", "$starttime=", "$columns=")))
_SETTING_LINE = re.compile(rb";?\$(FILEVERSION|STARTTIME|COLUMNS)=(.*)", re.IGNORECASE)
_START_COMMENT = re.compile(rb"^[; \t]*Start time:", re.MULTILINE | re.IGNORECASE)
_SEMICOLON, _DOLLAR = map(ord, ";$")
_PRIME = 2_147_483_647
_UNIX_EPOCH_DAYS = 25569  # PCAN counts days from 1899-12-30
# The columns of a version without a $COLUMNS line, as the letters that such a line has.
_COLUMNS = {b"1.0": b"NOILD", b"1.1": b"NOdILD", b"1.2": b"NOBdILD", b"1.3": b"NOBdIRLD"}


class Dialect(NamedTuple):
    """The order of the columns, as the letters of a `$COLUMNS` line, and the start of the recording.

    N number, O offset in ms, B bus, I identifier, d direction, T type, R reserved, L or l length, D data.
    `settings` are digests of the values in the head that these depend on, which no later line may contradict: version,
    start, columns; 0 where there is none.
    """

    columns: Bytes
    origin_s: float
    settings: tuple[int, int, int]


def read_settings(head: bytes) -> dict[bytes, bytes]:
    """Values, by their names, of the lines of a head that settle what the rows mean.

    Raises:
        LogFormatError: If one has two values.
    """
    settings: dict[bytes, bytes] = {}
    for line in [line.strip() for line in head.splitlines() if b"$" in line]:  # a pattern alone takes milliseconds
        if not (match := _SETTING_LINE.fullmatch(line)):
            continue
        known = settings.setdefault(match[1].lower(), match[2])
        if known != match[2]:
            raise LogFormatError(
                f"gives ${match[1].decode()} twice, as `{quoted(known)}` and `{quoted(match[2])}`. Expected one "
                "recording in a file; cut a file that was joined from several."
            )
    return settings


def dialect_of(columns: bytes, settings: dict[bytes, bytes], head: bytes, *, has_start: bool) -> Dialect:
    """Columns in an order that is known, and the start that the head gives, in unix seconds; 0 where it does not.

    Raises:
        LogFormatError: If the head lost the line of the start that a tool of the format writes (`has_start`) beside the
            start as a comment.
    """
    days = re.match(rb"\d+(?:\.\d+)?", settings.get(b"starttime", b""))
    if has_start and days is None and _START_COMMENT.search(head):
        raise LogFormatError(
            "says `Start time:` in a comment but has no line $STARTTIME, which every such file has. Expected the start "
            "of the recording, `$STARTTIME=<days since 1899-12-30>`; put the line back, or remove the comment too to "
            "read times since the start."
        )
    # In float64 a number of days resolves 0.6 microseconds; frames lie closer than the error that would add up to.
    origin_s = float((Decimal(days[0].decode()) - _UNIX_EPOCH_DAYS) * 86400) if days else 0.0
    values = [settings.get(name) for name in (b"fileversion", b"starttime", b"columns")]
    version, start, order = (0 if value is None else _digest(value, 0, len(value)) for value in values)
    return Dialect(np.frombuffer(columns, dtype=np.uint8), origin_s, (version, start, order))


def _dialect(head: bytes, _match: re.Match[bytes]) -> Dialect:
    settings = read_settings(head)
    version, columns = settings.get(b"fileversion"), settings.get(b"columns")
    order = columns.replace(b",", b"") if columns else _COLUMNS.get(version or b"1.0")
    is_known = order is not None and {*b"OID"} <= {*order} <= {*b"NOTBIdRlLD"} and len({*order}) == len(order)
    if order is None or not is_known:
        found = quoted(version) if version else "?"
        raise LogFormatError(
            f"PCAN trace of version {found} without a usable $COLUMNS line. "
            f"Expected version 1.0 to 2.1, each column once; convert it with PEAK-Converter."
        )
    return dialect_of(order, settings, head, has_start=version not in (None, b"1.0"))


@partial(
    TextFormat,
    name="PCAN trace",
    example="1)         0.2  Rx         01A2  4  00 11 22 FF",
    line=re.compile(rb";\$FILEVERSION=.*|\d+\)\s+\d+(\.\d+)?\s+.*"),
    dialect=_dialect,
    absolute_times="save the trace again with time offsets from the start of the recording, as PCAN-View does",
)
def pcan_trace(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Fields in the order of the dialect, or a comment."""
    return parse_fields(record, text, at, end, dialect, names)


@register_jitable
def parse_fields(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, names: Names) -> int:
    """Fields between blanks. Up to version 1.3 the direction also says what is not a frame (`Warng`, `Error`)."""
    if text[at] == _SEMICOLON or text[at] == _DOLLAR:
        return _header_code(text, at, end, dialect.settings)
    code, dlc = FRAME, 0
    for column in dialect.columns:
        if column == ord("D"):
            break
        first = skip_blanks(text, at, end)
        at = skip_word(text, first, end)
        if first == end:
            return MISSING_FIELD
        if column == ord("O"):
            seconds, after = decimal_number(text, first, at, POINT, 3)
            time_code = put_time(record, dialect.origin_s + seconds)
            if time_code < 0 or after != at:
                return min(time_code, BAD_TIMESTAMP)
        elif column == ord("B"):
            if put_bus(record, names.buses, text, first, at) < 0:
                return BAD_BUS
        elif column == ord("T"):
            code = _type_code(text, first, at)
            if code != FRAME and code != REMOTE_FRAME:
                return code
        elif column == ord("d"):
            if not is_direction(text, first, at):
                return _no_direction_code(text, first, at)
        elif column == ord("I"):
            identifier, after = hex_number(text, first, at)
            if identifier == 0xFFFF_FFFF:
                return COMMENT  # a status message of version 1.0, which has no type column
            id_code = put_flagged_id(record, identifier if after == at else -1, at - first > 4)
            if id_code < 0:
                return id_code
        elif column == ord("L") or column == ord("l"):
            dlc, after = read_dlc(text, first, at)
            if dlc < 0 or after != at:
                return BAD_DLC
    if code == REMOTE_FRAME or is_word(text, skip_blanks(text, at, end), end, _RTR):
        return put_remote(record)
    return put_spaced_payload(record, text, at, end, dlc)


@register_jitable
def _header_code(text: Bytes, at: int, end: int, settings: tuple[int, int, int]) -> int:
    """`COMMENT`, unless a line contradicts the setting of its name, or the head had none."""
    first = at + (text[at] == _SEMICOLON)
    for number in range(len(_SETTING_NAMES)):
        after = first + _SETTING_NAMES[number].size
        if after <= end and is_word(text, first, after, _SETTING_NAMES[number]):
            return COMMENT if _digest(text, after, end) == settings[number] else OTHER_HEADER
    return COMMENT if text[at] == _SEMICOLON else BAD_TIMESTAMP


@register_jitable
def _digest(text: Bytes | bytes, at: int, end: int) -> int:
    """A number above 0 that tells `text[at:end]` from other values; an array in the dialect costs 7 % of throughput."""
    digest = 1
    for column in range(at, end):
        digest = (256 * digest + text[column]) % _PRIME + 1
    return digest


@register_jitable
def _no_direction_code(text: Bytes, first: int, end: int) -> int:
    """The code of what is neither `Rx` nor `Tx`."""
    if is_word(text, first, end, _ERROR):
        return ERROR_FRAME
    return COMMENT if is_word(text, first, end, _WARNG) else BAD_END


@register_jitable
def _type_code(text: Bytes, first: int, end: int) -> int:
    """The code of a type."""
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
