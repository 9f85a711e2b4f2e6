import re

from support.format_case import (
    ID,
    SPACED,
    TIME,
    FormatCase,
    Frame,
    Malformed,
    Reference,
    Sample,
    W,
    possible,
    sized,
    spaced,
)


def read_pcan(m: re.Match[bytes]) -> Frame | None:
    is_remote = m["data"] is None
    time, bus = float(m["t"]) / 1000, m.groupdict().get("bus") or b""
    return sized(
        m,
        0 if is_remote else int(m["dlc"]),
        lambda data: possible(time, m["id"], data, extended=len(m["id"]) > 4, bus=bus),
    )


def pcan_id(identifier: int, extended: bool) -> bytes:
    return b"%08X" % identifier if extended else b"%04X" % identifier


def sample(header: bytes, frame: bytes, status: bytes, bus: str = "") -> Sample:
    """One frame, and a status message, which is not one."""
    return Sample(b"\n".join([header, frame, status, b""]), [Frame(1.0, 0x100, True, "0102", bus)])


CASE = FormatCase(
    head=b";$FILEVERSION=1.1\n",
    samples={
        "version 1.0": sample(
            b";   version 1.0", b"1)  1000  00000100  2  01 02", b"2)  2000  FFFFFFFF  4  00 00 00 08 BUSHEAVY"
        ),
        "version 1.1": sample(
            b";$FILEVERSION=1.1",
            b"1)  1000.0  Tx  00000100  2  01 02",
            b"2)  2000.0  Warng  FFFFFFFF  4  00 00 00 08 BUSHEAVY",
        ),
        "version 1.3": sample(
            b";$FILEVERSION=1.3",
            b"1)  1000.0 1 Tx  00000100 - 2  01 02",
            b"2) 2000.0 1 Warng FFFFFFFF - 4 00 00 00 08 BUSHEAVY",
            bus="1",
        ),
        "version 2.0": sample(
            b";$FILEVERSION=2.0\n;$COLUMNS=N,O,T,I,d,l,D",
            b"1  1000.0 DT 00000100 Tx 2  01 02",
            b"2 2000.0 ST   Rx 00 00 00 08",
        ),
        "version 2.1": sample(
            b";$FILEVERSION=2.1\n;$COLUMNS=N,O,T,B,I,d,R,L,D",
            b"1  1000.0 DT 1 00000100 Tx - 2  01 02",
            b"2 2000.0 ST 1 - Rx - 4 00 00 00 08",
            bus="1",
        ),
    },
    malformed={
        "CAN FD": Malformed(
            b"1  1.0 FD 00000100 Tx 2  01 02", "CAN FD", b";$FILEVERSION=2.0\n;$COLUMNS=N,O,T,I,d,l,D\n"
        ),
        "cut off": Malformed(b"1)  1000.0  Tx  0100  2  01", "payload has 1 bytes but DLC says 2"),
    },
    reference=Reference(
        write=lambda t, i, x, d: (
            b"  1)  %d.%03d  Rx  %s  %d  %s" % (*divmod(t, 1000), pcan_id(i, x), len(d), spaced(d))
        ),
        pattern=rb"\S+%s+(?P<t>%s)%s+(?i:[RT]x)%s+(?P<id>%s)%s+(?P<dlc>\d+)(?:%s|%s+(?i:RTR))"
        % (W, TIME, W, W, ID, W, SPACED, W),
        read=read_pcan,
    ),
)
