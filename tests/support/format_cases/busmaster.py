import re
from dataclasses import replace

from graphids.core.captures.formats.line_records import COMMENT, REMOTE_FRAME
from support.format_case import (
    HH,
    ID,
    NAME,
    SPACED,
    FormatCase,
    Frame,
    Layout,
    Malformed,
    Reference,
    Sample,
    W,
    possible,
    spaced,
)


def read(m: re.Match[bytes]) -> Frame | None:
    hours, minutes, whole = int(m["h"]), int(m["m"]), int(m["s"])
    time = hours * 3600 + minutes * 60 + whole + float(b"0." + m["f"])
    kind = m["type"].lower()
    dlc = 0 if b"r" in kind else int(m["dlc"])
    data = b"" if b"r" in kind else m["data"]
    if max(minutes, whole) >= 60 or len(re.findall(HH, data)) != dlc:
        return None
    return possible(time, m["id"], data, extended=b"x" in kind, bus=m["bus"])


def write(microseconds: int, identifier: int, extended: bool, data: bytes) -> bytes:
    whole, fraction = divmod(microseconds, 1_000_000)
    bus = 1 + microseconds % 2
    time = b"%02d:%02d:%02d:%06d" % (whole // 3600, whole // 60 % 60, whole % 60, fraction)
    return b"%s Rx %d 0x%X %s %d %s" % (time, bus, identifier, b"x" if extended else b"s", len(data), spaced(data))


def write_decimal(microseconds: int, identifier: int, extended: bool, data: bytes) -> bytes:
    line = (
        write(microseconds, identifier, extended, b"")
        .removesuffix(b"0 ")
        .replace(b"0x%X" % identifier, b"%d" % identifier)
    )
    return line + b"%d" % len(data) + b"".join(b" %03d" % byte for byte in data)


def read_decimal(m: re.Match[bytes]) -> Frame | None:
    identifier, data = int(m["id"]), bytes(map(int, m["data"].split()))
    if len(data) != int(m["dlc"]):
        return None
    time = sum(int(m[unit]) * size for unit, size in (("h", 3600), ("m", 60), ("s", 1))) + float(b"0." + m["f"])
    return possible(time, b"%x" % identifier, data.hex().encode(), extended=m["type"] == b"x", bus=m["bus"])


REFERENCE = Reference(
    write=write,
    pattern=rb"(?P<h>\d+):(?P<m>\d+):(?P<s>\d+):(?P<f>\d+)%s*(?i:[RT]x)%s+(?P<bus>%s)%s+(?:0[xX])?(?P<id>%s)%s+"
    rb"(?P<type>(?i:[sx]r?))%s+(?P<dlc>\d+)(?:%s|.*)" % (W, W, NAME, W, ID, W, W, SPACED),
    read=read,
    remote=lambda t, i, x: write(t, i, x, b"").replace(b" x " if x else b" s ", b" xr " if x else b" sr "),
)
DECIMAL = Reference(
    write=write_decimal,
    pattern=rb"(?P<h>\d+):(?P<m>\d+):(?P<s>\d+):(?P<f>\d+) Rx (?P<bus>\d) (?P<id>\d+) (?P<type>[sx]) (?P<dlc>\d)"
    rb"(?P<data>(?: \d{3})*)",
    read=read_decimal,
)
WITHOUT_PREFIX = replace(REFERENCE, write=lambda t, i, x, d: write(t, i, x, d).replace(b" 0x", b" ", 1), remote=None)
HEADER = b"""***BUSMASTER Ver 3.2.2***
***PROTOCOL CAN***
***NOTE: PLEASE DO NOT EDIT THIS DOCUMENT***
***[START LOGGING SESSION]***
***START DATE AND TIME 8:8:2014 11:49:7:965***
***HEX***
***SYSTEM MODE***
***START CHANNEL BAUD RATE***
***CHANNEL 1 - Kvaser - Kvaser Leaf Light HS #0 (Channel 0), Serial Number- 0, Firmware- 0x37 0x20000 - 500000 bps***
***END CHANNEL BAUD RATE***
***START DATABASE FILES***
***END OF DATABASE FILES***
***<Time><Tx/Rx><Channel><CAN ID><Type><DLC><DataBytes>***
"""
CASE = FormatCase(
    head=b"***BUSMASTER Ver 3.2.0***\n",
    samples={
        "a time of day becomes seconds since midnight": Sample(
            b"***BUSMASTER Ver 3.2.0***\n***HEX***\n01:02:03:532 Rx 1 0x158 s 2 00 28\n01:02:03:6000 Tx 2 0x158 x 0\n",
            [Frame(3723.532, 0x158, False, "0028", "1"), Frame(3723.6, 0x158, True, "", "2")],
            counts={COMMENT: 2},
        ),
        "hexadecimal numbers without 0x, also where no header says so": Sample(
            b"01:02:03:532 Rx 1 158 s 2 00 28\n***HEX***\n01:02:03:6000 Tx 1 18FEF100 xr 4\n",
            [Frame(3723.532, 0x158, False, "0028", "1"), Frame(3723.6, 0x18FEF100, True, "", "1")],
            counts={COMMENT: 1, REMOTE_FRAME: 1},
        ),
        "decimal numbers; 0x still says hexadecimal": Sample(
            b"***BUSMASTER Ver 2.4.0***\n***DEC***\n***SYSTEM MODE***\n01:02:03:532 Rx 1 344 s 3 000 040 255\n"
            b"01:02:03:6000 Rx 1 0x158 s 1 9\n01:02:03:7000 Rx 1 419361024 x 0\n",
            [
                Frame(3723.532, 344, False, "0028ff", "1"),
                Frame(3723.6, 0x158, False, "09", "1"),
                Frame(3723.7, 0x18FEF100, True, "", "1"),
            ],
            counts={COMMENT: 3},
        ),
    },
    malformed={
        "id": Malformed(b"01:02:03:532 Rx 1 0xG s 2 00 28", "arbitration ID"),
        "decimal bytes": Malformed(
            b"01:02:03:532 Rx 1 344 s 1 256", "not whole bytes", b"***BUSMASTER***\n***DEC***\n"
        ),
        "a hexadecimal ID where numbers are decimal": Malformed(
            b"01:02:03:532 Rx 1 1A2 s 1 00", "arbitration ID", b"***BUSMASTER***\n***DEC***\n"
        ),
    },
    reference=REFERENCE,
    layouts={
        "hexadecimal": Layout(HEADER, REFERENCE),
        "hexadecimal without 0x": Layout(HEADER.replace(b"3.2.2", b"1.9.0 Beta 1"), WITHOUT_PREFIX),
        "decimal": Layout(HEADER.replace(b"HEX", b"DEC"), DECIMAL),
    },
)
