"""ASAM MF4, read by `mf4_reader` in a process of its own, which may crash or hang."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from graphids.core.captures.formats.bridged import mf4_reader
from graphids.core.captures.formats.bridged.bridge import INSTALL, BridgeCounts, BridgedFormat, unreadable

if TYPE_CHECKING:
    import can

NAME = "ASAM MF4"
# What the library gets at most: to start on a busy machine, and then for what it reads at over ten times that.
START_S, BYTES_PER_S = 120, 100_000


def _messages(
    path: Path, stream: BinaryIO, _counts: BridgeCounts, _drop_bad_lines: bool
) -> "Iterator[tuple[str, can.Message]]":
    for name in ("can", "asammdf"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"{NAME} needs {name}, which is not installed. {INSTALL}")
    with tempfile.TemporaryFile() as content, tempfile.TemporaryFile() as records:
        shutil.copyfileobj(stream, content)
        timeout_s = START_S + content.tell() / BYTES_PER_S
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


ASAM_MF4 = BridgedFormat(NAME, start=re.compile(rb"MDF     "), messages=_messages)
