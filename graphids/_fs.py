"""Bytes on disk: digests, sidecars, and checkpoints that are whole or refused.

A checkpoint `best.ckpt` is accompanied by `best.ckpt.sha256`, a line that `sha256sum -c` accepts. At every instant,
also after a kill at any point, a reader gets the whole old or the whole new checkpoint, verified. One process writes
a path at a time (rank 0); any number read. Local and network filesystems with POSIX rename; no remote URLs.

A sidecar proves that bytes are those that were written. It does not prove who wrote them: whoever can change the
checkpoint can change the sidecar.
"""

import contextlib
import hashlib
import os
import re
import secrets
from io import BytesIO
from pathlib import Path
from typing import Any

_SIDECAR_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>.+)")
_SIDECAR_PENDING = re.compile(r"# (?P<digest>[0-9a-f]{64})")
_READ_ATTEMPTS = 20


class IntegrityError(Exception):
    """Bytes are not those that were written, or nothing says what was written; the message says what to do."""


def digest_bytes(data: bytes) -> str:
    """Hex sha256.

    >>> digest_bytes(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).hexdigest()


def digest_file(path: str | os.PathLike[str]) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Where the digest of `path` stands: beside it, with `.sha256` appended."""
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")


def publish_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` so that `path` holds the whole old or the whole new bytes at every instant, also after a crash.

    The temporary file lies in the same directory: a rename across filesystems is a copy and not atomic.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        # Mode "x" leaves permissions to the umask, where `tempfile` makes files that only their owner can read.
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _fsync_directory(path.parent)


def atomic_save(obj: object, path: str | os.PathLike[str]) -> str:
    """Save a checkpoint and its sidecar; `atomic_load` accepts the old or the new one at every instant in between.

    While the save is open, the sidecar names the old digest in its line and the new one in a `#` line.

    Args:
        obj: Bytes, written as they are, or anything `torch.save` takes. Tensors and plain values only, else
            `atomic_load` refuses to parse it.
        path: Checkpoint; its folder exists.

    Returns:
        Hex sha256 of the bytes written.
    """
    path = Path(path)
    data = bytes(obj) if isinstance(obj, bytes | bytearray | memoryview) else _serialize(obj)
    new = digest_bytes(data)
    closed = _sidecar_text(path.name, new)
    old = _current_digest(path)
    publish_bytes(sidecar_path(path), closed if old in (None, new) else _sidecar_text(path.name, old, pending=new))
    publish_bytes(path, data)
    if old not in (None, new):
        publish_bytes(sidecar_path(path), closed)
    return new


def atomic_load(path: str | os.PathLike[str], map_location: Any = "cpu") -> Any:
    """Read a checkpoint once, compare it with its sidecar and parse those same bytes with `weights_only=True`.

    Args:
        path: Checkpoint.
        map_location: As in `torch.load`.

    Raises:
        IntegrityError: If the sidecar is missing or malformed, or the bytes are not those it names.
        FileNotFoundError: If there is no checkpoint.
    """
    data = read_verified(path)
    import torch

    return torch.load(BytesIO(data), map_location=map_location, weights_only=True)


def read_verified(path: str | os.PathLike[str]) -> bytes:
    """Bytes of a checkpoint that match its sidecar; errors as in `atomic_load`."""
    path = Path(path)
    accepted: tuple[str, ...] = ()
    found = ""
    for _ in range(_READ_ATTEMPTS):
        data = path.read_bytes()
        found = digest_bytes(data)
        before, accepted = accepted, _read_sidecar(path)
        if found in accepted:
            return data
        # A save that ran to its end between the two reads looks like a mismatch. Two rounds that agree on the
        # sidecar enclose a read of the checkpoint during which no save ended.
        if accepted == before:
            break
    raise IntegrityError(
        f"{path}: expected sha256 {' or '.join(accepted)} (from {sidecar_path(path).name}), found {found} over "
        f"{len(data)} bytes. The file was truncated or changed after it was written; do not use it. "
        "Restore it from a copy, or resume from another checkpoint of the run."
    )


def remove(path: str | os.PathLike[str]) -> None:
    """Delete a checkpoint with its sidecar; what is already gone is no error.

    The checkpoint goes first: a reader in between finds no file, which says more than a missing digest.
    """
    Path(path).unlink(missing_ok=True)
    sidecar_path(path).unlink(missing_ok=True)


def _serialize(obj: object) -> bytes:
    import torch

    buffer = BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def _sidecar_text(name: str, digest: str, *, pending: str | None = None) -> bytes:
    line = f"{digest}  {name}\n"
    return (line if pending is None else f"{line}# {pending}\n").encode()


def _read_sidecar(path: Path) -> tuple[str, ...]:
    """Digests that the sidecar of `path` accepts: one, or two while a save is open."""
    sidecar = sidecar_path(path)
    try:
        lines = sidecar.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise IntegrityError(
            f"{path}: expected its digest in {sidecar.name}, found no such file. Without it nothing says whether the "
            f"bytes are whole. If you know they are, run `sha256sum {path.name} > {sidecar.name}` in that folder."
        ) from None
    except UnicodeDecodeError:
        lines = []
    patterns = (_SIDECAR_LINE, _SIDECAR_PENDING)[: len(lines)]
    matches = [pattern.fullmatch(line) for pattern, line in zip(patterns, lines, strict=False)]
    if len(lines) not in (1, 2) or not all(matches) or (matches[0] and matches[0]["name"] != path.name):
        raise IntegrityError(
            f"{sidecar}: expected '<64 hex digits>  {path.name}', found {lines[:3]!r}. Restore the sidecar and its "
            "checkpoint from a copy, or resume from another checkpoint of the run."
        )
    return tuple(match["digest"] for match in matches if match)


def _current_digest(path: Path) -> str | None:
    """The digest under which a reader accepts what is at `path` now; None where it accepts nothing."""
    try:
        accepted = _read_sidecar(path)
        # Two digests are left by a save that was killed; the bytes tell on which side of the rename.
        current = accepted[0] if len(accepted) == 1 else digest_file(path)
    except (IntegrityError, FileNotFoundError):
        return None
    return current if current in accepted and path.exists() else None


def _fsync_directory(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
