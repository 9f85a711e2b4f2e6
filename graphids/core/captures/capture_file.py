"""The file of a capture: opened so that nothing hangs, and read in pieces so that nothing fills the memory."""

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from graphids.core.captures.formats.line_loop import MAX_LINE_BYTES
from graphids.core.frames import LogFormatError

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 20
# Captures compress 3 to 15 times, a bomb of zeros 1000 times. Below this size nothing can do harm.
MAX_GZIP_RATIO = 200
_HARMLESS_BYTES = 64 << 20


@contextmanager
def open_capture(path: Path) -> Iterator[BinaryIO]:
    """The content of a regular file, decompressed where it begins as gzip does.

    Raises:
        LogFormatError: If `path` is not a regular file, or while reading, if the gzip stream is damaged, cut off or
            expands more than `MAX_GZIP_RATIO` times.
        OSError: If the file cannot be opened or read; it names the file.
    """
    try:
        with _open_regular(path) as raw:
            is_gzip = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            yield cast("BinaryIO", _Gunzipped(path, raw)) if is_gzip else raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LogFormatError(
            f"{path}: the gzip stream is damaged or cut off ({error}). "
            f"Expected a whole .gz file; copy it again from where it came."
        ) from error
    except OSError as error:
        # An I/O error of a read says neither of which file nor why it matters.
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def whole_lines(stream: BinaryIO, chunk_bytes: int) -> Iterator[bytes]:
    """Pieces of about `chunk_bytes` that end where a line ends; the last one where the file ends.

    Of a line longer than `MAX_LINE_BYTES` that goes past a chunk only the first bytes come, one more than a parser
    accepts: a line without an end is refused as one bad line, without being held in memory.
    """
    rest = b""
    while chunk := stream.read(chunk_bytes):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield rest + chunk[:cut] if rest or cut < len(chunk) else chunk
            rest = b""
        rest = (rest + chunk[cut:])[: MAX_LINE_BYTES + 1]
    if rest:
        yield rest


def bytes_read(stream: BinaryIO) -> int:
    """How far into the file an opened capture has been read, buffers included; 0 once it is closed."""
    raw = stream._raw_file if isinstance(stream, _Gunzipped) else stream
    return 0 if raw.closed else raw.tell()


def _open_regular(path: Path) -> BinaryIO:
    # Without O_NONBLOCK opening a FIFO waits for a writer, forever if none comes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")  # noqa: PTH123  (a descriptor has no path; the caller closes it)
    os.close(descriptor)
    raise LogFormatError(
        f"{path}: is {_kind_of_file(mode)}. Expected a regular file, which is read twice: once to recognise the "
        "format; save the capture to a file and name that."
    )


def _kind_of_file(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe (FIFO)", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


class _Gunzipped(gzip.GzipFile):
    """A decompressed stream that ends in an error if it expands more than any capture does."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._path, self._raw_file = path, raw

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and 0 <= size <= _BLOCK_BYTES:
            return self._checked(super().read(size))
        blocks: list[bytes] = []
        left = size if size is not None and size >= 0 else -1
        while left and (block := self._checked(super().read(_BLOCK_BYTES if left < 0 else min(left, _BLOCK_BYTES)))):
            blocks.append(block)
            left -= len(block) if left > 0 else 0
        return b"".join(blocks)

    def read1(self, size: int = -1) -> bytes:
        return self._checked(super().read1(size))

    def _checked(self, block: bytes) -> bytes:
        decompressed, compressed = self.tell(), self._raw_file.tell()
        if decompressed > _HARMLESS_BYTES and decompressed > MAX_GZIP_RATIO * compressed:
            raise LogFormatError(
                f"{self._path}: {compressed} bytes of gzip became {decompressed} and more, over {MAX_GZIP_RATIO} times "
                "as many. Expected a capture, which compresses 3 to 15 times; if this is one, decompress it first."
            )
        return block
