"""The bridge to python-can for formats that graphids does not parse itself: Vector ASC and BLF, ASAM MF4."""

import importlib.util
import math
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from graphids.core.captures.formats import mf4_reader
from graphids.core.captures.formats.asc_lines import AscCounts, AscLines
from graphids.core.captures.formats.blf_objects import check_blf
from graphids.core.captures.formats.byte_parsers import MAX_NAMES
from graphids.core.frames import (
    MAX_EXTENDED_ID,
    MAX_PAYLOAD_BYTES,
    MAX_STANDARD_ID,
    MAX_TIMESTAMP_S,
    Frames,
    LogFormatError,
)

if TYPE_CHECKING:
    import can

BATCH_FRAMES = 65_536
# What the library of MF4 gets at most: to start on a busy machine, and then for what it reads at over ten times that.
_MF4_START_S, _MF4_BYTES_PER_S = 120, 100_000
_PATTERNS = {
    "Vector ASC": re.compile(rb"(\xef\xbb\xbf)?\s*date [^\n]*\n\s*base (hex|dec)", re.IGNORECASE),
    "Vector BLF": re.compile(rb"LOGG"),
    "ASAM MF4": re.compile(rb"MDF     "),
}
PYTHON_CAN_FORMATS = tuple(_PATTERNS)


def recognise_python_can(head: bytes) -> str | None:
    """Name of the format of a file that begins with `head`, if python-can is to read it; None otherwise."""
    return next((name for name, pattern in _PATTERNS.items() if pattern.match(head)), None)


@dataclass(slots=True)
class PythonCanCounts(AscCounts):
    """What was met beside data frames."""

    remote_frames: int = 0
    error_frames: int = 0


@dataclass(slots=True)
class _Batch:
    """Columns under construction; channels keep their index from one batch to the next."""

    channels: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[float, int, int, bool, int]] = field(default_factory=list)
    payload: bytearray = field(default_factory=bytearray)

    def add(self, message: "can.Message", channel: str) -> None:
        data = b"" if message.is_remote_frame else bytes(message.data)
        index = self.channels.setdefault(channel, len(self.channels))
        is_extended = message.is_extended_id or message.arbitration_id > MAX_STANDARD_ID
        self.rows.append((message.timestamp, message.arbitration_id, len(data), is_extended, index))
        self.payload += data.ljust(MAX_PAYLOAD_BYTES, b"\0")

    def take_frames(self) -> Frames:
        columns = list(zip(*self.rows, strict=True)) or [()] * 5
        frames = Frames(
            timestamp=np.array(columns[0], dtype=np.float64),
            arbitration_id=np.array(columns[1], dtype=np.uint32),
            dlc=np.array(columns[2], dtype=np.uint8),
            payload=np.frombuffer(bytes(self.payload), dtype=np.uint8).reshape(-1, MAX_PAYLOAD_BYTES),
            is_extended=np.array(columns[3], dtype=np.bool_),
            channel=np.array(columns[4], dtype=np.uint8),
            channels=tuple(self.channels) or ("",),
        )
        self.rows, self.payload = [], bytearray()
        return frames


def read_with_python_can(
    path: Path,
    stream: BinaryIO,
    format_name: str,
    counts: PythonCanCounts,
    *,
    drop_bad_lines: bool = False,
    batch_frames: int = BATCH_FRAMES,
) -> Iterator[Frames]:
    """Frames of `stream` in batches of `batch_frames`, the last one smaller or empty; `counts` is filled on the way.

    Error frames are left out. ASC and BLF count their channels from 1 and are named so. A DLC of 9 to 15 means 8
    bytes on classic CAN (ISO 11898-1), so that the length of the data stands for the DLC.

    Args:
        path: Named in errors.
        stream: The file's content, decompressed.
        format_name: One of `PYTHON_CAN_FORMATS`.
        counts: Counters to add to.
        drop_bad_lines: Skip and count frames that are no classic CAN frames in place of raising.
        batch_frames: Frames per batch.

    Raises:
        LogFormatError: On a frame that is no classic CAN frame, and where python-can cannot go on.
        ModuleNotFoundError: Without the extra `can`.
    """
    batch = _Batch()
    for where, message in _messages(path, stream, format_name, counts, drop_bad_lines):
        if message.is_error_frame:
            counts.error_frames += 1
            continue
        channel = _channel_name(message, format_name)
        problem = _problem(message)
        if channel not in batch.channels and len(batch.channels) == MAX_NAMES:
            problem = problem or f"the name of one more bus than {MAX_NAMES}."
        if problem and not drop_bad_lines:
            raise LogFormatError(
                f"{where}: {problem} Export the capture again as classic CAN, or pass "
                "on_bad_line='drop' (--on-bad-line drop) to skip and count such frames."
            )
        if problem:
            counts.bad_lines += 1
            continue
        counts.remote_frames += message.is_remote_frame
        batch.add(message, channel)
        if len(batch.rows) == batch_frames:
            yield batch.take_frames()
    yield batch.take_frames()


def _messages(
    path: Path, stream: BinaryIO, format_name: str, counts: PythonCanCounts, drop_bad_lines: bool
) -> "Iterator[tuple[str, can.Message]]":
    """Messages with the place that an error about them is to name: the line of a text file, else their number."""
    if format_name == "ASAM MF4":
        yield from _mf4_messages(path, stream)
        return
    number = 0
    lines = AscLines(path, cast("Any", stream), counts, drop_bad_lines) if format_name == "Vector ASC" else None
    if format_name == "Vector BLF":
        check_blf(path, stream)
    try:
        reader = _open_reader(lines or stream, format_name)
        messages = iter(reader)
        while (message := next(messages, None)) is not None:
            number += 1
            where = f"{path}:{lines.line_number}" if lines else f"{path}: frame {number}"
            yield where, message
    except (ImportError, LogFormatError, OSError, EOFError, zlib.error):
        raise  # what the file itself or its gzip stream raises, which the caller names
    except Exception as error:  # what the parsers of python-can and asammdf raise is not documented
        where = f"{path}:{lines.line_number}" if lines else f"{path}: after frame {number}"
        raise LogFormatError(
            f"{where}: python-can cannot read this as {format_name} ({type(error).__name__}: {error}). "
            f"Expected an intact file; export the capture again."
        ) from error


def _open_reader(stream: Any, format_name: str) -> "can.io.generic.MessageReader":
    try:
        import can
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{format_name} is read through python-can, which is not installed. Run: pip install 'graphids[can]'"
        ) from error
    if format_name == "Vector ASC":
        return can.ASCReader(stream)
    return can.BLFReader(stream)


def _mf4_messages(path: Path, stream: BinaryIO) -> "Iterator[tuple[str, can.Message]]":
    """Messages of an MF4 file by `mf4_reader`, in a process that may crash or hang."""
    for name in ("can", "asammdf"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f"ASAM MF4 needs {name}, which is not installed. Run: pip install 'graphids[can]'"
            )
    with tempfile.TemporaryFile() as content, tempfile.TemporaryFile() as records:
        shutil.copyfileobj(stream, content)
        timeout_s = _MF4_START_S + content.tell() / _MF4_BYTES_PER_S
        content.seek(0)
        try:
            done = subprocess.run(
                [sys.executable, mf4_reader.__file__],
                stdin=content,
                stdout=records,
                stderr=subprocess.PIPE,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _not_mf4(path, f"no end within {timeout_s:.0f} s") from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "backslashreplace").strip()
            crashed = f"its library crashed by signal {-done.returncode}"
            raise _not_mf4(path, said or crashed)
        records.seek(0)
        number = 0
        while record := records.read(mf4_reader.RECORD.size):
            number += 1
            yield f"{path}: frame {number}", _message(record)


def _message(record: bytes) -> "can.Message":
    import can

    timestamp, identifier, flags, dlc, length, channel, data = mf4_reader.RECORD.unpack(record)
    return can.Message(
        timestamp=timestamp,
        arbitration_id=identifier,
        is_extended_id=bool(flags & mf4_reader.EXTENDED),
        is_remote_frame=bool(flags & mf4_reader.REMOTE),
        is_error_frame=bool(flags & mf4_reader.ERROR),
        is_fd=bool(flags & mf4_reader.FD),
        channel=None if channel < 0 else channel,
        dlc=dlc,
        data=data[:length],
    )


def _not_mf4(path: Path, problem: str) -> LogFormatError:
    return LogFormatError(
        f"{path}: python-can cannot read this as ASAM MF4 ({problem}). Expected an intact file; export the capture "
        "again."
    )


def _channel_name(message: "can.Message", format_name: str) -> str:
    if message.channel is None:
        return ""
    # python-can counts the channels of Vector's formats from 0, the files themselves from 1.
    if format_name != "ASAM MF4" and isinstance(message.channel, int):
        return str(message.channel + 1)
    return str(message.channel)


def _problem(message: "can.Message") -> str | None:
    """What keeps a message from being a classic CAN frame."""
    if message.is_fd:
        return "a CAN FD frame. Expected classic CAN, up to 8 bytes per frame."
    if not math.isfinite(message.timestamp) or abs(message.timestamp) >= MAX_TIMESTAMP_S:
        return f"the timestamp is {message.timestamp}. Expected seconds, less than {MAX_TIMESTAMP_S:g}."
    if message.arbitration_id > MAX_EXTENDED_ID:
        return f"the arbitration ID {message.arbitration_id:X} has more than 29 bits (1FFFFFFF)."
    expected = 0 if message.is_remote_frame else min(message.dlc, MAX_PAYLOAD_BYTES)
    if not message.is_remote_frame and len(message.data) != expected:
        return f"payload has {len(message.data)} bytes but DLC says {message.dlc}. Expected them equal."
    return None
