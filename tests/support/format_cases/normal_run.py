from support.format_case import ID, SPACED, TIME, FormatCase, Frame, Malformed, Reference, Sample, W, seconds, spaced
from support.format_cases.crysys_trace import read_flagged

CASE = FormatCase(
    head=b"Timestamp: 1.0        ID: 0350    000    DLC: 0\n",
    samples={
        "named fields": Sample(
            b"Timestamp: 1479121434.850202        ID: 0350    000    DLC: 3    05 28 84\n",
            [Frame(1479121434.850202, 0x350, False, "052884")],
        )
    },
    malformed={"cut off": Malformed(b"Timestamp: 1.0   ID: 0350", "ends before")},
    reference=Reference(
        write=lambda t, i, _, d: (
            b"Timestamp: %s        ID: %04x    000    DLC: %d    %s" % (seconds(t), i, len(d), spaced(d))
        ),
        pattern=rb"(?i:Timestamp:)%s+(?P<t>%s)%s+(?i:ID:)%s*(?P<id>%s)%s+(?P<flags>\d{3})%s+(?i:DLC:)%s*(?P<dlc>\d+)"
        rb"(?:%s|.*)" % (W, TIME, W, W, ID, W, W, W, SPACED),
        read=read_flagged,
    ),
)
