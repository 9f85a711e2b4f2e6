"""Every text parser against a slow and obvious one, on whole, damaged and arbitrary lines.

100 examples for each parser and property; `GRAPHIDS_HYPOTHESIS_EXAMPLES=2000` runs more.
"""

import base64
import binascii
import io
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphids.core.captures.capture_file import whole_lines
from graphids.core.captures.formats.python_can import PythonCanCounts, read_with_python_can
from graphids.core.captures.formats.text_formats import Recognised, recognise
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import Frames, LogFormatError

many = settings(
    max_examples=int(os.environ.get("GRAPHIDS_HYPOTHESIS_EXAMPLES", "100")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
Frame = tuple[float, int, bool, str, str, str]  # time, ID, 29 bits, payload, bus, kind
HH, W, ID = rb"[0-9a-fA-F]{2}", rb"[ \t]", rb"[0-9a-fA-F]+"
TIME = rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
NAME = rb"[!-~]{1,32}"
PATH = Path("drive.log")


def frame(
    time: float, identifier: bytes, payload: bytes, *, extended: bool | None = None, bus: bytes = b"", kind: str = ""
) -> Frame | None:
    """A frame if its values are possible; no `extended` means that the value decides."""
    number = int(identifier, 16)
    digits = bytes(byte for byte in payload if byte not in b" \t,")
    is_possible = number <= 0x1FFF_FFFF and len(digits) <= 16 and abs(time) < 1e11
    if not is_possible or (extended is False and number > 0x7FF):
        return None
    return time, number, number > 0x7FF if extended is None else extended, digits.decode().lower(), bus.decode(), kind


def sized(match: re.Match[bytes], dlc: int, build: Callable[[bytes], Frame | None]) -> Frame | None:
    data = match["data"] or b""
    return build(data) if len(re.findall(HH, data)) == dlc <= 8 else None


@dataclass(frozen=True)
class Reference:
    """A format: its head, a line of it for a frame, and what a line of it says, by a regular expression."""

    head: bytes
    write: Callable[[int, int, bool, bytes], bytes]  # microseconds, ID, 29 bits, payload
    pattern: bytes
    read: Callable[[re.Match[bytes]], Frame | None]

    def frame(self, line: bytes) -> Frame | None:
        match = re.fullmatch(self.pattern, line.lstrip(b" \t").rstrip(b" \t\r"))
        return self.read(match) if match else None


def spaced(data: bytes) -> bytes:
    return data.hex(" ").encode()


def seconds(microseconds: int) -> bytes:
    return b"%d.%06d" % divmod(microseconds, 1_000_000)


def read_candump(m: re.Match[bytes]) -> Frame | None:
    if len(m["id"]) not in (3, 8) or int(m["id"], 16) >= 0x2000_0000:
        return None
    return frame(float(m["t"]), m["id"], m["data"] or b"", extended=len(m["id"]) == 8, bus=m["bus"])


def read_screen(m: re.Match[bytes]) -> Frame | None:
    return read_candump(m) if m["remote"] or len(re.findall(HH, m["data"])) == int(m["dlc"]) <= 8 else None


def read_challenge(m: re.Match[bytes]) -> Frame | None:
    kind = m["sub"].decode().lower()
    if (m["class"].lower() == b"attack") != (kind != "normal"):
        return None
    return sized(m, int(m["dlc"]), lambda data: frame(float(m["t"]), m["id"], data, kind=kind))


def read_python_can(m: re.Match[bytes]) -> Frame | None:
    try:
        data = base64.b64decode(m["data"], validate=True)
    except binascii.Error:
        return None
    if m["error"] == b"1" or (m["remote"] == b"0" and len(data) != int(m["dlc"])) or (m["remote"] == b"1" and data):
        return None
    return frame(float(m["t"]), m["id"], data.hex().encode(), extended=m["extended"] == b"1")


def read_flagged(m: re.Match[bytes]) -> Frame | None:
    if m["flags"][:1] == b"1":
        return frame(float(m["t"]), m["id"], b"")
    return sized(m, int(m["dlc"]), lambda data: frame(float(m["t"]), m["id"], data))


def read_busmaster(m: re.Match[bytes]) -> Frame | None:
    hours, minutes, whole = int(m["h"]), int(m["m"]), int(m["s"])
    time = hours * 3600 + minutes * 60 + whole + float(b"0." + m["f"])
    kind = m["type"].lower()
    dlc = 0 if b"r" in kind else int(m["dlc"])
    data = b"" if b"r" in kind else m["data"]
    if max(minutes, whole) >= 60 or len(re.findall(HH, data)) != dlc:
        return None
    return frame(time, m["id"], data, extended=b"x" in kind, bus=m["bus"])


def read_canhacker(m: re.Match[bytes]) -> Frame | None:
    dlc = int(m["dlc"])
    data = re.match(rb"(?:%s+%s){%d}(?=[ \t]|$)" % (W, HH, min(dlc, 9)), m["rest"])
    time = float(m["t"].replace(b",", b"."))
    return data and frame(time, m["id"], data[0], extended=len(m["id"]) == 8) if dlc <= 8 else None


def read_pcan(m: re.Match[bytes]) -> Frame | None:
    is_remote = m["data"] is None
    time, bus = float(m["t"]) / 1000, m.groupdict().get("bus") or b""
    return sized(
        m,
        0 if is_remote else int(m["dlc"]),
        lambda data: frame(time, m["id"], data, extended=len(m["id"]) > 4, bus=bus),
    )


def pcan_id(identifier: int, extended: bool) -> bytes:
    return b"%08X" % identifier if extended else b"%04X" % identifier


def candump_id(identifier: int, extended: bool) -> bytes:
    return b"%08X" % identifier if extended else b"%03X" % identifier


SPACED = rb"(?P<data>(?:%s+%s)*)" % (W, HH)
REFERENCES: dict[str, Reference] = {
    "can-train-and-test csv": Reference(
        b"timestamp,arbitration_id,data_field,attack\n",
        lambda t, i, _, d: b"%s,%X,%s,%d" % (seconds(t), i, d.hex().encode(), t % 2),
        rb"(?P<t>%s),(?P<id>%s),(?P<data>(?:%s)*),(?P<label>[01])" % (TIME, ID, HH),
        lambda m: frame(float(m["t"]), m["id"], m["data"], kind="attack" if m["label"] == b"1" else "normal"),
    ),
    "HCRL Car-Hacking csv": Reference(
        b"1.5,0316,1,05,R\n",
        lambda t, i, _, d: b",".join(
            [seconds(t), b"%04x" % i, b"%d" % len(d), *(b"%02x" % b for b in d), b"RT"[t % 2 :][:1]]
        ),
        rb"(?P<t>%s),(?P<id>%s),(?P<dlc>\d+)(?P<data>(?:,%s)*)%s*,(?P<label>[RT])" % (TIME, ID, HH, W),
        lambda m: sized(
            m,
            int(m["dlc"]),
            lambda data: frame(float(m["t"]), m["id"], data, kind="attack" if m["label"] == b"T" else "normal"),
        ),
    ),
    "Attack & Defense Challenge csv": Reference(
        b"Timestamp,Arbitration_ID,DLC,Data,Class,SubClass\n",
        lambda t, i, _, d: (
            b"%s,%X,%d,%s,%s" % (seconds(t), i, len(d), spaced(d), b"Normal,Normal" if t % 2 else b"Attack,Fuzzing")
        ),
        rb"(?P<t>%s),(?P<id>%s),(?P<dlc>\d+),(?P<data>(?:%s(?:%s+%s)*)?)%s*,(?P<class>(?i:attack|normal)),"
        rb"(?P<sub>[ -+\--~]{1,32})" % (TIME, ID, HH, W, HH, W),
        read_challenge,
    ),
    "SavvyCAN GVRET csv": Reference(
        b"Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n",
        lambda t, i, x, d: (
            b"%d,%08X,%s,%d,%d%s" % (t, i, b"true" if x else b"false", t % 2, len(d), b"".join(b",%02X" % b for b in d))
        ),
        rb"(?P<t>%s),(?P<id>%s),(?P<x>(?i:true|false)),(?P<bus>[ -+\--~]{1,32}),(?P<dlc>\d+)(?P<data>(?:,%s)*)%s*,*"
        % (TIME, ID, HH, W),
        lambda m: sized(
            m,
            int(m["dlc"]),
            lambda data: frame(float(m["t"]) / 1e6, m["id"], data, extended=m["x"].lower() == b"true", bus=m["bus"]),
        ),
    ),
    "python-can csv": Reference(
        b"timestamp,arbitration_id,extended,remote,error,dlc,data\n",
        lambda t, i, x, d: b"%s,0x%x,%d,0,0,%d,%s" % (seconds(t), i, x, len(d), base64.b64encode(d)),
        rb"(?P<t>%s),0[xX](?P<id>%s),(?P<extended>[01]),(?P<remote>[01]),(?P<error>[01]),(?P<dlc>\d+),(?P<data>.*)"
        % (TIME, ID),
        read_python_can,
    ),
    "CanHacker trace": Reference(
        b"Time   ID     DLC Data                    Comment\n",
        lambda t, i, x, d: b"%s %s      %d %s" % (seconds(t).replace(b".", b","), candump_id(i, x), len(d), spaced(d)),
        rb"(?P<t>-?\d+(?:,\d+)?(?:[eE][-+]?\d+)?)%s+(?P<id>%s)%s+(?P<dlc>\d+)(?P<rest>.*)" % (W, ID, W),
        read_canhacker,
    ),
    "PEAK-Converter csv": Reference(
        b"Number Time (ms) Bus Direction Type ID (hex) Reserved Length D0 D1 D...\n",
        lambda t, i, x, d: (
            b"1 %d.%03d %d Rx DT %s - %d %s" % (*divmod(t, 1000), 1 + t % 2, pcan_id(i, x), len(d), spaced(d))
        ),
        rb"\S+%s+(?P<t>%s)%s+(?P<bus>%s)%s+(?i:[RT]x)%s+(?P<type>(?i:DT|RR|[RT]x))%s+(?P<id>%s)%s+\S+%s+(?P<dlc>\d+)(?:%s|%s+(?i:RTR))"
        % (W, TIME, W, NAME, W, W, W, ID, W, W, SPACED, W),
        lambda m: (
            frame(float(m["t"]) / 1000, m["id"], b"", extended=len(m["id"]) > 4, bus=m["bus"])
            if m["type"].lower() == b"rr"
            else read_pcan(m)
        ),
    ),
    "HCRL normal text": Reference(
        b"Timestamp: 1.0        ID: 0350    000    DLC: 0\n",
        lambda t, i, _, d: (
            b"Timestamp: %s        ID: %04x    000    DLC: %d    %s" % (seconds(t), i, len(d), spaced(d))
        ),
        rb"(?i:Timestamp:)%s+(?P<t>%s)%s+(?i:ID:)%s*(?P<id>%s)%s+(?P<flags>\d{3})%s+(?i:DLC:)%s*(?P<dlc>\d+)(?:%s|.*)"
        % (W, TIME, W, W, ID, W, W, W, SPACED),
        read_flagged,
    ),
    "candump -l": Reference(
        b"(1.0) can0 123#00\n",
        lambda t, i, x, d: b"(%s) can%d %s#%s" % (seconds(t), t % 3, candump_id(i, x), d.hex().encode()),
        rb"\((?P<t>%s)\)%s*(?P<bus>%s)%s+(?P<id>%s)#(?:R[0-8]?|(?P<data>(?:%s)*))(?:%s+[RT])?"
        % (TIME, W, NAME, W, ID, HH, W),
        read_candump,
    ),
    "candump -t z": Reference(
        b" (1.0)  can0  123   [0]\n",
        lambda t, i, x, d: b" (%s)  can%d  %s   [%d]  %s" % (seconds(t), t % 3, candump_id(i, x), len(d), spaced(d)),
        rb"\((?P<t>%s)\)%s*(?P<bus>%s)%s+(?P<id>%s)%s*\[(?P<dlc>\d)\]"
        rb"(?:(?P<remote>%s*(?i:remote request))|%s%s*(?:'.*)?)" % (TIME, W, NAME, W, ID, W, W, SPACED, W),
        read_screen,
    ),
    "CrySyS trace": Reference(
        b"1.0  0380  000  0\n",
        lambda t, i, _, d: b"%s        %04x    000    %d    %s" % (seconds(t), i, len(d), spaced(d)),
        rb"(?P<t>%s)%s+(?P<id>%s)%s+(?P<flags>\d{3})%s+(?P<dlc>\d+)(?:%s|.*)" % (TIME, W, ID, W, W, SPACED),
        read_flagged,
    ),
    "BUSMASTER log": Reference(
        b"***BUSMASTER Ver 3.2.0***\n",
        lambda t, i, x, d: (
            b"%02d:%02d:%02d:%06d Rx 1 0x%X %s %d %s"
            % (
                t // 1_000_000 // 3600,
                t // 1_000_000 // 60 % 60,
                t // 1_000_000 % 60,
                t % 1_000_000,
                i,
                b"x" if x else b"s",
                len(d),
                spaced(d),
            )
        ),
        rb"(?P<h>\d+):(?P<m>\d+):(?P<s>\d+):(?P<f>\d+)%s*(?i:[RT]x)%s+(?P<bus>%s)%s+0[xX](?P<id>%s)%s+(?P<type>(?i:[sx]r?))%s+(?P<dlc>\d+)"
        rb"(?:%s|.*)" % (W, W, NAME, W, ID, W, W, SPACED),
        read_busmaster,
    ),
    "PCAN trace": Reference(
        b";$FILEVERSION=1.1\n",
        lambda t, i, x, d: b"  1)  %d.%03d  Rx  %s  %d  %s" % (*divmod(t, 1000), pcan_id(i, x), len(d), spaced(d)),
        rb"\S+%s+(?P<t>%s)%s+(?i:[RT]x)%s+(?P<id>%s)%s+(?P<dlc>\d+)(?:%s|%s+(?i:RTR))"
        % (W, TIME, W, W, ID, W, SPACED, W),
        read_pcan,
    ),
    "Vector ASC": Reference(
        b"date Mon Jan 1 00:00:00.000 2024\nbase hex  timestamps absolute\ninternal events logged\n",
        lambda t, i, x, d: (
            b"   %s 1  %X%s             Rx   d %x %s" % (seconds(t), i, b"x" if x else b"", len(d), spaced(d))
        ),
        rb"(?P<t>\d+\.\d+)\s+(?P<bus>\d+)\s+(?P<id>[0-9a-fA-F]{1,8})(?P<x>[xX]?)\s+(?i:[RT]x)\s+(?i:d\s+(?P<dlc>[0-9a-f])(?P<data>(?:\s+%s)*)"
        rb"|r(?:\s+[0-9a-f])?)(?:\s+(?://|(?i:Length)\b).*)?" % HH,
        lambda m: sized(
            m,
            min(int(m["dlc"] or b"0", 16), 8),
            lambda data: frame(
                float(m["t"]),
                m["id"],
                re.sub(rb"\s", b"", data),
                extended=None if not m["x"] else True,
                bus=b"%d" % int(m["bus"]),
            ),
        ),
    ),
}


def rows(frames: Frames) -> list[Frame]:
    kinds = [""] * len(frames) if frames.attack_kind is None else [frames.kinds[kind] for kind in frames.attack_kind]
    columns: list[Any] = [
        frames.timestamp,
        frames.arbitration_id,
        frames.is_extended,
        frames.payload,
        frames.dlc,
        frames.channel,
    ]
    return [
        (float(time), int(number), bool(extended), bytes(payload[:dlc]).hex(), frames.channels[channel], kind)
        for time, number, extended, payload, dlc, channel, kind in zip(*columns, kinds, strict=True)
    ]


def parsed(text: bytes, name: str, *, drop: bool, chunk_bytes: int = 1 << 20) -> tuple[list[Frame], int]:
    """Frames behind the head of the format, and the lines counted, frames included."""
    if name == "Vector ASC":
        met = PythonCanCounts()
        parts = list(read_with_python_can(PATH, io.BytesIO(text), name, met, drop_bad_lines=drop))
        found = [row for part in parts for row in rows(part)]
        return found, len(found) + met.error_frames + met.comment_lines + met.blank_lines + met.bad_lines
    recognised = RECOGNISED[name]
    parser = TextParser(PATH, recognised, drop_bad_lines=drop)
    stream = io.BytesIO(text)
    stream.seek(recognised.data_start)
    found = [row for lines in whole_lines(stream, chunk_bytes) for part in parser.parse(lines) for row in rows(part)]
    return found, int(parser.counts.sum()) + parser.bad_lines


def recognised(name: str) -> Recognised:
    found = recognise(REFERENCES[name].head)
    assert found is not None
    assert found.format.name == name
    return found


RECOGNISED = {name: recognised(name) for name in REFERENCES if name != "Vector ASC"}


def names_its_line(error: LogFormatError) -> None:
    assert re.match(r"drive\.log:\d+: ", str(error))


def close(found: Frame, expected: Frame | None) -> bool:
    return expected is not None and found[1:] == expected[1:] and math.isclose(found[0], expected[0], rel_tol=4e-16)


class Tape:
    """Decisions read from random bytes: far cheaper to generate than structured data."""

    def __init__(self, tape: bytes) -> None:
        self.stream = io.BytesIO(tape)

    def number(self, below: int) -> int:
        return int.from_bytes(self.stream.read(4)) % below

    def line(self, reference: Reference) -> bytes:
        is_extended = bool(self.number(2))
        identifier = self.number(0x2000_0000) | 0x800 if is_extended else self.number(0x800)
        return reference.write(self.number(2**31), identifier, is_extended, self.stream.read(self.number(9)))

    def damaged(self, line: bytes) -> bytes:
        at = self.number(len(line) + 1)
        byte = bytes([(self.number(256), *b" \t,.:x#R09aF-\n\0")[self.number(16)]])
        kinds = (line[:at] + byte + line[at + 1 :], line[:at] + line[at + 1 :], line[:at] + byte + line[at:], line[:at])
        return kinds[self.number(len(kinds))]


@pytest.fixture(params=REFERENCES)
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "Vector ASC":
        pytest.importorskip("can", reason="needs python-can: pip install 'graphids[can]'")
    return str(request.param)


@many
@given(tape=st.binary(min_size=40, max_size=120))
def test_whole_lines_come_back_and_a_damaged_one_is_an_error_or_what_the_reference_reads(
    name: str, tape: bytes
) -> None:
    reference, decisions = REFERENCES[name], Tape(tape)
    whole = [decisions.line(reference) for _ in range(2)]
    begin = parsed(reference.head, name, drop=False)[0]

    found, _ = parsed(reference.head + b"\n".join(whole), name, drop=False)

    assert all(map(close, found[len(begin) :], map(reference.frame, whole)))
    assert len(found) == len(begin) + 2
    damaged = decisions.damaged(decisions.damaged(whole[0]))
    for line in damaged.split(b"\n"):
        try:
            read = parsed(reference.head + line, name, drop=False)[0][len(begin) :]
        except LogFormatError as error:
            names_its_line(error)
            continue
        assert len(read) <= 1
        assert not read or close(read[0], reference.frame(line)), line


@many
@given(tape=st.binary(min_size=20, max_size=60), noise=st.binary(max_size=200))
def test_any_bytes_give_frames_and_counts_that_add_up_to_the_lines_however_they_are_cut(
    name: str, tape: bytes, noise: bytes
) -> None:
    reference, decisions = REFERENCES[name], Tape(tape)
    text = reference.head + decisions.line(reference) + b"\n" + noise + b"\n" + decisions.line(reference)
    in_data = text if name == "Vector ASC" else text[RECOGNISED[name].data_start :]

    found, counted = parsed(text, name, drop=True)

    assert counted == len(in_data.split(b"\n"))
    assert len(found) >= 2
    if name != "Vector ASC":
        assert parsed(text, name, drop=True, chunk_bytes=16) == (found, counted)
    try:
        parsed(text, name, drop=False)
    except LogFormatError as error:
        names_its_line(error)
