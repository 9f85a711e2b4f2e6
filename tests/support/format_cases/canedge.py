import re

from graphids.core.captures.formats.line_records import REMOTE_FRAME
from support.format_case import (
    HH,
    TIME,
    FormatCase,
    Frame,
    Layout,
    Malformed,
    Reference,
    Sample,
    possible,
    seconds,
    short_or_long_id,
)

HEAD = b"TimestampEpoch;BusChannel;ID;IDE;DLC;DataLength;Dir;EDL;BRS;ESI;RTR;DataBytes\n"


def read(m: re.Match[bytes]) -> Frame | None:
    dlc, length = int(m["dlc"]), int(m["length"])
    is_classic, is_remote = m["edl"] == b"0", m["rtr"] == b"1"
    if is_remote:
        is_whole = dlc <= 15 and not m["data"]
    else:
        is_whole = dlc <= 15 and length == min(dlc, 8) and len(m["data"]) == 2 * length
    if not (is_classic and is_whole):
        return None
    return possible(float(m["t"]), m["id"], m["data"], extended=m["ide"] == b"1", bus=m["bus"])


REFERENCE = Reference(
    write=lambda t, i, x, d: (
        b"%s;%d;%s;%d;%d;%d;%d;0;%d;0;0;%s"
        % (seconds(t), t % 4, short_or_long_id(i, x), x, len(d), len(d), t % 2, t % 2, d.hex().upper().encode())
    ),
    pattern=rb"(?P<t>%s);(?P<bus>[ -:<-~]{1,32});(?P<id>[0-9a-fA-F]+);(?P<ide>[01]);(?P<dlc>\d+);(?P<length>\d+);"
    rb"[01];(?P<edl>[01]);[01];[01];(?P<rtr>[01]);(?P<data>(?:%s)*)" % (TIME, HH),
    read=read,
    remote=lambda t, i, x: b"%s;%d;%s;%d;%d;0;0;0;0;0;1;" % (seconds(t), t % 4, short_or_long_id(i, x), x, t % 9),
)
OLDER_HEAD = b"TimestampEpoch;BusChannel;ID;IDE;DLC;DataLength;Dir;EDL;BRS;DataBytes\n"
OLDER = Reference(
    write=lambda t, i, x, d: (
        b"%s;%d;%s;%d;%d;%d;%d;0;0;%s"
        % (seconds(t), t % 4, short_or_long_id(i, x), x, len(d), len(d), t % 2, d.hex().upper().encode())
    ),
    pattern=rb"(?P<t>%s);(?P<bus>\d);(?P<id>[0-9A-F]+);(?P<ide>[01]);(?P<dlc>\d);(?P<length>\d);[01];(?P<edl>0);(?P<rtr>0);"
    rb"(?P<data>(?:%s)*)" % (TIME, HH),
    read=read,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "of mdf2csv": Sample(
            HEAD + b"1689951599.925001;9;067;0;8;8;0;0;0;0;0;E19462F0C9F66E01\n"
            b"1689951599.925002;9;068;0;4;4;0;0;0;0;0;F3120A00\n"
            b"1660503551.300000;2;18FF50E5;1;0;0;1;0;0;0;0;\n",
            [
                Frame(1689951599.925001, 0x67, False, "e19462f0c9f66e01", "9"),
                Frame(1689951599.925002, 0x68, False, "f3120a00", "9"),
                Frame(1660503551.3, 0x18FF50E5, True, "", "2"),
            ],
        ),
        "before it had ESI and RTR": Sample(
            b"TimestampEpoch;BusChannel;ID;IDE;DLC;DataLength;Dir;EDL;BRS;DataBytes\n"
            b"1578922367.777150;1;14FEF131;1;8;8;0;0;0;CFFFFFF300FFFF30\n",
            [Frame(1578922367.77715, 0x14FEF131, True, "cffffff300ffff30", "1")],
        ),
        "a DLC beyond 8, which means 8 bytes": Sample(
            HEAD + b"1.5;1;123;0;15;8;0;0;0;0;0;0011223344556677\n", [Frame(1.5, 0x123, False, "0011223344556677", "1")]
        ),
        "a remote frame": Sample(
            HEAD + b"1.5;1;123;0;8;0;0;0;0;0;1;\n", [Frame(1.5, 0x123, False, "", "1")], counts={REMOTE_FRAME: 1}
        ),
    },
    malformed={
        "CAN FD": Malformed(b"1.5;2;18FF50E5;1;9;12;0;1;0;0;0;000102030405060708090A0B", "a CAN FD frame"),
        "CAN FD of 8 bytes": Malformed(b"1.5;2;123;0;8;8;0;1;0;0;0;0001020304050607", "a CAN FD frame"),
        "an ID of 12 bits": Malformed(b"1.5;1;800;0;0;0;0;0;0;0;0;", "larger than its format allows"),
        "an ID that is no number": Malformed(b"1.5;1;0x80;0;0;0;0;0;0;0;0;", "the arbitration ID is not"),
        "no bus": Malformed(b"1.5;;123;0;0;0;0;0;0;0;0;", "no bus name"),
        "fewer bytes": Malformed(b"1.5;1;123;0;2;2;0;0;0;0;0;00", "payload has 1 bytes but DLC says 2"),
        "half a byte": Malformed(b"1.5;1;123;0;2;2;0;0;0;0;0;001", "not whole bytes"),
        "another length than DLC": Malformed(b"1.5;1;123;0;3;2;0;0;0;0;0;0011", "no DLC from 0 to 8"),
        "12 bytes without EDL": Malformed(b"1.5;1;123;0;9;12;0;0;0;0;0;" + 12 * b"00", "no DLC from 0 to 8"),
        "a flag of 2": Malformed(b"1.5;1;123;0;1;1;0;0;2;0;0;00", "text that the format does not have"),
        "too few flags": Malformed(b"1.5;1;123;0;3;3;0;0;0;001122", "text that the format does not have"),
        "bytes of a remote frame": Malformed(b"1.5;1;123;0;1;1;0;0;0;0;1;00", "text that the format does not have"),
        "cut off in the ID": Malformed(b"1.5;1;12", "ends before its last field"),
        "cut off in the flags": Malformed(b"1.5;1;123;0;1;1;0;0", "ends before its last field"),
        "commas": Malformed(b"1.5,1,123,0,1,1,0,0,0,0,0,00", "no timestamp"),
    },
    reference=REFERENCE,
    layouts={
        "of mdf2csv": Layout(HEAD, REFERENCE),
        "before it had ESI and RTR": Layout(OLDER_HEAD, OLDER),
    },
)
