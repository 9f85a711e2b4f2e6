"""Text of a recognised format, parsed chunk by chunk into frames."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphids.core.captures.formats import line_records as lines
from graphids.core.captures.formats.line_loop import MAX_LINE_BYTES, ParseLines, line_loop
from graphids.core.captures.formats.line_records import NUM_COUNTED, ROW
from graphids.core.captures.formats.names import NAME_BYTES, Names, names_in, names_table
from graphids.core.captures.formats.text_format import Labels, Recognised, quoted
from graphids.core.frames import MAX_PAYLOAD_BYTES, MAX_TIMESTAMP_S, NORMAL, UNNAMED_KIND, Frames, LogFormatError

ROWS = 1 << 16  # rows that are filled before they become columns: 2 MiB, which stays in the cache
_PROBLEMS: dict[int, str] = {
    lines.BAD_TIMESTAMP: "no timestamp, a finite decimal number, where one is expected",
    lines.BAD_ID: "the arbitration ID is not a hexadecimal number of the expected form (a 0x only where shown)",
    lines.ID_TOO_LARGE: "the arbitration ID is larger than its format allows (11 bits: 7FF, 29 bits: 1FFFFFFF)",
    lines.BAD_DLC: "no DLC from 0 to 8 where one is expected",
    lines.BAD_PAYLOAD: "the payload is not whole bytes in the notation of the format",
    lines.BAD_LABEL: "no label of this format where one is expected",
    lines.BAD_BUS: f"no bus name of 1 to {NAME_BYTES} printable ASCII characters, or more than 256 in one file",
    lines.BAD_END: "text that the format does not have",
    lines.CAN_FD: "a CAN FD frame; graphids reads classic CAN, up to 8 bytes per frame",
    lines.BAD_KIND: f"SubClass contradicts Class, is not a name of 1 to {NAME_BYTES} printable ASCII characters, or "
    "there are more than 255 of them in one file",
    lines.MISSING_FIELD: "the line ends before its last field",
    lines.LINE_TOO_LONG: f"a line of more than {MAX_LINE_BYTES} bytes, which no format has",
    lines.TIME_TOO_LARGE: f"a time of {MAX_TIMESTAMP_S:g} s or more, past the year 5138; the format has seconds here, "
    "so these may be milli-, micro- or nanoseconds",
    lines.RELATIVE_TIMES: "the times are relative, each counted from the frame before",
    lines.OTHER_BASE: "a header line that changes the base of the numbers",
    lines.OTHER_HEADER: "a header line that was missing before the first frame, or contradicts the one there",
    lines.NUL_BYTE: "NUL bytes, as a crash or a full disk leaves them",
}
_EXPECTED_LINE = (
    "Expected {known.name} as in `{known.example}`. Correct the line or export the capture again, or pass "
    "on_bad_line='drop' (--on-bad-line drop) to skip and count such lines."
)
# The lines after such a line would be misread: what to do instead of dropping it.
_NEVER_DROPPED: dict[int, str] = {
    lines.RELATIVE_TIMES: "Expected times that count from one start; {known.absolute_times}.",
    lines.OTHER_BASE: "Expected one base, decimal or hexadecimal, in the whole file; cut a file that was joined from "
    "several before this line, or export the capture again.",
    lines.OTHER_HEADER: "Expected one recording in a file; cut a file that was joined from several before this line.",
}


@dataclass(slots=True)
class TextParser:
    """Parses one file of a recognised format, in one piece or chunk by chunk.

    Attributes:
        path: Named in errors.
        recognised: What `recognise` found.
        drop_bad_lines: Skip and count bad lines instead of raising.
        line_number: Of the next line to be read.
        counts: Lines met, by their code in `line_records`.
        bad_lines: Lines dropped.
    """

    path: Path
    recognised: Recognised
    drop_bad_lines: bool = False
    line_number: int = field(init=False)
    counts: NDArray[np.int64] = field(init=False)
    bad_lines: int = 0
    _parse_lines: ParseLines = field(init=False)
    _names: Names = field(init=False)
    _rows: NDArray[np.void] = field(init=False)

    def __post_init__(self) -> None:
        self.line_number = self.recognised.first_line
        self.counts = np.zeros(NUM_COUNTED, dtype=np.int64)
        self._parse_lines = line_loop(self.recognised.format.parse_line)
        self._rows = np.empty(ROWS, dtype=ROW)
        self._names = Names(buses=names_table(), kinds=names_table(NORMAL))

    def parse(self, text: bytes) -> Iterator[Frames]:
        """Frames of `text`, which begins at a line's start and ends at a line's end (or at the file's).

        They come in parts of at most `ROWS`, so that a line of two bytes costs no row before it turns out to be a
        frame. Buses and kinds keep their index from part to part; their tuples grow as names turn up.

        Raises:
            LogFormatError: On a bad line, unless bad lines are dropped; on a line that changes the meaning of those
                after it, in either case.
        """
        data = np.frombuffer(text, dtype=np.uint8)
        has_nul = b"\0" in text
        at = 0
        while at < data.size:
            filled = 0
            while at < data.size and filled < ROWS:
                num_rows, at, num_lines, code = self._parse_lines(
                    self.recognised.dialect, self._names, data, at, has_nul, self._rows[filled:], self.counts
                )
                filled += num_rows
                self.line_number += num_lines
                if code != lines.FRAME:
                    if not self.drop_bad_lines or code in _NEVER_DROPPED:
                        raise self._error(code, text, at, self._rows[filled])
                    self.bad_lines += 1
            yield self._frames(self._rows[:filled])

    def _frames(self, rows: NDArray[np.void]) -> Frames:
        labels = self.recognised.labels
        attack = rows["attack"].copy()
        names_kinds, is_labelled = labels is Labels.KIND, labels is not Labels.NONE
        kind = rows["kind"].copy() if names_kinds else attack.astype(np.int16)
        kinds = names_in(self._names.kinds) if names_kinds else (NORMAL, UNNAMED_KIND)
        return Frames(
            timestamp=rows["timestamp"].copy(),
            arbitration_id=rows["arbitration_id"].copy(),
            dlc=rows["dlc"].copy(),
            payload=rows["payload"].copy().view(np.uint8).reshape(-1, MAX_PAYLOAD_BYTES),
            is_extended=rows["is_extended"].copy(),
            channel=rows["channel"].copy(),
            channels=names_in(self._names.buses) or ("",),
            attack=attack if is_labelled else None,
            attack_kind=kind if is_labelled else None,
            kinds=kinds if is_labelled else (NORMAL,),
        )

    def _error(self, code: int, text: bytes, after: int, row: np.void) -> LogFormatError:
        """The error for the bad line that ends before offset `after`."""
        found = text[text.rfind(b"\n", 0, after - 1) + 1 : after].rstrip(b"\r\n")
        problem = _PROBLEMS.get(code) or (
            f"payload has {row['found']} bytes, more than the {MAX_PAYLOAD_BYTES} of classic CAN"
            if row["found"] > MAX_PAYLOAD_BYTES
            else f"payload has {row['found']} bytes but DLC says {row['dlc']}"
        )
        if after > len(text):
            problem += "; the file ends within this line, so the recording may have been cut off"
        where = f"{self.path}:{self.line_number - 1}"
        remedy = _NEVER_DROPPED.get(code, _EXPECTED_LINE).format(known=self.recognised.format)
        return LogFormatError(f"{where}: {problem}: found `{quoted(found)}`. {remedy}")
