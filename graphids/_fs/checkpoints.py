"""Checkpoints on disk: whole, with a digest beside them, or refused.

A checkpoint `best.ckpt` is accompanied by `best.ckpt.sha256`, a line that `sha256sum -c` accepts. At every instant,
even after a kill at any point or a power loss, a reader gets the whole old or the whole new checkpoint, verified. One
process writes to a folder at a time (rank 0); any number may read. Local and network filesystems with POSIX rename; no
remote URLs.

The one invariant: **whenever there is a checkpoint, its sidecar accepts its bytes.** They are two files, so a save
first opens the sidecar (the old digest keeps its line, the new one is added in a `#` line), then replaces the
checkpoint, then closes the sidecar; a removal starts with the checkpoint. Each step is made durable before the next, so
that no power loss can reorder them.

A sidecar proves that bytes are those that were written. It does not prove who wrote them: whoever can change the
checkpoint can change the sidecar.
"""

import contextlib
import errno
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphids._fs.files import (
    IntegrityError,
    digest_bytes,
    digest_file,
    exists,
    explained,
    is_regular,
    opened,
    read_digested,
)
from graphids._fs.locks import folder_held
from graphids._fs.publish import (
    delete,
    is_temporary,
    publish_bytes,
    publish_link,
    sync_file,
    sync_folder,
)
from graphids._fs.sidecar import SUFFIX, Sidecar, read_sidecar, sidecar_path, sidecar_text
from graphids._fs.tensors import MappableMemory, parse, serialize, unparsable

_READ_ATTEMPTS = 100
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_logger = logging.getLogger(__name__)


def atomic_save(obj: object, path: str | os.PathLike[str]) -> str:
    """Save a checkpoint and its sidecar; `atomic_load` accepts the old or the new one at every instant in between.

    Args:
        obj: Bytes, written as they are, or anything `torch.save` takes: tensors and plain values only, else
            `atomic_load` refuses to parse it.
        path: Checkpoint, in an existing folder. A link is replaced, not followed.

    Returns:
        Hex sha256 of the bytes written.

    Raises:
        OSError: With path, reason and what is still there. The old or the new checkpoint loads; saving again is safe.
        ValueError: If the file name contains a line break.
    """
    data = bytes(obj) if isinstance(obj, bytes | bytearray | memoryview) else serialize(obj)
    digest = digest_bytes(data)
    with folder_held(Path(path).parent, alone=False):
        _publish_with_sidecar(Path(path), digest, lambda: publish_bytes(path, data))
    return digest


def atomic_link(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> str:
    """Make `path` a second name of the checkpoint `source`, with a sidecar of its own; as safe as `atomic_save`.

    A hard link, not a symbolic one: it takes no space either, but survives the removal of `source` and keeps its bytes
    when `source` is saved again, so that its sidecar stays true. A filesystem without hard links gets a copy.

    Returns:
        Hex sha256 of the bytes.

    Raises:
        IntegrityError: If `source` is not what its sidecar says.
        OSError: As `atomic_save`.
    """
    path, source = Path(path), Path(source)
    data, digest = _read_accepted(source)

    def publish() -> None:
        try:
            publish_link(path, source)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            publish_bytes(path, data)

    with folder_held(path.parent, alone=False):
        _publish_with_sidecar(path, digest, publish)
    return digest


def atomic_load(path: str | os.PathLike[str], map_location: Any = "cpu") -> Any:
    """Read a checkpoint once, compare it with its sidecar and parse those same bytes with `weights_only=True`.

    Nothing is parsed before everything is verified; tensors never share memory with the file.

    Args:
        path: Checkpoint, not a symbolic link.
        map_location: As in `torch.load`.

    Raises:
        IntegrityError: If the sidecar is missing or malformed, or the bytes are not those it names.
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it holds anything other than tensors and plain values.
    """
    with contextlib.ExitStack() as stack:
        memory = MappableMemory(stack)
        data, _ = _read_accepted(Path(path), memory.allocate)
        try:
            return parse(data, memory, map_location)
        except (pickle.UnpicklingError, EOFError) as error:
            raise ValueError(
                f"{path}: its bytes are those that were saved, but they do not load with weights_only=True "
                f"({unparsable(error)}). Expected tensors and plain values; save nothing else in a checkpoint."
            ) from error


def read_verified(path: str | os.PathLike[str]) -> memoryview:
    """Bytes of a checkpoint that match its sidecar; errors as in `atomic_load`."""
    return _read_accepted(Path(path))[0]


def remove(path: str | os.PathLike[str]) -> None:
    """Delete a checkpoint with its sidecar, or what is left of them.

    The checkpoint goes first: a reader in between finds no file, which says more than a missing digest.
    """
    path = Path(path)
    delete(path)
    if exists(sidecar_path(path)):
        # Else a power loss could bring back the checkpoint alone, without anything to verify it.
        sync_folder(path.parent)
        delete(sidecar_path(path))


def settle(folder: str | os.PathLike[str]) -> list[str]:
    """Clean up what a kill left in a folder of checkpoints, before its next use.

    Sidecars with two digests are closed according to the bytes; temporary files of ours, and sidecars whose checkpoint
    is gone, are removed. Every checkpoint loads or is refused as before: a damaged one stays as it is. After a kill at
    any point, the folder can be settled again.

    Returns:
        What was done, a line each; empty if there was nothing to do, there is no folder, or a save is under way in it,
        which looks like what a kill left. On filesystems without locks (NFS) no other process may save in the folder
        meanwhile.

    Raises:
        OSError: If the folder cannot be read or written.
    """
    folder = Path(folder)
    if not exists(folder):
        return []
    with folder_held(folder, alone=True) as held:
        return _settle_all(folder) if held else []


def adopt(path: str | os.PathLike[str]) -> str:
    """Write the missing sidecar of a checkpoint, for its present bytes; logs a warning that says what that means.

    Returns:
        Hex sha256 of the bytes.

    Raises:
        FileExistsError: If there is a sidecar, whatever it says.
        IntegrityError: If it is not a regular file, or does not load with `weights_only=True`.
        OSError: If it cannot be read, or its sidecar cannot be written.
    """
    path = Path(path)
    if exists(sidecar_path(path)):
        raise FileExistsError(
            f"{path}: it has a sidecar already, {sidecar_path(path).name}. Expected none: adopting is for files that "
            "were saved without one. If the sidecar is wrong, restore both files from a copy."
        )
    data, digest = read_digested(path)
    try:
        parse(data)
    except Exception as error:
        raise IntegrityError(
            f"{path}: expected a checkpoint of tensors and plain values, found bytes that do not load with "
            f"weights_only=True ({unparsable(error)}). It was not adopted; restore it from a copy."
        ) from error
    sync_file(path)
    publish_bytes(sidecar_path(path), sidecar_text(path, digest))
    _logger.warning(
        "%s: adopted with sha256 %s. NOTHING PROVES that these are the bytes that were written, or who wrote them: "
        "from now on a change is noticed, an earlier one is not.",
        path,
        digest,
    )
    return digest


def _read_accepted(path: Path, allocate: Callable[[int], memoryview] | None = None) -> tuple[memoryview, str]:
    """Bytes that the sidecar accepts, and their digest; errors as in `atomic_load`."""
    for _ in range(_READ_ATTEMPTS):
        # Before and after: a save may finish while the checkpoint is being read.
        before = read_sidecar(path)
        with opened(path) as file:
            # Nothing could accept its bytes: a file of any size is refused without being read.
            if before.problem and (again := read_sidecar(path)).problem and file.is_still_there():
                raise IntegrityError(again.problem)
            data, found = file.read(allocate)
            if before.accepts(found):
                return data, found
            after = read_sidecar(path)
            if after.accepts(found):
                return data, found
            # A file that is still there is accepted by its sidecar: a mismatch now is damage, not a save in between.
            if file.is_still_there():
                raise IntegrityError(after.problem or _mismatch(path, after, found, file.size))
    raise IntegrityError(
        f"{path}: it was replaced during each of {_READ_ATTEMPTS} attempts to read it. Expected one writer that "
        "pauses; load it once the writer has finished."
    )


def _publish_with_sidecar(path: Path, new: str, publish: Callable[[], None]) -> None:
    sidecar, closed = sidecar_path(path), sidecar_text(path, new)
    replaces = exists(path)
    standing = _standing_digest(path) if replaces else None
    if not replaces:
        # A removal may not have reached the disk yet; undone by a power loss, it would meet the new sidecar.
        sync_folder(path.parent)
    to_be_closed = replaces and standing != new
    publish_bytes(sidecar, sidecar_text(path, standing, pending=new) if to_be_closed else closed)
    publish()
    if to_be_closed:
        publish_bytes(sidecar, closed)


def _standing_digest(path: Path) -> str | None:
    """The digest that a reader expects of the present checkpoint; None if its sidecar says nothing."""
    sidecar = read_sidecar(path)
    if sidecar.pending is None:
        return sidecar.line
    # Left by a kill. What was renamed must be durable before another sidecar describes it.
    sync_folder(path.parent)
    found = _digest_or_none(path)
    return found if found is not None and sidecar.accepts(found) else sidecar.line


def _settle_all(folder: Path) -> list[str]:
    with explained(folder, "looking for what a kill left"):
        names = sorted(os.listdir(folder))
    # What a killed save renamed must be durable before anything is concluded from it.
    sync_folder(folder)
    done = []
    for name in names:
        if is_temporary(name) and is_regular(folder / name):
            delete(folder / name)
            done.append(f"removed {name}, left by a save that did not end")
        # The suffix alone is not a sidecar of a file in this folder.
        elif name.endswith(SUFFIX) and name != SUFFIX and (what := _settle_sidecar(folder / name.removesuffix(SUFFIX))):
            done.append(what)
    if done:
        sync_folder(folder)
    return done


def _settle_sidecar(path: Path) -> str | None:
    sidecar, said = sidecar_path(path), read_sidecar(path)
    if said.problem:
        return None
    if not exists(path):
        delete(sidecar)
        return f"removed {sidecar.name}, whose checkpoint is gone"
    if said.pending is None:
        return None
    found = _digest_or_none(path)
    if found is not None and said.accepts(found):
        publish_bytes(sidecar, sidecar_text(path, found))
        return f"closed {sidecar.name}, left open by a save that did not end"
    if said.line is None:
        # The save was about to replace a checkpoint without a valid sidecar, and did not get that far.
        delete(sidecar)
        return f"removed {sidecar.name}, of a save that did not end"
    return None


def _digest_or_none(path: Path) -> str | None:
    try:
        return digest_file(path)
    except (IntegrityError, FileNotFoundError):
        return None


def _mismatch(path: Path, sidecar: Sidecar, found: str, size: int) -> str:
    return (
        f"{path}: expected sha256 {sidecar} (from {sidecar_path(path).name}), found {found} over {size} bytes. The "
        "file was truncated or changed after it was written; do not use it. Restore it from a copy, or resume from "
        "another checkpoint of the run."
    )
