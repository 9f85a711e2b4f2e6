import re

from support.format_case import (
    HH,
    ID,
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

HEAD = b"Timestamp,Arbitration_ID,DLC,Data,Class,SubClass\n"


def read(m: re.Match[bytes]) -> Frame | None:
    kind = m["sub"].decode().lower()
    if (m["class"].lower() == b"attack") != (kind != "normal"):
        return None
    return sized(m, int(m["dlc"]), lambda data: possible(float(m["t"]), m["id"], data, kind=kind))


CASE = FormatCase(
    head=HEAD,
    samples={
        "the sub-class names the kind": Sample(
            HEAD + b"1.5,153,3,20 A1 10,Normal,Normal\n1.6,0,1,FF,Attack,Flooding\n1.7,1E1,0,,Attack,Fuzzing\n",
            [
                Frame(1.5, 0x153, False, "20a110", kind="normal"),
                Frame(1.6, 0, False, "ff", kind="flooding"),
                Frame(1.7, 0x1E1, False, "", kind="fuzzing"),
            ],
        ),
        "without sub-class": Sample(
            b"Timestamp,Arbitration_ID,DLC,Data,Class\n1.5,153,1,20,Normal\n1.6,0,1,FF,Attack\n",
            [Frame(1.5, 0x153, False, "20", kind="normal"), Frame(1.6, 0, False, "ff", kind="attack")],
        ),
    },
    malformed={
        "subclass": Malformed(b"1.5,153,1,20,Normal,Fuzzing", "SubClass contradicts Class"),
        "class": Malformed(b"1.5,153,1,20,Maybe,Fuzzing", "no label"),
        "data": Malformed(b"1.5,153,3,20 A1,Normal,Normal", "payload has 2 bytes but DLC says 3"),
    },
    reference=Reference(
        write=lambda t, i, _, d: (
            b"%s,%X,%d,%s,%s" % (seconds(t), i, len(d), spaced(d), b"Normal,Normal" if t % 2 else b"Attack,Fuzzing")
        ),
        pattern=rb"(?P<t>%s),(?P<id>%s),(?P<dlc>\d+),(?P<data>(?:%s(?:%s+%s)*)?)%s*,(?P<class>(?i:attack|normal)),"
        rb"(?P<sub>[ -+\--~]{1,32})" % (TIME, ID, HH, W, HH, W),
        read=read,
    ),
)
