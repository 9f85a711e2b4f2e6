"""Vector ASC, its lines sorted into frames and others before python-can sees them.

python-can's reader skips every line that it does not take for a frame, ignores bytes after the announced ones, and
reads times relative to the event before as if they were absolute. What reaches it from here is a header, a well-formed
frame, or nothing.
"""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from graphids.core.captures.formats.bridged.bridge import BridgeCounts, BridgedFormat, messages_of
from graphids.core.captures.formats.line_loop import MAX_LINE_BYTES
from graphids.core.frames import MAX_PAYLOAD_BYTES, LogFormatError

if TYPE_CHECKING:
    import can

NAME = "Vector ASC"
_EXAMPLE = "2.501000 1  6F9             Rx   d 2 05 0C"
_HEADER = re.compile(r"date\s|base\s|(no\s+)?internal\s+events\s+logged|//|(begin|end)\s+triggerblock", re.IGNORECASE)
_BASE = re.compile(r"base\s+(hex|dec)(\s+timestamps\s+(?P<times>\w+))?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x01-\x08\x0b-\x1f\x7f]")
# Digits and blanks of ASCII alone: python-can would take others too.
_FLAGS = re.IGNORECASE | re.ASCII
_START = r"\d+\.\d+\s+"
_BYTE = {"hex": "[0-9a-f]{2}", "dec": r"\d{1,3}"}
_ID = {"hex": "[0-9a-f]{1,8}x?", "dec": r"\d{1,9}x?"}
_DLC = {"hex": "[0-9a-f]", "dec": r"\d{1,2}"}
_ERROR_FRAME = re.compile(_START + r"\d+\s+ErrorFrame\b.*", _FLAGS)
_FD = re.compile(_START + r"CANFD\s.*", _FLAGS)
_NO_FRAME = re.compile(_START + r"\d+\s+(\w+\s+TxRq\s|J1939TP\s|Statistic:).*", re.ASCII)
# A channel and an identifier, or a direction and a type: then the line was a frame before it was damaged.
_LIKE_A_FRAME = re.compile(r"\S+\s+\d+\s+[0-9a-f]+x?(\s.*)?|.*\s(Rx|Tx)\s+[dr]\b.*|\S+\s+CANFD\b.*", _FLAGS)


def _messages(
    path: Path, stream: BinaryIO, counts: BridgeCounts, drop_bad_lines: bool
) -> "Iterator[tuple[str, can.Message]]":
    lines = AscLines(path, stream, counts, drop_bad_lines)

    def reader() -> "Iterable[can.Message]":
        import can

        return can.ASCReader(lines)

    return messages_of(path, NAME, reader, line_number=lambda: lines.line_number)


class AscLines(io.TextIOWrapper):
    """Lines for python-can's reader: header lines, error frames, CAN FD frames and well-formed classic frames.

    Knows which line was read last, so that an error can name it. Leaves out `TxRq`: python-can takes the request for a
    frame, although the frame itself follows as `Tx` when the bus carries it.

    Raises:
        LogFormatError: On a damaged line, unless bad lines are dropped, and on times relative to the event before.
    """

    line_number = 0

    def __init__(self, path: Path, stream: BinaryIO, counts: BridgeCounts, drop_bad_lines: bool) -> None:
        super().__init__(cast("io.BytesIO", stream), encoding="utf-8-sig", errors="backslashreplace", newline="\n")
        self._path, self._counts, self._drop_bad_lines = path, counts, drop_bad_lines
        self._base = "hex"

    def __next__(self) -> str:  # type: ignore[override]  # typeshed derives TextIOWrapper from a binary base
        while line := self.readline(MAX_LINE_BYTES + 1):
            self.line_number += 1
            problem = self._problem(line)
            if problem is None:
                return line
            if problem and not self._drop_bad_lines:
                raise LogFormatError(
                    f"{self._path}:{self.line_number}: {problem}: found `{line.strip()[:120]}`. Expected Vector ASC as "
                    f"in `{_EXAMPLE}`. Correct the line or export the capture again, or pass "
                    "on_bad_line='drop' (--on-bad-line drop) to skip and count such lines."
                )
            self._counts.bad_lines += bool(problem)
            while not line.endswith("\n") and (line := self.readline(MAX_LINE_BYTES)):
                pass  # the rest of a line that is too long
        raise StopIteration

    def _problem(self, line: str) -> str | None:
        """What is wrong with a line; None where python-can is to see it, "" where it is skipped as something else."""
        text = line.strip(" \t\r\n")
        if "\0" in text:
            return "NUL bytes, as a crash or a full disk leaves them"
        if _CONTROL.search(text):
            return "a control character"  # python-can takes some of them for blanks
        if len(line) > MAX_LINE_BYTES:
            return f"a line of more than {MAX_LINE_BYTES} bytes, which no format has"
        if not text:
            self._counts.blank_lines += 1
            return ""
        if _HEADER.match(text):
            self._read_base(text)
            self._counts.comment_lines += 1
            return None
        if _ERROR_FRAME.fullmatch(text) or _FD.fullmatch(text):
            return None
        if _NO_FRAME.fullmatch(text) or not _LIKE_A_FRAME.fullmatch(text):
            self._counts.comment_lines += 1
            return ""
        return self._frame_problem(text)

    def _frame_problem(self, text: str) -> str | None:
        byte, identifier, length = (kinds[self._base] for kinds in (_BYTE, _ID, _DLC))
        start = rf"{_START}\d+\s+{identifier}\s+(?:Rx|Tx)\s+"
        if re.fullmatch(rf"{start}r(\s+{length})?(\s+(//|Length\b).*)?", text, _FLAGS):
            return None
        frame = re.fullmatch(rf"{start}d\s+(?P<dlc>{length})(?P<data>(\s+{byte})*)(\s+(//|Length\b).*)?", text, _FLAGS)
        if frame is None:
            return "a malformed frame"
        expected = min(int(frame["dlc"], 16 if self._base == "hex" else 10), MAX_PAYLOAD_BYTES)
        found = len(frame["data"].split())
        return None if found == expected else f"payload has {found} bytes but DLC says {frame['dlc']}"

    def _read_base(self, text: str) -> None:
        base = _BASE.match(text)
        if base is None:
            return
        self._base = base[1].lower()
        if (base["times"] or "absolute").lower() != "absolute":
            raise LogFormatError(
                f"{self._path}:{self.line_number}: timestamps are {base['times']}, each counted from the event before. "
                "Expected `timestamps absolute`; export the recording again with absolute timestamps."
            )


VECTOR_ASC = BridgedFormat(
    NAME,
    start=re.compile(rb"(\xef\xbb\xbf)?\s*date [^\n]*\n\s*base (hex|dec)", re.IGNORECASE),
    messages=_messages,
    first_channel=1,
)
