import re

from graphids.core.captures.formats.line_records import ERROR_FRAME, REMOTE_FRAME
from support.format_case import (
    HH,
    ID,
    NAME,
    TIME,
    FormatCase,
    Frame,
    Malformed,
    Reference,
    Sample,
    W,
    possible,
    seconds,
    short_or_long_id,
)


def read_candump(m: re.Match[bytes]) -> Frame | None:
    if len(m["id"]) not in (3, 8) or int(m["id"], 16) >= 0x2000_0000:
        return None
    return possible(float(m["t"]), m["id"], m["data"] or b"", extended=len(m["id"]) == 8, bus=m["bus"])


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
        "flags": Malformed(b"(1.0) can0 123#00", "ends before its last field", b"(1.0) can0 123#00 False\tFalse\n"),
    },
    reference=Reference(
        write=lambda t, i, x, d: b"(%s) can%d %s#%s" % (seconds(t), t % 3, short_or_long_id(i, x), d.hex().encode()),
        pattern=rb"\((?P<t>%s)\)%s*(?P<bus>%s)%s+(?P<id>%s)#(?:R[0-8]?|(?P<data>(?:%s)*))(?:%s+[RT])?"
        % (TIME, W, NAME, W, ID, HH, W),
        read=read_candump,
    ),
)
