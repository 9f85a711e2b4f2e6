import re

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME, REMOTE_FRAME
from graphids.core.captures.formats.text_format import HEAD_BYTES
from support.format_case import TIME, FormatCase, Frame, Layout, Malformed, Reference, Sample, possible, seconds

COLUMNS = b"Time,Channel,id,Flags,DLC,Data0,Data1,Data2,Data3,Data4,Data5,Data6,Data7,Counter\n"


def preamble(data: bytes, identifier: bytes, separator: bytes = b",") -> bytes:
    """What Kvaser writes above the names of the columns."""
    lines = (
        b"CSV CAN data",
        b"Converted from Kvaser Memorator at,2021-03-04 10:20:30",
        b"",
        b"Format of data field,%s" % data,
        b"Format of id field,%s" % identifier,
        b"Timestamp Offset,             0.00000,seconds",
        b"Logging started at,2021-03-04 10:00:00",
    )
    return b"\n".join(lines).replace(b",", separator) + b"\n"


HEAD = preamble(b"HEX", b"HEX") + COLUMNS
DECIMAL = preamble(b"DEC", b"DEC") + COLUMNS


def read(m: re.Match[bytes]) -> Frame | None:
    fields = [field for field in m["data"].split(b",")[1:9] if field]
    flags, dlc = int(m["flags"]), min(int(m["dlc"]), 8)
    is_whole = m["data"].startswith(b"".join(b"," + field for field in fields)) and len(fields) in (
        (0, dlc) if flags & 1 else (dlc,)
    )
    if int(m["dlc"]) > 15 or flags & 0x100A0 or not is_whole:
        return None
    extended = bool(flags & 4) if flags & 6 else None
    payload = b"" if flags & 1 else b"".join(fields)
    return possible(float(m["t"]), m["id"], payload, extended=extended, bus=m["bus"])


def write(t: int, i: int, x: bool, d: bytes) -> bytes:
    data = [b"%02x" % byte for byte in d] + [b""] * (8 - len(d))
    fields = (seconds(t), t % 4 + 1, i, 4 if x else 2, len(d), b",".join(data), t % 1000)
    return b"%s,%d,%x,%d,%d,%s,%d" % fields


REFERENCE = Reference(
    write=write,
    pattern=rb"(?P<t>%s),(?P<bus>[ -+\--~]{1,32}),(?:0x)?(?P<id>[0-9a-fA-F]+),(?P<flags>\d+),(?P<dlc>\d+)"
    rb"(?P<data>(?:,(?:[0-9a-fA-F]{2})?){0,8})(?:,.*)?" % TIME,
    read=read,
)


def write_decimal(t: int, i: int, x: bool, d: bytes) -> bytes:
    data = [b"%d" % byte for byte in d] + [b""] * (8 - len(d))
    return b"%s,%d,%d,%d,%d,%s,%d" % (seconds(t), t % 4 + 1, i, 4 if x else 2, len(d), b",".join(data), t % 1000)


def read_decimal(m: re.Match[bytes]) -> Frame | None:
    data = bytes(int(field) for field in m["data"].split(b",")[1:] if field)
    return possible(float(m["t"]), b"%x" % int(m["id"]), data.hex().encode(), extended=m["flags"] == b"4", bus=m["bus"])


IN_DECIMAL = Reference(
    write_decimal,
    rb"(?P<t>%s),(?P<bus>\d),(?P<id>\d+),(?P<flags>[24]),\d(?P<data>(?:,\d*){8}),\d+" % TIME,
    read_decimal,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "both in hexadecimal, flags of every kind": Sample(
            HEAD + b"0.00027,1,1a2,2,3,00,11,ff,,,,,,1\n"
            b"0.00100,2,18fef100,4,8,00,01,02,03,04,05,06,07,2\n"
            b"0.00150,1,,34,,,,,,,,,,3\n"
            b"0.00200,1,7df,3,8,00,00,00,00,00,00,00,00,4\n"
            b"0.00250,1,7df,66,0,,,,,,,,,5\n"
            b"0.00260,1,7df,130,0,,,,,,,,,6\n",
            [
                Frame(0.00027, 0x1A2, False, "0011ff", "1"),
                Frame(0.001, 0x18FEF100, True, "0001020304050607", "2"),
                Frame(0.002, 0x7DF, False, "", "1"),
                Frame(0.0025, 0x7DF, False, "", "1"),
            ],
            counts={ERROR_FRAME: 1, REMOTE_FRAME: 1, COMMENT: 1},
        ),
        "both in decimal, semicolons, a decimal comma and dates": Sample(
            preamble(b"DEC", b"DEC", b";")
            + COLUMNS.replace(b",", b";").replace(b"Counter", b"Counter;AbsTime")
            + b"0,00027;1;418;2;3;0;17;255;;;;;;1;2021-03-04 10:00:00\n"
            b"12,5;1;419361024;4;1;7;;;;;;;;2;2021-03-04 10:00:12\n",
            [Frame(0.00027, 0x1A2, False, "0011ff", "1"), Frame(12.5, 0x18FEF100, True, "07", "1")],
        ),
        "bytes in hexadecimal, IDs in decimal": Sample(
            preamble(b"HEX", b"DEC") + COLUMNS + b"1.5,1,100,2,2,10,11,,,,,,,1\n",
            [Frame(1.5, 100, False, "1011", "1")],
        ),
        "without the lines above, where the rows say both": Sample(
            COLUMNS + b"1.5,1,100,2,2,10,11,,,,,,,1\n1.6,1,1A2,2,2,0A,11,,,,,,,2\n",
            [Frame(1.5, 0x100, False, "1011", "1"), Frame(1.6, 0x1A2, False, "0a11", "1")],
        ),
        "without the lines above, by values that no hexadecimal number has": Sample(
            COLUMNS + b"1.5,1,100,2,2,10,11,,,,,,,1\n1.6,1,1001,2,2,200,0,,,,,,,2\n",
            [Frame(1.5, 100, False, "0a0b", "1"), Frame(1.6, 1001, False, "c800", "1")],
        ),
        "as many columns as CAN FD needs": Sample(
            HEAD.replace(b"Data7", b"Data7,Data8,Data9,Data10,Data11")
            + b"1.5,1,1a2,2,8,00,01,02,03,04,05,06,07,,,,,1\n",
            [Frame(1.5, 0x1A2, False, "0001020304050607", "1")],
        ),
    },
    malformed={
        "CAN FD": Malformed(b"1.5,1,1a2,65538,8,00,01,02,03,04,05,06,07,1", "a CAN FD frame"),
        "an ID of 12 bits": Malformed(b"1.5,1,800,2,0,,,,,,,,,1", "larger than its format allows"),
        "a hexadecimal ID where they are decimal": Malformed(b"1.5,1,1a2,2,0,,,,,,,,,1", "arbitration ID", DECIMAL),
        "a byte of three digits where two are expected": Malformed(b"1.5,1,1a2,2,1,200,,,,,,,,1", "not whole bytes"),
        "a byte of one digit where two are expected": Malformed(b"1.5,1,1a2,2,1,7,,,,,,,,1", "not whole bytes"),
        "a hexadecimal byte among decimal ones": Malformed(b"1.5,1,418,2,1,1f,,,,,,,,1", "not whole bytes", DECIMAL),
        "a byte beyond 255": Malformed(b"1.5,1,418,2,1,256,,,,,,,,1", "not whole bytes", DECIMAL),
        "a row that contradicts those before it": Malformed(
            b"1.7,1,1A2,2,1,0,,,,,,,,2",
            "arbitration ID",
            (COLUMNS + b"1.5,1,1001,2,1,200,,,,,,,,1\n").ljust(HEAD_BYTES, b"\n"),
        ),
        "a byte after an empty one": Malformed(b"1.5,1,1a2,2,2,00,,01,,,,,,1", "not whole bytes"),
        "fewer bytes": Malformed(b"1.5,1,1a2,2,2,00,,,,,,,,1", "payload has 1 bytes but DLC says 2"),
        "more bytes": Malformed(b"1.5,1,1a2,2,1,00,01,,,,,,,1", "payload has 2 bytes but DLC says 1"),
        "a DLC of 16": Malformed(b"1.5,1,1a2,2,16,00,01,,,,,,,1", "no DLC from 0 to 8"),
        "no flags": Malformed(b"1.5,1,1a2,,2,00,01,,,,,,,1", "text that the format does not have"),
        "no bus": Malformed(b"1.5,,1a2,2,1,00,,,,,,,,1", "no bus name"),
        "no time": Malformed(b"Time,1,1a2,2,1,00,,,,,,,,1", "no timestamp"),
        "cut off in the ID": Malformed(b"1.5,1,1a", "ends before its last field"),
        "cut off in the bytes": Malformed(b"1.5,1,1a2,2,3,00,01", "ends before its last field"),
    },
    reference=REFERENCE,
    layouts={
        "hexadecimal": Layout(HEAD, REFERENCE),
        "decimal": Layout(DECIMAL, IN_DECIMAL),
    },
)
