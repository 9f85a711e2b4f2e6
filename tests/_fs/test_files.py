import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from graphids._fs.files import IntegrityError, digest_bytes, read_digested

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, MIB + 1, 4 * MIB, 4 * MIB + 1, 5 * MIB + 17])
def test_bytes_and_digest_are_those_of_the_file_whatever_its_size(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(data := os.urandom(size))

    read, digest = read_digested(tmp_path / "x")

    assert bytes(read) == data
    assert digest == digest_bytes(data)


@pytest.mark.parametrize("size", [100, 5 * MIB])
def test_what_was_read_does_not_change_when_the_file_does(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(bytes(size))
    read, _ = read_digested(tmp_path / "x")

    with (tmp_path / "x").open("r+b") as file:
        file.write(b"\xff" * size)

    assert bytes(read) == bytes(size)


@pytest.mark.parametrize("size", [100, 5 * MIB])
def test_what_was_read_is_out_of_reach_of_a_forked_child(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(bytes(size))
    read, _ = read_digested(tmp_path / "x")

    child = os.fork()
    if child == 0:
        read[0] = 1
        os._exit(0)
    os.waitpid(child, 0)

    assert read[0] == 0


def test_the_hash_follows_the_reader_closely_enough_to_find_the_bytes_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(data := os.urandom(8 * MIB))
    sha256, readv, ahead, most = hashlib.sha256, os.readv, [0], [0]

    class SlowHash:
        def __init__(self) -> None:
            self._hash = sha256()
            self.hexdigest = self._hash.hexdigest

        def update(self, chunk: memoryview) -> None:
            time.sleep(0.002)
            self._hash.update(chunk)
            ahead[0] -= len(chunk)

    def count(descriptor: int, buffers: list[memoryview]) -> int:
        read = readv(descriptor, buffers)
        ahead[0] += read
        most[0] = max(most[0], ahead[0])
        return read

    monkeypatch.setattr(hashlib, "sha256", SlowHash)
    monkeypatch.setattr(os, "readv", count)
    _, digest = read_digested(tmp_path / "x")

    assert digest == sha256(data).hexdigest()
    assert most[0] <= MIB


def test_a_read_that_returns_less_than_asked_for_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(data := os.urandom(5000))
    readv = os.readv
    monkeypatch.setattr(os, "readv", lambda descriptor, buffers: readv(descriptor, [buffers[0][:777]]))

    assert bytes(read_digested(tmp_path / "x")[0]) == data


@pytest.mark.parametrize("size", [2000, 5 * MIB])
def test_a_file_that_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (tmp_path / "x").write_bytes(bytes(size))
    readv = os.readv

    def shrink_then_read(descriptor: int, buffers: list[memoryview]) -> int:
        os.truncate(tmp_path / "x", 1000)
        return readv(descriptor, buffers)

    monkeypatch.setattr(os, "readv", shrink_then_read)

    with pytest.raises(IntegrityError, match=rf"x: expected {size} bytes, found fewer.*while it was read"):
        read_digested(tmp_path / "x")


@pytest.mark.parametrize("expected", [999, 1001])
def test_another_size_than_expected_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: int
) -> None:
    (tmp_path / "x").write_bytes(bytes(1000))
    monkeypatch.delattr(os, "readv")

    with pytest.raises(IntegrityError, match=rf"x: expected {expected} bytes, found 1000"):
        read_digested(tmp_path / "x", expected_bytes=expected)


def test_a_sparse_file_of_a_terabyte_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    os.truncate(tmp_path / "x", 1 << 40)

    with pytest.raises(
        IntegrityError, match=r"expected at most 10 bytes, found 1099511627776\. Nothing of it was read"
    ):
        read_digested(tmp_path / "x", max_bytes=10)


@pytest.mark.parametrize("kind", ["a symbolic link", "a FIFO", "a folder", "a socket", "a device"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    path = Path("/dev/zero" if kind == "a device" else "x")
    if kind == "a symbolic link":
        (tmp_path / "target").write_bytes(b"bytes")
        path.symlink_to("target")
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a socket":
        socket.socket(socket.AF_UNIX).bind("x")

    with pytest.raises(IntegrityError, match=f"{path}: expected a regular file, found {kind}"):
        read_digested(path)


def test_a_missing_file_is_not_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_digested(tmp_path / "nowhere")


def test_reading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))

    read_digested(tmp_path / "x")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises((IntegrityError, FileNotFoundError)):
            read_digested(path)

    assert len(os.listdir("/proc/self/fd")) == before
