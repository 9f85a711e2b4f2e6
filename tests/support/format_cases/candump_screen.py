import re

from support.format_case import (
    HH,
    ID,
    NAME,
    SPACED,
    TIME,
    FormatCase,
    Frame,
    Malformed,
    Reference,
    Sample,
    W,
    seconds,
    short_or_long_id,
    spaced,
)
from support.format_cases.candump_log import read_candump


def read(m: re.Match[bytes]) -> Frame | None:
    return read_candump(m) if m["remote"] or len(re.findall(HH, m["data"])) == int(m["dlc"]) <= 8 else None


CASE = FormatCase(
    head=b" (1.0)  can0  123   [0]\n",
    samples={
        "short and empty payloads": Sample(
            b" (018.000250)  can0  1FFFFFFE   [3]  00 11 FF\n (018.5)  can0  123   [0] \n",
            [Frame(18.00025, 0x1FFFFFFE, True, "0011ff", "can0"), Frame(18.5, 0x123, False, "", "can0")],
        ),
        "remote requests and the text of candump -a": Sample(
            b" (1.0)  can0  123   [2]  41 42   'AB'\n (2.0)  can0  124   [8]  remote request\n",
            [Frame(1.0, 0x123, False, "4142", "can0"), Frame(2.0, 0x124, False, "", "can0")],
        ),
    },
    malformed={
        "CAN FD": Malformed(b" (1.0)  can0  123   [12]  00", "CAN FD"),
        "length": Malformed(b" (1.0)  can0  123   [2]  00", "1 bytes but DLC says 2"),
    },
    reference=Reference(
        write=lambda t, i, x, d: (
            b" (%s)  can%d  %s   [%d]  %s" % (seconds(t), t % 3, short_or_long_id(i, x), len(d), spaced(d))
        ),
        pattern=rb"\((?P<t>%s)\)%s*(?P<bus>%s)%s+(?P<id>%s)%s*\[(?P<dlc>\d)\]"
        rb"(?:(?P<remote>%s*(?i:remote request))|%s%s*(?:'.*)?)" % (TIME, W, NAME, W, ID, W, W, SPACED, W),
        read=read,
    ),
)
