"""Names in a folder: a file published whole, a folder made, a name removed, each durable before the next step.

Every disk access is a call `os.<function>(...)`, so that a test can observe and fail each one. For local and network
filesystems with POSIX rename; standard library only.
"""

import contextlib
import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from graphids._fs.files import explained, opened

if TYPE_CHECKING:
    from typing_extensions import Buffer

_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_TEMPORARY = re.compile(r"\.graphids-[0-9a-f]{16}\.tmp")


def publish_bytes(path: str | os.PathLike[str], data: bytes | memoryview, *, mode: int = 0o666) -> None:
    """Write `data` so that `path` holds the whole old or the whole new bytes at every instant, even after a crash.

    The temporary file is in the same folder: a rename across filesystems is a copy, and not atomic. A link at `path` is
    replaced, not followed. The umask is taken from `mode`, as for any file.

    Raises:
        OSError: Names path, reason and what failed; at most a temporary file is left behind.
    """
    _publish(Path(path), lambda temporary: _write_new(temporary, data, mode))


def publish_link(path: str | os.PathLike[str], source: str | os.PathLike[str]) -> None:
    """Make `path` a second name (hard link) of the file `source`; as atomic and durable as `publish_bytes`."""
    _publish(Path(path), lambda temporary: os.link(source, temporary, follow_symlinks=False))


@contextlib.contextmanager
def publish_new(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A stream to write; its bytes become the new file `path` when the block ends, whole and durable.

    Raises:
        FileExistsError: If something is at `path`, now or when the block ends. It is never replaced.
        OSError: Names path, reason and what failed; nothing is left at `path`.
    """
    path = Path(path)
    temporary = _temporary(path)
    with explained(path, "saving it"):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it exists and is not replaced; remove it or name another")
        descriptor = os.open(temporary, _OPEN_NEW, 0o666)
    try:
        with contextlib.closing(_NewFile(path, descriptor)) as stream:
            yield cast("BinaryIO", stream)
            with explained(path, "saving it"):
                os.fsync(descriptor)
        with explained(path, "saving it"):
            _name_new(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    sync_folder(path.parent)


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder with its parents, each durable before anything is put into it; it may exist already."""
    folder = Path(folder)
    with explained(folder, "making the folder"):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(folder).st_mode):
                raise
            return
        except FileNotFoundError:
            make_folder(folder.parent)
            os.mkdir(folder)
    sync_folder(folder.parent)


def write_durably(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data` at the descriptor's position and wait until the disk has it.

    Raises:
        OSError: As the system gives it, without a path; part of the data may be written.
    """
    _write_all(descriptor, memoryview(data).cast("B"))
    os.fsync(descriptor)


def delete(path: str | os.PathLike[str]) -> None:
    """Remove a file or link, unless it is gone already."""
    with explained(path, "removing it"), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make every rename and removal in a folder durable.

    Some network and FUSE filesystems do not support this call; they decide themselves when a rename is durable.
    """
    with explained(
        folder, "making its entries durable", "they are in place, but a power loss may undo the last of them"
    ):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Make durable what another program wrote to a file."""
    with opened(path) as file, explained(path, "making it durable"):
        os.fsync(file.descriptor)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a killed `publish_bytes` or `publish_link` left."""
    return _TEMPORARY.fullmatch(name) is not None


def _publish(path: Path, make: Callable[[Path], None]) -> None:
    temporary = _temporary(path)
    try:
        with explained(path, "saving it", "what was there before is untouched"):
            make(temporary)
            os.replace(temporary, path)
    finally:
        # After the rename it is gone, unless both names already were the same file: then rename does nothing. What
        # cannot be removed now, `settle` removes later; the first error is the one to report.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    sync_folder(path.parent)


def _write_new(path: Path, data: bytes | memoryview, mode: int) -> None:
    descriptor = os.open(path, _OPEN_NEW, mode)
    try:
        write_durably(descriptor, data)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    # Its length is independent of the name of the file, which may be as long as the filesystem allows.
    return path.with_name(f".graphids-{secrets.token_hex(8)}.tmp")


def _name_new(temporary: Path, path: Path) -> None:
    """Give a file its name, which nothing has yet."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError as error:
        # A filesystem of memory cards has no hard links. Then the name is claimed by an empty file, and that replaced.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        os.close(os.open(path, _OPEN_NEW, 0o666))
        os.replace(temporary, path)


def _write_all(descriptor: int, rest: memoryview) -> None:
    while rest:
        count = os.write(descriptor, rest)
        if count == 0:
            raise OSError(errno.EIO, "the filesystem took no bytes")
        rest = rest[count:]


class _NewFile(io.RawIOBase):
    """A file that is written from its start to its end."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor, self._size = path, descriptor, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: "Buffer", /) -> int:
        """Write all of `data`."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        with explained(self._path, "saving it"):
            _write_all(self._descriptor, rest)
        self._size += size
        return size

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
