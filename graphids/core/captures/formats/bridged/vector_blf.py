"""Vector BLF, checked and counted object by object before python-can reads it.

python-can ends without an error where an object or a container was cut off, skips what is outside a container,
decompresses without a limit, loops forever on an object of length 0, reads a short object on into the next one, and
passes over two of the three types of error frames.
"""

import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from graphids.core.captures.formats.bridged.bridge import BridgeCounts, BridgedFormat, Message, all_of, messages_of
from graphids.core.frames import LogFormatError

NAME = "Vector BLF"

_FILE_HEADER = struct.Struct("<4sL8xQ48x")  # signature, bytes of the header, bytes of the file
_OBJECT = struct.Struct("<4sHHLL")  # signature, header size, header version, object size, object type
_CONTAINER_HEADER = struct.Struct("<H6xL4x")  # compression method, size uncompressed
_SIGNATURE = b"LOBJ"
_CONTAINER = 10
# By type, the bytes of an object after its header. Of an FD 64 without its payload, which need not be there as a whole.
_READ_BY_PYTHON_CAN = {1: 16, 86: 16, 100: 84, 101: 40, 73: 32}  # CAN message, message 2, FD, FD 64; extended error
_OTHER_ERROR_FRAMES = (2, 104)  # CAN error, CAN FD error 64
_FRAME_TYPES = (*_READ_BY_PYTHON_CAN, *_OTHER_ERROR_FRAMES)
_HEADER_BYTES = {1: 32, 2: 40}  # of an object, by the header's version
_UNCOMPRESSED, _ZLIB = 0, 2
_PADDING = 8
_MAX_CONTAINER_BYTES = 16 << 20  # Vector's tools and python-can write 128 KiB


def _messages(
    path: Path, stream: BinaryIO, counts: BridgeCounts, _drop_bad_lines: bool
) -> Iterator[tuple[str, Message]]:
    def reader() -> Iterable[Message]:
        import can

        return can.BLFReader(stream)

    objects = count_objects(path, stream)
    expected = sum(objects[kind] for kind in _READ_BY_PYTHON_CAN)
    yield from all_of(path, NAME, expected, messages_of(path, NAME, reader))
    counts.error_frames += sum(objects[kind] for kind in _OTHER_ERROR_FRAMES)


def count_objects(path: Path, stream: BinaryIO) -> Counter[int]:
    """Objects within the containers, by their type; `stream` is read once and left at its start.

    Raises:
        LogFormatError: If it was cut off or is damaged, or a container holds more than 16 MiB.
    """
    _, header_bytes, file_bytes = _FILE_HEADER.unpack(_exactly(path, stream, _FILE_HEADER.size))
    _exactly(path, stream, header_bytes - _FILE_HEADER.size)
    tail, offset, counts = b"", header_bytes, Counter[int]()
    while first := stream.read(_OBJECT.size):
        header = first + _exactly(path, stream, _OBJECT.size - len(first))
        signature, _, _, size, object_type = _OBJECT.unpack(header)
        if signature != _SIGNATURE or size < _OBJECT.size or object_type in _FRAME_TYPES:
            _damaged(path, f"no container at byte {offset}")
        body = _exactly(path, stream, size - _OBJECT.size)
        stream.read(size % 4)
        if object_type == _CONTAINER:
            tail = _count_in_container(path, tail + _content(path, body, offset), offset, counts)
        offset += size + size % 4
    if _SIGNATURE in tail:
        _damaged(path, "its last object is cut off")
    if offset < file_bytes:  # a container less; a recorder that did not end leaves the length of the header, or 0
        _damaged(path, f"its header says {file_bytes} bytes, found {offset}")
    stream.seek(0)
    return counts


def _content(path: Path, body: bytes, offset: int) -> bytes:
    """What a container holds, decompressed."""
    if len(body) < _CONTAINER_HEADER.size:
        _damaged(path, f"the container at byte {offset} has no header")
    method, _ = _CONTAINER_HEADER.unpack_from(body)
    data = body[_CONTAINER_HEADER.size :]
    if method == _ZLIB:
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(data, _MAX_CONTAINER_BYTES + 1)
        except zlib.error as error:
            _damaged(path, f"the container at byte {offset} does not decompress ({error})")
        if len(data) > _MAX_CONTAINER_BYTES or not inflater.eof:
            _damaged(path, f"the container at byte {offset} does not end, or not within {_MAX_CONTAINER_BYTES} bytes")
    elif method != _UNCOMPRESSED:
        _damaged(path, f"the container at byte {offset} is compressed by the unknown method {method}")
    return data


def _count_in_container(path: Path, data: bytes, offset: int, counts: Counter[int]) -> bytes:
    """The rest of `data` after its last whole object: the start of one that continues in the next container."""
    at = 0
    while True:
        begin = data.find(_SIGNATURE, at, at + _PADDING)
        if begin < 0 and at + _PADDING <= len(data):
            _damaged(path, f"no object at byte {at} within the container at byte {offset}")
        if begin < 0 or begin + _OBJECT.size > len(data):
            return data[at:]
        _, _, version, size, object_type = _OBJECT.unpack_from(data, begin)
        if version not in _HEADER_BYTES or size < _HEADER_BYTES[version] + _READ_BY_PYTHON_CAN.get(object_type, 0):
            found = f"an object of type {object_type}, {size} bytes and version {version}"
            _damaged(path, f"{found} in the container at byte {offset}")
        if begin + size > len(data):
            return data[at:]
        counts[object_type] += 1
        at = begin + size


def _exactly(path: Path, stream: BinaryIO, size: int) -> bytes:
    """`size` bytes; the length comes from the file, and a read allocates no more than the file has."""
    data = stream.read(size) if size > 0 else b""
    if size < 0 or len(data) < size:
        _damaged(path, f"{size} bytes should follow, found {len(data)}")
    return data


def _damaged(path: Path, problem: str) -> NoReturn:
    raise LogFormatError(
        f"{path}: the Vector BLF file is damaged or cut off: {problem}. Expected an intact file; export the capture "
        "again."
    )


VECTOR_BLF = BridgedFormat(NAME, start=re.compile(rb"LOGG"), messages=_messages, first_channel=1)
