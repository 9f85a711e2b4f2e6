import re

from support.format_case import (
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
    possible,
    spaced,
)
from support.format_cases.pcan_trace import pcan_id, read_pcan

HEAD = b"Number Time (ms) Bus Direction Type ID (hex) Reserved Length D0 D1 D...\n"


def read(m: re.Match[bytes]) -> Frame | None:
    if m["type"].lower() == b"rr":
        return possible(float(m["t"]) / 1000, m["id"], b"", extended=len(m["id"]) > 4, bus=m["bus"])
    return read_pcan(m)


CASE = FormatCase(
    head=HEAD,
    samples={
        "the start of the recording is added": Sample(
            b"$STARTTIME=25569.5\n" + HEAD + b"1 0.100 1 Rx DT 0593 - 2 00 FF\n2 1000.0 2 Tx RR 00000356 - 8\n",
            [Frame(43200.0001, 0x593, False, "00ff", "1"), Frame(43201.0, 0x356, True, "", "2")],
        )
    },
    malformed={"type": Malformed(b"1 0.100 1 Rx XX 0593 - 2 00 FF", "text that the format does not have")},
    reference=Reference(
        write=lambda t, i, x, d: (
            b"1 %d.%03d %d Rx DT %s - %d %s" % (*divmod(t, 1000), 1 + t % 2, pcan_id(i, x), len(d), spaced(d))
        ),
        pattern=rb"\S+%s+(?P<t>%s)%s+(?P<bus>%s)%s+(?i:[RT]x)%s+(?P<type>(?i:DT|RR|[RT]x))%s+(?P<id>%s)%s+\S+%s+"
        rb"(?P<dlc>\d+)(?:%s|%s+(?i:RTR))" % (W, TIME, W, NAME, W, W, W, ID, W, W, SPACED, W),
        read=read,
    ),
)
