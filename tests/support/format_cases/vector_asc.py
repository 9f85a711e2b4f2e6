"""Vector ASC comes through python-can: samples and malformed lines are in `test_python_can.py`."""

import re

from support.format_case import HH, FormatCase, Reference, possible, seconds, sized, spaced

CASE = FormatCase(
    head=b"date Mon Jan 1 00:00:00.000 2024\nbase hex  timestamps absolute\ninternal events logged\n",
    samples={},
    malformed={},
    reference=Reference(
        write=lambda t, i, x, d: (
            b"   %s 1  %X%s             Rx   d %x %s" % (seconds(t), i, b"x" if x else b"", len(d), spaced(d))
        ),
        pattern=rb"(?P<t>\d+\.\d+)\s+(?P<bus>\d+)\s+(?P<id>[0-9a-fA-F]{1,8})(?P<x>[xX]?)\s+(?i:[RT]x)\s+"
        rb"(?i:d\s+(?P<dlc>[0-9a-f])(?P<data>(?:\s+%s)*)|r(?:\s+[0-9a-f])?)(?:\s+(?://|(?i:Length)\b).*)?" % HH,
        read=lambda m: sized(
            m,
            min(int(m["dlc"] or b"0", 16), 8),
            lambda data: possible(
                float(m["t"]),
                m["id"],
                re.sub(rb"\s", b"", data),
                extended=None if not m["x"] else True,
                bus=b"%d" % int(m["bus"]),
            ),
        ),
    ),
)
