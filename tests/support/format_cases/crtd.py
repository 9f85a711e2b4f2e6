import re

from graphids.core.captures.formats.line_records import COMMENT
from support.format_case import (
    ID,
    SPACED,
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
    spaced,
)


def read(m: re.Match[bytes]) -> Frame | None:
    return possible(float(m["t"]), m["id"], m["data"], extended=m["bits"] == b"29", bus=m["bus"] or b"1")


REFERENCE = Reference(
    write=lambda t, i, x, d: (
        b"%s %s%s %s %s"
        % (seconds(t), (b"R", b"T", b"2R")[t % 3], b"29" if x else b"11", short_or_long_id(i, x), spaced(d))
    ),
    pattern=rb"(?P<t>%s)%s+(?P<bus>\d{1,32})?[RT](?P<bits>11|29)%s+(?P<id>%s)%s" % (TIME, W, W, ID, SPACED),
    read=read,
)
HEADER = b"""0.000000 CXX OVMS CRTD
0.000000 CVR 3.1
169.971289 CXX Info Type:crtd; Path:'/sd/can3.crtd'; Filter:1:0-7ff; Vehicle:RT;
169.971300 1CBC L 500000
169.971400 1CST intr=0 rxpkt=0 txpkt=0 errflags=0x0 rxerr=0 txerr=0
169.971500 CEV vehicle.on
"""
CASE = FormatCase(
    head=b"1700000000.000000 CXX OVMS CRTD\n",
    samples={
        "frames received and transmitted": Sample(
            b"1700000000.000250 R11 1A2 00 11 22 FF\n"
            b"1700000000.000500 R29 18FEF100 00 11\n"
            b"1700000000.1 T11 7df\n"
            b"1700000000.2 T29 5 fe\n",
            [
                Frame(1700000000.00025, 0x1A2, False, "001122ff", "1"),
                Frame(1700000000.0005, 0x18FEF100, True, "0011", "1"),
                Frame(1700000000.1, 0x7DF, False, "", "1"),
                Frame(1700000000.2, 5, True, "fe", "1"),
            ],
        ),
        "the bus before the type, 1 where it lacks": Sample(
            b"1.0 2R11 1A2 00\n1.1 R11 1A3 01\n1.2 1T29 1A4 02\n1.3 12R11 1A5 03\n",
            [
                Frame(1.0, 0x1A2, False, "00", "2"),
                Frame(1.1, 0x1A3, False, "01", "1"),
                Frame(1.2, 0x1A4, True, "02", "1"),
                Frame(1.3, 0x1A5, False, "03", "12"),
            ],
        ),
        "comments, events, errors and commands of a bus": Sample(
            b"169.971289 CXX Info Type:crtd; Path:'/sd/can3.crtd'\n1.0 CEV vehicle.alert\n1.0 2CER TX_Fail T11 1A2 00\n"
            b"1.0 CBC L 500000\n1.0 CXX\n2.0 R11 1A2 00\n",
            [Frame(2.0, 0x1A2, False, "00", "1")],
            counts={COMMENT: 5},
        ),
    },
    malformed={
        "an ID of 12 bits": Malformed(b"1.0 R11 800 00", "larger than its format allows"),
        "an unknown record": Malformed(b"1.0 R12 100 00", "text that the format does not have"),
        "no ID": Malformed(b"1.0 R11", "ends before its last field"),
        "no record": Malformed(b"1.0", "ends before its last field"),
        "an ID that is no number": Malformed(b"1.0 R11 1x0 00", "the arbitration ID is not a hexadecimal number"),
        "half a byte": Malformed(b"1.0 R11 100 00 1", "not whole bytes"),
        "nine bytes": Malformed(b"1.0 R11 100 00 01 02 03 04 05 06 07 08", "9 bytes, more than the 8 of classic CAN"),
        "a comment without a time": Malformed(b"CXX OVMS CRTD", "no timestamp"),
    },
    reference=REFERENCE,
    layouts={
        "of OVMS": Layout(HEADER, REFERENCE),
    },
)
