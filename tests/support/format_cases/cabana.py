import re

from support.format_case import HH, TIME, FormatCase, Frame, Layout, Malformed, Reference, Sample, possible, seconds

HEAD = b"time,addr,bus,data\n"


def read(m: re.Match[bytes]) -> Frame | None:
    number = int(m["hex"], 16) if m["hex"] else int(m["decimal"])
    return possible(float(m["t"]), b"%x" % number, m["data"], bus=m["bus"])


def write(t: int, i: int, _: bool, d: bytes) -> bytes:
    """As cabana does today, and as it did in browsers."""
    if t % 2:
        return b"%s,0x%x,%d,0x%s" % (seconds(t), i, t % 3, d.hex().upper().encode())
    return b"%s,%d,%d,%s" % (seconds(t), i, t % 3, d.hex().encode())


REFERENCE = Reference(
    write=write,
    pattern=rb"(?P<t>%s),(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<decimal>\d+)),(?P<bus>[ -+\--~]{1,32}),"
    rb"(?:0[xX])?(?P<data>(?:%s)*)" % (TIME, HH),
    read=read,
    says_width=False,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "today's": Sample(
            HEAD + b"15.460,0x440,1,0x4000800000000000\n15.461,0x18dab0f1,0,0x02\n15.461,0x7df,128,0x\n",
            [
                Frame(15.46, 0x440, False, "4000800000000000", "1"),
                Frame(15.461, 0x18DAB0F1, True, "02", "0"),
                Frame(15.461, 0x7DF, False, "", "128"),
            ],
        ),
        "of the browser": Sample(
            HEAD + b"240.47911496100002,53,0,0acc0ade0074bf9e\n240.5,344,2,c000c00000000000\n0.061942501666,10,0,\n",
            [
                Frame(240.479114961, 53, False, "0acc0ade0074bf9e", "0"),
                Frame(240.5, 344, False, "c000c00000000000", "2"),
                Frame(0.061942501666, 10, False, "", "0"),
            ],
        ),
    },
    malformed={
        "hexadecimal without its prefix": Malformed(b"1.0,1A2,0,00", "the arbitration ID is not"),
        "no ID": Malformed(b"1.0,,0,00", "the arbitration ID is not"),
        "an ID beyond 29 bits": Malformed(b"1.0,0x20000000,0,00", "larger than its format allows"),
        "nothing after the ID": Malformed(b"1.0,0x1A2", "ends before its last field"),
        "nothing after the bus": Malformed(b"1.0,0x1A2,0", "ends before its last field"),
        "no bus": Malformed(b"1.0,0x1A2,,00", "no bus name"),
        "half a byte": Malformed(b"1.0,0x1A2,0,0x001", "not whole bytes"),
        "text after the bytes": Malformed(b"1.0,0x1A2,0,0x00,1", "not whole bytes"),
        "CAN FD": Malformed(b"1.0,0x1A2,0,0x" + 12 * b"00", "12 bytes, more than the 8 of classic CAN"),
        "no time": Malformed(b"x,0x1A2,0,0x00", "no timestamp"),
    },
    reference=REFERENCE,
    layouts={
        "today's and the browser's lines": Layout(HEAD, REFERENCE),
    },
)
