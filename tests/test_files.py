import errno
import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphids import _files
from graphids._files import IntegrityError, digest_bytes, make_folder, publish_bytes, publish_link, read_digested

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


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))

    publish_bytes(tmp_path / "x", b"0123456789")

    assert (tmp_path / "x").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("number", "type_", "reason"),
    [
        (errno.ENOSPC, OSError, "No space left on device"),
        (errno.EDQUOT, OSError, "Disk quota exceeded"),
        (errno.EACCES, PermissionError, "Permission denied"),
        (errno.EIO, OSError, "Input/output error"),
    ],
)
def test_a_failed_write_names_path_and_reason_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, type_: type[OSError], reason: str
) -> None:
    publish_bytes(tmp_path / "x", b"old")

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)

    with pytest.raises(type_, match=rf"{reason} \(saving it\); what was there before is untouched: .*/x'") as caught:
        publish_bytes(tmp_path / "x", b"new")

    assert caught.value.errno == number
    assert caught.value.filename == str(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_full_disk_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    """A real one: the kernel's own limit on the size of files stands for it."""
    program = (
        "import resource, signal, sys; from graphids._files import publish_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "publish_bytes(sys.argv[1], bytes(2000))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True, check=False
    )

    assert f"File too large (saving it); what was there before is untouched: '{tmp_path}/x'" in answer.stderr
    assert os.listdir(tmp_path) == []


def test_a_published_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        publish_bytes(tmp_path / "x", b"x")
    finally:
        os.umask(before)

    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_a_name_as_long_as_the_filesystem_allows_can_be_published(tmp_path: Path) -> None:
    publish_bytes(tmp_path / ("x" * 255), b"x")

    assert (tmp_path / ("x" * 255)).read_bytes() == b"x"


def test_publishing_over_a_link_replaces_the_link_and_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "x").symlink_to("target")

    publish_bytes(tmp_path / "x", b"new")

    assert (tmp_path / "target").read_bytes() == b"old"
    assert not (tmp_path / "x").is_symlink()


def test_publishing_a_link_that_is_there_already_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    for _ in range(2):
        publish_link(tmp_path / "x", tmp_path / "source")

    assert sorted(os.listdir(tmp_path)) == ["source", "x"]
    assert (tmp_path / "x").samefile(tmp_path / "source")


def test_every_folder_that_is_made_is_made_durable_in_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(_files, "sync_folder", lambda folder: synced.append(Path(folder)))

    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path, tmp_path / "a"]


def test_a_folder_where_a_file_lies_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "x").touch()

    with pytest.raises(FileExistsError, match=rf"File exists \(making the folder\): '{tmp_path}/x'"):
        make_folder(tmp_path / "x")


def test_a_filesystem_that_cannot_sync_folders_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def no_folders(descriptor: int) -> None:
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", no_folders)
    publish_bytes(tmp_path / "x", b"x")

    assert (tmp_path / "x").read_bytes() == b"x"
