"""Names in a folder: a file published whole, a folder made, a name removed, each durable before the next step.

Every touch of the disk is a call `os.<function>(...)`, so that a test can watch and fail each one. Local and network
filesystems with POSIX rename; standard library only.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from graphids._fs.files import explained, opened

_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_TEMPORARY = re.compile(r"\.graphids-[0-9a-f]{16}\.tmp")


def publish_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` so that `path` holds the whole old or the whole new bytes at every instant, also after a crash.

    The temporary file lies in the same folder: a rename across filesystems is a copy and not atomic. A link that lies
    at `path` is replaced, not followed.

    Raises:
        OSError: Names path, reason and what failed; nothing stays behind but perhaps a temporary file.
    """
    _publish(Path(path), lambda temporary: _write_new(temporary, data))


def publish_link(path: str | os.PathLike[str], source: str | os.PathLike[str]) -> None:
    """Make `path` a second name (hard link) of the file `source`; atomic and durable as `publish_bytes`."""
    _publish(Path(path), lambda temporary: os.link(source, temporary, follow_symlinks=False))


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder with its parents, each durable before anything is put into it; one that exists is no error."""
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


def delete(path: str | os.PathLike[str]) -> None:
    """Remove a file or link; one that is gone already is no error."""
    with explained(path, "removing it"), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make every rename and removal in a folder durable.

    Some network and FUSE filesystems have no such call; they decide by themselves when a rename is durable.
    """
    with explained(folder, "making its entries durable", "they stand, but a loss of power may undo the last of them"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def sync_file(path: str | os.PathLike[str]) -> None:
    """Make the bytes of a file that another program wrote durable."""
    with opened(path) as file, explained(path, "making it durable"):
        os.fsync(file.descriptor)


@contextlib.contextmanager
def folder_held(folder: str | os.PathLike[str], *, alone: bool) -> Iterator[bool]:
    """Hold a folder, alone or together with others who do not need it alone.

    The lock is advisory and ends with the process. A filesystem without such locks lets everybody through.

    Args:
        folder: One that exists.
        alone: Do not wait: the value is False where somebody else holds the folder. Together, one waits and gets True.

    Raises:
        OSError: If the folder cannot be opened.
    """
    with explained(folder, "locking it"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        except BlockingIOError:
            yield False
            return
        except OSError:  # NFS, for one, locks no folder
            pass
        yield True
    finally:
        # A child forked in between has the descriptor too, and closing ours alone would leave the lock to it.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        with explained(folder, "unlocking it"):
            os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a killed `publish_bytes` or `publish_link` left."""
    return _TEMPORARY.fullmatch(name) is not None


def _publish(path: Path, make: Callable[[Path], None]) -> None:
    # Its length does not depend on the name of the file, which may be as long as the filesystem allows.
    temporary = path.with_name(f".graphids-{secrets.token_hex(8)}.tmp")
    try:
        with explained(path, "saving it", "what was there before is untouched"):
            make(temporary)
            os.replace(temporary, path)
    finally:
        # After a rename it is gone, unless both names were the same file already: then rename does nothing. What
        # cannot be removed now, `settle` sweeps later; the first error is the one to report.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    sync_folder(path.parent)


def _write_new(path: Path, data: bytes | memoryview) -> None:
    descriptor = os.open(path, _OPEN_NEW, 0o666)  # the umask decides, as for any file
    try:
        rest = memoryview(data).cast("B")
        while rest:
            count = os.write(descriptor, rest)
            if count == 0:
                raise OSError(errno.EIO, "the filesystem took no bytes")
            rest = rest[count:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
