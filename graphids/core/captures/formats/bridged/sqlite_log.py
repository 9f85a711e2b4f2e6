"""The log that python-can writes into an SQLite database: the table `messages`, read by SQLite alone.

The table has no column for the bus: frames of several buses in one log cannot be told apart.
"""

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from graphids.core.captures.formats.bridged.bridge import BridgeCounts, BridgedFormat, Message, RecordedMessage
from graphids.core.frames import MAX_PAYLOAD_BYTES, MAX_STANDARD_ID, LogFormatError

NAME = "python-can sqlite log"
_TABLE, _COLUMNS = "messages", ("ts", "arbitration_id", "extended", "remote", "error", "dlc", "data")
_MAX_VALUE_BYTES = 1 << 20  # a payload has 64 bytes at most, a table's definition a few hundred


def _messages(
    path: Path, stream: BinaryIO, counts: BridgeCounts, drop_bad_lines: bool
) -> Iterator[tuple[str, Message]]:
    _check_is_finished(path)
    with tempfile.NamedTemporaryFile(suffix=".db") as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        try:
            with closing(sqlite3.connect(f"file:{copy.name}?mode=ro&immutable=1", uri=True)) as database:
                database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
                database.execute("PRAGMA trusted_schema = OFF")
                for (problem,) in database.execute("PRAGMA quick_check(1)"):
                    if problem != "ok":
                        raise sqlite3.DatabaseError(problem)
                _check_table(path, database)
                yield from _read_rows(path, database, counts, drop_bad_lines)
        except sqlite3.Error as error:
            raise LogFormatError(
                f"{path}: the SQLite database is damaged or cut off ({error}). Expected an intact log of python-can; "
                "copy it again from where it came."
            ) from error


def _check_is_finished(path: Path) -> None:
    for suffix in ("-wal", "-journal"):
        beside = path.with_name(path.name + suffix)
        if beside.exists() and beside.stat().st_size:
            raise LogFormatError(
                f"{path}: {beside.name} beside it holds changes that are not in the log yet. Expected a finished log; "
                f"end the program that records, or open the log once with SQLite (sqlite3 {path.name} .tables)."
            )


def _check_table(path: Path, database: sqlite3.Connection) -> None:
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if _TABLE not in tables:
        raise LogFormatError(
            f"{path}: an SQLite database without a table `{_TABLE}` (tables: {', '.join(tables)[:120] or 'none'}). "
            "Expected a log of python-can; convert other databases to candump -l."
        )
    # Not those that the database computes.
    stored = [name for _, name, *_, hidden in database.execute(f"PRAGMA table_xinfo({_TABLE})") if not hidden]
    if missing := [name for name in _COLUMNS if name not in stored]:
        raise LogFormatError(
            f"{path}: the table `{_TABLE}` has the columns {', '.join(stored)[:120]} and lacks {', '.join(missing)}. "
            f"Expected a log of python-can, with {', '.join(_COLUMNS)}."
        )


def _read_rows(
    path: Path, database: sqlite3.Connection, counts: BridgeCounts, drop_bad_lines: bool
) -> Iterator[tuple[str, Message]]:
    for rowid, *row in database.execute(f"SELECT rowid, {', '.join(_COLUMNS)} FROM {_TABLE} ORDER BY rowid"):
        problem = _problem(*row)
        if problem is None:
            yield f"{path}: row {rowid}", _message(*row)
        elif drop_bad_lines:
            counts.bad_lines += 1
        else:
            raise LogFormatError(
                f"{path}: row {rowid}: {problem}. Expected the values that python-can writes; correct the row, or pass "
                "on_bad_line='drop' (--on-bad-line drop) to skip and count such rows."
            )


def _problem(timestamp: Any, identifier: Any, *flags_dlc_data: Any) -> str | None:
    *flags, dlc, data = flags_dlc_data
    if not isinstance(timestamp, int | float):
        return f"the timestamp is {str(timestamp)[:40]!r}, which is not a number"
    if not isinstance(identifier, int) or identifier < 0:
        return f"the arbitration ID is {str(identifier)[:40]!r}, which is not a natural number"
    for name, flag in zip(_COLUMNS[2:5], flags, strict=True):
        if flag not in (0, 1):
            return f"{name} is {str(flag)[:40]!r}, which is not 0 or 1"
    if not flags[0] and identifier > MAX_STANDARD_ID:
        return f"the arbitration ID {identifier:X} has more than 11 bits (7FF), and extended is 0"
    if not isinstance(dlc, int) or not isinstance(data, bytes | None):
        return f"DLC and data are {str(dlc)[:40]!r} and {str(data)[:40]!r}, which are not a number and bytes"
    return None


def _message(
    timestamp: float, identifier: int, extended: int, remote: int, error: int, dlc: int, data: bytes | None
) -> RecordedMessage:
    payload = data or b""
    return RecordedMessage(
        timestamp=float(timestamp),
        arbitration_id=identifier,
        dlc=dlc,
        data=payload,
        is_extended_id=bool(extended),
        is_remote_frame=bool(remote),
        is_error_frame=bool(error),
        is_fd=len(payload) > MAX_PAYLOAD_BYTES,  # the table does not say
    )


SQLITE_LOG = BridgedFormat(NAME, start=re.compile(rb"SQLite format 3\0"), messages=_messages)
