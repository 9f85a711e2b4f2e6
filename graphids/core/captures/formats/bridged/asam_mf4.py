"""ASAM MF4, read by `mf4_reader` in a process of its own, which may crash or hang.

Files that their logger did not finalise (`UnFinMF`, as CANedge writes them) are finalised by asammdf, in a copy.
"""

import importlib.util
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from graphids.core.captures.formats.bridged import mf4_reader
from graphids.core.captures.formats.bridged.bridge import (
    INSTALL,
    BridgeCounts,
    BridgedFormat,
    Message,
    RecordedMessage,
    all_of,
    unreadable,
)
from graphids.core.captures.formats.bridged.mf4_blocks import count_frames
from graphids.core.frames import LogFormatError

NAME = "ASAM MF4"
# What the library gets at most: to start on a busy machine, and then for what it reads at over ten times that.
START_S, BYTES_PER_S = 120, 100_000


def _messages(
    path: Path, stream: BinaryIO, counts: BridgeCounts, drop_bad_lines: bool
) -> Iterator[tuple[str, Message]]:
    for name in ("can", "asammdf"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"{NAME} needs {name}, which is not installed. {INSTALL}")
    with tempfile.TemporaryFile() as content, tempfile.TemporaryFile() as records:
        shutil.copyfileobj(stream, content)
        problem, counted = "", None
        try:
            counted = count_frames(content)
        except (ValueError, LookupError, struct.error) as error:
            problem = f"its frames cannot be counted: {error}"  # unless the library has more to say
        if counted is not None and counted.cut_off_at is not None:
            _cut(path, content, counted.cut_off_at, counts, drop_bad_lines)
        _read(path, content, records)
        if problem:
            raise unreadable(f"{path}", NAME, problem)
        found = _read_records(path, records)
        yield from found if counted is None else all_of(path, NAME, counted.number, found)


def _cut(path: Path, content: BinaryIO, size: int, counts: BridgeCounts, drop_bad_lines: bool) -> None:
    """Leave out the record within which the file ends, as that of a logger does which lost its power."""
    if not drop_bad_lines:
        raise LogFormatError(
            f"{path}: the ASAM MF4 file ends within the record at byte {size}. Expected whole records; finalise the "
            "file with the logger's own tool, or pass on_bad_line='drop' (--on-bad-line drop) to leave that record out "
            "and count it."
        )
    content.truncate(size)
    counts.bad_lines += 1


def _read(path: Path, content: BinaryIO, records: BinaryIO) -> None:
    """Have `content` read into `records`."""
    timeout_s = START_S + content.seek(0, 2) / BYTES_PER_S
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
        raise unreadable(f"{path}", NAME, f"no end within {timeout_s:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()
        raise unreadable(f"{path}", NAME, said or f"its library crashed by signal {-done.returncode}")
    records.seek(0)


def _read_records(path: Path, records: BinaryIO) -> Iterator[tuple[str, Message]]:
    number = 0
    while record := records.read(mf4_reader.RECORD.size):
        number += 1
        yield f"{path}: frame {number}", _message(record)


def _message(record: bytes) -> RecordedMessage:
    timestamp, identifier, flags, dlc, length, channel, data = mf4_reader.RECORD.unpack(record)
    return RecordedMessage(
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


ASAM_MF4 = BridgedFormat(NAME, start=re.compile(rb"(?:MDF     |UnFinMF )(?![123]\.)"), messages=_messages)
