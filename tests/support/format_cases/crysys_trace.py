import re

from graphids.core.captures.formats.line_records import ERROR_FRAME, REMOTE_FRAME
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
    sized,
    spaced,
)


def read_flagged(m: re.Match[bytes]) -> Frame | None:
    """The flags say remote frame, 29 bits, error frame."""
    is_remote, is_extended, is_error = (flag == ord("1") for flag in m["flags"])
    if is_error:
        return None
    if is_remote:
        return possible(float(m["t"]), m["id"], b"", extended=is_extended)
    return sized(m, int(m["dlc"]), lambda data: possible(float(m["t"]), m["id"], data, extended=is_extended))


REFERENCE = Reference(
    write=lambda t, i, x, d: b"%s        %04x    0%d0    %d    %s" % (seconds(t), i, x, len(d), spaced(d)),
    pattern=rb"(?P<t>%s)%s+(?P<id>%s)%s+(?P<flags>[01]{3})%s+(?P<dlc>\d+)(?:%s|.*)" % (TIME, W, ID, W, W, SPACED),
    read=read_flagged,
    remote=lambda t, i, x: b"%s        %04x    1%d0    4" % (seconds(t), i, x),
)
CASE = FormatCase(
    head=b"1.0  0380  000  0\n",
    samples={
        "data and remote frames": Sample(
            b"1700000000.000250        01a2    000    2    11 ff\n1700000000.05  01a3  100  8\n",
            [Frame(1700000000.00025, 0x1A2, False, "11ff"), Frame(1700000000.05, 0x1A3, False, "")],
            counts={REMOTE_FRAME: 1},
        ),
        "flags of remote, extended and error frames": Sample(
            b"1.0 00000123 010 1 00\n1.1 0123 000 1 00\n1.2 00000123 001 1 00\n1.3 123 110 4\n1.4 20000004 111 8\n",
            [Frame(1.0, 0x123, True, "00"), Frame(1.1, 0x123, False, "00"), Frame(1.3, 0x123, True, "")],
            counts={REMOTE_FRAME: 1, ERROR_FRAME: 2},
        ),
    },
    malformed={
        "half a byte": Malformed(b"1.0  0380  000  2  30 b", "not whole bytes"),
        "a flag that is none": Malformed(b"1.0  0380  002  1  30", "text that the format does not have"),
        "29 bits where the flags say 11": Malformed(b"1.0  18fef100  000  1  30", "larger than its format allows"),
    },
    reference=REFERENCE,
    layouts={
        "without a header": Layout(b"", REFERENCE),
    },
)
