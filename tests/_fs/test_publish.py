"""Names in a folder, made and replaced so that a crash at any point leaves the whole old or the whole new."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graphids._fs import publish
from graphids._fs.publish import make_folder, publish_bytes, publish_link, publish_new


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


def write_new(path: Path, meanwhile: Callable[[], object]) -> None:
    with publish_new(path) as stream:
        stream.write(b"01234")
        meanwhile()
        stream.write(memoryview(b"56789"))


def test_a_new_file_appears_whole_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "x"

    write_new(path, lambda: pytest.fail("appeared") if path.exists() else None)

    assert path.read_bytes() == b"0123456789"
    assert os.listdir(tmp_path) == ["x"]


def test_a_new_file_whose_block_fails_never_appears(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        write_new(tmp_path / "x", fail)

    assert os.listdir(tmp_path) == []


def test_a_new_file_never_replaces_what_is_there_or_came_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="remove it or name another"):
        write_new(tmp_path / "dangling", lambda: pytest.fail("opened"))
    with pytest.raises(FileExistsError, match=rf"File exists \(saving it\).*'{tmp_path}/x'"):
        write_new(tmp_path / "x", lambda: (tmp_path / "x").write_bytes(b"meanwhile"))

    assert (tmp_path / "x").read_bytes() == b"meanwhile"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "x"]


def test_a_filesystem_without_hard_links_takes_a_new_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    write_new(tmp_path / "x", lambda: None)
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "y", lambda: (tmp_path / "y").write_bytes(b"meanwhile"))

    assert (tmp_path / "x").read_bytes() == b"0123456789"
    assert (tmp_path / "y").read_bytes() == b"meanwhile"
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


def test_a_full_disk_is_named_with_the_new_file_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=rf"No space left on device \(saving it\): '{tmp_path}/x'"):
        write_new(tmp_path / "x", lambda: monkeypatch.setattr(os, "write", full))

    assert os.listdir(tmp_path) == []


def test_a_new_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "link", lambda *names, **options: (calls.append("link"), link(*names, **options)))

    write_new(tmp_path / "x", lambda: None)

    assert calls == ["fsync", "link", "fsync"]  # the last one is the folder's
