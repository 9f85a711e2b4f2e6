"""The log on local disk: what it has confirmed is there, and what is not as it was written is said."""

import errno
import os
from pathlib import Path

import pytest

from graphids.outbox.journal import Journal, read_journal

ENTRIES = ({"n": 1, "op": "tags"}, {"n": 2, "op": "end", "at_ms": 7}, {"n": 3, "value": "ä\n"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for entry in ENTRIES:
        journal.append(entry)
    journal.close()
    return path


def test_entries_come_back_in_order(path: Path) -> None:
    assert read_journal(path).entries == ENTRIES
    assert read_journal(path).damage == ()


def test_a_line_that_a_crash_cut_off_anywhere_costs_that_line_alone_and_is_reported(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last + 1, len(whole)):
        path.write_bytes(whole[:length])

        journal = Journal(path)
        journal.append(ENTRIES[2])
        journal.close()

        assert f"{path}:3: an unfinished line of {length - last} bytes was dropped" in journal.dropped
        assert path.read_bytes() == whole


def test_any_changed_byte_of_a_whole_line_is_reported_with_file_and_line_and_the_others_are_read(path: Path) -> None:
    whole = path.read_bytes()
    second = range(whole.index(b"\n") + 1, whole.index(b"\n", whole.index(b"\n") + 1))
    for offset in second:
        changed = bytearray(whole)
        changed[offset] ^= 1
        path.write_bytes(changed)

        reading = read_journal(path)

        assert len(reading.damage) == 1, offset
        assert reading.damage[0].startswith(f"{path}:2: expected a line that begins with its checksum"), offset
        assert reading.entries == (ENTRIES[0], ENTRIES[2])


def test_an_entry_is_on_the_disk_before_it_is_confirmed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda fd, data: calls.append("write") or write(fd, data))
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("fsync") or fsync(fd))
    journal = Journal(path)
    calls.clear()

    journal.append({"n": 4})

    assert calls == ["write", "fsync"]
    journal.close()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_named_and_leaves_no_part_of_an_entry(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    journal, before, real_write = Journal(path), path.read_bytes(), os.write

    def full(descriptor: int, data: bytes = b"") -> int:
        if call == "write":
            real_write(descriptor, bytes(data[:5]))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match=rf"No space left on device \(appending to it\): '{path}'"):
            journal.append({"n": 4})

    assert path.read_bytes() == before
    journal.append({"n": 4})
    assert read_journal(path).entries == (*ENTRIES, {"n": 4})
    journal.close()


def test_only_the_owner_reads_it_since_a_tracking_uri_may_hold_a_password(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
