import re

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME
from graphids.core.captures.formats.text_format import HEAD_BYTES
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
)

COLUMNS = b"Chn Identifier Flg   DLC  D0...1...2...3...4...5...6..D7       Time     Dir\n"
# The first frame settles that all numbers are hexadecimal.
HEAD = COLUMNS + b" 0    0000014B         1  0A                                1675.570498 T\n"
SETTLED = HEAD.ljust(HEAD_BYTES, b"\n")  # the lines after it are not asked for the base
FIRST = Frame(1675.570498, 0x14B, False, "0a", "0")


def read(m: re.Match[bytes]) -> Frame | None:
    payload = b"".join(m["data"].split())
    if len(payload) != 2 * int(m["dlc"]) or len(payload) > 16:
        return None
    return possible(float(m["t"]), m["id"], payload, extended=m["x"] is not None, bus=m["bus"])


def write(t: int, i: int, x: bool, d: bytes) -> bytes:
    data = b"".join(b"%02X  " % byte for byte in d).ljust(32)
    return b"%2d    %08X %s      %2d  %s%s %s" % (
        t % 3,
        i,
        b"X" if x else b" ",
        len(d),
        data,
        seconds(t),
        b"RT"[t % 2 :][:1],
    )


REFERENCE = Reference(
    write=write,
    pattern=rb"(?P<bus>\d{1,32})%s+(?P<id>%s)%s+(?:(?P<x>[xX])%s+)?(?P<dlc>\d+)(?P<data>(?:%s+%s)*)%s+(?P<t>%s)%s+[RrTt]"
    % (W, ID, W, W, W, HH, W, TIME, W),
    read=read,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "hexadecimal, by a letter": Sample(
            HEAD + b" 0    0CFBFFDB X       8  1B  31  20  EB  B3  FF  D9  FF     1700.000139 R\n"
            b" 1    00000065         0                                   1700.572378 R\n"
            b" 0    00000000            ErrorFrame                          1729.095270 R\n"
            b"Logging stopped.\n",
            [
                FIRST,
                Frame(1700.000139, 0x0CFBFFDB, True, "1b3120ebb3ffd9ff", "0"),
                Frame(1700.572378, 0x65, False, "", "1"),
            ],
            counts={ERROR_FRAME: 1, COMMENT: 1},
        ),
        "decimal, by an ID beyond 11 bits and a byte of three digits": Sample(
            COLUMNS
            + b" 0    1001         2  200    7        12.500000 R\n 0    419361024 X       1   10    12.600000 R\n",
            [Frame(12.5, 1001, False, "c807", "0"), Frame(12.6, 0x18FEF100, True, "0a", "0")],
        ),
    },
    malformed={
        "an ID of 12 bits": Malformed(b"0    00000800         1  00    1676.0 R", "larger than its format", SETTLED),
        "no ID": Malformed(b"0    x         1  00    1676.0 R", "arbitration ID"),
        "fewer bytes": Malformed(b"0    00000123         2  00    1676.0 R", "not whole bytes"),
        "more bytes": Malformed(b"0    00000123         1  00  11    1676.0 R", "text that the format does not have"),
        "a decimal byte": Malformed(b"0    00000123         1  200    1676.0 R", "not whole bytes", SETTLED),
        "another flag": Malformed(b"0    00000123 R       0    1676.0 R", "no DLC from 0 to 8"),
        "no direction": Malformed(b"0    00000123         1  00    1676.0", "ends before its last field"),
        "no time": Malformed(b"0    00000123         1  00", "ends before its last field"),
        "a word after the direction": Malformed(b"0    00000123         1  00    1676.0 R T", "text that the format"),
        "no channel": Malformed(b"can0    00000123         1  00    1676.0 R", "no bus name"),
        "cut off in the ID": Malformed(b"0    ", "ends before its last field"),
    },
    reference=REFERENCE,
    layouts={
        "hexadecimal": Layout(COLUMNS, REFERENCE),
    },
)
