"""A text format: how a file of it is recognised, what its first lines settle, and how a line of it is parsed."""

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Any

import numpy as np

HEAD_BYTES = 1 << 16  # enough for every header in the field; a format is recognised from this much
_HEAD_LINES = 200
_HEAD_LINE_BYTES = 1024  # longer ones are not headers, and would take a pattern's time
# A timestamp, for the patterns of formats.
TIME = rb"-?\d+(\.\d+)?([eE][-+]?\d+)?"
DATE_TIME = rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?"


class Labels(Enum):
    """What the lines of a file say about attacks."""

    NONE = auto()
    ATTACK = auto()  # whether the frame is attacked: `record.attack`
    KIND = auto()  # and by what kind of attack: `record.kind`, an index into `names.kinds`


@dataclass(frozen=True, slots=True)
class TextFormat:
    """A text format. A decorator of its line parser: `@partial(TextFormat, name=..., example=..., ...)`.

    Attributes:
        parse_line: Compiled by numba: `(record, text, at, end, dialect, names)` to a code of `line_records`. Parses the
            line `text[at:end]`, which is not empty and has no blank at either end, into `record`, whose `payload`,
            `kind`, `channel` and `attack` are 0 before. `dialect` is what `dialect` below returned; `names` are the
            `Names` of the file.
        name: As users know it.
        example: A data line, for error messages.
        header: Matches the header line after which data begin.
        line: Matches a data line (or a comment that no other format has), in a format without a header.
        leads: Whether the header has to be the first line that is not blank. Where it need not, prose and settings may
            come before it, and a frame there is refused.
        dialect: What the first lines settle about the others, from the head of the file (without a byte order mark) and
            the match of `header` or `line`: a NamedTuple that the line parser reads.
        labels: What the lines of a dialect say about attacks.
        absolute_times: Of a tool that can also write the time since the frame before: what makes it write times that
            count from one start, as an imperative for error messages.
    """

    parse_line: Callable[..., int]
    name: str
    example: str
    header: re.Pattern[bytes] | None = None
    line: re.Pattern[bytes] | None = None
    leads: bool = True
    dialect: Callable[[bytes, re.Match[bytes]], Any] = lambda _head, _match: ()
    labels: Callable[[Any], Labels] = lambda _dialect: Labels.NONE
    absolute_times: str = ""

    def __post_init__(self) -> None:
        if (self.header is None) == (self.line is None):
            raise ValueError(f"{self.name}: has to be recognised by a header or by a line. Give one of the two.")


def header(names: str) -> re.Pattern[bytes]:
    """The pattern of a header line, in letters of any case."""
    return re.compile(names.encode(), re.IGNORECASE)


def quoted(line: bytes) -> str:
    """The beginning of a line as a message shows it: printable ASCII, so that nothing in it moves a terminal."""
    shown = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in line[:120])
    return shown.replace(r"\x09", r"\t") + ("..." if len(line) > 120 else "")


@dataclass(frozen=True, slots=True)
class Recognised:
    """A text format found in a file: where its data begin (offset and line number), and its dialect."""

    format: TextFormat
    data_start: int
    first_line: int
    dialect: Any

    @property
    def labels(self) -> Labels:
        """What the lines say about attacks."""
        return self.format.labels(self.dialect)


def recognise_text(head: bytes, formats: Iterable[TextFormat]) -> Recognised | None:
    """The text format of a file that begins with `head`, at most `HEAD_BYTES` of it; None where it is unknown.

    Raises:
        LogFormatError: If the format is known but not this version of it.
    """
    bom = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    lines = list(islice(io.BytesIO(head[bom:]), _HEAD_LINES))
    offsets = np.cumsum([bom, *map(len, lines)])
    is_first = True
    for number, line in enumerate(map(bytes.strip, lines)):
        for text_format in formats if 0 < len(line) <= _HEAD_LINE_BYTES else ():
            match = (text_format.header or text_format.line).fullmatch(line)  # type: ignore[union-attr]  # one of them
            if match is None or (text_format.header and text_format.leads and not is_first):
                continue
            dialect = text_format.dialect(head[bom:], match)
            if text_format.header:
                return Recognised(text_format, int(offsets[number + 1]), number + 2, dialect)
            return Recognised(text_format, bom, 1, dialect)
        is_first = is_first and not line
    return None
