import re

from support.format_case import (
    HH,
    ID,
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

HEAD = b"Timestamp,Arbitration_ID,DLC,Data,Class,SubClass\n"


START = rb"(?P<t>%s),(?P<id>%s),(?P<dlc>\d+),(?P<data>(?:%s(?:%s+%s)*)?)" % (TIME, ID, HH, W, HH)


def read(m: re.Match[bytes]) -> Frame | None:
    label, kind = (m.groupdict().get(name, b"").decode().lower() for name in ("class", "sub"))
    if kind and (label == "attack") != (kind != "normal"):
        return None
    kind = kind or label
    return sized(m, int(m["dlc"]), lambda data: possible(float(m["t"]), m["id"], data, kind=kind))


def write(microseconds: int, identifier: int, _: bool, data: bytes) -> bytes:
    return b"%s,%X,%d,%s" % (seconds(microseconds), identifier, len(data), spaced(data))


REFERENCE = Reference(
    write=lambda t, i, x, d: write(t, i, x, d) + (b",Normal,Normal", b",Attack,Fuzzing", b",Attack,Replay")[t % 3],
    pattern=START + W + rb"*,(?P<class>(?i:attack|normal)),(?P<sub>[ -+\--~]{1,32})",
    read=read,
    says_width=False,
)
WITHOUT_SUBCLASS = Reference(
    write=lambda t, i, x, d: write(t, i, x, d) + (b",Normal", b",Attack")[t % 2],
    pattern=START + W + rb"*,(?P<class>(?i:attack|normal))",
    read=read,
    says_width=False,
)
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
    reference=REFERENCE,
    layouts={
        "named kinds": Layout(HEAD, REFERENCE),
        "without sub-class": Layout(b"Timestamp,Arbitration_ID,DLC,Data,Class\n", WITHOUT_SUBCLASS),
        "without labels": Layout(
            b"Timestamp,Arbitration_ID,DLC,Data\n", Reference(write, START, read, says_width=False)
        ),
    },
)
