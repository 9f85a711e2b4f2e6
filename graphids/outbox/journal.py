"""An append-only log on local disk: checksummed JSON lines, durable before `append` returns.

A line is `<16 hex digits of its sha256> <JSON in ASCII>` and a newline. A crash can leave one unfinished line at the
end: `append` never returned for it, so nobody was promised it, and it is dropped. A whole line that does not match its
checksum is damage: it is reported, never silently skipped.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError, explained, open_private, read_digested, write_durably

_CHECKSUM_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """The content of a journal.

    Attributes:
        entries: The intact ones, in order.
        damage: One sentence per line that does not match its checksum, with file and line number.
        torn_bytes: Length of an unfinished last line.
        whole_bytes: Length of everything before it.
    """

    entries: tuple[dict[str, Any], ...]
    damage: tuple[str, ...]
    torn_bytes: int
    whole_bytes: int


def read_journal(path: Path) -> Reading:
    """Read a journal, which is a regular file; a missing one is an empty journal."""
    try:
        data = bytes(read_digested(path)[0])
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
    """A journal open for appending, by one process at a time.

    Attributes:
        read: Its content when it was opened.
        dropped: Sentence about an unfinished line that was truncated on opening; empty if there was none.

    Raises:
        IntegrityError: If the file is a link or not a regular file, or somebody else's.
        OSError: If the disk fails; the error names the file, and no part of the entry is left behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = read_journal(path)
        self.dropped = ""
        self._bytes = self.read.whole_bytes
        with explained(path, "opening it"):
            self._descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
            if self.read.torn_bytes:
                os.ftruncate(self._descriptor, self._bytes)
                line = len(self.read.entries) + len(self.read.damage) + 1
                self.dropped = (
                    f"{path}:{line}: an unfinished line of {self.read.torn_bytes} bytes was dropped; "
                    "a crash interrupted the write, and nothing had relied on it yet."
                )
            os.fsync(self._descriptor)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an entry and wait until it is durable."""
        line = _encode(entry)
        try:
            with explained(self.path, "appending to it"):
                write_durably(self._descriptor, line)
        except OSError:
            # A partial line would swallow the next one. If this fails too, the checksum shows it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._bytes)
            raise
        self._bytes += len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _encode(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode("ascii")
    return b"%s %s\n" % (_checksum(text), text)


def _decode(line: bytes) -> dict[str, Any]:
    checksum, _, text = line.partition(b" ")
    if checksum != _checksum(text):
        raise IntegrityError(
            f"expected a line that begins with its checksum {_checksum(text).decode()}, found {line[:40]!r}. "
            "It was changed after it was written; restore the file from a copy, or log its entry by hand."
        )
    try:
        entry: dict[str, Any] = json.loads(text)
        known = type(entry["n"]) is int and entry["n"] > 0
    except (KeyError, TypeError, ValueError, RecursionError):
        known = False
    if not known:
        raise IntegrityError(
            f"expected the JSON of a numbered entry, found {text[:40]!r}. graphids did not write it; remove the file."
        )
    return entry


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_CHECKSUM_CHARACTERS].encode("ascii")
