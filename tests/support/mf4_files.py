"""MF4 files, written block by block after ASAM MDF 4.1, as CANedge loggers leave them: unsorted and not finalised."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BUS_EVENT, PLAIN_BUS_EVENT, VLSD = 2, 4, 1
UPDATE_CYCLES, UPDATE_DATA_LENGTH, UPDATE_VLSD_BYTES = 1, 4, 32
FRAMES, PAYLOADS = 1, 2  # record IDs
START_NS = 1_700_000_000 * 10**9


class Mf4Frame(NamedTuple):
    """A frame of such a file."""

    seconds: float
    identifier: int
    is_extended: bool
    payload: bytes


def _channel(
    name: str, offset: int, bits: int, *, after: str = "", kind: int = 0, data_type: int = 0, **links: str
) -> tuple[str, list[str], bytes]:
    data = struct.pack("<BBBBLLLLBBH48x", kind, int(kind == 2), data_type, 0, offset, bits, 0, 0, 0, 0, 0)
    return "CN", [after, links.get("parts", ""), f"name of {name}", "", "", links.get("data", ""), "", ""], data


def write_mf4(path: Path, frames: Sequence[Mf4Frame], *, has_source: bool = True, is_finalised: bool = False) -> None:
    """A file of `frames`; `is_finalised` counts them in its blocks and begins as other MF4 files do."""
    records, num_payload_bytes = b"", 0
    for frame in frames:
        size = len(frame.payload)
        fields = (1, frame.identifier, frame.is_extended, size, size, num_payload_bytes)
        records += struct.pack("<Bd", FRAMES, frame.seconds) + struct.pack("<BLBBBQ", *fields)
        records += struct.pack("<BL", PAYLOADS, size) + frame.payload
        num_payload_bytes += 4 + size
    cycles, data_bytes = (len(frames), num_payload_bytes) if is_finalised else (0, 0)
    names = {
        name: _channel(f"CAN_DataFrame.{name}", offset, bits, after=after)
        for name, offset, bits, after in (
            ("BusChannel", 8, 8, "ID"),
            ("ID", 9, 32, "IDE"),
            ("IDE", 13, 8, "DLC"),
            ("DLC", 14, 8, "DataLength"),
            ("DataLength", 15, 8, "DataBytes"),
        )
    }
    group = struct.pack("<QQHH4xLL", FRAMES, cycles, BUS_EVENT | PLAIN_BUS_EVENT, 46, 24, 0)
    blocks: dict[str, tuple[str, list[str], bytes]] = {
        "head": ("HD", ["data group", "history", "", "", "", ""], struct.pack("<Q24x", START_NS)),
        "history": ("FH", ["", "comment"], struct.pack("<QhhB3x", START_NS, 0, 0, 0)),
        "comment": ("MD", [], b"<FHcomment></FHcomment>\0"),
        "data group": ("DG", ["", "frames", "data", ""], struct.pack("<B7x", 1)),
        "frames": ("CG", ["payloads", "time", "", "source" * has_source, "", ""], group),
        "payloads": ("CG", [""] * 6, struct.pack("<QQHH4xQ", PAYLOADS, cycles, VLSD, 0, data_bytes)),
        "source": ("SI", ["", "", ""], struct.pack("<BBB5x", 2, 2, 0)),
        "time": _channel("Timestamp", 0, 64, after="frame", kind=2, data_type=4),
        "frame": _channel("CAN_DataFrame", 8, 128, data_type=10, parts="BusChannel"),
        **names,
        "DataBytes": _channel("CAN_DataFrame.DataBytes", 16, 64, kind=1, data_type=10, data="payloads"),
    }
    for block in [*blocks.values()]:
        for name in (link.removeprefix("name of ") for link in block[1] if link.startswith("name of ")):
            blocks[f"name of {name}"] = ("TX", [], name.encode().ljust(len(name) // 8 * 8 + 8, b"\0"))
    blocks["data"] = ("DT", [], records)
    path.write_bytes(_identification(is_finalised) + _linked(blocks, is_finalised))


def _identification(is_finalised: bool) -> bytes:
    flags = 0 if is_finalised else UPDATE_CYCLES | UPDATE_DATA_LENGTH | UPDATE_VLSD_BYTES
    name = b"MDF     " if is_finalised else b"UnFinMF "
    return struct.pack("<8s8s8s4xH30xHH", name, b"4.11    ", b"CE      ", 411, flags, 0)


def _linked(blocks: dict[str, tuple[str, list[str], bytes]], is_finalised: bool) -> bytes:
    """The blocks one after another; a link is the address of the block that it names."""
    addresses, at = {"": 0}, 64
    for name, (_, links, data) in blocks.items():
        addresses[name] = at
        at += (24 + 8 * len(links) + len(data) + 7) // 8 * 8
    text = b""
    for kind, links, data in blocks.values():
        size = 24 if kind == "DT" and not is_finalised else 24 + 8 * len(links) + len(data)
        text += struct.pack("<4s4xQQ", b"##" + kind.encode(), size, len(links))
        text += struct.pack(f"<{len(links)}Q", *(addresses[link] for link in links)) + data
        text += b"" if kind == "DT" else bytes(-len(text) % 8)
    return text
