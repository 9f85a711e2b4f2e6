import re
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME, REMOTE_FRAME
from support.format_case import (
    HH,
    ID,
    NAME,
    TIME,
    FormatCase,
    Frame,
    Layout,
    Malformed,
    Reference,
    Sample,
    W,
    possible,
    seconds,
    short_or_long_id,
)

CANDUMP_TIME = (
    rb"\((?:(?P<t>%s)|(?P<date>\d{4}-\d\d-\d\d)[ T](?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?)\)" % TIME
)


def candump_time(m: re.Match[bytes]) -> float:
    """Seconds; a date counts as UTC."""
    if m["t"]:
        return float(m["t"])
    whole = datetime.strptime(f"{m['date'].decode()} {m['clock'].decode()}+0000", "%Y-%m-%d %H:%M:%S%z")
    return float(int(whole.timestamp()) + Fraction(f"0.{(m['fraction'] or b'0').decode()}"))


def read_candump(m: re.Match[bytes], data: bytes | None = None) -> Frame | None:
    """The frame of a line; `data` where they are other bytes than the line has between its blanks."""
    try:
        time = candump_time(m)
    except ValueError:  # no such day
        return None
    if len(m["id"]) not in (3, 8) or int(m["id"], 16) >= 0x2000_0000:
        return None
    return possible(time, m["id"], m["data"] or b"" if data is None else data, extended=len(m["id"]) == 8, bus=m["bus"])


def write(microseconds: int, identifier: int, extended: bool, data: bytes) -> bytes:
    number, payload = short_or_long_id(identifier, extended), data.hex().upper().encode()
    return b"(%s) can%d %s#%s" % (seconds(microseconds), microseconds % 3, number, payload)


def write_dated(microseconds: int, identifier: int, extended: bool, data: bytes) -> bytes:
    """With a date, the direction that `-x` adds, and a raw DLC after every second payload of eight bytes."""
    whole = datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S").encode()
    raw_dlc = b"_%X" % (9 + microseconds % 7) if len(data) == 8 and microseconds % 2 else b""
    frame = write(microseconds, identifier, extended, data).split(b") ")[1]
    return b"(%s.%06d)  %s%s %s" % (whole, microseconds % 1_000_000, frame, raw_dlc, (b"R", b"T")[microseconds % 2])


def labelled(labels: tuple[bytes, ...], attacks: bytes) -> Reference:
    """Lines that each end in one of `labels`, of which `attacks` matches those of attacked frames."""

    def read(m: re.Match[bytes]) -> Frame | None:
        frame = read_candump(m)
        return frame and frame._replace(kind="attack" if m["attack"] else "normal")

    any_label = b"|".join(re.escape(label) for label in labels)
    return Reference(
        write=lambda t, i, x, d: write(t, i, x, d) + labels[t % len(labels)],
        pattern=rb"%s (?P<bus>%s) (?P<id>%s)#(?P<data>(?:%s)*)(?:(?P<attack>%s)|%s)"
        % (CANDUMP_TIME, NAME, ID, HH, attacks, any_label),
        read=read,
    )


REFERENCE = Reference(
    write=write,
    pattern=rb"%s%s*(?P<bus>%s)%s+(?P<id>%s)#(?:R[0-7]?|R8(?:_[9a-fA-F])?"
    rb"|(?P<data>(?:%s){0,8})(?:(?<=[0-9a-fA-F]{16})_[9a-fA-F])?)(?:%s+[RT])?" % (CANDUMP_TIME, W, NAME, W, ID, HH, W),
    read=read_candump,
    remote=lambda t, i, x: (
        b"(%s) can%d %s#R%s" % (seconds(t), t % 3, short_or_long_id(i, x), (b"", b"4", b"8_C")[t % 3])
    ),
)
CASE = FormatCase(
    head=b"(1.0) can0 123#00\n",
    samples={
        "three digits have 11 bits, eight have 29": Sample(
            b"(1700000000.000250) can0 248#0008\n(1700000000.8) can1 00000248#00 R\n(1700000000.9) can0 0F1#\n",
            [
                Frame(1700000000.000250, 0x248, False, "0008", "can0"),
                Frame(1700000000.8, 0x248, True, "00", "can1"),
                Frame(1700000000.9, 0xF1, False, "", "can0"),
            ],
        ),
        "remote frames are kept, error frames are not": Sample(
            b"(1.0) can0 123#R8\n(2.0) can0 20000004#0000000000000000\n(3.0) can0 124#R\n(4.0) can0 125#11\n",
            [
                Frame(1.0, 0x123, False, "", "can0"),
                Frame(3.0, 0x124, False, "", "can0"),
                Frame(4.0, 0x125, False, "11", "can0"),
            ],
            counts={REMOTE_FRAME: 2, ERROR_FRAME: 1},
        ),
        "raw DLC from 9 to 15 for eight bytes, of remote frames too": Sample(
            b"(1.0) can0 123#1122334455667788_E\n(1.1) can0 123#R8_9\n(1.2) can0 20000004#0000000000000000_F\n",
            [Frame(1.0, 0x123, False, "1122334455667788", "can0"), Frame(1.1, 0x123, False, "", "can0")],
            counts={REMOTE_FRAME: 1, ERROR_FRAME: 1},
        ),
        "what candump -L writes: names of one width, directions, dates, counts of dropped frames": Sample(
            b"(1700000000.000250)  can0 123#00 R\n(1700000000.000350) vcan0 123#01 T\n"
            b"DROPCOUNT: dropped 3 CAN frames on 'can0' socket (total drops 3)\n"
            b"(2024-02-29 23:59:59.999999) can0 123#02\n(2024-03-01 00:00:00) can0 123#03\n",
            [
                Frame(1700000000.00025, 0x123, False, "00", "can0"),
                Frame(1700000000.00035, 0x123, False, "01", "vcan0"),
                Frame(1709251199.999999, 0x123, False, "02", "can0"),
                Frame(1709251200.0, 0x123, False, "03", "can0"),
            ],
            counts={COMMENT: 1},
        ),
        "the label of CAN-MIRGU": Sample(
            b"(1.0) can0 110#0220 0\n(1.1) can0 180#a045 1\n(1.2) can0 181# 0\n",
            [
                Frame(1.0, 0x110, False, "0220", "can0", "normal"),
                Frame(1.1, 0x180, False, "a045", "can0", "attack"),
                Frame(1.2, 0x181, False, "", "can0", "normal"),
            ],
        ),
        "flags of CrySyS": Sample(
            b"(0.0) can0 110#0220 False\tFalse\n(0.1) can0 180#a045     1\tFalse\n(0.2) can0 180#a0 False\tTrue\n",
            [
                Frame(0.0, 0x110, False, "0220", "can0", "normal"),
                Frame(0.1, 0x180, False, "a045", "can0", "attack"),
                Frame(0.2, 0x180, False, "a0", "can0", "attack"),
            ],
        ),
    },
    malformed={
        "id": Malformed(b"(1.0) can0 1234#00", "arbitration ID"),
        "hex": Malformed(b"(1.0) can0 123#0x", "not whole bytes"),
        "rest": Malformed(b"(1.0) can0 123#00 what", "text that the format does not have"),
        "a second label": Malformed(b"(1.0) can0 123#00 1 1", "text that the format does", b"(1.0) can0 123#00 0\n"),
        "no label": Malformed(b"(1.0) can0 123#00", "ends before its last field", b"(1.0) can0 123#00 0\n"),
        "raw DLC of seven bytes": Malformed(b"(1.0) can0 123#11223344556677_E", "no DLC"),
        "raw DLC of 8": Malformed(b"(1.0) can0 123#1122334455667788_8", "no DLC"),
        "no such day": Malformed(b"(2023-02-29 00:00:00.5) can0 123#00", "no timestamp"),
        "flags": Malformed(b"(1.0) can0 123#00", "ends before its last field", b"(1.0) can0 123#00 False\tFalse\n"),
    },
    reference=REFERENCE,
    layouts={
        "of candump": Layout(b"", REFERENCE),
        "dates, directions and raw DLC": Layout(b"", replace(REFERENCE, write=write_dated)),
        "the label of CAN-MIRGU": Layout(b"", labelled((b" 0", b" 1"), b" 1")),
        "flags of CrySyS": Layout(
            b"", labelled((b" False\tFalse", b" True\tFalse", b" False\tTrue"), rb" True\tFalse| False\tTrue")
        ),
    },
)
