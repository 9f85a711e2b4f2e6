from dataclasses import replace

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
    seconds,
    spaced,
)
from support.format_cases.crysys_trace import read_flagged

REFERENCE = Reference(
    write=lambda t, i, x, d: (
        b"Timestamp: %s        ID: %04x    0%d0    DLC: %d    %s" % (seconds(t), i, x, len(d), spaced(d))
    ),
    pattern=rb"(?i:Timestamp:)%s+(?P<t>%s)%s+(?i:ID:)%s*(?P<id>%s)%s+(?P<flags>[01]{3})%s+(?i:DLC:)%s*(?P<dlc>\d+)"
    rb"(?:%s(?:%s*'.*')?|.*)" % (W, TIME, W, W, ID, W, W, W, SPACED, W),
    read=read_flagged,
    remote=lambda t, i, x: b"Timestamp: %s        ID: %04x    1%d0    DLC: 4" % (seconds(t), i, x),
)
PRINTED = replace(
    REFERENCE,
    write=lambda t, i, x, d: REFERENCE.write(t, i, x, d) + (b"             '%s'" % d if d.isalnum() else b""),
)
CASE = FormatCase(
    head=b"Timestamp: 1.0        ID: 0350    000    DLC: 0\n",
    samples={
        "named fields": Sample(
            b"Timestamp: 1479121434.850202        ID: 0350    000    DLC: 3    05 28 84\n",
            [Frame(1479121434.850202, 0x350, False, "052884")],
        ),
        "flags of remote, extended and error frames": Sample(
            b"Timestamp: 1.0    ID: 00000123    010    DLC: 1    00\n"
            b"Timestamp: 1.1    ID: 0123    000    DLC: 1    00\n"
            b"Timestamp: 1.2    ID: 00000123    001    DLC: 1    00\n"
            b"Timestamp: 1.3    ID: 0123    100    DLC: 4\n",
            [Frame(1.0, 0x123, True, "00"), Frame(1.1, 0x123, False, "00"), Frame(1.3, 0x123, False, "")],
            counts={REMOTE_FRAME: 1, ERROR_FRAME: 1},
        ),
        "the text that python-can 1 adds to letters and digits": Sample(
            b"Timestamp:        1.250000    ID: 00000123    010    DLC: 2    41 30                       'A0'\n",
            [Frame(1.25, 0x123, True, "4130")],
        ),
    },
    malformed={
        "cut off": Malformed(b"Timestamp: 1.0   ID: 0350", "ends before"),
        "a flag that is none": Malformed(b"Timestamp: 1.0   ID: 0350    003    DLC: 0", "the format does not have"),
    },
    reference=REFERENCE,
    layouts={
        "of HCRL": Layout(b"", REFERENCE),
        "of python-can 1": Layout(b"", PRINTED),
    },
)
