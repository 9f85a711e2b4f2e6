"""Names in a folder, made and replaced so that a crash at any point leaves the whole old or the whole new."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphids._fs import publish
from graphids._fs.publish import make_folder, publish_bytes, publish_link


def test_a_filesystem_that_takes_no_bytes_is_an_error_and_not_an_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda *_: 0)

    with pytest.raises(OSError, match=r"the filesystem took no bytes \(saving it\)"):
        publish_bytes(tmp_path / "x", b"0123456789")


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
        "import resource, signal, sys; from graphids._fs.publish import publish_bytes\n"
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
    monkeypatch.setattr(publish, "sync_folder", lambda folder: synced.append(Path(folder)))

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
