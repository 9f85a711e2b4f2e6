import re
from datetime import UTC, datetime

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME, REMOTE_FRAME
from support.format_case import (
    HH,
    ID,
    NAME,
    FormatCase,
    Frame,
    Layout,
    Malformed,
    Reference,
    Sample,
    W,
    seconds,
    short_or_long_id,
    spaced,
)
from support.format_cases.candump_log import CANDUMP_TIME, read_candump


def read(m: re.Match[bytes]) -> Frame | None:
    if m["remote"]:
        return read_candump(m)
    found = re.findall(HH, m["data"])
    dlc = min(int(m["dlc"] or m["raw"], 16), 8 if m["raw"] else 15)
    if len(found) != dlc or dlc > 8 or (m["text"] and len(m["text"]) != dlc + 2):
        return None
    return read_candump(m, b"".join(found[::-1] if b"`" in m["data"] else found))


def write(microseconds: int, identifier: int, extended: bool, data: bytes) -> bytes:
    """In one of the ways that the options of candump make."""
    way = microseconds % 5
    whole = datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    time = b"%s.%06d" % (whole.encode(), microseconds % 1_000_000) if way == 1 else seconds(microseconds)
    direction = (b"RX - -", b"TX B E")[microseconds % 2] + b"  " if way in (1, 2) else b""
    length = b"{%X}" % (len(data) if len(data) < 8 else 8 + microseconds % 8) if way == 3 else b"[%d]" % len(data)
    shown = bytes(byte if 0x1F < byte < 0x7F else ord(".") for byte in data)
    listed = spaced(data[::-1]).replace(b" ", b"`") if way == 4 else spaced(data)
    text = (
        b"   `%s`" % shown[::-1] if way == 4 else b"".ljust(26 - 3 * len(data)) + b"'%s'" % shown if way == 2 else b""
    )
    number = short_or_long_id(identifier, extended)
    return b" (%s)  can%d  %s%s   %s  %s%s" % (time, microseconds % 3, direction, number, length, listed, text)


REFERENCE = Reference(
    write=write,
    pattern=rb"%s%s*(?P<bus>%s)%s+(?:(?i:[RT]x)%s+[-B]%s+[-E]%s+)?(?P<id>%s)%s*"
    rb"(?:\[(?P<dlc>\d)\]|\{(?P<raw>[0-9a-fA-F])\})(?:(?P<remote>%s*(?i:remote request))"
    rb"|(?P<data>%s+%s(?:`%s)+|%s*(?:%s+%s)*)%s*(?P<text>'.*'|`.*`)?)"
    % (CANDUMP_TIME, W, NAME, W, W, W, W, ID, W, W, W, HH, HH, W, W, HH, W),
    read=read,
    remote=lambda t, i, x: b" (%s)  can%d  %s   [4]  remote request" % (seconds(t), t % 3, short_or_long_id(i, x)),
)
CASE = FormatCase(
    head=b" (1.0)  can0  123   [0]\n",
    samples={
        "short and empty payloads": Sample(
            b" (018.000250)  can0  1FFFFFFE   [3]  00 11 FF\n (018.5)  can0  123   [0] \n",
            [Frame(18.00025, 0x1FFFFFFE, True, "0011ff", "can0"), Frame(18.5, 0x123, False, "", "can0")],
        ),
        "remote requests and the text of -a": Sample(
            b" (1.0)  can0  123   [2]  41 42                     'AB'\n (2.0)  can0  124   [8]  remote request\n"
            b" (3.0)  can0  125   [8]  27 20 41 42 43 44 45 27   '' ABCDE''\n"
            b" (4.0)  can0  126   [0]                           ''\n",
            [
                Frame(1.0, 0x123, False, "4142", "can0"),
                Frame(2.0, 0x124, False, "", "can0"),
                Frame(3.0, 0x125, False, "2720414243444527", "can0"),
                Frame(4.0, 0x126, False, "", "can0"),
            ],
            counts={REMOTE_FRAME: 1},
        ),
        "directions of -x, dates of -t A and seconds of -t a": Sample(
            b" (2021-12-06 11:21:13.123456)  can0  RX - -  123   [2]  11 22\n"
            b" (1638789673.5)  vcan0  TX B -       124   [1]  00                        '.'\n"
            b" (1638789674.5)  vcan0  TX - E  00000124   [8]  remote request\n",
            [
                Frame(1638789673.123456, 0x123, False, "1122", "can0"),
                Frame(1638789673.5, 0x124, False, "00", "vcan0"),
                Frame(1638789674.5, 0x124, True, "", "vcan0"),
            ],
            counts={REMOTE_FRAME: 1},
        ),
        "what -e says of error frames, and -d of dropped ones": Sample(
            b" (1.0)  can0  123   [1]  11\n"
            b" (1.1)  can0  2000008C   [8]  00 04 00 19 00 00 60 00   ERRORFRAME\n"
            b"\tcontroller-problem{rx-error-warning,tx-error-warning}\n\tprotocol-violation{{}{acknowledge-slot}}\n"
            b"\tbus-error\n\terror-counter-tx-rx{{96}{0}}\n"
            b" (1.15)  can0  RX - -  20000002   [8]  03 00 00 00 00 00 00 00   ERRORFRAME\n"
            b"\tlost-arbitration{at bit 3}\n"
            b"DROPCOUNT: dropped 1 CAN frame on 'can0' socket (total drops 1)\n"
            b" (1.2)  can0  123   [1]  12\n",
            [Frame(1.0, 0x123, False, "11", "can0"), Frame(1.2, 0x123, False, "12", "can0")],
            counts={ERROR_FRAME: 2, COMMENT: 6},
        ),
        "the raw DLC of -8 and the reversed bytes of -S": Sample(
            b" (1.0)  can0  123   {2}  11 22\n (1.1)  can0  123   {E}  11 22 33 44 55 66 77 88\n"
            b" (1.2)  can0  123   [3]  33`22`11                  `C2A`\n (1.3)  can0  123   [1]  11\n",
            [
                Frame(1.0, 0x123, False, "1122", "can0"),
                Frame(1.1, 0x123, False, "1122334455667788", "can0"),
                Frame(1.2, 0x123, False, "112233", "can0"),
                Frame(1.3, 0x123, False, "11", "can0"),
            ],
        ),
    },
    malformed={
        "CAN FD": Malformed(b" (1.0)  can0  123   [12]  00", "CAN FD"),
        "CAN FD of eight bytes": Malformed(b" (1.0)  can0  RX B -  123  [08]  00", "CAN FD"),
        "length": Malformed(b" (1.0)  can0  123   [2]  00", "1 bytes but DLC says 2"),
        "raw DLC of too few bytes": Malformed(b" (1.0)  can0  123   {E}  00", "1 bytes but DLC says 8"),
        "text of another length": Malformed(
            b" (1.0)  can0  123   [2]  41 42   'AB", "text that the format does not have"
        ),
        "mark that is none": Malformed(b" (1.0)  can0  RX - X  123   [1]  00", "text that the format does not have"),
        "binary digits of -i": Malformed(b" (1.0)  can0  123   [1]  00010001", "not whole bytes"),
        "an unknown line": Malformed(b"\tsomething-else{1}", "no timestamp"),
    },
    reference=REFERENCE,
    layouts={
        "with every option": Layout(b"", REFERENCE),
    },
)
