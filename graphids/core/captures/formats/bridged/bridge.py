"""Binary formats, whose messages a library reads, in most cases python-can."""

import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np

from graphids.core.captures.formats.names import MAX_NAMES
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
# By its path, because the package index has no graphids: whoever took the name there would be installed.
INSTALL = "Run in the folder of graphids: pip install -c constraints.txt -e '.[can]'"


@dataclass(slots=True)
class BridgeCounts:
    """What a file holds beside data frames."""

    bad_lines: int = 0
    comment_lines: int = 0
    blank_lines: int = 0
    remote_frames: int = 0
    error_frames: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMessage:
    """A message that another library than python-can read; its DLC is a number of bytes, as python-can has it."""

    timestamp: float
    arbitration_id: int
    dlc: int
    data: bytes
    is_extended_id: bool
    is_remote_frame: bool
    is_error_frame: bool
    is_fd: bool
    channel: int | None = None


Message: TypeAlias = "can.Message | RecordedMessage"


@dataclass(frozen=True, slots=True)
class BridgedFormat:
    """A binary format.

    Attributes:
        name: As users know it.
        start: Matches the start of a file.
        messages: `(path, stream, counts, drop_bad_lines)` to the messages of the decompressed `stream`, each with the
            place that an error about it is to name. Raises `LogFormatError` where the file is damaged.
        first_channel: The number in the file of the channel that python-can numbers 0.
    """

    name: str
    start: re.Pattern[bytes]
    messages: Callable[[Path, BinaryIO, BridgeCounts, bool], Iterator[tuple[str, Message]]]
    first_channel: int = 0


def read_bridged(
    path: Path,
    stream: BinaryIO,
    bridged: BridgedFormat,
    counts: BridgeCounts,
    *,
    drop_bad_lines: bool = False,
    batch_frames: int = BATCH_FRAMES,
) -> Iterator[Frames]:
    """Frames of `stream` in batches of `batch_frames`, the last one smaller or empty; `counts` is filled on the way.

    Error frames are left out. A DLC of 9 to 15 means 8 bytes on classic CAN (ISO 11898-1), so that the length of the
    data stands for the DLC.

    Args:
        path: Named in errors.
        stream: The file's content, decompressed.
        bridged: The file's format.
        counts: Counters to add to.
        drop_bad_lines: Skip and count frames that are not classic CAN frames instead of raising.
        batch_frames: Frames per batch.

    Raises:
        LogFormatError: On a frame that is not a classic CAN frame, and where python-can cannot continue.
        ModuleNotFoundError: Without the extra `can`.
    """
    batch = _Batch()
    for where, message in bridged.messages(path, stream, counts, drop_bad_lines):
        if message.is_error_frame:
            counts.error_frames += 1
            continue
        bus = _bus_name(message, bridged)
        problem = _problem(message)
        if bus not in batch.buses and len(batch.buses) == MAX_NAMES:
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
        batch.add(message, bus)
        if len(batch.rows) == batch_frames:
            yield batch.take_frames()
    yield batch.take_frames()


def messages_of(path: Path, format_name: str, reader: Callable[[], Iterable[Message]]) -> Iterator[tuple[str, Message]]:
    """Messages, each with its number as the place that an error is to name; whatever python-can raises.

    Raises:
        LogFormatError: If python-can fails.
        ModuleNotFoundError: If it is not installed.
    """
    number = 0
    try:
        for message in reader():
            number += 1
            yield f"{path}: frame {number}", message
    except ImportError as error:
        if error.name != "can":
            raise
        raise ModuleNotFoundError(
            f"{format_name} is read through python-can, which is not installed. {INSTALL}"
        ) from error
    except (LogFormatError, OSError, EOFError, zlib.error):
        raise  # what the file itself or its gzip stream raises, which the caller names
    except Exception as error:  # what the parsers of python-can raise is not documented
        raise unreadable(f"{path}: after frame {number}", format_name, f"{type(error).__name__}: {error}") from error


def all_of(
    path: Path, format_name: str, expected: int, messages: Iterator[tuple[str, Message]]
) -> Iterator[tuple[str, Message]]:
    """`messages`, of which there have to be as many as were counted without python-can.

    Raises:
        LogFormatError: At the end, if there were more or fewer.
    """
    found = 0
    for placed_message in messages:
        found += 1
        yield placed_message
    if found != expected:
        raise LogFormatError(
            f"{path}: python-can reads {found} of the {expected} CAN frames in this {format_name} file. Expected all "
            "of them; convert the recording to another format (candump -l, ASC) with the tool that wrote it."
        )


def unreadable(where: str, format_name: str, problem: str) -> LogFormatError:
    """The error for a file that python-can does not read."""
    return LogFormatError(
        f"{where}: python-can cannot read this as {format_name} ({problem}). Expected an intact file; export the "
        "capture again."
    )


@dataclass(slots=True)
class _Batch:
    """Columns under construction; buses keep their index from one batch to the next."""

    buses: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[float, int, int, bool, int]] = field(default_factory=list)
    payload: bytearray = field(default_factory=bytearray)

    def add(self, message: Message, bus: str) -> None:
        data = b"" if message.is_remote_frame else bytes(message.data)
        index = self.buses.setdefault(bus, len(self.buses))
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
            channels=tuple(self.buses) or ("",),
        )
        self.rows, self.payload = [], bytearray()
        return frames


def _bus_name(message: Message, bridged: BridgedFormat) -> str:
    if message.channel is None:
        return ""
    if isinstance(message.channel, int):
        return str(message.channel + bridged.first_channel)
    return str(message.channel)


def _problem(message: Message) -> str | None:
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
