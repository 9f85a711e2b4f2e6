"""One file on disk, read once together with its digest.

Every disk access is a call `os.<function>(...)`, so that a test can observe and fail each one. For local and network
filesystems with POSIX rename; standard library only.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# Below it one thread is faster, unless a second core is idle: on a busy machine, 2 MB took one thread 2.0 ms and two
# threads 2.3 ms (median; 2.2 and 11.4 ms at the 90th percentile). 4 MiB take 4 ms, half of which a thread can hide.
_THREAD_FROM_BYTES = 4 << 20
# The reader stays this far ahead of the hash, so that bytes are still in the cache when they are hashed: 38 MB take
# 22 ms of CPU; with chunks of 1 MiB and no bound, 32 ms.
_CHUNK_BYTES = 1 << 18
_CHUNKS_AHEAD = 2
_OPEN_TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class IntegrityError(Exception):
    """Bytes are not those that were written, or nothing tells what was written; the message says what to do."""


def digest_bytes(data: bytes | bytearray | memoryview) -> str:
    """Hex sha256.

    >>> digest_bytes(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).hexdigest()


def digest_file(path: str | os.PathLike[str]) -> str:
    """Hex sha256 of a regular file; errors as in `read_digested`."""
    return read_digested(path)[1]


def read_digested(
    path: str | os.PathLike[str], *, max_bytes: int | None = None, expected_bytes: int | None = None
) -> tuple[memoryview, str]:
    """Read a file once, into memory that nobody else can write, and hash that memory.

    Whatever is to be trusted must be parsed from the returned bytes: opened again, the path may hold others.

    Args:
        path: Regular file, not a link to one.
        max_bytes: Largest size to read.
        expected_bytes: The only size to read. Both are checked before anything is read.

    Returns:
        Bytes, writable and private, and their hex sha256.

    Raises:
        IntegrityError: If it is not a regular file of that size; a FIFO is not waited for.
        OSError: If it cannot be opened or read.
    """
    with opened(path) as file:
        if expected_bytes is not None and file.size != expected_bytes:
            raise IntegrityError(
                f"{path}: expected {expected_bytes} bytes, found {file.size}. The file was truncated, extended or "
                "replaced; restore it from a copy."
            )
        if max_bytes is not None and file.size > max_bytes:
            raise IntegrityError(
                f"{path}: expected at most {max_bytes} bytes, found {file.size}. Nothing of it was read; remove it, or "
                "restore it from a copy."
            )
        return file.read()


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A regular file open for reading; while it is open, no other file can get its `identity`."""

    path: Path
    descriptor: int
    size: int
    identity: tuple[int, int]

    def read(self, allocate: Callable[[int], memoryview] | None = None) -> tuple[memoryview, str]:
        """All bytes and their hex sha256; call it once.

        Args:
            allocate: Returns writable memory of a given size; by default private memory of this process.

        Raises:
            IntegrityError: If the file has become shorter.
            OSError: If it cannot be read.
        """
        with explained(self.path, "reading it"):
            data = (allocate or private_memory)(self.size)
        chunks = [data[start : start + _CHUNK_BYTES] for start in range(0, self.size, _CHUNK_BYTES)]
        digest = hashlib.sha256()
        if self.size <= _THREAD_FROM_BYTES:
            for chunk in chunks:
                self._fill(chunk)
                digest.update(chunk)
        else:
            # Hashing releases the interpreter lock: one chunk is hashed while the next is read.
            waiting: deque[Future[None]] = deque()
            with ThreadPoolExecutor(max_workers=1) as hasher:
                for chunk in chunks:
                    if len(waiting) == _CHUNKS_AHEAD:
                        waiting.popleft().result()
                    self._fill(chunk)
                    waiting.append(hasher.submit(digest.update, chunk))
        return data, digest.hexdigest()

    def is_still_there(self) -> bool:
        """Whether the path still leads to this very file, neither replaced nor removed since it was opened."""
        status = _status(self.path)
        return status is not None and (status.st_dev, status.st_ino) == self.identity

    def _fill(self, chunk: memoryview) -> None:
        while chunk:
            with explained(self.path, "reading it"):
                count = os.readv(self.descriptor, [chunk])
            if count == 0:
                raise IntegrityError(
                    f"{self.path}: expected {self.size} bytes, found fewer: it was truncated while it was read. "
                    "Restore it from a copy."
                )
            chunk = chunk[count:]


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[OpenedFile]:
    """Open a regular file for reading.

    Raises:
        IntegrityError: If it is a link, a FIFO, a folder or a device.
        OSError: If it cannot be opened.
    """
    try:
        with explained(path, "opening it"):
            descriptor = os.open(path, _OPEN_TO_READ)
    except OSError as error:
        # A link, and a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO) and (status := _status(path)):
            raise _not_regular(path, status.st_mode) from error
        raise
    try:
        with explained(path, "reading it"):
            status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path, status.st_mode)
        yield OpenedFile(Path(path), descriptor, status.st_size, (status.st_dev, status.st_ino))
    finally:
        with explained(path, "reading it"):
            os.close(descriptor)


def private_memory(size: int) -> memoryview:
    """Writable memory of this process alone; in huge pages if it is large and the system has them."""
    if size <= _THREAD_FROM_BYTES:
        return memoryview(bytearray(size))
    # Without MAP_PRIVATE, Python would share it with every child.
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Reading 38 MB takes 13 ms of CPU instead of 18: one page fault per 2 MiB, not per 4 KiB.
        with contextlib.suppress(OSError):  # a kernel built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether the path exists, if only as a dangling link.

    Raises:
        OSError: If that cannot be determined; `os.path.lexists` returns False then.
    """
    return _status(path) is not None


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a regular file, not a link to one."""
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse what is there and is not a regular file; nothing is opened.

    Raises:
        IntegrityError: If it is a link, a FIFO, a folder or a device.
    """
    status = _status(path)
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise _not_regular(path, status.st_mode)


@contextlib.contextmanager
def explained(path: str | os.PathLike[str], doing: str, state: str = "") -> Iterator[None]:
    """Let an OSError keep its type and number, but name the path, what was being done and the state that is left."""
    try:
        yield
    except OSError as error:
        if getattr(error, "explained", False):
            raise
        reason = f"{error.strerror or error} ({doing})" + (f"; {state}" if state else "")
        told = OSError(error.errno, reason, os.fspath(path))
        told.explained = True  # type: ignore[attr-defined]
        raise told from error


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    with explained(path, "looking it up"):
        try:
            return os.stat(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None


def _not_regular(path: str | os.PathLike[str], mode: int) -> IntegrityError:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFDIR: "a folder",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFSOCK: "a socket",
    }
    return IntegrityError(
        f"{path}: expected a regular file, found {kinds.get(stat.S_IFMT(mode), 'something else')}. Put the file itself "
        "there, or name the file that it leads to."
    )
