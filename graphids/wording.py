"""Numbers as every text of graphids shows them."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

# From 2000 to 2100. Clocks that begin with the recording, at midnight or with the recorder do not get there.
_DATES_S = (946_684_800.0, 4_102_444_800.0)


def time_words(hours: float) -> str:
    """A duration on a scale that a person can judge: a rate of false alarms is worth as much as the time behind it.

    >>> time_words(0.5), time_words(1 / 900)
    ('30.0 minutes', '4.0 seconds')
    """
    minutes = hours * 60
    return f"{minutes:.1f} minutes" if minutes >= 1 else f"{minutes * 60:.1f} seconds"


def utc_text(seconds: float) -> str | None:
    """ISO 8601 in UTC, to the microsecond; None where seconds do not count from 1970.

    >>> utc_text(1e9), utc_text(12.5)
    ('2001-09-09T01:46:40.000000Z', None)
    """
    if not _DATES_S[0] <= seconds < _DATES_S[1]:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "capture"), counted(1200, "capture")
    ('1 capture', '1,200 captures')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_metric(value: float | None, digits: int = 3) -> str:
    """A metric as text, a dash where it is undefined.

    >>> format_metric(0.98765), format_metric(35.64, digits=1), format_metric(None)
    ('0.988', '35.6', '-')
    """
    return "-" if value is None else f"{value:.{digits}f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines of a table, the first column to the left and all others to the right.

    >>> print(aligned([("kind", "found"), ("dos", "2")]))
    kind  found
    dos       2
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def printable(text: str) -> str:
    r"""A line with whatever a terminal would obey written as an escape; names of files and buses come from others.

    Bytes of a name that are not UTF-8, which Python hands on as surrogates, are escapes too.

    >>> printable("drive\x1b[2J.log"), printable("drive\udcff.log")
    ('drive\\x1b[2J.log', 'drive\\xff.log')
    """
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def name_text(path: object) -> str:
    r"""The name of a file as text that every encoding of Unicode can hold: bytes that are not UTF-8 are escapes.

    >>> name_text("drive\udcff.log")
    'drive\\xff.log'
    """
    return "".join(_escape(char) if "\ud800" <= char <= "\udfff" else char for char in str(path))


def _escape(char: str) -> str:
    byte = ord(char) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(char)[1:-1]


# What a spreadsheet takes for a formula (OWASP, "CSV injection"): a sign at the beginning of a cell. Where a comma is
# the decimal sign, cells begin after semicolons.
_FORMULA = re.compile(
    r"(^|;\s*)(?=[=+\-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
    r"\N{FULLWIDTH COMMERCIAL AT}])"
)


def spreadsheet_text(text: str) -> str:
    r"""One line that a spreadsheet shows and does not compute; names of captures and buses can look like formulas.

    >>> spreadsheet_text("can0"), spreadsheet_text("=HYPERLINK(A1)"), spreadsheet_text("can\x1b[2J")
    ('can0', "'=HYPERLINK(A1)", 'can\\x1b[2J')
    """
    return _FORMULA.sub(r"\1'", printable(text))


def csv_line(cells: Iterable[object]) -> str:
    r"""Cells as one line of csv, without its end, which a spreadsheet shows and does not compute.

    A list is one cell: its texts are joined by spaces, or by " | " where one of them has spaces itself.

    >>> csv_line(["can0", "=1+1", -0.5, ["1A4", "2B0"], ["(1.0) can0 1A4#00", "(1.1) can0 2B0#00"]])
    "can0,'=1+1,-0.5,1A4 2B0,(1.0) can0 1A4#00 | (1.1) can0 2B0#00"
    """
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow([_cell(value) for value in cells])
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list):
        texts = [str(each) for each in value]
        value = (" | " if any(" " in text for text in texts) else " ").join(texts)
    return spreadsheet_text(value) if isinstance(value, str) else value


def shortened(text: str, longest: int) -> str:
    """A text of at most `longest` characters; what is left out is marked.

    >>> shortened("EngineSpeed", 8), shortened("Brake", 8)
    ('EngineS…', 'Brake')
    """
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
