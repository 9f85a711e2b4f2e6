import json
import re

from graphids.core.captures.formats.line_records import COMMENT
from support.format_case import FormatCase, Frame, Layout, Malformed, Reference, Sample, possible, seconds

HEAD = b'{"metadata": {"version": "v3.0", "vehicle": {"make": "Ford"}}}\n'
FIRST = b'{"timestamp": 0.5, "bus": 1, "id": 1, "data": "0x00"}\n'


def read(m: re.Match[bytes]) -> Frame | None:
    """By the parser of the standard library."""
    try:
        message = {key.lower(): value for key, value in json.loads(m[0]).items()}
    except (ValueError, AttributeError):
        return None
    data = message.get("data", message.get("value"))
    if not isinstance(data, str) or not re.fullmatch(r"(0[xX])?([0-9a-fA-F]{2})*", data):
        return None
    time, bus, number = message.get("timestamp"), message.get("bus"), message.get("id")
    if type(time) not in (int, float) or type(bus) is not int or type(number) is not int or min(bus, number) < 0:
        return None
    width = {None: None, "standard": False, "extended": True}[message.get("frame_format", "").lower() or None]
    payload = data[2:] if data[:2].lower() == "0x" else data
    return possible(time, b"%x" % number, payload.encode(), extended=width, bus=b"%d" % bus)


def write(t: int, i: int, x: bool, d: bytes) -> bytes:
    """With the width of the ID stated, or left to its value."""
    width = b', "frame_format": "%s"' % (b"extended" if x else b"standard") if t % 2 else b""
    fields = (seconds(t), t % 3 + 1, i, width, d.hex().encode())
    return b'{"timestamp": %s, "bus": %d, "id": %d%s, "data": "0x%s"}' % fields


REFERENCE = Reference(write=write, pattern=rb"\{.*\}", read=read, says_width=False)
CASE = FormatCase(
    head=FIRST,
    samples={
        "raw messages among signals, answers and metadata": Sample(
            HEAD + b'{"timestamp": 1385133351.285525, "name": "steering_wheel_angle", "value": 45}\n'
            b'{"timestamp": 1385133351.3, "bus": 1, "id": 43, "data": "0x0102003345"}\n'
            b'{"timestamp": 1385133351.4, "bus": 1, "id": 2015, "mode": 1, "pid": 12, "payload": "0x0"}\n'
            b'{"command_response": "version", "message": "v6.0-dev (default)", "timestamp": 1385133351.5}\n'
            b'{"bus":2,"id":419361024,"data":"00ff","timestamp":1385133351.6}\n',
            [
                Frame(1385133351.3, 43, False, "0102003345", "1"),
                Frame(1385133351.6, 0x18FEF100, True, "00ff", "2"),
            ],
            counts={COMMENT: 4},
        ),
        "with the width of the ID, and with the former name of the data": Sample(
            b'{"timestamp": 1, "bus": 1, "id": 43, "data": "0x01", "frame_format": "extended"}\n'
            b'{"timestamp": 1.5, "bus": 1, "id": 1234, "value": "0x12345678"}\n',
            [Frame(1, 43, True, "01", "1"), Frame(1.5, 1234, False, "12345678", "1")],
        ),
    },
    malformed={
        "no time": Malformed(b'{"bus": 1, "id": 43, "data": "0x01"}', "ends before its last field"),
        "no bus": Malformed(b'{"timestamp": 1.5, "id": 43, "data": "0x01"}', "ends before its last field"),
        "a time in quotes": Malformed(b'{"timestamp": "1.5", "bus": 1, "id": 43, "data": "0x01"}', "no timestamp"),
        "milliseconds": Malformed(b'{"timestamp": 1385133351300, "bus": 1, "id": 43, "data": "0x01"}', "year 5138"),
        "an ID in hexadecimal": Malformed(
            b'{"timestamp": 1.5, "bus": 1, "id": 0x43, "data": "0x01"}', "arbitration ID"
        ),
        "an ID of 12 bits": Malformed(
            b'{"timestamp": 1.5, "bus": 1, "id": 2048, "data": "0x01", "frame_format": "standard"}', "larger than"
        ),
        "half a byte": Malformed(b'{"timestamp": 1.5, "bus": 1, "id": 43, "data": "0x1"}', "not whole bytes"),
        "a number for data": Malformed(b'{"timestamp": 1.5, "bus": 1, "id": 43, "data": 1}', "not whole bytes"),
        "more than 8 bytes": Malformed(
            b'{"timestamp": 1.5, "bus": 1, "id": 43, "data": "0x%s"}' % (9 * b"00"), "9 bytes, more than the 8"
        ),
        "a key twice": Malformed(b'{"timestamp": 1.5, "bus": 1, "bus": 2, "id": 43, "data": "0x01"}', "text that"),
        "a key of no message": Malformed(b'{"timestamp": 1.5, "bus": 1, "id": 43, "date": "0x01"}', "text that"),
        "text after the object": Malformed(b'{"timestamp": 1.5, "bus": 1, "id": 43, "data": "0x01"}}', "text that"),
        "no object": Malformed(b'["timestamp", 1.5]', "text that the format does not have"),
        "cut off in the data": Malformed(
            b'{"timestamp": 1.5, "bus": 1, "id": 43, "data": "0x01', "ends before its last"
        ),
        "cut off in a signal": Malformed(b'{"timestamp": 1.5, "name": "engine_spe', "ends before its last field"),
    },
    reference=REFERENCE,
    layouts={
        "after metadata": Layout(HEAD, REFERENCE),
    },
)
