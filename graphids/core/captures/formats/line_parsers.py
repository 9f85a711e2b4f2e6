"""Log lines of every layout, parsed into rows; compiled by numba.

`parse_lines` is the entry. It stops at the first bad line and says where and why, so that the caller, in Python, can
raise with file and line or count the line and go on.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphids.core.captures.formats import byte_parsers, candump_lines, csv_lines, line_records, log_lines
from graphids.core.captures.formats.byte_parsers import BLANK, TAB, Bytes, num_names, skip_blanks
from graphids.core.captures.formats.line_records import (
    BLANK_LINE,
    FRAME,
    LINE_TOO_LONG,
    NUL_BYTE,
    REMOTE_FRAME,
    Layout,
    Row,
)

_CAN_TRAIN_AND_TEST, _CAR_HACKING, _ATTACK_DEFENSE, _GVRET, _PYTHON_CAN_CSV, *_LOGS = map(int, Layout)
_CANDUMP_LOG, _CANDUMP_SCREEN, _NORMAL_RUN, _CRYSYS_TRACE, _BUSMASTER, _CANHACKER, _PCAN = _LOGS
_NEWLINE, _RETURN = 10, 13
# The longest line of any format in the field has some 200 bytes. A line without an end must not fill the memory.
MAX_LINE_BYTES = 1 << 12


class Dialect(NamedTuple):
    """What a file's first lines settle about the others.

    `variant` counts the optional columns that are present, `columns` is the order of a PCAN trace's columns as its
    letters, `origin_s` the start of the recording that offsets are added to.
    """

    layout: int
    variant: int
    columns: Bytes
    origin_s: float


class Names(NamedTuple):
    """Tables of the names that occur in a file (`byte_parsers.name_index`)."""

    channels: Bytes
    kinds: Bytes


@njit(nogil=True)
def _parse_line(record: Row, dialect: Dialect, names: Names, text: Bytes, at: int, end: int) -> int:
    layout, variant = dialect.layout, dialect.variant
    if layout == _CAN_TRAIN_AND_TEST:
        return csv_lines.can_train_and_test(record, text, at, end, variant)
    if layout == _CAR_HACKING:
        return csv_lines.car_hacking(record, text, at, end)
    if layout == _ATTACK_DEFENSE:
        return csv_lines.attack_defense(record, names.kinds, text, at, end, variant)
    if layout == _GVRET:
        return csv_lines.gvret(record, names.channels, text, at, end, variant)
    if layout == _PYTHON_CAN_CSV:
        return csv_lines.python_can_csv(record, text, at, end)
    if layout == _CANDUMP_LOG:
        return candump_lines.candump_log(record, names.channels, text, at, end, variant)
    if layout == _CANDUMP_SCREEN:
        return candump_lines.candump_screen(record, names.channels, text, at, end)
    if layout == _NORMAL_RUN:
        return log_lines.normal_run(record, text, at, end)
    if layout == _CRYSYS_TRACE:
        return log_lines.crysys_trace(record, text, at, end)
    if layout == _BUSMASTER:
        return log_lines.busmaster(record, names.channels, text, at, end)
    if layout == _CANHACKER:
        return log_lines.canhacker(record, text, at, end)
    return log_lines.pcan(record, names.channels, text, at, end, dialect.columns, dialect.origin_s)


@njit(nogil=True)
def _holds_nul(text: Bytes, at: int, end: int) -> bool:
    return bool(np.any(text[at:end] == 0))


@njit(nogil=True)
def _forget_names(names: Bytes, kept: int) -> None:
    """Drop the names behind the first `kept`: a bad line may have added one."""
    for row in range(kept, num_names(names)):
        names[row, :] = 0


def _source_digest() -> str:
    """Digest of what the entry is compiled from; numba's cache looks at the entry's own file and closure alone."""
    modules = (byte_parsers, line_records, candump_lines, csv_lines, log_lines)
    return hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in modules)).hexdigest()


_SOURCES = _source_digest()


def _compiled(sources: str) -> Callable[..., tuple[int, int, int, int]]:
    """`parse_lines`, cached on disk under `sources`: a parser of yesterday must not read the frames of today."""

    @njit(cache=True, nogil=True)
    def parse_lines(
        dialect: Dialect,
        names: Names,
        text: Bytes,
        at: int,
        has_nul: bool,
        rows: NDArray[np.void],
        counts: NDArray[np.int64],
    ) -> tuple[int, int, int, int]:
        """Parse lines of `text` from offset `at` into `rows`: to the end, until `rows` is full or behind a bad line.

        Counts what it meets by its code. `has_nul` says that a NUL byte occurs somewhere, so that lines are searched
        for one.

        Returns:
            The number of rows filled, the offset behind the last line read, the number of lines read, and the bad
            line's code or `FRAME`. The bad line's record lies in the next free row.
        """
        _ = sources  # a closure over it makes it part of the cache's key
        lines, row = 0, 0
        num_channels, num_kinds = num_names(names.channels), num_names(names.kinds)
        while at < text.size and row < rows.size:
            end = at
            while end < text.size and text[end] != _NEWLINE:
                end += 1
            next_line = end + 1
            is_too_long = end - at > MAX_LINE_BYTES
            while end > at and (text[end - 1] == BLANK or text[end - 1] == TAB or text[end - 1] == _RETURN):
                end -= 1
            at = skip_blanks(text, at, end)
            lines += 1
            record = rows[row]
            record.payload, record.kind, record.channel, record.attack = 0, 0, 0, 0
            if has_nul and _holds_nul(text, at, end):
                code = NUL_BYTE
            elif is_too_long:
                code = LINE_TOO_LONG
            else:
                code = _parse_line(record, dialect, names, text, at, end) if at < end else BLANK_LINE
            at = next_line
            if code < 0:
                _forget_names(names.channels, num_channels)
                _forget_names(names.kinds, num_kinds)
                return row, at, lines, code
            # An error frame names its bus too: it is on record, so that the bus' index stands.
            num_channels, num_kinds = max(num_channels, record.channel + 1), max(num_kinds, record.kind + 1)
            counts[code] += 1
            row += code in (FRAME, REMOTE_FRAME)
        return row, at, lines, FRAME

    return parse_lines


parse_lines = _compiled(_SOURCES)
