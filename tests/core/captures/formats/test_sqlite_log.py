"""The sqlite log of python-can: what it wrote, what it never writes, and databases of others."""

import gzip
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import find_captures, read_captures, stream_frames
from graphids.core.frames import LogFormatError
from support.format_case import Frame, rows

COLUMNS = "ts REAL, arbitration_id INTEGER, extended INTEGER, remote INTEGER, error INTEGER, dlc INTEGER, data BLOB"
Row = tuple[object, ...]
FIRST: Row = (1.5, 0x123, 0, 0, 0, 2, b"\x11\x22")


def log(path: Path, *messages: Row, columns: str = COLUMNS, table: str = "messages") -> Path:
    """A log as python-can writes it, by hand."""
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE {table} ({columns})")
        for message in messages:
            database.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(message))})", message)
    database.close()
    return path


@pytest.mark.parametrize("is_compressed", [False, True])
def test_frames_come_back_in_recorded_order_without_python_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_compressed: bool
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "can", None)
    path = log(
        tmp_path / "drive.db",
        FIRST,
        (1.75, 0x18FEF100, 1, 0, 0, 0, None),
        (1.7, 0x124, 0, 1, 0, 4, b""),
        (1.8, 0, 1, 0, 1, 0, b""),
        (1.9, 0x125, 0, 0, 0, 15, bytes(range(8))),
    )
    if is_compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    before = path.read_bytes()

    (capture,) = read_captures(path)

    assert rows(capture.frames) == [
        Frame(1.5, 0x123, False, "1122"),
        Frame(1.75, 0x18FEF100, True, ""),
        Frame(1.7, 0x124, False, ""),
        Frame(1.9, 0x125, False, "0001020304050607"),
    ]
    counted = {name: capture.counts[name] for name in ("remote_frames", "error_frames", "bad_lines")}
    assert counted == {"remote_frames": 1, "error_frames": 1, "bad_lines": 0}
    assert capture.counts["backward_timestamps"] == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("x", 1, 0, 0, 0, 0, b""), "the timestamp is 'x', which is not a number"),
        ((None, 1, 0, 0, 0, 0, b""), "the timestamp is 'None', which is not a number"),
        ((float("inf"), 1, 0, 0, 0, 0, b""), "the timestamp is inf. Expected seconds"),
        ((1.7e12, 1, 0, 0, 0, 0, b""), r"the timestamp is 1700000000000\.0. Expected seconds"),
        ((1.0, -1, 0, 0, 0, 0, b""), "the arbitration ID is '-1', which is not a natural number"),
        ((1.0, "1A2", 0, 0, 0, 0, b""), "the arbitration ID is '1A2'"),
        ((1.0, 0x800, 0, 0, 0, 0, b""), "the arbitration ID 800 has more than 11 bits"),
        ((1.0, 1 << 29, 1, 0, 0, 0, b""), "the arbitration ID 20000000 has more than 29 bits"),
        ((1.0, 1, 2, 0, 0, 0, b""), "extended is '2', which is not 0 or 1"),
        ((1.0, 1, 0, None, 0, 0, b""), "remote is 'None', which is not 0 or 1"),
        ((1.0, 1, 0, 0, "no", 0, b""), "error is 'no', which is not 0 or 1"),
        ((1.0, 1, 0, 0, 0, 3, b"\x11"), "payload has 1 bytes but DLC says 3"),
        ((1.0, 1, 0, 0, 0, None, b"\x11"), "DLC and data are 'None'"),
        ((1.0, 1, 0, 0, 0, 2, "11"), "DLC and data are '2' and '11'"),
        ((1.0, 1, 0, 0, 0, 12, bytes(12)), "a CAN FD frame"),
    ],
)
def test_a_row_that_is_not_a_classic_frame_is_refused_or_dropped_and_counted(
    tmp_path: Path, row: Row, message: str
) -> None:
    path = log(tmp_path / "drive.db", FIRST, row)

    with pytest.raises(LogFormatError, match=rf"drive\.db: row 2: {message}.*on_bad_line='drop'"):
        read_captures(path)
    (capture,) = read_captures(path, on_bad_line="drop")
    assert rows(capture.frames) == [Frame(1.5, 0x123, False, "1122")]
    assert capture.counts["bad_lines"] == 1


@pytest.mark.parametrize(
    ("columns", "table", "message"),
    [
        ("a", "runs", r"an SQLite database without a table `messages` \(tables: runs\)"),
        ("ts, arbitration_id, data", "messages", "lacks extended, remote, error, dlc. Expected a log of python-can"),
        (COLUMNS.replace("dlc INTEGER", "dlc AS (1)"), "messages", "lacks dlc"),
    ],
)
def test_a_database_of_others_is_refused(tmp_path: Path, columns: str, table: str, message: str) -> None:
    path = log(tmp_path / "other.db", columns=columns, table=table)

    with pytest.raises(LogFormatError, match=rf"other\.db: .*{message}"):
        read_captures(path)


def test_a_view_is_not_a_log(tmp_path: Path) -> None:
    """It could compute rows without end."""
    path = log(tmp_path / "other.db", columns="a", table="t")
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE VIEW messages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT * FROM n"
        )
    database.close()

    with pytest.raises(LogFormatError, match="without a table `messages`"):
        read_captures(path)


def damaged(raw: bytes) -> dict[str, bytes]:
    middle = 4096 * (len(raw) // 8192)
    return {"cut off": raw[:middle], "a page of zeros": raw[:middle] + bytes(4096) + raw[middle + 4096 :]}


@pytest.mark.parametrize("damage", ["cut off", "a page of zeros"])
@pytest.mark.parametrize("on_bad_line", ["raise", "drop"])
def test_a_damaged_database_is_refused(tmp_path: Path, damage: str, on_bad_line: str) -> None:
    path = log(tmp_path / "drive.db", *(FIRST for _ in range(3_000)))
    path.write_bytes(damaged(path.read_bytes())[damage])

    with pytest.raises(LogFormatError, match=r"drive\.db: the SQLite database is damaged or cut off \("):
        read_captures(path, on_bad_line=on_bad_line)  # type: ignore[arg-type]


def test_an_unfinished_log_is_refused_and_a_finished_one_of_the_same_mode_is_read(tmp_path: Path) -> None:
    """Rows of a log in WAL mode are beside it until the program that records ends."""
    path = log(tmp_path / "drive.db", FIRST)
    recorder = sqlite3.connect(path)
    recorder.execute("PRAGMA journal_mode = WAL")
    recorder.execute("INSERT INTO messages SELECT * FROM messages")
    recorder.commit()

    with pytest.raises(
        LogFormatError, match=r"drive\.db: drive\.db-wal beside it holds changes that are not in the log"
    ):
        read_captures(path)
    assert [name for _, name in find_captures(tmp_path)] == ["drive.db"]
    recorder.close()
    assert len(read_captures(path)[0].frames) == 2


def test_random_frames_are_those_that_python_can_reads(tmp_path: Path) -> None:
    can = pytest.importorskip("can", reason="compares with python-can")
    random = np.random.default_rng(10)
    path = tmp_path / "drive.db"
    with can.Logger(path) as logger:
        for i in range(3_000):
            is_extended, is_remote = bool(random.integers(2)), not random.integers(9)
            data = b"" if is_remote else random.bytes(int(random.integers(9)))
            identifier = int(random.integers(1 << (29 if is_extended else 11)))
            logger(can.Message(1.7e9 + i / 1000, identifier, is_extended, is_remote, not random.integers(9), data=data))
        deadline = time.monotonic() + 60
        while logger.num_frames < 3_000 and time.monotonic() < deadline:
            time.sleep(0.01)  # its thread drops what it still holds when it is stopped
    written = list(can.SqliteReader(path))
    expected = [message for message in written if not message.is_error_frame]
    counts: dict[str, int] = {}

    found = [row for part in stream_frames(path, counts=counts) for row in rows(part)]

    assert found == [Frame(m.timestamp, m.arbitration_id, m.is_extended_id, m.data.hex()) for m in expected]
    assert len(written) == 3_000
    assert counts["error_frames"] == len(written) - len(found) > 100
    assert counts["remote_frames"] == sum(m.is_remote_frame for m in expected) > 100
