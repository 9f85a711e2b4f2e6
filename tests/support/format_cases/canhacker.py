import re

from support.format_case import (
    HH,
    ID,
    FormatCase,
    Frame,
    Layout,
    Malformed,
    Reference,
    Sample,
    W,
    possible,
    seconds,
    short_or_long_id,
    spaced,
)

HEAD = b"Time   ID     DLC Data                    Comment\n"


def read(m: re.Match[bytes]) -> Frame | None:
    dlc = int(m["dlc"])
    data = re.match(rb"(?:%s+%s){%d}(?=[ \t]|$)" % (W, HH, min(dlc, 9)), m["rest"])
    time = float(m["t"].replace(b",", b"."))
    return possible(time, m["id"], data[0], extended=len(m["id"]) == 8) if data and dlc <= 8 else None


REFERENCE = Reference(
    write=lambda t, i, x, d: (
        b"%s %s      %d %s" % (seconds(t).replace(b".", b","), short_or_long_id(i, x), len(d), spaced(d))
    ),
    pattern=rb"(?P<t>-?\d+(?:,\d+)?(?:[eE][-+]?\d+)?)%s+(?P<id>%s)%s+(?P<dlc>\d+)(?P<rest>.*)" % (W, ID, W),
    read=read,
)
POINT = Reference(
    write=lambda t, i, x, d: REFERENCE.write(t, i, x, d).replace(b",", b".", 1) + (b"", b"    braking")[t % 2],
    pattern=REFERENCE.pattern.replace(b",", rb"\.", 1),
    read=read,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "decimal comma and comments": Sample(
            HEAD + b"11,201 0F1      2 34 01             at idle\n11,202 1E5      0\n",
            [Frame(11.201, 0xF1, False, "3401"), Frame(11.202, 0x1E5, False, "")],
        ),
        "decimal point": Sample(
            HEAD + b"0 1E5      0\n0.201 0F1      2 34 01\n11.202 000001E5 0\n",
            [Frame(0.0, 0x1E5, False, ""), Frame(0.201, 0xF1, False, "3401"), Frame(11.202, 0x1E5, True, "")],
        ),
    },
    malformed={
        "two decimal signs": Malformed(b"1,234.5 0F1      0", "no timestamp"),
        "the other decimal sign": Malformed(b"1,2 0F1      0", "no timestamp", HEAD + b"1.1 0F1      0\n"),
        "payload": Malformed(b"11,201 0F1      3 34 01", "payload has 2 bytes but DLC says 3"),
    },
    reference=REFERENCE,
    layouts={
        "decimal comma": Layout(HEAD, REFERENCE),
        "decimal point": Layout(HEAD, POINT),
    },
)
