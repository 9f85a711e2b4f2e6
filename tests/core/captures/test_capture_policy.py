"""What a capture may hold: each row of the table in docs/data.md, read by default and with `on_bad_line="drop"`."""

import gzip
import os
import random
import re
import sqlite3
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.formats.bridged import asam_mf4, mf4_reader
from graphids.core.captures.read import find_captures, read_captures, stream_frames
from graphids.core.frames import DataError, LogFormatError

REFUSED, DROPPED, ACCEPTED, LEFT_OUT = "refused", "dropped", "accepted", "left out"
CANDUMP = b"(1.0) can0 123#0011\n"
CSV = b"timestamp,arbitration_id,data_field,attack\n0.5,1E5,46,0\n"
HACKING = b"1.5,0316,1,05,R\n"
CANHACKER = b"Time   ID     DLC Data                    Comment\n"
GVRET = b"Time Stamp,ID,Extended,Bus,LEN,D1,D2\n1000,00000450,false,0,1,00\n"
HCRL_TEXT = b"Timestamp: 1.0    ID: 0123    000    DLC: 1    00\n"
PYTHON_CAN = b"timestamp,arbitration_id,extended,remote,error,dlc,data\n1.5,0x32a,0,0,0,1,AA==\n"
PCAN = b";$FILEVERSION=2.0\n;$STARTTIME=45000\n;$COLUMNS=O,I,L,D\n1.0 0100 0\n"
PEAK = b"$STARTTIME=45000\nNumber Time (ms) Bus Direction Type ID (hex) Reserved Length D0 D1\n1 0.1 1 Rx DT 0593 - 0\n"
ASC = b"date Mon Jan 1 00:00:00.000 2024\nbase hex  timestamps absolute\ninternal events logged\n 2.5 1 6F9 Rx d 1 05\n"


@dataclass(frozen=True)
class Case:
    """Files that a row is about, each with one frame and one such thing, or written by `make`."""

    texts: tuple[bytes, ...] = ()
    make: Callable[[Path], None] | None = None
    extra_frames: int = 0  # frames beside the one, by default
    counted: int = 1


def ticking(times: list[float], ids: int = 1) -> bytes:
    return b"".join(b"(%.6f) can0 %03X#00\n" % (t, i % ids) for i, t in enumerate(times))


def csv_of(times: list[float]) -> bytes:
    return CSV.split(b"\n")[0] + b"\n" + b"".join(b"%.6f,1E5,46,0\n" % t for t in times)


def real(number: int) -> list[float]:
    return [i * 0.001 for i in range(number)]


def utf16(path: Path) -> None:
    path.write_bytes(CANDUMP.decode().encode("utf-16"))


def cut_off(path: Path, suffix: str, *, keep: float) -> None:
    can = pytest.importorskip("can")
    whole = path.with_suffix(suffix)
    with can.Logger(whole) as logger:
        for i in range(300):
            logger(can.Message(1.5 + i / 1000, 0x123, is_extended_id=False, data=[1, 2, 3], channel=0))
    raw = whole.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    whole.unlink()


def headless_mf4(path: Path) -> None:
    pytest.importorskip("asammdf")
    path.write_bytes(b"MDF     4.10    " + bytes(100))


def linked(path: Path) -> None:
    path.mkdir()
    (path / "drive.log").symlink_to(path / "nowhere.log")


def many_buses(path: Path) -> None:
    path.write_bytes(b"".join(b"(1.0) can%d 123#00\n" % i for i in range(257)))


def blf_of(objects: bytes, *, is_compressed: bool = True) -> bytes:
    """A Vector BLF file of one container."""
    content = zlib.compress(objects) if is_compressed else objects
    body = struct.pack("<H6xL4x", 2 if is_compressed else 0, len(objects)) + content
    container = struct.pack("<4sHHLL", b"LOBJ", 16, 1, 16 + len(body), 10) + body
    return struct.pack("<4sL", b"LOGG", 144).ljust(144, b"\0") + container + bytes(len(body) % 4)


def another_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE runs (name)")
    database.close()


def with_error_frames(path: Path) -> None:
    """A frame, and an error frame of each type: CAN error, extended CAN error, CAN FD error 64."""
    pytest.importorskip("can")
    frame = struct.pack("<HBBL8s", 1, 0, 1, 0x123, b"\x11")
    bodies = ((1, frame), (2, bytes(4)), (73, bytes(32)), (104, bytes(44)))
    headers = (struct.pack("<4sHHLLLHHQ", b"LOBJ", 32, 1, 32 + len(body), kind, 2, 0, 0, 0) for kind, body in bodies)
    path.write_bytes(blf_of(b"".join(header + body for header, (_, body) in zip(headers, bodies, strict=True))))


CASES: dict[str, Case] = {
    "timestamp that is not a number (text, NaN, infinite)": Case(
        (
            CSV + b"x,1E5,46,0\n",
            CSV + b"nan,1E5,46,0\n",
            CSV + b"inf,1E5,46,0\n",
            CSV + b",1E5,46,0\n",
            CANDUMP + b"(-inf) can0 123#00\n",
            GVRET + b"NaN,00000450,false,0,1,00\n",
        )
    ),
    "timestamp of 1e11 or more (ms, us, ns since 1970)": Case(
        (
            CSV + b"1700000000000,1E5,46,0\n",
            CANDUMP + b"(1700000000000000.0) can0 123#00\n",
            CSV + b"1e99,1E5,46,0\n",
            HACKING + b"-1e11,0316,1,05,R\n",
            PYTHON_CAN + b"1700000000000,0x32a,0,0,0,1,AA==\n",
        )
    ),
    "microseconds for seconds (median gap above 1 s, or 0.1 s with 10 IDs)": Case(
        (
            ticking([t * 1e6 for t in real(200)]),
            ticking([t * 1e3 for t in real(200)], ids=20),
            # A USB logger's bursts: most gaps 2 microseconds, some frames at the same time.
            ticking([2.0 * (i // 2) + 61_000 * (i // 60) for i in range(600)]),
            CSV + b"".join(b"%d,1E5,46,0\n" % (250 * i) for i in range(1, 200)),
        )
    ),
    "timestamps that do not advance (2,000 frames at over 100,000 per second)": Case(
        (ticking([1.0] * 2_000), ticking([i * 1e-8 for i in range(2_000)]))
    ),
    "equal timestamps: under a tenth of the steps advance, by over 20 ms (float32)": Case(
        (
            ticking([float(np.float32(1.7e9 + t)) for t in real(600)]),
            ticking([float(np.float32(1.7e9 + 30.0 * t)) for t in real(600)]),
            ticking([float(np.float32(1e6 + t)) for t in real(600)]),
            ticking([5.0] * 100),
        )
    ),
    "unsorted: more than a tenth of the steps go back": Case(
        (
            ticking(random.Random(0).sample(real(200), 200)),
            ticking([1e9 + t for t in random.Random(1).sample(real(3_000), 3_000)]),
            ticking([t for i in range(100) for t in (0.002 * i + 0.001, 0.002 * i)]),
            csv_of(random.Random(2).sample(real(200), 200)),
        )
    ),
    "times whose minus sign is wrong, so that they fall": Case(
        (
            GVRET + b"".join(b"%d,00000450,false,0,0\n" % (-500 * i) for i in range(1, 200)),
            # Only what a signed counter of 32 bits cannot hold.
            ticking([t if t < 0.1 else -t for t in real(200)]),
        )
    ),
    "latest frame first": Case((ticking(real(200)[::-1]),)),
    "clock that starts again every few frames": Case(
        (
            ticking([0.25 * (i % 4) + 0.001 * (i % 3) for i in range(200)]),
            ticking([59.0 + (i % 5) / 5 if i % 5 else 0.0 for i in range(200)]),
        )
    ),
    "unsorted: fewer, or by a recorder's jitter": Case((CANDUMP + b"(0.999) can0 123#00\n",), extra_frames=1),
    "wrapped or set clock: back by over 0.5 s, ahead by over 1 h": Case(
        (
            b"Time Stamp,ID,Extended,Bus,LEN,D1,D2\n999900,00000450,false,0,0\n100,00000450,false,0,0\n",
            b"Time Stamp,ID,Extended,Bus,LEN\n59999900,00000450,false,0,0\n300,00000450,false,0,0\n",
            b";$FILEVERSION=1.1\n1)  1999.8  Rx  0100  0\n2)  1000.1  Rx  0100  0\n",
            b"Time Stamp,ID,Extended,Bus,LEN,D1,D2\n4294967295,00000450,false,0,0\n100,00000450,false,0,0\n",
            b"23:59:59:9990 Rx 1 0x158 s 0\n00:00:00:0010 Rx 1 0x158 s 0\n",
            CANDUMP + b"(1700000000.0) can0 123#00\n",
        ),
        extra_frames=1,
    ),
    "negative timestamps (before the trigger)": Case(
        (b"(-0.5) can0 123#00\n" + CANDUMP, b" -0.5 1 6F9 Rx d 1 05\n" + ASC), extra_frames=1
    ),
    "equal timestamps": Case((CANDUMP + CANDUMP, HACKING + HACKING), extra_frames=1),
    "arbitration ID beyond 29 bits": Case(
        (CSV + b"0.5,20000000,46,0\n", CANDUMP + b"(1.0) can0 80000000#00\n", CSV + b"0.5,FFFFFFFFFFFFFFFFFFFF,46,0\n")
    ),
    "ID beyond 11 bits where the line says 11": Case(
        (
            CANDUMP + b"(1.0) can0 FFF#00\n",
            GVRET + b"1000,00000800,false,0,1,00\n",
            PYTHON_CAN + b"1.5,0x800,0,0,0,1,AA==\n",
            b"1)  1.0  0100  1  01\n2)  2.0  0800  1  01\n",
            HCRL_TEXT + b"Timestamp: 1.1    ID: 00000800    000    DLC: 1    00\n",
        )
    ),
    "ID with 0x where the format has none": Case(
        (CSV + b"0.5,0x1E5,46,0\n", CANDUMP + b"(1.0) can0 0x123#00\n", HACKING + b"1.5,0x316,1,05,R\n")
    ),
    "payload that is not hexadecimal": Case(
        (CSV + b"0.5,1E5,4Z,0\n", CANDUMP + b"(1.0) can0 123#0x11\n", PYTHON_CAN + b"1.5,0x32a,0,0,0,1,A*==\n")
    ),
    "odd number of hex digits": Case((CSV + b"0.5,1E5,460,0\n", CANDUMP + b"(1.0) can0 123#001\n")),
    "DLC that differs from the payload": Case(
        (
            HACKING + b"1.6,0316,3,05,21,R\n",
            GVRET + b"1000,00000450,false,0,3,00,C2\n",
            PYTHON_CAN + b"1.5,0x32a,0,0,0,3,AAA=\n",
            ASC + b" 2.6 1 6F9 Rx d 3 05 0C\n",
        )
    ),
    "CAN FD frame": Case(
        (
            CANDUMP + b"(1.0) can0 123##100\n",
            PYTHON_CAN + b"1.5,0x32a,0,0,0,12,AAAAAAAAAAAAAAAA\n",
            b";$FILEVERSION=2.0\n;$COLUMNS=N,O,T,I,d,l,D\n1 1.0 DT 0100 Rx 0\n2 1.0 FD 00000100 Tx 2  01 02\n",
            ASC + b" 2.6 CANFD 1 Rx 6F9 1 0 1 1 05 0 0 3000 0 0 0 0 0\n",
        )
    ),
    "remote frame": Case(
        (
            CANDUMP + b"(1.0) can0 123#R8\n",
            ASC + b" 2.6 1 6F9 Rx r\n",
            HCRL_TEXT + b"Timestamp: 1.1    ID: 0123    100    DLC: 1\n",
        ),
        extra_frames=1,
    ),
    "error frame": Case(
        (
            CANDUMP + b"(1.0) can0 20000004#0000000000000000\n",
            ASC + b" 2.6 1 ErrorFrame\n",
            PYTHON_CAN + b"1,0x1,0,0,1,0,\n",
            HCRL_TEXT + b"Timestamp: 1.1    ID: 00000123    001    DLC: 1    00\n",
        )
    ),
    "comment, status or header line of the format": Case(
        (b"***BUSMASTER Ver 3.2.0***\n01:02:03:532 Rx 1 0x158 s 0\n", b";$FILEVERSION=1.1\n1)  1000.0  Tx  0100  0\n")
    ),
    "blank line": Case((CANDUMP + b" \t\r\n", b"\n" + CANDUMP, ASC + b"  \n")),
    "column names again, within the data (csv, CanHacker)": Case(
        (
            *(text + text.split(b"\n")[0] + b"\n" for text in (CSV, GVRET, PYTHON_CAN)),
            CANHACKER + b"0,0 123 0\n" + CANHACKER,
            PEAK + PEAK.splitlines(keepends=True)[1],
        )
    ),
    "empty file": Case((b"", b"\n\r\n", gzip.compress(b""))),
    "header only": Case((CSV.split(b"\n")[0] + b"\n", GVRET.split(b"\n")[0], b"***BUSMASTER***\n")),
    "one frame": Case((CANDUMP, CSV, HACKING, GVRET, PYTHON_CAN, ASC)),
    "CRLF line ends": Case(tuple(text.replace(b"\n", b"\r\n") for text in (CANDUMP, CSV, GVRET, PYTHON_CAN, ASC))),
    "CR alone as line end": Case((CSV.replace(b"\n", b"\r"), (CANDUMP * 2).replace(b"\n", b"\r"))),
    "byte order mark (UTF-8)": Case(tuple(b"\xef\xbb\xbf" + text for text in (CANDUMP, CSV, HACKING, ASC, PCAN, PEAK))),
    "UTF-16 text": Case(make=utf16),
    "bytes beyond ASCII in a name": Case(
        (CANDUMP + b"(1.0) c\xe4n0 123#00\n", CANDUMP + "(1.0) cän 123#00\n".encode())
    ),
    "NUL bytes": Case(
        (CANDUMP + bytes(4096), CSV + b"0.6,1E5,4\x006,0\n", CANDUMP + b"(1.0) c\x00n 123#00\n", ASC + bytes(9))
    ),
    "line of over 4,096 bytes, or without an end": Case(
        (CANDUMP + b"(1.0) can0 123#" + b"0" * 5000 + b"\n", CANDUMP + b" " * 3_000_000, ASC + b"1" * 3_000_000 + b"\n")
    ),
    "last line without its end, well formed": Case((CANDUMP.rstrip(), CSV.rstrip())),
    "last line cut off": Case((CANDUMP + b"(1606770", CSV + b"0.5,1E5,46", HACKING + b"1.6,0316,2,05,2")),
    "missing column": Case((b"timestamp,arbitration_id\n0.5,1E5\n", b"Timestamp,Arbitration_ID,DLC,Data,SubClass\n")),
    "repeated column": Case(
        (
            b"timestamp,arbitration_id,data_field,attack,attack\n0.5,1E5,46,0,1\n",
            b"timestamp,timestamp,arbitration_id,data_field,attack\n0.5,0.5,1E5,46,0\n",
        )
    ),
    "more than 256 buses": Case(make=many_buses, extra_frames=255),
    "gzip that expands over 200 times, beyond 64 MiB": Case(
        # As many members of a MiB, which take no time to make.
        make=lambda path: path.write_bytes(gzip.compress(CSV) + 80 * gzip.compress(b"\n" * (1 << 20))) and None
    ),
    "gzip that is cut off or damaged": Case(
        (gzip.compress(CANDUMP * 9)[:-5], gzip.compress(CANDUMP) + b"rest", gzip.compress(CANDUMP * 50)[:40])
    ),
    "named pipe": Case(make=lambda path: os.mkfifo(path)),
    "device": Case(make=lambda path: path.symlink_to("/dev/zero")),
    "folder": Case(make=lambda path: path.mkdir()),
    "link to nothing, in a folder of captures": Case(make=linked),
    "frames without timestamps": Case(
        (
            b"ID,DATA_0,DATA_1\n65,96,0\n",
            b"  can0  123   [2]  11 22\n",
            b"  can0  RX - -  123   [2]  11 22\n",
            b"  can0  123   {9}  00\n",
        )
    ),
    "times since the frame before (`candump -t d`, BUSMASTER's and Vector ASC's relative mode)": Case(
        (
            b"***BUSMASTER***\n***RELATIVE MODE***\n" + 2 * b"00:00:00:0100 Rx 1 0x123 s 1 00\n",
            b"***BUSMASTER***\n***SYSTEM MODE***\n01:02:03:0100 Rx 1 0x123 s 1 00\n***RELATIVE MODE***\n",
            b"".join(b" (000.%06d)  can0  123   [1]  00\n" % t for t in (0, 10_210, 9_800)).rstrip(),
            b"".join(b"(%d.%06d) can0 123#00\n" % divmod(t, 1_000_000) for t in (0, 100_000, 100_000, 100_000)),
            CANHACKER + b"0,000 123 0\n0,010 124 0\n0,001 123 0\n0,009 124 0\n",
            b";$FILEVERSION=1.0\n1) 0.0 0123 0\n2) 10.2 0124 0\n3) 0.4 0123 0\n",
            ASC.replace(b"absolute", b"relative"),
            ASC + b"base hex timestamps relative\n",
            b"".join(b"0.%06d 1 123 Rx d 1 00\n" % t for t in (0, 10_210, 9_800)),
            # Cut from the middle of a recording.
            ticking([0.01 * (i % 7) / 7 + 0.0001 for i in range(60)], ids=3),
            ticking([random.Random(i).expovariate(1000) for i in range(5_000)]),
            # In a format of which no tool is known to write them, the clock finds them.
            csv_of([random.Random(i).expovariate(1000) for i in range(200)]),
            csv_of([random.Random(i).expovariate(1000) for i in range(5_000)]),
            csv_of([0.01 + random.Random(i).gauss(0, 1e-5) for i in range(200)]),
        )
    ),
    "decimal and hexadecimal numbers in one file (BUSMASTER, Vector ASC)": Case(
        (
            b"***BUSMASTER***\n***HEX***\n01:02:03:0100 Rx 1 0x123 s 1 00\n***DEC***\n",
            b"***BUSMASTER***\n***DEC***\n01:02:03:0100 Rx 1 291 s 1 000\n***HEX***\n",
            ASC + b"base dec\n",
            ASC.replace(b"base hex", b"base oct"),
        )
    ),
    "two recordings in one PCAN trace (`$STARTTIME`, `$COLUMNS` or `$FILEVERSION` with two values)": Case(
        tuple(
            PCAN + PCAN.replace(*values)
            for values in ((b"=45000", b"=45001"), (b"O,I,L,D", b"O,I,l,D"), (b"2.0", b"2.1"))
        )
    ),
    "PCAN trace or csv that lost `$STARTTIME` but not its comment `Start time:`": Case(
        tuple(text.replace(b"$STARTTIME=45000", b"Start time: 2023-03-15") for text in (PCAN, PEAK))
    ),
    "frame before the header line, where other lines may come before it (PEAK-Converter)": Case(
        (PEAK.replace(b"Number", b"1 0.1 1 Rx DT 0593 - 0\nNumber"),)
    ),
    "Vector BLF that is cut off or damaged": Case(make=lambda path: cut_off(path, ".blf", keep=0.9)),
    "error frame of any of the three types of Vector BLF": Case(make=with_error_frames, counted=3),
    "SQLite database that is damaged, or not a log of python-can": Case(make=another_database),
    "ASAM MF4 that is cut off or damaged": Case(make=lambda path: cut_off(path, ".mf4", keep=0.5)),
}


def table() -> dict[str, tuple[str, str, str, str]]:
    """The rows of docs/data.md: by default, with drop, count, message."""
    docs = Path(__file__).parents[3] / "docs" / "data.md"
    section = docs.read_text().split("## What a capture may hold")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0]: (row[1], row[2], row[3].strip("`"), row[4]) for row in rows[2:]}


TABLE = table()
FILES = [(name, number) for name, case in CASES.items() for number in range(len(case.texts) or 1)]


@pytest.fixture
def capture(tmp_path: Path, row: str, number: int) -> Path:
    case = CASES[row]
    path = tmp_path / "drive"
    if case.make is None:
        path.write_bytes(case.texts[number])
    else:
        case.make(path)
    return path


def read(path: Path, row: str, on_bad_line: str) -> tuple[int, dict[str, int]]:
    """Frames and counts, the same whether read as a whole or streamed."""
    if row.startswith("link"):
        find_captures(path)
    counts: dict[str, int] = {}
    streamed = sum(map(len, stream_frames(path, chunk_bytes=1 << 16, on_bad_line=on_bad_line, counts=counts)))  # type: ignore[arg-type]
    captures = read_captures(path, on_bad_line=on_bad_line)  # type: ignore[arg-type]
    whole: dict[str, int] = {}
    for found in captures:
        for name, value in found.counts.items():
            whole[name] = whole.get(name, 0) + value
    assert (sum(len(found.frames) for found in captures), whole) == (streamed, counts)
    return streamed, counts


def test_every_row_of_the_documentation_has_a_case_and_every_case_a_row() -> None:
    assert list(CASES) == list(TABLE)


@pytest.mark.parametrize(("row", "number"), FILES)  # `capture` takes the number
@pytest.mark.parametrize("on_bad_line", ["raise", "drop"])
def test_a_capture_is_refused_read_or_counted_as_its_row_says(capture: Path, row: str, on_bad_line: str) -> None:
    verdict, count, message = TABLE[row][on_bad_line == "drop"], TABLE[row][2], TABLE[row][3]
    case = CASES[row]
    if verdict.startswith(REFUSED):
        with pytest.raises(DataError, match=rf"drive.*{message}") as error:
            read(capture, row, on_bad_line)
        if count == "bad_lines":
            assert re.match(r".*drive:\d+: .*on_bad_line='drop'", str(error.value))
        return

    frames, counts = read(capture, row, on_bad_line)

    assert frames == 1 + case.extra_frames
    if count:
        assert counts[count] == case.counted
    if count != "bad_lines":
        assert counts["bad_lines"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # python-can loops forever on an object that says it has no bytes.
        (blf_of(struct.pack("<4sHHLL16x", b"LOBJ", 32, 1, 0, 1)), "an object of type 1, 0 bytes and version 1"),
        (blf_of(struct.pack("<4sHHLL16x", b"LOBJ", 32, 1, 0, 1), is_compressed=False), "type 1, 0 bytes"),
        # python-can reads on into the next object.
        (blf_of(struct.pack("<4sHHLL24x", b"LOBJ", 32, 1, 40, 1)), "an object of type 1, 40 bytes and version 1"),
        (blf_of(struct.pack("<4sHHLL40x", b"LOBJ", 40, 2, 55, 86)), "an object of type 86, 55 bytes and version 2"),
        # 64 MiB of zeros in 64 KiB.
        (blf_of(bytes(64 << 20)), "does not end, or not within 16777216 bytes"),
    ],
    ids=["length 0", "length 0, uncompressed", "short", "short, version 2", "bomb"],
)
def test_a_blf_that_never_ends_or_unpacks_without_end_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "drive.blf"
    path.write_bytes(content)

    tracemalloc.start()
    try:
        with pytest.raises(
            LogFormatError, match=rf"drive\.blf: the Vector BLF file is damaged or cut off: .*{message}"
        ):
            read_captures(path)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_a_damaged_mf4_is_one_error_and_nothing_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """asammdf's destructor writes a trace for a file whose header it could not read."""
    headless_mf4(tmp_path / "drive.mf4")

    with pytest.raises(LogFormatError, match=r"drive\.mf4: python-can cannot read this as ASAM MF4 \(MdfException: "):
        read_captures(tmp_path / "drive.mf4")
    assert capfd.readouterr().err == ""


HANG = "while True: pass"
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
LOGGED = "; ".join(  # the libraries themselves take seconds to load
    (
        "import logging, runpy, sys, types",
        "asammdf = sys.modules['asammdf'] = types.SimpleNamespace(logger=logging.getLogger('asammdf'))",
        "reader = lambda _: asammdf.logger.error('Error: Traceback ...\\nE: cut') or iter(())",
        "sys.modules['can'] = types.SimpleNamespace(MF4Reader=reader)",
        "runpy.run_path({program!r}, run_name='__main__')",
    )
)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (CRASH, r"\(its library crashed by signal 11\)"),
        (LOGGED, r"\(asammdf: E: cut\)"),
        (HANG, r"\(no end within 1 s\)"),
    ],
    ids=["crash", "group of frames passed over", "hang"],
)
def test_a_library_that_crashes_passes_frames_over_or_hangs_on_an_mf4_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    """A damaged length made numpy read outside its buffers; a damaged group of frames was only logged."""
    headless_mf4(tmp_path / "drive.mf4")
    (tmp_path / "reader.py").write_text(program.replace("{program!r}", repr(mf4_reader.__file__)))
    monkeypatch.setattr(mf4_reader, "__file__", str(tmp_path / "reader.py"))
    if program == HANG:
        monkeypatch.setattr(asam_mf4, "START_S", 1)

    with pytest.raises(LogFormatError, match=rf"drive\.mf4: python-can cannot read this as ASAM MF4 {message}"):
        read_captures(tmp_path / "drive.mf4")


MEASURE = """
import resource, sys
from pathlib import Path
from graphids.core.captures.read import read_captures, stream_frames
small, frames, blank_lines = map(Path, sys.argv[1:])

def most_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

read_captures(small)  # loads the compiled parser
before = most_bytes()
for read, path in ((stream_frames, frames), (read_captures, blank_lines), (read_captures, frames)):
    assert sum(len(getattr(part, "frames", part)) for part in read(path)) > 0
    print(most_bytes() - before)
"""


def test_reading_takes_at_most_four_times_the_input_and_64_mib_and_streaming_64_mib(tmp_path: Path) -> None:
    frame, num_bytes = b"(%d.5) c 1A2#\n", 40_000_000  # 14 bytes a frame, fewer than any in the field
    lines = b"".join(frame % (i % 90 + 10) for i in range(9_000))
    contents = (b"", lines * (num_bytes // len(lines)), b"\n" * num_bytes)
    paths = [tmp_path / name for name in ("small", "frames", "blank_lines")]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(frame % 1 + content)

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)], capture_output=True, text=True, check=True, timeout=300
    )

    # The most so far: what takes the least comes first.
    streamed, blank, whole = map(int, done.stdout.split())
    assert streamed <= 64 << 20
    assert max(blank, whole) <= 4 * num_bytes + (64 << 20)
