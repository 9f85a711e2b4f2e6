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
)

REFERENCE = Reference(
    write=lambda t, i, _, d: b",".join(
        [seconds(t), b"%04x" % i, b"%d" % len(d), *(b"%02x" % b for b in d), b"RT"[t % 2 :][:1]]
    ),
    pattern=rb"(?P<t>%s),(?P<id>%s),(?P<dlc>\d+)(?P<data>(?:,%s)*)%s*,(?P<label>[RT])" % (TIME, ID, HH, W),
    read=lambda m: sized(
        m,
        int(m["dlc"]),
        lambda data: possible(float(m["t"]), m["id"], data, kind="attack" if m["label"] == b"T" else "normal"),
    ),
    says_width=False,
)
CASE = FormatCase(
    head=b"1.5,0316,1,05,R\n",
    samples={
        "T marks injected frames": Sample(
            b"1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R\n1478198376.5,0000,2,00,01,T\n1.5,0002,0,R\n",
            [
                Frame(1478198376.389427, 0x316, False, "052168092121006f", kind="normal"),
                Frame(1478198376.5, 0, False, "0001", kind="attack"),
                Frame(1.5, 2, False, "", kind="normal"),
            ],
        )
    },
    malformed={
        "dlc": Malformed(b"1.6,0316,9,05,R", "no DLC from 0 to 8"),
        "no flag": Malformed(b"1.6,0316,2,05,21", "ends before its last field"),
        "other flag": Malformed(b"1.6,0316,2,05,21,X", "no label"),
    },
    reference=REFERENCE,
    layouts={
        "without a header": Layout(b"", REFERENCE),
    },
)
