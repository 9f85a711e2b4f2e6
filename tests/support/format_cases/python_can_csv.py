import base64
import binascii
import re

from support.format_case import ID, TIME, FormatCase, Frame, Layout, Malformed, Reference, Sample, possible, seconds

HEAD = b"timestamp,arbitration_id,extended,remote,error,dlc,data\n"


def read(m: re.Match[bytes]) -> Frame | None:
    try:
        data = base64.b64decode(m["data"], validate=True)
    except binascii.Error:
        return None
    if m["error"] == b"1" or (m["remote"] == b"0" and len(data) != int(m["dlc"])) or (m["remote"] == b"1" and data):
        return None
    return possible(float(m["t"]), m["id"], data.hex().encode(), extended=m["extended"] == b"1")


REFERENCE = Reference(
    write=lambda t, i, x, d: b"%s,0x%x,%d,0,0,%d,%s" % (seconds(t), i, x, len(d), base64.b64encode(d)),
    pattern=rb"(?P<t>%s),0[xX](?P<id>%s),(?P<extended>[01]),(?P<remote>[01]),(?P<error>[01]),(?P<dlc>\d+),"
    rb"(?P<data>.*)" % (TIME, ID),
    read=read,
    remote=lambda t, i, x: b"%s,0x%x,%d,1,0,4," % (seconds(t), i, x),
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "base64": Sample(
            HEAD + b"1.5,0x32a,0,0,0,8,A+0xuHHTF2A=\n1.6,0x1,1,0,0,2,ASs=\n1.7,0x2,0,1,0,4,\n",
            [
                Frame(1.5, 0x32A, False, "03ed31b871d31760"),
                Frame(1.6, 1, True, "012b"),
                Frame(1.7, 2, False, ""),
            ],
        )
    },
    malformed={"base64": Malformed(b"1.5,0x32a,0,0,0,2,AS*=", "not whole bytes")},
    reference=REFERENCE,
    layouts={
        "of CSVWriter": Layout(HEAD, REFERENCE),
    },
)
