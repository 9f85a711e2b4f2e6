"""Text formats, recognised from content.

A format is a layout of its data lines (`line_parsers`) and what its first lines settle: whether labels are there, the
order of columns, the start of the recording.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

import numpy as np

from graphids.core.captures.formats.line_parsers import Dialect
from graphids.core.captures.formats.line_records import Layout
from graphids.core.frames import LogFormatError

ATTACK = "attack"
HEAD_BYTES = 1 << 16  # enough for every header in the field; a format is recognised from this much
_HEAD_LINES = 200
_HEAD_LINE_BYTES = 1024  # longer ones are no header, and would take a pattern's time
_TIME = rb"-?\d+(\.\d+)?([eE][-+]?\d+)?"
_UNIX_EPOCH_DAYS = 25569  # PCAN counts days from 1899-12-30


@dataclass(frozen=True, slots=True)
class TextFormat:
    """A text format.

    Attributes:
        name: As users know it.
        layout: Of its data lines.
        example: One data line, for error messages.
        header: Matches the header line behind which data begin; None where data lines stand by themselves.
        line: Matches a data line; recognises a format that has no header.
        leads: Whether the header has to be the first line that is not blank.
        dialect: Variant, columns and origin in seconds, from the head and the match that recognised the format.
    """

    name: str
    layout: Layout
    example: str
    header: re.Pattern[bytes] | None = None
    line: re.Pattern[bytes] | None = None
    leads: bool = True
    dialect: Callable[[bytes, re.Match[bytes]], tuple[int, bytes, float]] = lambda _head, _match: (0, b"", 0.0)


def _optional_columns(_head: bytes, match: re.Match[bytes]) -> tuple[int, bytes, float]:
    return sum(group is not None for group in match.groups()), b"", 0.0


def _crysys_flags(_head: bytes, match: re.Match[bytes]) -> tuple[int, bytes, float]:
    return int(match["flags"] is not None), b"", 0.0


_PCAN_COLUMNS = {b"1.0": b"NOILD", b"1.1": b"NOdILD", b"1.2": b"NOBdILD", b"1.3": b"NOBdIRLD"}


def _pcan_dialect(head: bytes, _match: re.Match[bytes]) -> tuple[int, bytes, float]:
    version = re.search(rb"^;\$FILEVERSION=(\S+)", head, re.MULTILINE)
    columns = re.search(rb"^;\$COLUMNS=(\S+)", head, re.MULTILINE)
    order = columns[1].replace(b",", b"") if columns else _PCAN_COLUMNS.get(version[1] if version else b"1.0")
    is_known = order is not None and {*b"OID"} <= {*order} <= {*b"NOTBIdRlLD"} and len({*order}) == len(order)
    if order is None or not is_known:
        found = version[1][:16].decode("ascii", "backslashreplace") if version else "?"
        raise LogFormatError(
            f"PCAN trace of version {found} without a usable $COLUMNS line. "
            f"Expected version 1.0 to 2.1, each column once; convert it with PEAK-Converter."
        )
    return 0, order, _start_time_s(head)


def _start_time_s(head: bytes) -> float:
    """Start of a PCAN recording in unix seconds, 0 where the head does not give it."""
    days = re.search(rb"^;?\$STARTTIME=(\d+(?:\.\d+)?)", head, re.MULTILINE)
    # In float64 a number of days resolves 0.6 microseconds; frames lie closer than the error that would add up to.
    return float((Decimal(days[1].decode()) - _UNIX_EPOCH_DAYS) * 86400) if days else 0.0


def _header(names: str) -> re.Pattern[bytes]:
    return re.compile(names.encode(), re.IGNORECASE)


TEXT_FORMATS: tuple[TextFormat, ...] = (
    TextFormat(
        "can-train-and-test csv",
        Layout.CAN_TRAIN_AND_TEST,
        "1700000000.000250,1A2,00112233445566FF,0",
        header=_header(r"timestamp,arbitration_id,data_field(,attack)?"),
        dialect=_optional_columns,
    ),
    TextFormat(
        "Attack & Defense Challenge csv",
        Layout.ATTACK_DEFENSE,
        "1700000000.125,1A2,4,00 11 22 FF,Normal,Normal",
        header=_header(r"timestamp,arbitration_id,dlc,data(,class(,subclass)?)?"),
        dialect=_optional_columns,
    ),
    TextFormat(
        "SavvyCAN GVRET csv",
        Layout.GVRET,
        "1000250,000001A2,false,0,3,00,11,FF",
        header=_header(r"time stamp,id,extended(,dir)?,bus,len(?:,d[1-8])*,?"),
        dialect=_optional_columns,
    ),
    TextFormat(
        "python-can csv",
        Layout.PYTHON_CAN_CSV,
        "1700000000.000250,0x1a2,0,0,0,3,ABH/",
        header=_header(r"timestamp,arbitration_id,extended,remote,error,dlc,data"),
    ),
    TextFormat(
        "CanHacker trace",
        Layout.CANHACKER,
        "10,250 1A2      4 00 11 22 FF",
        header=_header(r"time\s+id\s+dlc\s+data(\s+comment)?"),
    ),
    TextFormat(
        "PEAK-Converter csv",
        Layout.PCAN,
        "1 0.250 1 Rx DT 01A2 - 4 00 11 22 FF",
        header=_header(r"number time \(ms\) bus direction type id \(hex\) reserved length d0( d\d| d\.\.\.)*"),
        leads=False,
        dialect=lambda head, _match: (0, b"NOBdTIRLD", _start_time_s(head)),
    ),
    TextFormat(
        "HCRL Car-Hacking csv",
        Layout.CAR_HACKING,
        "1700000000.000250,01a2,4,00,11,22,ff,R",
        line=re.compile(_TIME + rb",[0-9a-fA-F]+,\d,([0-9a-fA-F]{2},)*[RT]"),
    ),
    TextFormat(
        "HCRL normal text",
        Layout.NORMAL_RUN,
        "Timestamp: 1700000000.000250        ID: 01a2    000    DLC: 4    00 11 22 ff",
        line=re.compile(rb"Timestamp:\s*\d.*\sID:\s.*\sDLC:.*"),
    ),
    TextFormat(
        "candump -l",
        Layout.CANDUMP_LOG,
        "(1700000000.000250) can0 1A2#00112233445566FF",
        line=re.compile(
            rb"\(" + _TIME + rb"\)\s+\S+\s+[0-9a-fA-F]+#\S*(?P<flags>\s+(False|True|[01])\s+(False|True|[01]))?.*"
        ),
        dialect=_crysys_flags,
    ),
    TextFormat(
        "candump -t z",
        Layout.CANDUMP_SCREEN,
        "(000.000250)  can0  000001A2   [4]  00 11 22 FF",
        line=re.compile(rb"\(" + _TIME + rb"\)\s+\S+\s+[0-9a-fA-F]+\s+\[\d+\].*"),
    ),
    TextFormat(
        "CrySyS trace",
        Layout.CRYSYS_TRACE,
        "1700000000.000250        01a2    000    4    00 11 22 ff",
        line=re.compile(_TIME + rb"\s+[0-9a-fA-F]+\s+\d{3}\s+\d(\s+[0-9a-fA-F]{2})*"),
    ),
    TextFormat(
        "BUSMASTER log",
        Layout.BUSMASTER,
        "12:00:00:250 Rx 1 0x1A2 s 4 00 11 22 FF",
        line=re.compile(rb"\*\*\*BUSMASTER.*|\d+:\d+:\d+:\d+ [RT]x \d+ 0x.*"),
    ),
    TextFormat(
        "PCAN trace",
        Layout.PCAN,
        "1)         0.2  Rx         01A2  4  00 11 22 FF",
        line=re.compile(rb";\$FILEVERSION=.*|\d+\)\s+\d+(\.\d+)?\s+.*"),
        dialect=_pcan_dialect,
    ),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """A format found in a file: where its data begin (offset and line number), and its dialect."""

    format: TextFormat
    data_start: int
    first_line: int
    dialect: Dialect


def recognise(head: bytes) -> Recognised | None:
    """The text format of a file that begins with `head`, at most `HEAD_BYTES` of it; None where it is unknown."""
    bom = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    lines = list(islice(io.BytesIO(head[bom:]), _HEAD_LINES))
    offsets = np.cumsum([bom, *map(len, lines)])
    is_first = True
    for number, line in enumerate(map(bytes.strip, lines)):
        for text_format in TEXT_FORMATS if 0 < len(line) <= _HEAD_LINE_BYTES else ():
            pattern = text_format.header or text_format.line
            match = pattern.fullmatch(line) if pattern else None
            if match is None or (text_format.header and text_format.leads and not is_first):
                continue
            variant, columns, origin_s = text_format.dialect(head, match)
            dialect = Dialect(int(text_format.layout), variant, np.frombuffer(columns, dtype=np.uint8), origin_s)
            if text_format.header:
                return Recognised(text_format, int(offsets[number + 1]), number + 2, dialect)
            return Recognised(text_format, bom, 1, dialect)
        is_first = is_first and not line
    return None
