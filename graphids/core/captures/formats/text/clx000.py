"""The log of CSS Electronics' CL1000, CL2000 and CL3000.

https://canlogger.csselectronics.com/clx000-docs/cl2000/log/index.html describes it. Which columns there are, and with
which field of the date a time begins, is the logger's configuration. The fields before that one are those of the line
`# Time:`, when the file was made: a clock without them jumps back at the end of a minute, a day or a month.
"""

import re
from collections import Counter
from functools import partial
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import Bytes, hex_number, hex_pairs, is_at, natural_number
from graphids.core.captures.formats.dates import days_since_epoch
from graphids.core.captures.formats.line_records import (
    BAD_DLC,
    BAD_END,
    BAD_ID,
    BAD_PAYLOAD,
    BAD_TIMESTAMP,
    MISSING_FIELD,
    Row,
    put_flagged_id,
    put_id,
    put_payload,
    put_time,
)
from graphids.core.captures.formats.names import Names
from graphids.core.captures.formats.text_format import TextFormat, header
from graphids.core.frames import MAX_PAYLOAD_BYTES, LogFormatError

# The fields of a time: year, month, day, hour, minute, second, millisecond.
_NUM_DIGITS = (4, 2, 2, 2, 2, 2, 3)
_SMALLEST = (1970, 1, 1, 0, 0, 0, 0)
_BEYOND = (10_000, 13, 32, 24, 60, 60, 1000)
_MS = 6
_FIRST_FIELD = {sum(_NUM_DIGITS[first:]): first for first in range(_MS)}  # by the digits of a time
_DAY_FIRST = 2  # the default of the loggers
_STANDARD, _EXTENDED, _SENT_STANDARD, _SENT_EXTENDED = map(ord, "0189")


class Dialect(NamedTuple):
    """What the lines above the data, and the usual number of digits in a time, settle.

    Attributes:
        separator: Between columns.
        has_lost, has_type, has_length: Whether these columns are there.
        first_field: Of a time: 0 for the year, 5 for the second.
        created: When the file was made, in the fields of a time.
        after_field: The byte after each field of a time but the last, 0 for none.
    """

    separator: int
    has_lost: bool
    has_type: bool
    has_length: bool
    first_field: int
    created: tuple[int, int, int, int, int, int, int]
    after_field: tuple[int, int, int, int, int, int]


def _dialect(head: bytes, match: re.Match[bytes]) -> Dialect:
    date, date_and_time = _separator(head, b"Date", b""), _separator(head, b"Time and date", b"T")
    time, before_ms = _separator(head, b"Time", b""), _separator(head, b"Time separator ms", b"")
    before, _, rows = head.partition(match[0])
    first_field, created = _first_field(rows, match["separator"]), _created(before)
    if first_field > 0 and created is None and before.lstrip().startswith(b"#"):
        raise LogFormatError(
            "CLX000 log whose times leave out the year, and whose header lost the line `# Time:`, which gives it. "
            "Expected `# Time: 20170101T022232`; put the line back, or convert the log with CSS Electronics' tools."
        )
    return Dialect(
        separator=match["separator"][0],
        has_lost=match["lost"] is not None,
        has_type=match["type"] is not None,
        has_length=match["length"] is not None,
        first_field=first_field,
        created=created or _SMALLEST,
        after_field=(date, date, date_and_time, time, time, before_ms),
    )


def _separator(head: bytes, name: bytes, default: bytes) -> int:
    """The byte that the line `# Date separator: "/"` states; 0 for none."""
    pattern = rb'^#[ \t]*%s%s:[ \t]*"([^"\d]?)"' % (name, b"" if name.endswith(b"ms") else b" separator")
    found = re.search(pattern, head, re.MULTILINE)
    return ord((found[1] if found else default) or b"\0")


def _created(head: bytes) -> tuple[int, int, int, int, int, int, int] | None:
    """When the file was made; None where no line says so."""
    found = re.search(rb"^#[ \t]*Time:[ \t]*(\d{4})(\d\d)(\d\d)\D?(\d\d)(\d\d)(\d\d)\b", head, re.MULTILINE)
    fields = tuple(map(int, found.groups())) if found else ()
    is_date = all(low <= n < high for n, low, high in zip(fields, _SMALLEST, _BEYOND, strict=False))
    if not fields or not is_date:
        return None
    year, month, day, hour, minute, second = fields
    return year, month, day, hour, minute, second, 0


def _first_field(rows: bytes, separator: bytes) -> int:
    """The field that most of the first times begin with: one time may be damaged."""
    digits = Counter(len(re.findall(rb"\d", line.split(separator)[0])) for line in rows.splitlines())
    usual = [number for number, _ in digits.most_common() if number in _FIRST_FIELD]
    return _FIRST_FIELD[usual[0]] if usual else _DAY_FIRST


@partial(
    TextFormat,
    name="CLX000 log",
    example="01T022231683;0;1a2;001122ff",
    header=header(
        r"timestamp(?P<separator>[^\w\"])(?P<lost>lost(?P=separator))?(?P<type>type(?P=separator))?"
        r"id(?P=separator)(?P<length>length(?P=separator))?data"
    ),
    leads=False,
    dialect=_dialect,
)
def clx000(record: Row, text: Bytes, at: int, end: int, dialect: Dialect, _names: Names) -> int:
    """Time; number of lost messages; type, which says whether the ID has 29 bits; ID; DLC; bytes."""
    separator = dialect.separator
    code, at = _put_time_fields(record, text, at, end, dialect)
    if code < 0 or not is_at(text, at, end, separator):
        return min(code, BAD_TIMESTAMP)
    if dialect.has_lost:
        lost, at = natural_number(text, at + 1, end)
        if lost < 0 or not is_at(text, at, end, separator):
            return MISSING_FIELD if at >= end else BAD_END
    kind = 0
    if dialect.has_type:
        if at + 2 >= end:
            return MISSING_FIELD
        kind = int(text[at + 1])
        if text[at + 2] != separator or kind not in (_STANDARD, _EXTENDED, _SENT_STANDARD, _SENT_EXTENDED):
            return BAD_END
        at += 2
    identifier, after = hex_number(text, at + 1, end)
    if not is_at(text, after, end, separator):
        return MISSING_FIELD if after >= end else BAD_ID
    if dialect.has_type:
        code = put_flagged_id(record, identifier, kind in (_EXTENDED, _SENT_EXTENDED))
    else:
        code = put_id(record, identifier, False)
    if code < 0:
        return code
    dlc, at = -1, after
    if dialect.has_length:
        dlc, at = natural_number(text, after + 1, end)
        if dlc < 0 or dlc > MAX_PAYLOAD_BYTES or not is_at(text, at, end, separator):
            return MISSING_FIELD if at >= end else BAD_DLC
    count, at, word = hex_pairs(text, at + 1, end)
    if at != end:
        return BAD_PAYLOAD
    return put_payload(record, dlc if dialect.has_length else min(count, MAX_PAYLOAD_BYTES), count, word, True)


@register_jitable
def _put_time_fields(record: Row, text: Bytes, at: int, end: int, dialect: Dialect) -> tuple[int, int]:
    """Store the time that begins at `at`, as seconds since 1970 without regard to any time zone."""
    fields = np.empty(_MS + 1, dtype=np.int64)
    for field in range(_MS + 1):
        fields[field] = dialect.created[field]
        if field < dialect.first_field:
            continue
        value, after = natural_number(text, at, min(at + _NUM_DIGITS[field], end))
        if after != at + _NUM_DIGITS[field] or not _SMALLEST[field] <= value < _BEYOND[field]:
            return BAD_TIMESTAMP, at
        fields[field], at = value, after
        if field < _MS and dialect.after_field[field] > 0:
            if not is_at(text, at, end, dialect.after_field[field]):
                return BAD_TIMESTAMP, at
            at += 1
    # Not the day itself: a clock without months reaches the 31st in a file that was made in one of 30 days.
    days = days_since_epoch(fields[0], fields[1], 1) + fields[2] - 1
    seconds = ((24 * days + fields[3]) * 60 + fields[4]) * 60 + fields[5]
    return put_time(record, (1000 * seconds + fields[_MS]) / 1000.0), at
