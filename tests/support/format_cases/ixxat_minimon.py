import re

from graphids.core.captures.formats.line_records import ERROR_FRAME, REMOTE_FRAME
from support.format_case import HH, ID, FormatCase, Frame, Layout, Malformed, Reference, Sample, W, possible, spaced

COLUMNS = b'"Time","Identifier (hex)","Format","Flags","Data (hex)"\n'
HEAD = (
    b"ASCII Trace IXXAT MiniMon V3  Version: 1.1.4.4533\nDate: 5/9/2024\nStart time: 2:37:37 PM\n"
    b"Stop time: 2:37:37 PM\nOverruns: 0\nBaudrate: 500 kbit/s\n" + COLUMNS
)


def read(m: re.Match[bytes]) -> Frame | None:
    hours, minutes, whole = int(m["h"]), int(m["m"]), int(m["s"])
    payload = b"".join((m["data"] or b"").split())
    if max(minutes, whole) > 59:
        return None
    time = hours * 3600 + minutes * 60 + whole + float(b"0." + m["f"])
    return possible(time, m["id"], b"" if m["rtr"] else payload, extended=m["width"].lower() == b"ext")


def write(t: int, i: int, x: bool, d: bytes) -> bytes:
    whole, fraction = divmod(t, 1_000_000)
    time = b"%02d:%02d:%02d.%06d" % (whole // 3600, whole // 60 % 60, whole % 60, fraction)
    return b'"%s","%X","%s","","%s"' % (time, i, b"Ext" if x else b"Std", spaced(d).upper())


REFERENCE = Reference(
    write=write,
    pattern=rb'(?P<q>"?)(?P<h>\d+):(?P<m>\d+):(?P<s>\d+)\.(?P<f>\d{3,9})(?P=q),"?(?P<id>%s)"?,'
    rb'"?(?P<width>(?i:std|ext))"?,(?:"?(?P<rtr>(?i:rtr))"?,.*|(?:"")?,'
    rb'"?(?P<data>(?:%s*%s(?:%s+%s)*)?)%s*"?)' % (ID, W, HH, W, HH, W),
    read=read,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "of MiniMon": Sample(
            HEAD + b'"00:30:06.866","184","Std","","00 06 00 16 75 EE 00 3C"\n'
            b'"00:30:06.867","18FEF100","Ext","","4B 01 "\n"00:30:06.868","7DF","Std","","" \n'
            b'"00:30:06.869","7DF","Std","Rtr","Length = 8"\n"00:30:06.870","Stuff Error","","",""\n',
            [
                Frame(1806.866, 0x184, False, "0006001675ee003c"),
                Frame(1806.867, 0x18FEF100, True, "4b01"),
                Frame(1806.868, 0x7DF, False, ""),
                Frame(1806.869, 0x7DF, False, ""),
            ],
            counts={ERROR_FRAME: 1, REMOTE_FRAME: 1},
        ),
        "between semicolons, without quotes": Sample(
            COLUMNS.replace(b",", b";").replace(b'"', b"") + b"1:2:3.500;184;Std;;00 06\n",
            [Frame(3723.5, 0x184, False, "0006")],
        ),
    },
    malformed={
        "an ID of 12 bits": Malformed(b'"00:00:01.500","800","Std","","00"', "larger than its format allows"),
        "no ID": Malformed(b'"00:00:01.500","x","Std","","00"', "arbitration ID"),
        "another width": Malformed(b'"00:00:01.500","184","FD","","00"', "text that the format does not have"),
        "another flag": Malformed(b'"00:00:01.500","184","Std","Ovr","00"', "text that the format does not have"),
        "a fraction of two digits": Malformed(b'"00:00:01.50","184","Std","","00"', "no timestamp"),
        "61 seconds": Malformed(b'"00:00:61.500","184","Std","","00"', "no timestamp"),
        "half a byte": Malformed(b'"00:00:01.500","184","Std","","00 1"', "not whole bytes"),
        "more than 8 bytes": Malformed(b'"00:00:01.500","184","Std","","%s"' % spaced(bytes(9)), "9 bytes, more than"),
        "text after the bytes": Malformed(
            b'"00:00:01.500","184","Std","","00","1"', "text that the format does not have"
        ),
        "cut off after a byte": Malformed(b'"00:00:01.500","184","Std","","00 11', "ends before its last field"),
        "cut off in the ID": Malformed(b'"00:00:01.500","18', "ends before its last field"),
    },
    reference=REFERENCE,
    layouts={
        "of MiniMon": Layout(HEAD, REFERENCE),
    },
)
