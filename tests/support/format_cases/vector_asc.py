import re

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME, REMOTE_FRAME
from support.format_case import (
    HH,
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
    spaced,
)

HEADER = b"date Mon Jan 1 00:00:00.000 2024\nbase hex  timestamps absolute\ninternal events logged\n"
TWO = b"40874.8082 1 122 Rx d 1 E3\n40874.8116 1 123 Rx d 1 44\n"
TWO_FRAMES = [Frame(40874.8082, 0x122, False, "e3", "1"), Frame(40874.8116, 0x123, False, "44", "1")]
CANFD = b"1.0 CANFD 1 Rx 123 0 0 2 2 11 22 0 0 0 0 0 0 0 0"


def read(m: re.Match[bytes]) -> Frame | None:
    if m["classic"] is not None:
        dlc, data, is_remote = int(m["dlc"] or b"0", 16), m["data"] or b"", m["type"].lower() == b"r"
    else:
        flags, dlc, data = int(m["flags"], 16), int(m["fd_dlc"], 16), m["fd_data"]
        num_bytes = int(m["size"])
        is_remote = num_bytes == 0 and (dlc > 0 or bool(flags & 0x10))
        if flags & 0x7000 or (not is_remote and num_bytes != min(dlc, 8)) or len(re.findall(HH, data)) != num_bytes:
            return None
    if not is_remote and len(re.findall(HH, data)) != min(dlc, 8):
        return None
    extended = True if m["x"] or m["fd_x"] else None
    bus = m["bus"] or m["fd_bus"]
    return possible(float(m["t"]), m["id"] or m["fd_id"], data, extended=extended, bus=bus)


def write(microseconds: int, identifier: int, extended: bool, data: bytes) -> bytes:
    time, x = seconds(microseconds), b"x" if extended else b""
    bus = 1 + microseconds % 2
    if microseconds % 3:
        return b"   %s %d  %X%s             Rx   d %x %s" % (time, bus, identifier, x, len(data), spaced(data))
    after = b"0    0        0        0        0        0        0        0"
    fields = (time, bus, identifier, x, len(data), len(data), spaced(data), after)
    return b"   %s CANFD   %d Rx   %8X%s   0 0 %x %2d %s  %s" % fields


def read_decimal(m: re.Match[bytes]) -> Frame | None:
    data = bytes(map(int, m["data"].split()))
    is_whole = len(data) == int(m["dlc"])
    identifier = b"%x" % int(m["id"])
    extended = True if m["x"] else None
    return (
        possible(float(m["t"]), identifier, data.hex().encode(), extended=extended, bus=m["bus"]) if is_whole else None
    )


def fd(pattern: bytes) -> bytes:
    return pattern.replace(b" ", W + b"+")


REFERENCE = Reference(
    write=write,
    pattern=fd(rb"(?P<t>" + TIME + rb") (?:")
    + fd(rb"(?P<classic>(?P<bus>\d{1,32}) (?P<id>[0-9a-fA-F]+)(?P<x>[xX]?) (?i:[RT]x) (?P<type>[dDrR]))")
    + rb"(?:(?<=[dD])%s+(?P<dlc>0*[0-9a-fA-F])(?P<data>(?:%s+%s)*)|(?<=[rR])(?:%s+0*[0-9a-fA-F])?)" % (W, W, HH, W)
    + rb"(?:%s+(?://.*|(?i:Length|BitCount|ID)(?:%s.*)?))?|" % (W, W)
    + fd(rb"(?i:CANFD) (?P<fd_bus>\d{1,32}) (?i:[RT]x) (?P<fd_id>[0-9a-fA-F]+)(?P<fd_x>[xX]?)(?: [A-Za-z_]\S*)? 0 0 ")
    + fd(rb"(?P<fd_dlc>0*[0-9a-fA-F]) (?P<size>\d+)(?P<fd_data>(?: ")
    + HH
    + fd(rb"){0,8}) [0-9a-fA-F]+ [0-9a-fA-F]+ (?P<flags>[0-9a-fA-F]+)(?: [0-9a-fA-F]+){5})"),
    read=read,
    remote=lambda t, i, x: (
        b"   %s %d  %X%s             Rx   r %s" % (seconds(t), 1 + t % 2, i, b"x" if x else b"", (b"", b"4")[t % 2])
    ),
)
DECIMAL = Reference(
    write=lambda t, i, x, d: (
        b"   %s %d  %d%s             Rx   d %d%s"
        % (seconds(t), 1 + t % 2, i, b"x" if x else b"", len(d), b"".join(b" %3d" % byte for byte in d))
    ),
    pattern=rb"(?P<t>%s) +(?P<bus>\d) +(?P<id>\d+)(?P<x>x?) +Rx +d (?P<dlc>\d)(?P<data>(?: +\d+)*)" % TIME,
    read=read_decimal,
)
CANALYZER = b"""date Sat Sep 30 15:06:13.191 2017
base hex  timestamps absolute
internal events logged
// version 9.0.0
Begin Triggerblock Sat Sep 30 15:06:13.191 2017
   0.000000 Start of measurement
   0.015991 CAN 1 Status:chip status error active
"""
KVASER = b"date Mon Dec 6 11:21:13 am 2021\nbase hex  timestamps absolute\nno internal events logged\n"
CASE = FormatCase(
    head=HEADER,
    samples={
        "a header that no line ends": Sample(
            b"date Mon Dec 6 11:21:13 am 2021\nbase hex  no internal events logged\n" + TWO,
            TWO_FRAMES,
            counts={COMMENT: 2},
        ),
        "no header": Sample(TWO, TWO_FRAMES, counts={COMMENT: 0}),
        "a date alone": Sample(b"date Mon Dec 6 11:21:13 am 2021\n" + TWO, TWO_FRAMES, counts={COMMENT: 1}),
        "a date in German": Sample("date Mär 6 11:21:13 2021\n".encode() + TWO, TWO_FRAMES, counts={COMMENT: 1}),
        "a comment before the header": Sample(b"// by hand\n" + HEADER + TWO, TWO_FRAMES, counts={COMMENT: 4}),
        "header lines in another order": Sample(
            b"internal events logged\nBase Hex timestamps Absolute\n// version 9.0.0\ndate Mon Jan 1 00:00:00 2024\n"
            b"Begin Triggerblock Mon Jan 1 00:00:00 2024\n" + TWO + b"End TriggerBlock\n",
            TWO_FRAMES,
            counts={COMMENT: 6},
        ),
        "header lines twice, and again within the data": Sample(
            HEADER + HEADER + TWO.splitlines(True)[0] + HEADER + TWO.splitlines(True)[1],
            TWO_FRAMES,
            counts={COMMENT: 9},
        ),
        "decimal": Sample(
            b"base dec  timestamps absolute\n1.0 1 290 Rx d 2 200 3\n1.5 1 419361024x Tx d 10 1 2 3 4 5 6 7 008\n"
            b"1.6 1 100 Tx r 8\n1.7 CANFD 1 Rx 291 0 0 2 2 255 0 0 0 0 0 0 0 0 0\n",
            [
                Frame(1.0, 290, False, "c803", "1"),
                Frame(1.5, 0x18FEF100, True, "0102030405060708", "1"),
                Frame(1.6, 100, False, "", "1"),
                Frame(1.7, 291, False, "ff00", "1"),
            ],
            counts={REMOTE_FRAME: 1},
        ),
        "more than 11 bits with and without the x, fewer with it": Sample(
            b"1.0 1 18FEF100 Rx d 0\n1.1 1 18FEF100x Rx d 0\n1.2 1 800 Rx d 0\n1.3 1 7FF Rx d 0\n1.4 1 7FFx Rx d 0\n",
            [
                Frame(1.0, 0x18FEF100, True, "", "1"),
                Frame(1.1, 0x18FEF100, True, "", "1"),
                Frame(1.2, 0x800, True, "", "1"),
                Frame(1.3, 0x7FF, False, "", "1"),
                Frame(1.4, 0x7FF, True, "", "1"),
            ],
        ),
        "before the trigger": Sample(b"-0.5 1 122 Rx d 1 E3\n", [Frame(-0.5, 0x122, False, "e3", "1")]),
        "classic frames as events of CAN FD": Sample(
            CANFD + b"\n1.1 CANFD 2 Tx 123 0 0 0 0 0 0 0 0 0 0 0 0\n"
            b"1.2 CANFD 1 Rx 18FEF100x a_name 0 0 1 1 AA 104000 73 200040 7a60 46500250 460a0250 20011736 20010205\n"
            b"1.3 CANFD 1 Rx 124 0 0 9 8 01 02 03 04 05 06 07 08 0 0 0 0 0 0 0 0\n"
            b"1.4 CANFD 1 Rx 125 0 0 5 0 0 0 0 0 0 0 0 0\n1.5 CANFD 1 Rx 125 0 0 0 0 0 0 10 0 0 0 0 0\n",
            [
                Frame(1.0, 0x123, False, "1122", "1"),
                Frame(1.1, 0x123, False, "", "2"),
                Frame(1.2, 0x18FEF100, True, "aa", "1"),
                Frame(1.3, 0x124, False, "0102030405060708", "1"),
                Frame(1.4, 0x125, False, "", "1"),
                Frame(1.5, 0x125, False, "", "1"),
            ],
            counts={REMOTE_FRAME: 2},
        ),
        "what follows a frame": Sample(
            b"2.5 1  6F9  Rx   d 2 05 0C  Length = 240015 BitCount = 124 ID = 1785\n2.6\t2\t100x\trx\tD\t0\t// c\n"
            b"2.7 1 100 Tx r Length = 17\n2.8 1 100 Tx r 8 // c\n2.9 1 101 Rx d 1 0a BitCount = 3\n",
            [
                Frame(2.5, 0x6F9, False, "050c", "1"),
                Frame(2.6, 0x100, True, "", "2"),
                Frame(2.7, 0x100, False, "", "1"),
                Frame(2.8, 0x100, False, "", "1"),
                Frame(2.9, 0x101, False, "0a", "1"),
            ],
            counts={REMOTE_FRAME: 2},
        ),
        "events that are not data frames": Sample(
            b"0.0 Start of measurement\n0.1 CAN 1 Status:chip status error active\n0.2 1  Statistic: D 1 R 0 XD 0\n"
            b"0.3 1  J1939TP FEE3p        6    0  0   -   Rx   d 9 A0 0F A6 60 3B D1 40 00 01\n"
            b"0.4 1  400             TxRq d 1 0C\n0.4 CANFD 1 TxRq 400 0 0 1 1 0C 0 0 0 0 0 0 0 0\n"
            b"0.5 1 ErrorFrame\n0.6 2 ErrorFrame Flags = 0xe Code = 0x82\n"
            b"0.7 CANFD 1 Tx ErrorFrame Not Acknowledge error, dominant error flag fffe\n1.0 1 7FF Rx d 0\n",
            [Frame(1.0, 0x7FF, False, "", "1")],
            counts={COMMENT: 6, ERROR_FRAME: 3},
        ),
    },
    malformed={
        "a byte that is not hexadecimal": Malformed(b"2.6 1  400   Rx   d 2 0C 0Z", "not whole bytes"),
        "a byte too few": Malformed(b"2.6 1 400 Rx d 2 0C", "payload has 1 bytes but DLC says 2"),
        "a byte too many": Malformed(b"2.6 1 400 Rx d 1 0C 0D", "payload has 2 bytes but DLC says 1"),
        "something after the bytes": Malformed(b"2.6 1 400 Rx d 1 0C and", "text that the format does not have"),
        "a control character before": Malformed(b"\v2.5 1  400   Rx   d 1 0C", "no timestamp"),
        "a control character within": Malformed(b"2.5 1  400   Rx   d 2 0C\x1c0D", "not whole bytes"),
        "no time": Malformed(b"x 1 400 Rx d 1 0C", "no timestamp"),
        "a time that is cut": Malformed(b"2. 1 400 Rx d 1 0C", "no timestamp"),
        "a time in ms since 1970": Malformed(b"1700000000000.0 1 400 Rx d 1 0C", "past the year 5138"),
        "an ID of 30 bits": Malformed(b"2.5 1 20000000x Rx d 1 0C", "larger than its format allows"),
        "a name for the ID": Malformed(b"2.5 1 EngineData Rx d 1 0C", "the arbitration ID is not"),
        "no direction": Malformed(b"2.5 1 400 d 1 0C", "text that the format does not have"),
        "no type": Malformed(b"2.5 1 400 Rx 1 0C", "text that the format does not have"),
        "a DLC of two digits": Malformed(b"2.5 1 400 Rx d 10 0C", "no DLC"),
        "cut off after the ID": Malformed(b"2.5 1 400", "ends before its last field"),
        "cut off after the type": Malformed(b"2.5 1 400 Rx d", "ends before its last field"),
        "a number after a remote frame": Malformed(b"2.5 1 400 Rx r 8 7", "text that the format does not have"),
        "a decimal byte above 255": Malformed(
            b"2.5 1 400 Rx d 1 256", "not whole bytes", b"base dec\n1.0 1 1 Rx d 0\n"
        ),
        "a hexadecimal ID in decimal": Malformed(b"2.5 1 4F0 Rx d 0", "arbitration ID", b"base dec\n1.0 1 1 Rx d 0\n"),
        "CAN FD by its flags": Malformed(CANFD.replace(b"22 0 0 0", b"22 0 0 1000"), "a CAN FD frame"),
        "CAN FD by BRS": Malformed(CANFD.replace(b"123 0 0", b"123 1 0"), "a CAN FD frame"),
        "CAN FD by ESI": Malformed(CANFD.replace(b"123 0 0", b"123 a_name 0 1"), "a CAN FD frame"),
        "CAN FD by its length": Malformed(b"1.0 CANFD 1 Rx 123 0 0 9 12 11 22", "a CAN FD frame"),
        "a CANFD event with a byte too few": Malformed(CANFD.replace(b" 22", b""), "not whole bytes"),
        "a CANFD event with a byte too many": Malformed(CANFD.replace(b"22", b"22 33"), "ends before its last field"),
        "a CANFD event with two lengths": Malformed(CANFD.replace(b" 2 2 ", b" 3 2 "), "has 2 bytes but DLC says 3"),
        "a CANFD event without flags": Malformed(CANFD[: -len(b" 0 0 0 0 0 0 0")], "ends before its last field"),
        "a CANFD event without a channel": Malformed(b"1.0 CANFD x Rx 123 0 0 0 0", "no bus name"),
        "a CANFD event without a direction": Malformed(b"1.0 CANFD 1 123 0 0 0 0", "text that the format does not"),
        "a CANFD event with two IDs": Malformed(CANFD.replace(b"123", b"123 800x"), "text that the format does not"),
        "a CANFD event that is cut off": Malformed(b"1.0 CANFD 1 Rx 123 0 0", "ends before its last field"),
    },
    reference=REFERENCE,
    layouts={
        "of CANalyzer": Layout(CANALYZER, REFERENCE),
        "decimal": Layout(CANALYZER.replace(b"base hex", b"base dec"), DECIMAL),
        "of Kvaser": Layout(KVASER, REFERENCE),
        "without a header": Layout(b"", REFERENCE),
    },
)
