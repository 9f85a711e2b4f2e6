"""Log lines of every layout, parsed into rows; compiled by numba.

`parse_lines` is the entry. It stops at the first bad line and says where and why, so that the caller, in Python, can
raise with file and line or count the line and go on.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from graphids.core.data.formats import candump_lines, csv_lines, log_lines
from graphids.core.data.formats.byte_parsers import BLANK, TAB, Bytes, skip_blanks
from graphids.core.data.formats.line_records import BLANK_LINE, FRAME, REMOTE_FRAME, Layout, Row

_CAN_TRAIN_AND_TEST, _CAR_HACKING, _ATTACK_DEFENSE, _GVRET, _PYTHON_CAN_CSV, *_LOGS = map(int, Layout)
_CANDUMP_LOG, _CANDUMP_SCREEN, _NORMAL_RUN, _CRYSYS_TRACE, _BUSMASTER, _CANHACKER, _PCAN = _LOGS
_NEWLINE, _RETURN = 10, 13


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


# Only the entry is cached on disk. numba looks at the file of the cached function alone: after an edit of another of
# these modules, touch this file.
@njit(cache=True, nogil=True)
def parse_lines(
    dialect: Dialect, names: Names, text: Bytes, at: int, rows: NDArray[np.void], row: int, counts: NDArray[np.int64]
) -> tuple[int, int, int, int]:
    """Parse lines of `text` from offset `at` into `rows` from `row` on, to the end or behind the first bad line.

    Counts what it meets by its code. `rows` needs room for every line.

    Returns:
        The next free row, the offset behind the last line read, the number of lines read, and the bad line's code
        or `FRAME`. The bad line's record lies in the next free row.
    """
    lines = 0
    while at < text.size:
        end = at
        while end < text.size and text[end] != _NEWLINE:
            end += 1
        next_line = end + 1
        while end > at and (text[end - 1] == BLANK or text[end - 1] == TAB or text[end - 1] == _RETURN):
            end -= 1
        at = skip_blanks(text, at, end)
        lines += 1
        record = rows[row]
        record.payload, record.kind, record.channel, record.attack = 0, 0, 0, 0
        code = _parse_line(record, dialect, names, text, at, end) if at < end else BLANK_LINE
        at = next_line
        if code < 0:
            return row, at, lines, code
        counts[code] += 1
        row += code in (FRAME, REMOTE_FRAME)
    return row, at, lines, FRAME
