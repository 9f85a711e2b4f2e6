import re

from graphids.core.captures.formats.line_records import COMMENT, REMOTE_FRAME
from support.format_case import (
    HH,
    ID,
    NAME,
    SPACED,
    FormatCase,
    Frame,
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
    time = b"%02d:%02d:%02d:%06d" % (whole // 3600, whole // 60 % 60, whole % 60, fraction)
    return b"%s Rx 1 0x%X %s %d %s" % (time, identifier, b"x" if extended else b"s", len(data), spaced(data))


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
    reference=Reference(
        write=write,
        pattern=rb"(?P<h>\d+):(?P<m>\d+):(?P<s>\d+):(?P<f>\d+)%s*(?i:[RT]x)%s+(?P<bus>%s)%s+(?:0[xX])?(?P<id>%s)%s+"
        rb"(?P<type>(?i:[sx]r?))%s+(?P<dlc>\d+)(?:%s|.*)" % (W, W, NAME, W, ID, W, W, SPACED),
        read=read,
    ),
)
