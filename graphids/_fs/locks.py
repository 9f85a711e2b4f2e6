"""Locks between processes: on a folder of checkpoints, and on a file that exists to be locked.

They are advisory and end with the process, however it ends. A filesystem that has none lets everyone through. Standard
library only.
"""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator

from graphids._fs.files import explained
from graphids._fs.private import open_private

# What `flock` answers on network and FUSE filesystems that cannot lock, or whose lock service is away.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
_warned: set[int] = set()


@contextlib.contextmanager
def folder_held(folder: str | os.PathLike[str], *, alone: bool) -> Iterator[bool]:
    """Hold a folder, alone or shared with others who do not need it alone.

    A filesystem without such locks lets everyone through.

    Args:
        folder: An existing folder.
        alone: Do not wait: the value is False if someone else holds the folder. Shared, wait for it: the value is True.

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
        except OSError:  # NFS, for one, cannot lock a folder
            pass
        yield True
    finally:
        # A child forked meanwhile has the descriptor too, and closing only ours would leave it the lock.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        with explained(folder, "unlocking it"):
            os.close(descriptor)


def try_lock(path: str | os.PathLike[str], *, inherit: bool = False) -> int | None:
    """Lock a file, which is created if it does not exist, and never removed.

    Args:
        path: In a folder that exists.
        inherit: Whether programs that this process starts hold the lock too, until the last of them has ended.

    Returns:
        Descriptor that holds the lock until it is closed; None if another process holds it. On a filesystem without
        locks it holds none, which is said once on standard error.

    Raises:
        IntegrityError: If it is a link or not a regular file, or somebody else's.
        OSError: If the file cannot be opened or locked; the error names it.
    """
    descriptor = open_private(path, os.O_RDWR)
    try:
        with explained(path, "locking it"):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise
        _warn_of_no_locks(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    os.set_inheritable(descriptor, inherit)
    return descriptor


def _warn_of_no_locks(path: str | os.PathLike[str], descriptor: int) -> None:
    device = os.fstat(descriptor).st_dev
    if device in _warned:
        return
    _warned.add(device)
    folder = os.path.dirname(os.path.abspath(path))
    print(
        f"graphids: {folder}: its filesystem has no locks, so that nothing keeps a second process from the same run; "
        "start only one, or choose a folder on another filesystem.",
        file=sys.stderr,
    )
