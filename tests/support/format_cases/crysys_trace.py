import re

from support.format_case import (
    ID,
    SPACED,
    TIME,
    FormatCase,
    Frame,
    Malformed,
    Reference,
    Sample,
    W,
    possible,
    seconds,
    sized,
    spaced,
)


def read_flagged(m: re.Match[bytes]) -> Frame | None:
    """Flags that begin with 1 mark a remote frame."""
    if m["flags"][:1] == b"1":
        return possible(float(m["t"]), m["id"], b"")
    return sized(m, int(m["dlc"]), lambda data: possible(float(m["t"]), m["id"], data))


CASE = FormatCase(
    head=b"1.0  0380  000  0\n",
    samples={
        "data and remote frames": Sample(
            b"1700000000.000250        01a2    000    2    11 ff\n1700000000.05  01a3  100  8\n",
            [Frame(1700000000.00025, 0x1A2, False, "11ff"), Frame(1700000000.05, 0x1A3, False, "")],
        )
    },
    malformed={"half a byte": Malformed(b"1.0  0380  000  2  30 b", "not whole bytes")},
    reference=Reference(
        write=lambda t, i, _, d: b"%s        %04x    000    %d    %s" % (seconds(t), i, len(d), spaced(d)),
        pattern=rb"(?P<t>%s)%s+(?P<id>%s)%s+(?P<flags>\d{3})%s+(?P<dlc>\d+)(?:%s|.*)" % (TIME, W, ID, W, W, SPACED),
        read=read_flagged,
    ),
)
