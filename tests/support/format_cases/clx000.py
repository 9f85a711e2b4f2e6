import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from support.format_case import HH, ID, FormatCase, Frame, Layout, Malformed, Reference, Sample, possible

COLUMNS = b"Timestamp;Type;ID;Data\n"
START = datetime(2017, 1, 1, tzinfo=UTC)
EPOCH = START.timestamp()


def preamble(time: bytes = b"", ms: bytes = b"", date: bytes = b"", date_and_time: bytes = b"T") -> bytes:
    """What a logger writes above the names of the columns."""
    return (
        b'# Logger type: CL2000\n# HW rev: 6.xx\n# Logger ID: id0001\n# Time: 20170101T022232\n# Value separator: ";"\n'
        b'# Time format: 4\n# Time separator: "%s"\n# Time separator ms: "%s"\n# Date separator: "%s"\n'
        b'# Time and date separator: "%s"\n# Bit-rate: 500000\n# Silent mode: false\n' % (time, ms, date, date_and_time)
    )


HEAD = preamble() + COLUMNS


def read(m: re.Match[bytes]) -> Frame | None:
    day, hour, minute, second, ms = (int(m[field]) for field in ("d", "h", "m", "s", "ms"))
    if not 1 <= day <= 31 or hour > 23 or max(minute, second) > 59:
        return None
    time = START + timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second, milliseconds=ms)
    return possible(time.timestamp(), m["id"], m["data"], extended=m["type"] in (b"1", b"9"))


def write(t: int, i: int, x: bool, d: bytes) -> bytes:
    time = START + timedelta(milliseconds=t // 1000)
    stamp = b"%02dT%02d%02d%02d%03d" % (time.day, time.hour, time.minute, time.second, time.microsecond // 1000)
    return b"%s;%d;%x;%s" % (stamp, x + 8 * (t % 2), i, d.hex().encode())


REFERENCE = Reference(
    write=write,
    pattern=rb"(?P<d>\d\d)T(?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d)(?P<ms>\d{3});(?P<type>[0189]);(?P<id>%s);"
    rb"(?P<data>(?:%s)*)" % (ID, HH),
    read=read,
)


def since_2017(m: re.Match[bytes]) -> Frame | None:
    """Time as the line says it, in the month that the header gives."""
    frame = read(m)
    return frame and frame._replace(time=round(frame.time - EPOCH, 3))


def write_dated(t: int, i: int, x: bool, d: bytes) -> bytes:
    """With every column, and a date of 1970."""
    stamp = datetime.fromtimestamp(t // 1000 / 1000, UTC).strftime("%Y/%m/%d %H:%M:%S").encode()
    return b"%s.%03d;0;%d;%x;%d;%s" % (stamp, t // 1000 % 1000, x, i, len(d), d.hex().encode())


def read_dated(m: re.Match[bytes]) -> Frame | None:
    time = datetime.strptime(m["t"].decode() + "+0000", "%Y/%m/%d %H:%M:%S.%f%z").timestamp()
    is_whole = len(m["data"]) == 2 * int(m["length"])
    return possible(time, m["id"], m["data"], extended=m["type"] == b"1") if is_whole else None


SINCE_2017 = replace(REFERENCE, read=since_2017)
EVERY_COLUMN = b"Timestamp;Lost;Type;ID;Length;Data\n"
DATED = Reference(
    write_dated,
    rb"(?P<t>[\d/]{10} [\d:]{8}\.\d{3});0;(?P<type>[01]);(?P<id>%s);(?P<length>\d);(?P<data>(?:%s)*)" % (ID, HH),
    read_dated,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "as the loggers write it by default": Sample(
            HEAD + b"01T022231683;8;7df;02010d5555555555\n01T022231688;0;7e8;\n02T000000000;9;18fef100;01\n",
            [
                Frame(EPOCH + 8551.683, 0x7DF, False, "02010d5555555555"),
                Frame(EPOCH + 8551.688, 0x7E8, False, ""),
                Frame(EPOCH + 86400, 0x18FEF100, True, "01"),
            ],
        ),
        "every column, a whole date and separators": Sample(
            preamble(b":", b".", b"/", b" ")
            + b"Timestamp;Lost;Type;ID;Length;Data\n2021/03/04 10:20:30.456;0;0;1a2;2;00ff\n",
            [Frame(1614853230.456, 0x1A2, False, "00ff")],
        ),
        "a time of day, which the creation of the file completes": Sample(
            preamble(b":") + COLUMNS + b"23:59:59000;1;003;01020304\n00:00:00500;1;1a000003;11\n",
            [Frame(EPOCH + 86399, 3, True, "01020304"), Frame(EPOCH + 0.5, 0x1A000003, True, "11")],
        ),
        "minutes and seconds within an hour": Sample(
            preamble() + COLUMNS + b"2231683;0;1a2;00\n2231684;0;1a2;00\n",
            [Frame(EPOCH + 8551.683, 0x1A2, False, "00"), Frame(EPOCH + 8551.684, 0x1A2, False, "00")],
        ),
        "seconds within a minute": Sample(
            preamble() + COLUMNS + b"31683;0;1a2;00\n", [Frame(EPOCH + 8551.683, 0x1A2, False, "00")]
        ),
        "months": Sample(
            preamble() + COLUMNS + b"0229T000000001;0;1a2;00\n", [Frame(EPOCH + 59 * 86400 + 0.001, 0x1A2, False, "00")]
        ),
        "the 31st after a file was made in a month of 28 days": Sample(
            HEAD.replace(b"20170101", b"20170201") + b"31T000000000;0;1a2;00\n",
            [Frame(EPOCH + (31 + 30) * 86400, 0x1A2, False, "00")],
        ),
        "commas, and no column for the type: the value of an ID says how long it is": Sample(
            b"Timestamp,ID,Data\n05T000000000,7df,00\n05T000000001,800,11\n",
            [Frame(4 * 86400, 0x7DF, False, "00"), Frame(4 * 86400 + 0.001, 0x800, True, "11")],
        ),
    },
    malformed={
        "another number of digits": Malformed(b"01T22231683;0;1a2;00", "no timestamp"),
        "the 32nd": Malformed(b"32T022231683;0;1a2;00", "no timestamp"),
        "another separator": Malformed(b"01 022231683;0;1a2;00", "no timestamp"),
        "a digit too many": Malformed(b"01T0222316834;0;1a2;00", "no timestamp"),
        "no type that there is": Malformed(b"01T022231683;2;1a2;00", "text that the format does not have"),
        "an ID of 12 bits": Malformed(b"01T022231683;0;800;00", "larger than its format allows"),
        "no ID": Malformed(b"01T022231683;0;;00", "arbitration ID"),
        "half a byte": Malformed(b"01T022231683;0;1a2;001", "not whole bytes"),
        "more than 8 bytes": Malformed(b"01T022231683;0;1a2;" + 9 * b"00", "9 bytes, more than the 8"),
        "cut off in the ID": Malformed(b"01T022231683;0;1a", "ends before its last field"),
        "cut off in the time": Malformed(b"01T0222", "no timestamp"),
        "another length": Malformed(
            b"01T022231683;3;0;1a2;3;0011",
            "payload has 2 bytes but DLC says 3",
            preamble() + b"Timestamp;Lost;Type;ID;Length;Data\n",
        ),
    },
    reference=REFERENCE,
    layouts={
        "the default": Layout(HEAD, SINCE_2017, EPOCH, 1000),
        "whole dates": Layout(preamble(b":", b".", b"/", b" ") + EVERY_COLUMN, DATED, 0.0, 1000),
    },
)
