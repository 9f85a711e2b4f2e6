import re

from graphids.core.captures.formats.line_records import ERROR_FRAME, REMOTE_FRAME
from support.format_case import (
    ID,
    SPACED,
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
    sized,
    spaced,
)

HEAD = b"Timestamp:        1.000000    ID:      123    S Rx                DL:  0        Channel: can0\n"


def read(m: re.Match[bytes]) -> Frame | None:
    """Flags are words in any order, of which one says how long the ID is."""
    flags = m["flags"].decode().upper().split()
    if ("S" in flags) == ("X" in flags) or {"E", "F"} & {*flags}:
        return None
    is_extended, bus = "X" in flags, m["bus"].strip(b" \t")
    return sized(
        m,
        0 if "R" in flags else int(m["dlc"]),
        lambda data: possible(float(m["t"]), m["id"], data, extended=is_extended, bus=bus),
    )


def write(microseconds: int, identifier: int, extended: bool, data: bytes) -> bytes:
    number = b"%08x" % identifier if extended else b"     %03x" % identifier
    text = b"'%s'    " % data if data.isalnum() else b""
    return b"Timestamp: %15s    ID: %s    %s %s                DL: %2d    %-24s    %sChannel: can%d" % (
        *(seconds(microseconds), number, b"SX"[extended:][:1], (b"Rx", b"Tx")[microseconds % 2]),
        *(len(data), spaced(data), text, microseconds % 3),
    )


REFERENCE = Reference(
    write=write,
    pattern=rb"(?i:Timestamp:)%s*(?P<t>%s)%s+(?i:ID:)%s*(?P<id>%s)(?P<flags>(?:%s+(?i:[SXERF]|[RT]x|BS|EI))+)%s+"
    rb"(?i:DLC?:)%s*(?P<dlc>\d+)%s(?:%s*'.*')?%s*(?i:Channel:)(?P<bus>[ -~\t]{1,40})"
    % (W, TIME, W, W, ID, W, W, W, SPACED, W, W),
    read=read,
    remote=lambda t, i, x: (
        b"Timestamp: %s    ID: %08x    %s Rx     R   DL:  4    Channel: can%d" % (seconds(t), i, b"SX"[x:][:1], t % 3)
    ),
)
WITHOUT_CHANNEL = Reference(
    write=lambda t, i, x, d: REFERENCE.write(t, i, x, d).split(b"Channel:")[0].rstrip(),
    pattern=rb"Timestamp: +(?P<t>%s) +ID: +(?P<id>%s)(?P<flags>(?: +(?:[SX]|[RT]x))+) +DL: +(?P<dlc>\d)"
    rb"%s(?: +'.*')?(?P<bus>)" % (TIME, ID, SPACED),
    read=read,
)
CASE = FormatCase(
    head=HEAD,
    samples={
        "standard, extended, remote and error frames of two channels": Sample(
            HEAD + b"Timestamp: 1700000000.250000    ID: 00000123    X Rx                DL:  4    "
            b"11 22 41 42                 Channel: can0\n"
            b"Timestamp: 1700000000.260000    ID:      123    S Tx   R            DL:  4                  Channel: 1\n"
            b"Timestamp: 1700000000.270000    ID: 00000004    X Rx E              DL:  1    00      Channel: can0\n",
            [
                Frame(1.0, 0x123, False, "", "can0"),
                Frame(1700000000.25, 0x123, True, "11224142", "can0"),
                Frame(1700000000.26, 0x123, False, "", "1"),
            ],
            counts={REMOTE_FRAME: 1, ERROR_FRAME: 1},
        ),
        "without channels; letters and digits have their text": Sample(
            b"Timestamp:        1.250000    ID:      123    S Rx                DL:  2    41 30       'A0'\n"
            b"Timestamp:        1.350000    ID:      123    S Rx                DL:  0\n",
            [Frame(1.25, 0x123, False, "4130"), Frame(1.35, 0x123, False, "")],
        ),
        "of python-can 2 and 3, which print no direction": Sample(
            b"Timestamp:        1.250000        ID: 0123    S                DLC:  1    41         Channel: vcan 0\n"
            b"Timestamp:        1.300000    ID: 00000123    X   R            DLC:  8               Channel: vcan 0\n",
            [Frame(1.25, 0x123, False, "41", "vcan 0"), Frame(1.3, 0x123, True, "", "vcan 0")],
            counts={REMOTE_FRAME: 1},
        ),
    },
    malformed={
        "CAN FD": Malformed(b"Timestamp: 1.0   ID: 123    S Rx     F BS EI    DL: 1    00    Channel: can0", "CAN FD"),
        "no channel": Malformed(b"Timestamp: 1.0   ID: 123   S Rx    DL: 1    00", "ends before its last field"),
        "cut off": Malformed(b"Timestamp: 1.0   ID: 123   S Rx    D", "text that the format does not have"),
        "neither 11 nor 29 bits": Malformed(
            b"Timestamp: 1.0   ID: 123   Rx    DL: 1    00    Channel: 0", "text that the format does not have"
        ),
        "a flag that is none": Malformed(b"Timestamp: 1.0   ID: 123   S Q    DL: 0    Channel: 0", "not have"),
        "length": Malformed(b"Timestamp: 1.0   ID: 123   S Rx    DL: 2    00    Channel: 0", "1 bytes but DLC says 2"),
        "bytes of a remote frame": Malformed(b"Timestamp: 1.0   ID: 123   S R    DL: 1    00    Channel: 0", "1 bytes"),
        "29 bits where the flags say 11": Malformed(b"Timestamp: 1.0   ID: 800   S    DL: 0    Channel: 0", "larger"),
    },
    reference=REFERENCE,
    layouts={
        "with channels": Layout(b"", REFERENCE),
        "without channels": Layout(b"", WITHOUT_CHANNEL),
    },
)
