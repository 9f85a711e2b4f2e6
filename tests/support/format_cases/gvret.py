import re

from support.format_case import HH, ID, TIME, FormatCase, Frame, Layout, Malformed, Reference, Sample, W, possible


def read(m: re.Match[bytes]) -> Frame | None:
    dlc, data = int(m["dlc"]), bytes.fromhex(m["data"].replace(b",", b" ").decode())
    if not dlc <= len(data) <= 8 or any(data[dlc:]):
        return None
    is_extended = m["x"].lower() == b"true"
    return possible(float(m["t"]) / 1e6, m["id"], data[:dlc].hex().encode(), extended=is_extended, bus=m["bus"])


def write(t: int, i: int, x: bool, d: bytes) -> bytes:
    """As GVRET firmware does, as SavvyCAN does, and as spreadsheets do."""
    data = b"".join(b",%02X" % b for b in d)
    style = b"%d,%08X,%s,%d,%d%s", b"%d,%08X,%s,%d,%d%s,", b"%d,%08X,%s,%d,%d%s,"
    padding = (b"", b",00" * (8 - len(d)), b"," * (8 - len(d)))[t % 3]
    flag = (b"true", b"true", b"TRUE")[t % 3] if x else (b"false", b"false", b"FALSE")[t % 3]
    return style[t % 3] % (t, i, flag, t % 2, len(d), data + padding)


HEAD = b"Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
REFERENCE = Reference(
    write=write,
    pattern=rb"(?P<t>%s),(?P<id>%s),(?P<x>(?i:true|false)),(?P<bus>[ -+\--~]{1,32}),(?P<dlc>\d+)"
    rb"(?P<data>(?:,%s)*)%s*,*" % (TIME, ID, HH, W),
    read=read,
)
DIRECTED_HEAD = b"Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
DIRECTED = Reference(
    write=lambda t, i, x, d: re.sub(rb"(?i)(true|false),", rb"\1,Rx,", write(t, i, x, d), count=1),
    pattern=REFERENCE.pattern.replace(rb"(?i:true|false)),", rb"(?i:true|false)),Rx,"),
    read=read,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "microseconds and the bus": Sample(
            HEAD + b"1000250,000001A2,false,0,3,00,11,FF\n1000500,000001A3,true,1,1,FE,\n",
            [Frame(1.00025, 0x1A2, False, "0011ff", bus="0"), Frame(1.0005, 0x1A3, True, "fe", bus="1")],
        ),
        "with a direction": Sample(
            b"Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2\n1000000,00000450,false,Rx,0,2,00,C2\n",
            [Frame(1.0, 0x450, False, "00c2", bus="0")],
        ),
        "padded to eight bytes, as SavvyCAN writes it": Sample(
            b"Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
            b"3876,000002B0,false,Rx,0,2,01,00,00,00,00,00,00,00,\n"
            b"3877,000002B1,FALSE,Tx,0,0,00,00,00,00,00,00,00,00,\n"
            b"3878,000002B2,TRUE,Rx,1,8,00,00,00,00,00,00,00,00,\n",
            [
                Frame(0.003876, 0x2B0, False, "0100", bus="0"),
                Frame(0.003877, 0x2B1, False, "", bus="0"),
                Frame(0.003878, 0x2B2, True, "0000000000000000", bus="1"),
            ],
        ),
        "padded to fewer bytes, or by empty fields": Sample(
            HEAD + b"1,000002B0,false,0,1,FE,00,00\n2,000002B0,false,0,1,FE,00,,,\n3,000002B0,false,0,1,FE,,,,,,,,\n",
            [Frame(microseconds / 1e6, 0x2B0, False, "fe", bus="0") for microseconds in (1, 2, 3)],
        ),
    },
    malformed={
        "extended": Malformed(b"1000,00000450,maybe,0,1,00", "text that the format does not have"),
        "a byte beyond DLC": Malformed(b"1000,00000450,false,0,2,01,00,05,00,", "payload has 4 bytes but DLC says 2"),
        "fewer bytes than DLC": Malformed(b"1000,00000450,false,0,3,01,00,", "payload has 2 bytes but DLC says 3"),
        "nine bytes": Malformed(b"1000,00000450,false,0,1,01" + 8 * b",00", "payload has 9 bytes, more than the 8"),
        "a byte after an empty field": Malformed(b"1000,00000450,false,0,1,01,,00", "text that the format does not"),
    },
    reference=REFERENCE,
    layouts={
        "without directions": Layout(HEAD, REFERENCE),
        "with directions": Layout(DIRECTED_HEAD, DIRECTED),
    },
)
