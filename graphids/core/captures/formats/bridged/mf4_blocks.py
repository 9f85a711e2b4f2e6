"""The blocks of an ASAM MF4 file (MDF 4.1), walked to count its frames without the library that reads them."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_FRAME_CHANNELS = ("CAN_DataFrame", "CAN_ErrorFrame", "CAN_RemoteFrame")
_UPDATE_CYCLE_COUNTERS, _VLSD = 1, 1
_FLAGS_AT, _HEADER_AT = 60, 64
_BLOCK = struct.Struct("<4s4xQQ")  # kind, length, number of links
_GROUP = struct.Struct("<QQH6xLL")  # record ID, cycles, flags, bytes of data and of invalidation bits
_MAX_LINKS = 1 << 16
_MAX_DATA_BYTES = 1 << 20


class CountedFrames(NamedTuple):
    """How many frames a file has, and where its last whole record ends if the file ends within the next one."""

    number: int
    cut_off_at: int | None = None


class _Group(NamedTuple):
    record_id: int
    cycles: int
    is_vlsd: bool
    record_bytes: int
    holds_frames: bool


def count_frames(stream: BinaryIO) -> CountedFrames | None:
    """Frames by the cycle counters, or where a file was not finalised by its records.

    None where it was not finalised and its records are compressed or in several blocks.

    Raises:
        ValueError, LookupError, struct.error: If a block is not what its place says, or too short for it.
    """
    stream.seek(_FLAGS_AT)
    (flags,) = struct.unpack("<H", _exactly(stream, 2))
    counted = []
    (first_data_group, *_), _ = _block(stream, _HEADER_AT, b"##HD")
    for links, data in _chain(stream, first_data_group, b"##DG"):
        groups = [_group(stream, *block) for block in _chain(stream, links[1], b"##CG")]
        if not any(group.holds_frames for group in groups):
            continue
        if not flags & _UPDATE_CYCLE_COUNTERS:
            counted.append(CountedFrames(sum(group.cycles for group in groups if group.holds_frames)))
        elif links[2]:
            found = _count_records(stream, links[2], data[0], groups)
            if found is None:
                return None
            counted.append(found)
    cuts = [part.cut_off_at for part in counted if part.cut_off_at is not None]
    return CountedFrames(sum(part.number for part in counted), cuts[0] if cuts else None)


def _group(stream: BinaryIO, links: tuple[int, ...], data: bytes) -> _Group:
    record_id, cycles, flags, data_bytes, invalidation_bytes = _GROUP.unpack_from(data)
    names = [_text(stream, channel_links[2]) for channel_links, _ in _chain(stream, links[1], b"##CN")]
    holds_frames = any(name.split(".")[0] in _FRAME_CHANNELS for name in names)
    return _Group(record_id, cycles, bool(flags & _VLSD), data_bytes + invalidation_bytes, holds_frames)


def _count_records(stream: BinaryIO, at: int, id_bytes: int, groups: list[_Group]) -> CountedFrames | None:
    """Records in the block at `at`, which may say that it is empty and then reaches to the end of the file."""
    stream.seek(at)
    kind, length, _ = _BLOCK.unpack(_exactly(stream, _BLOCK.size))
    if kind != b"##DT":
        return None
    end = at + length if length > _BLOCK.size else stream.seek(0, 2)
    by_id = {group.record_id: group for group in groups}
    at, number = at + _BLOCK.size, 0
    while at < end:
        stream.seek(at)
        record_id = stream.read(id_bytes)
        group = by_id.get(int.from_bytes(record_id, "little")) if id_bytes else groups[0]
        if group is None and len(record_id) == id_bytes:
            raise ValueError(f"no group has the ID of the record at byte {at}")
        if group is None:
            return CountedFrames(number, at)
        header_bytes = id_bytes + 4 * group.is_vlsd
        size = int.from_bytes(stream.read(4), "little") if group.is_vlsd else group.record_bytes
        if at + header_bytes + size > end:
            return CountedFrames(number, at)
        if header_bytes + size == 0:
            raise ValueError("records have no bytes")
        number += group.holds_frames
        at += header_bytes + size
    return CountedFrames(number)


def _chain(stream: BinaryIO, at: int, kind: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Links and data of the blocks from `at`, each of which links the next one first."""
    visited = set()
    while at:
        if at in visited:
            raise ValueError(f"the block at byte {at} follows itself")
        visited.add(at)
        links, data = _block(stream, at, kind)
        yield links, data
        at = links[0]


def _block(stream: BinaryIO, at: int, kind: bytes) -> tuple[tuple[int, ...], bytes]:
    stream.seek(at)
    found, length, num_links = _BLOCK.unpack(_exactly(stream, _BLOCK.size))
    if found != kind or num_links > _MAX_LINKS or length < _BLOCK.size + 8 * num_links:
        raise ValueError(f"no {kind.decode()} block at byte {at}")
    links = struct.unpack(f"<{num_links}Q", _exactly(stream, 8 * num_links))
    return links, _exactly(stream, min(length - _BLOCK.size - 8 * num_links, _MAX_DATA_BYTES))


def _text(stream: BinaryIO, at: int) -> str:
    return _block(stream, at, b"##TX")[1].split(b"\0")[0].decode("utf-8", "replace") if at else ""


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("the file ends within a block")
    return data
