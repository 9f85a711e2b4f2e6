"""Files that wait to be sent, each named by its sha256, and the names that they will have in MLflow."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphids._fs import IntegrityError, read_digested

SPOOL = "spool"
DIGEST = re.compile("[0-9a-f]{64}")


@contextmanager
def verified_copy(spool: Path, files: dict[str, str]) -> Iterator[Path]:
    """The spooled files under their own names, with the very bytes that were hashed when they were kept.

    MLflow takes paths, not bytes; nothing of ours writes to the copy that it reads.
    """
    for path in files:
        _require_plain(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, digest in files.items():
            data = _read_spooled(spool, digest)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        yield folder


def _require_plain(name: str) -> None:
    """Refuse a name that leads out of the folder it is meant for, or that a terminal or a page would act on."""
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or not all(part.strip(".") for part in parts):
        raise IntegrityError(
            f"file {name[:200]!r} of an entry: expected a relative name of plain parts, such as 'images/roc.png'. "
            "graphids did not write this entry; do not send it."
        )


def _read_spooled(spool: Path, digest: str) -> memoryview:
    if not DIGEST.fullmatch(digest):
        raise IntegrityError(f"{spool}: an entry names {digest[:200]!r}, expected the sha256 of a file there.")
    path = spool / digest
    try:
        data, found = read_digested(path)
    except FileNotFoundError:
        raise IntegrityError(f"{path}: expected a file that an entry of the outbox refers to, found none.") from None
    if found != digest:
        raise IntegrityError(f"{path}: expected sha256 {digest}, found {found}; it was changed after it was kept.")
    return data
