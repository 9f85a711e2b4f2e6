import csv
import re

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME, REMOTE_FRAME
from support.format_case import FormatCase, Frame, Layout, Malformed, Reference, Sample, possible, seconds

BEGIN = b"Line,Abs Time(Sec),Rel Time (Sec),Status,Er,Tx,Description,Network,Node,"
COLUMNS = BEGIN + b"Arb ID,Remote,Xtd,B1,B2,B3,B4,B5,B6,B7,B8,Value,Trigger,Signals\n"
PREAMBLE = (
    b"Vehicle Spy 3 Bus Traffic File\nSave Date,3/4/2021\nSave Time,10:20:30 AM\nSystem Time,160000000\nNotes,\n\n"
    b"Network Description,Hardware,Network,Protocol,Baud Rate\n"
    b"HS CAN,Default,HS CAN,CAN,500000,\nJ1708,Default,J1708,J1708,9600,\n\n"
)
HEAD = PREAMBLE + COLUMNS


def read(m: re.Match[bytes]) -> Frame | None:
    """By the csv reader of the standard library."""
    row = next(csv.reader([m[0].decode("latin-1").replace("\r", "?")]), [])
    flags = {"T": True, "F": False}
    if len(row) < 21 or not re.fullmatch(r"[0-9]+", row[0]) or not re.fullmatch(r"[0-9a-fA-F]+", row[9]):
        return None
    error, remote, extended = (flags.get(row[column].upper()) for column in (4, 10, 11))
    given = [byte for byte in row[12:20] if byte]
    is_data = row[12:20][: len(given)] == given and all(re.fullmatch("[0-9a-fA-F]{1,2}", byte) for byte in given)
    if error is not False or remote is None or extended is None or not is_data or row[7] == "J1708":
        return None
    payload = "" if remote else "".join(byte.rjust(2, "0") for byte in given)
    return possible(float(row[1]), row[9].encode(), payload.encode(), extended=extended, bus=row[7].encode())


def write(t: int, i: int, x: bool, d: bytes) -> bytes:
    data = [b"%02X" % byte for byte in d] + [b""] * (8 - len(d))
    network = (b"HS CAN", b"MS CAN")[t % 2]
    fields = (t, seconds(t), network, i, network, i, b"T" if x else b"F", b",".join(data))
    return b"%d,%s,0.001,67371008,F,F,%s $%X,%s,,%X,F,%s,%s,,," % fields


REFERENCE = Reference(write=write, pattern=rb"[^\n\0]*", read=read)
CASE = FormatCase(
    head=HEAD,
    samples={
        "frames of every kind": Sample(
            HEAD + BEGIN + b"PT,Trgt,Src,B1,B2,B3,B4,B5,B6,B7,B8,Value,Trigger,Signals\n"
            b"1,2550.368293675,0.003,67371008,F,F,HS CAN $119,HS CAN,,119,F,F,00,00,0D,8B,,,,,,,\n"
            b'2,2550.4,0.003,67371008,F,T,"Engine, fast",HS CAN,,18FEF100,F,T,00,01,02,03,04,05,06,07,,,\n'
            b"3,2550.5,0.1,67371008,F,F,HS CAN $7DF,MS CAN,,7DF,T,F,,,,,,,,,,,\n"
            b"4,2550.6,0.1,67371008,T,F,HS CAN Error,HS CAN,,0,F,F,,,,,,,,,,,\n"
            b"5,2550.7,0.1,67371008,F,F,J1708 $80,J1708,,80,BE,00,19,A9,,,,,,,,,\n",
            [
                Frame(2550.368293675, 0x119, False, "00000d8b", "HS CAN"),
                Frame(2550.4, 0x18FEF100, True, "0001020304050607", "HS CAN"),
                Frame(2550.5, 0x7DF, False, "", "MS CAN"),
            ],
            counts={COMMENT: 2, REMOTE_FRAME: 1, ERROR_FRAME: 1},
        ),
        "of a spreadsheet, which strips zeros": Sample(
            COLUMNS.replace(b"Remote", b"Remote/EDL-BRS-ESI").replace(b"\n", b",,,\n")
            + b"1,1.90E-05,0,4.92581E+14,F,F,HS CAN $1F8,HS CAN,,1F8,F,F,11,F7,0,3E,E2,B1,5,C9,,,,,,\n",
            [Frame(1.9e-05, 0x1F8, False, "11f7003ee2b105c9", "HS CAN")],
        ),
    },
    malformed={
        "an ID of 12 bits": Malformed(b"1,1.5,0,0,F,F,,HS CAN,,800,F,F,00,,,,,,,,,,", "larger than its format allows"),
        "an ID that a spreadsheet took for a number": Malformed(
            b"1,1.5,0,0,F,F,,HS CAN,,1.00E+05,F,F,00,,,,,,,,,,", "arbitration ID"
        ),
        "no network": Malformed(b"1,1.5,0,0,F,F,,,,1A2,F,F,00,,,,,,,,,,", "no bus name"),
        "a flag of a network that no line names": Malformed(
            b"1,1.5,0,0,F,F,,LIN,,80,BE,00,19,A9,,,,,,,,,", "text that the format does not have"
        ),
        "a byte of three digits": Malformed(b"1,1.5,0,0,F,F,,HS CAN,,1A2,F,F,100,,,,,,,,,,", "not whole bytes"),
        "a byte after an empty field": Malformed(b"1,1.5,0,0,F,F,,HS CAN,,1A2,F,F,10,,01,,,,,,,,", "not whole bytes"),
        "the columns again": Malformed(b"Line,Abs Time(Sec),Rel Time (Sec),Arb ID,Remote", "no timestamp"),
        "no number": Malformed(b",1.5,0,0,F,F,,HS CAN,,1A2,F,F,00,,,,,,,,,,", "no timestamp"),
        "cut off after a byte": Malformed(b"1,1.5,0,0,F,F,,HS CAN,,1A2,F,F,00,11", "ends before its last field"),
        "cut off in the names": Malformed(b"1,1.5,0,0,F,F,HS", "ends before its last field"),
    },
    reference=REFERENCE,
    layouts={
        "of Vehicle Spy": Layout(HEAD, REFERENCE),
    },
)
