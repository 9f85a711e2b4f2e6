"""Folders and files of this user alone: made so whatever the umask, and refused where they are somebody else's.

What lies in them is acted on: what a run left to send is sent with the user's token, and a checkpoint is resumed from.
Every disk access is a call `os.<function>(...)`; standard library only.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from graphids._fs.files import IntegrityError, explained, require_regular

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_OTHERS = 0o077


def make_private_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder that only this user enters, with its parents, which are made as the umask says.

    One that is there already is closed to others.

    Raises:
        IntegrityError: If it is a link, not a folder, or somebody else's.
        OSError: If it cannot be made; the error names it.
    """
    folder = Path(folder)
    with explained(folder, "making the folder"):
        os.makedirs(folder.parent, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, FOLDER_MODE)
    require_own_folder(folder)
    status = os.stat(folder, follow_symlinks=False)
    if stat.S_IMODE(status.st_mode) != FOLDER_MODE:
        # Filesystems without modes, of memory cards and some shares, refuse or ignore it.
        with contextlib.suppress(OSError):
            os.chmod(folder, FOLDER_MODE)


def require_own_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that this user does not own.

    Raises:
        IntegrityError: If it is a link, not a folder, or somebody else's.
        OSError: If it cannot be looked up.
    """
    with explained(folder, "looking it up"):
        status = os.stat(folder, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        found = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "something else"
        raise IntegrityError(f"{folder}: expected a folder, found {found}. Put the folder itself there.")
    _require_owner(Path(folder), Path(folder), status)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Descriptor of a regular file of this user alone, made if it does not exist; a link is not followed.

    Args:
        path: In a folder that exists.
        flags: `os.O_WRONLY` or `os.O_RDWR`, and `os.O_APPEND`.

    Raises:
        IntegrityError: If it is a link, also a hard link, or not a regular file, or somebody else's.
        OSError: If it cannot be opened.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with explained(path, "opening it"):
            descriptor = os.open(path, flags, FILE_MODE)
    except OSError:
        require_regular(path)
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            require_regular(path)
        if status.st_nlink > 1:
            raise IntegrityError(
                f"{path}: expected a file with one name, found {status.st_nlink} hard links to it. "
                "What is written to it would change the others; replace it by a copy."
            )
        _require_owner(Path(path), Path(path).parent, status)
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, FILE_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_owner(path: Path, folder: Path, status: os.stat_result) -> None:
    # Root may do anything anyway. A network or a container's filesystem may show what we make as someone else's.
    if status.st_uid in (os.geteuid(), 0) or status.st_uid == _owner_of_a_new_file(folder):
        return
    raise IntegrityError(
        f"{path}: expected a file or folder of your own (uid {os.geteuid()}), found one of uid {status.st_uid}. "
        "What lies there would be acted on in your name; let its owner do it, or look through it and make a copy."
    )


def _owner_of_a_new_file(folder: Path) -> int | None:
    """Who owns what this process makes in a folder; None if it cannot make anything there."""
    path = folder / f".graphids-{secrets.token_hex(8)}.tmp"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        os.unlink(path)
