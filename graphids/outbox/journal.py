"""A log on local disk that is only appended to: checksummed JSON lines, on the disk before `append` returns.

A line is `<16 hex digits of its sha256> <JSON in ASCII>`, ended by a newline. A crash can leave one line without its
end: `append` never returned for it, so nobody was told that it is kept, and it is dropped. A whole line that does not
match its checksum is damage: it is reported, never skipped in silence.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError

_CHECKSUM_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal holds.

    Attributes:
        entries: Whole ones, in order.
        damage: Lines that do not match their checksum, as sentences that name file and line.
        torn_bytes: Length of an unfinished last line.
        whole_bytes: Length of all before it.
    """

    entries: tuple[dict[str, Any], ...]
    damage: tuple[str, ...]
    torn_bytes: int
    whole_bytes: int


def read_journal(path: Path) -> Reading:
    """Read a journal; one that does not exist is empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    *lines, torn = data.split(b"\n")
    entries, damage = [], []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(_decode(line))
        except IntegrityError as error:
            damage.append(f"{path}:{number}: {error}")
    return Reading(tuple(entries), tuple(damage), len(torn), len(data) - len(torn))


class Journal:
    """A journal that is open for appending, by one process at a time.

    Attributes:
        read: What stood in it when it was opened.
        dropped: Sentence about an unfinished line that was cut off on opening; empty where there was none.

    Raises:
        OSError: If the disk refuses; the error names the file, and no part of the entry stays behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = read_journal(path)
        self.dropped = ""
        self._bytes = self.read.whole_bytes
        with _naming(path):
            # Entries may hold a tracking URI with a password in it.
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            if self.read.torn_bytes:
                os.ftruncate(self._descriptor, self._bytes)
                line = len(self.read.entries) + len(self.read.damage) + 1
                self.dropped = (
                    f"{path}:{line}: an unfinished line of {self.read.torn_bytes} bytes was dropped; "
                    "a crash cut it off before it was confirmed to anyone."
                )
            os.fsync(self._descriptor)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an entry and wait until the disk has it."""
        line = _encode(entry)
        try:
            with _naming(self.path):
                _write_all(self._descriptor, line)
                os.fsync(self._descriptor)
        except OSError:
            # Part of a line would swallow the next one. Where this fails too, the checksum tells.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._bytes)
            raise
        self._bytes += len(line)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


def _encode(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode("ascii")
    return b"%s %s\n" % (_checksum(text), text)


def _decode(line: bytes) -> dict[str, Any]:
    checksum, _, text = line.partition(b" ")
    if checksum != _checksum(text):
        raise IntegrityError(
            f"expected a line that begins with its checksum {_checksum(text).decode()}, found {line[:40]!r}. "
            "It was changed after it was written; restore the file from a copy, or log what it held by hand."
        )
    entry: dict[str, Any] = json.loads(text)
    return entry


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_CHECKSUM_CHARACTERS].encode("ascii")


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """The system names no file in the error of a write; say which it was."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
