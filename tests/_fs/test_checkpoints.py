import contextlib
import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from graphids._fs import (
    IntegrityError,
    adopt,
    atomic_link,
    atomic_load,
    atomic_save,
    checkpoints,
    digest_bytes,
    digest_file,
    remove,
    settle,
    sidecar_path,
)
from graphids._fs.files import OpenedFile
from graphids._fs.publish import publish_bytes
from graphids._fs.sidecar import Sidecar, read_sidecar
from graphids._fs.tensors import MappableMemory
from graphids.commands.cli import main
from support.damage import flip_bit

OLD, NEW = {"epoch": 1, "w": torch.zeros(3)}, {"epoch": 2, "w": torch.ones(3)}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "epoch=1.ckpt"
    atomic_save(OLD, path)
    return path


def sha256sum_check(path: Path) -> subprocess.CompletedProcess[str]:
    command = ["sha256sum", "--strict", "-c", sidecar_path(path).name]
    return subprocess.run(
        command, cwd=path.parent, capture_output=True, text=True, errors="surrogateescape", check=False
    )


def test_digest_of_the_empty_string_and_of_abc_are_those_of_fips_180(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")

    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_saved_checkpoint_loads_as_it_was(checkpoint: Path) -> None:
    loaded = atomic_load(checkpoint)

    assert loaded["epoch"] == 1
    assert torch.equal(loaded["w"], OLD["w"])


def test_saving_returns_the_digest_of_the_file(tmp_path: Path) -> None:
    assert (
        atomic_save(b"raw bytes", tmp_path / "x.bin") == digest_file(tmp_path / "x.bin") == digest_bytes(b"raw bytes")
    )


def test_saving_twice_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    assert atomic_save(OLD, tmp_path / "a.ckpt") == atomic_save(OLD, tmp_path / "b.ckpt")


def test_sha256sum_accepts_the_sidecar(checkpoint: Path) -> None:
    assert sha256sum_check(checkpoint).returncode == 0

    atomic_save(NEW, checkpoint)

    assert sha256sum_check(checkpoint).stdout == f"{checkpoint.name}: OK\n"


def test_a_flipped_bit_is_refused_with_path_expected_and_found(checkpoint: Path) -> None:
    expected = digest_file(checkpoint)
    flip_bit(checkpoint, offset=checkpoint.stat().st_size // 2)

    with pytest.raises(
        IntegrityError, match=f"{checkpoint.name}: expected sha256 {expected}.*found {digest_file(checkpoint)}"
    ):
        atomic_load(checkpoint)


def test_a_truncated_checkpoint_is_refused(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])

    with pytest.raises(IntegrityError, match="truncated or changed"):
        atomic_load(checkpoint)


def test_a_missing_sidecar_is_an_error(checkpoint: Path) -> None:
    sidecar_path(checkpoint).unlink()

    with pytest.raises(IntegrityError, match=rf"expected its digest in {checkpoint.name}\.sha256, found no such file"):
        atomic_load(checkpoint)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "an empty file"),
        ("abc\n", "'abc"),
        ("{digest}\n", "'[0-9a-f]{64}"),
        ("{digest}  other.ckpt\n", "the digest of another file, 'other.ckpt'"),
        ("{digest} *{name}\n", r"'[0-9a-f]{64} \*epoch"),
        ("{digest}  {name}\n# x\n", "'[0-9a-f]{64}"),
        ("{digest}  {name}\n{digest}  {name}\n", "'[0-9a-f]{64}"),
        ("{digest}  {name}\n# {digest}\n# {digest}\n", "'[0-9a-f]{64}"),
        ("{digest}  {name}\r\n", "Windows line ends"),
        ("\xef\xbb\xbf{digest}  {name}\n", "a byte order mark"),
        ("{upper}  {name}\n", "upper case digits"),
        ("{digest:.32}  {name}\n", "32 hex digits, a digest of md5"),
        ("{digest:.40}  {name}\n", "40 hex digits, a digest of sha1"),
        ("{digest}{digest}  {name}\n", "128 hex digits, a digest of sha512"),
        ("\xff", "'"),
    ],
)
def test_a_malformed_sidecar_is_an_error_that_says_what_is_wrong(checkpoint: Path, text: str, found: str) -> None:
    digest = digest_file(checkpoint)
    content = text.format(digest=digest, upper=digest.upper(), name=checkpoint.name)
    sidecar_path(checkpoint).write_bytes(content.encode("latin-1"))

    with pytest.raises(
        IntegrityError, match=rf"sha256: expected '<64 hex digits>  epoch=1\.ckpt', found b?{found}.*Restore"
    ):
        atomic_load(checkpoint)


def test_an_oversized_sidecar_is_refused_unread(checkpoint: Path) -> None:
    os.truncate(sidecar_path(checkpoint), 1 << 40)

    with pytest.raises(IntegrityError, match=r"epoch=1\.ckpt\.sha256: expected at most 65536 bytes"):
        atomic_load(checkpoint)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_sidecar_that_is_no_regular_file_is_refused(checkpoint: Path, make: Callable[[Path], None]) -> None:
    sidecar_path(checkpoint).unlink()
    make(sidecar_path(checkpoint))

    with pytest.raises(IntegrityError, match=r"epoch=1\.ckpt\.sha256: expected a regular file, found a"):
        atomic_load(checkpoint)


def test_a_symbolic_link_to_a_checkpoint_is_refused(checkpoint: Path) -> None:
    (checkpoint.parent / "link.ckpt").symlink_to(checkpoint.name)

    with pytest.raises(IntegrityError, match=r"link\.ckpt: expected a regular file, found a symbolic link.*name"):
        atomic_load(checkpoint.parent / "link.ckpt")


def test_a_missing_checkpoint_is_not_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_load(tmp_path / "none.ckpt")


def test_a_checkpoint_that_holds_an_object_is_not_unpickled(tmp_path: Path) -> None:
    atomic_save({"path": tmp_path}, tmp_path / "x.ckpt")

    with pytest.raises(ValueError, match=r"x\.ckpt: its bytes are those that were saved, but.*weights_only=True"):
        atomic_load(tmp_path / "x.ckpt")


def test_removing_takes_the_sidecar_along_and_is_harmless_twice(checkpoint: Path) -> None:
    remove(checkpoint)
    remove(checkpoint)

    assert list(checkpoint.parent.iterdir()) == []


def test_removing_what_lies_in_no_folder_is_no_error(tmp_path: Path) -> None:
    remove(tmp_path / "nowhere" / "x.ckpt")


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_saves_that_end_while_a_reader_reads_are_no_mismatch(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    """Between the checkpoint and its sidecar, whole saves pass: also one that brings the same sidecar back."""
    readv, states = os.readv, [NEW, OLD, NEW]

    def read_then_save(descriptor: int, buffers: list[memoryview]) -> int:
        count = readv(descriptor, buffers)
        if len(buffers[0]) > 200:  # not a sidecar
            monkeypatch.setattr(os, "readv", readv)
            for state in states[:saves]:
                atomic_save(state, checkpoint)
        return count

    sidecar = sidecar_path(checkpoint).read_bytes()
    sidecar_path(checkpoint).write_bytes(sidecar.replace(sidecar[:64], b"0" * 64))
    monkeypatch.setattr(os, "readv", read_then_save)

    assert atomic_load(checkpoint)["epoch"] == states[saves - 1]["epoch"]


def test_a_checkpoint_removed_while_it_is_read_is_missing_and_not_damaged(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = itertools.count()

    def look_then_remove(path: Path) -> Sidecar:
        found = read_sidecar(path)
        if next(looks) == 1:  # after the first look, the checkpoint was opened
            remove(checkpoint)
        return found

    sidecar_path(checkpoint).unlink()
    monkeypatch.setattr(checkpoints, "read_sidecar", look_then_remove)

    with pytest.raises(FileNotFoundError):
        atomic_load(checkpoint)


def test_tensors_of_a_large_checkpoint_are_as_saved_private_and_can_be_changed(tmp_path: Path) -> None:
    saved = {"w": torch.arange(1 << 20, dtype=torch.float32), "step": torch.tensor(7)}
    path = tmp_path / "large.ckpt"
    atomic_save(saved, path)
    loaded = atomic_load(path)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))

    assert torch.equal(loaded["w"], saved["w"])
    loaded["w"].add_(1)
    assert torch.equal(loaded["w"], saved["w"] + 1)
    assert loaded["step"] == 7


def test_a_checkpoint_that_shrank_between_two_attempts_is_not_parsed_from_what_the_first_one_read() -> None:
    with contextlib.ExitStack() as stack:
        memory = MappableMemory(stack)
        memory.allocate(5 << 20)
        for size in (100, 3 << 19):
            assert memory.sealed_path(memory.allocate(size)) is None
        path = memory.sealed_path(memory.allocate(3 << 20))

        assert path is not None
        assert os.stat(path).st_size == 3 << 20
        with pytest.raises(PermissionError), open(path, "r+b") as file:
            file.write(b"x")


def test_without_anonymous_files_a_large_checkpoint_loads_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    atomic_save({"w": torch.ones(1 << 20)}, tmp_path / "large.ckpt")

    assert atomic_load(tmp_path / "large.ckpt")["w"].sum() == 1 << 20


def test_nothing_is_parsed_before_all_of_it_is_verified(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("parsed before it was verified"))
    flip_bit(checkpoint, offset=checkpoint.stat().st_size - 1)

    with pytest.raises(IntegrityError):
        atomic_load(checkpoint)


def test_a_name_with_a_line_break_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without line breaks"):
        atomic_save(b"x", tmp_path / "a\nb.ckpt")

    assert os.listdir(tmp_path) == []


def test_names_that_are_not_utf8_and_odd_ones_are_saved_and_accepted_by_sha256sum(tmp_path: Path) -> None:
    for name in (os.fsdecode(b"caf\xe9.ckpt"), "epoch=1 (best)*.ckpt", "a\u2028b.ckpt"):
        atomic_save(OLD, tmp_path / name)

        assert atomic_load(tmp_path / name)["epoch"] == 1
        assert sha256sum_check(tmp_path / name).returncode == 0


def test_a_link_is_a_second_name_that_keeps_its_bytes_when_the_first_is_saved_anew_or_removed(checkpoint: Path) -> None:
    last = checkpoint.parent / "last.ckpt"
    assert atomic_link(checkpoint, last) == digest_file(checkpoint)
    assert last.samefile(checkpoint)

    atomic_save(NEW, checkpoint)
    assert atomic_load(last)["epoch"] == 1

    remove(checkpoint)
    assert atomic_load(last)["epoch"] == 1
    assert sha256sum_check(last).returncode == 0


def test_a_damaged_checkpoint_is_not_linked(checkpoint: Path) -> None:
    flip_bit(checkpoint, offset=100)

    with pytest.raises(IntegrityError, match=r"epoch=1\.ckpt: expected sha256"):
        atomic_link(checkpoint, checkpoint.parent / "last.ckpt")
    assert not (checkpoint.parent / "last.ckpt").exists()


def test_where_the_filesystem_has_no_hard_links_bytes_are_copied(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", no_links)
    atomic_link(checkpoint, checkpoint.parent / "last.ckpt")

    assert atomic_load(checkpoint.parent / "last.ckpt")["epoch"] == 1
    assert not (checkpoint.parent / "last.ckpt").samefile(checkpoint)


def test_settling_says_what_it_did_and_leaves_alone_what_is_not_ours(checkpoint: Path) -> None:
    folder = checkpoint.parent
    damaged = folder / "damaged.ckpt"
    atomic_save(OLD, damaged)
    flip_bit(damaged, offset=100)
    (folder / "orphan.ckpt.sha256").write_text(f"{'0' * 64}  orphan.ckpt\n")
    (folder / ".graphids-0123456789abcdef.tmp").write_bytes(b"half")
    sidecar_path(checkpoint).write_text(f"{'0' * 64}  {checkpoint.name}\n# {digest_file(checkpoint)}\n")
    not_ours = {"notes.tmp", ".graphids-0.tmp", "moved.zip.sha256", "plain.ckpt"}
    for name in not_ours:
        (folder / name).write_text("mine")
    (folder / ".graphids-aaaaaaaaaaaaaaaa.tmp").mkdir()

    assert settle(folder) == [
        "removed .graphids-0123456789abcdef.tmp, left by a save that did not end",
        f"closed {checkpoint.name}.sha256, left open by a save that did not end",
        "removed orphan.ckpt.sha256, whose checkpoint is gone",
    ]

    kept = {checkpoint.name, f"{checkpoint.name}.sha256", "damaged.ckpt", "damaged.ckpt.sha256"}
    assert set(os.listdir(folder)) == kept | not_ours | {".graphids-aaaaaaaaaaaaaaaa.tmp"}
    assert sha256sum_check(checkpoint).returncode == 0
    assert settle(folder) == []
    with pytest.raises(IntegrityError):
        atomic_load(damaged)


def test_settling_a_folder_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    assert settle(tmp_path / "nowhere") == []


def test_settle_leaves_a_save_alone_that_another_process_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs with one folder: else the sidecar of a first save is gone before its checkpoint comes."""
    settled = []

    def settle_then_publish(path: Path, data: bytes) -> None:
        settled.append(settle(tmp_path))
        publish_bytes(path, data)

    monkeypatch.setattr(checkpoints, "publish_bytes", settle_then_publish)
    for state in (OLD, NEW):
        atomic_save(state, tmp_path / "last.ckpt")
        assert atomic_load(tmp_path / "last.ckpt")["epoch"] == state["epoch"]

    assert settled == [[]] * 5


def test_settle_touches_nothing_outside_its_folder(tmp_path: Path) -> None:
    folder, beside = tmp_path / "run", tmp_path / "run.sha256"
    folder.mkdir()
    (folder / ".sha256").touch()
    beside.write_text(f"# {'0' * 64}\n")

    assert settle(folder) == []
    assert beside.exists()


def test_an_adopted_checkpoint_loads_and_a_warning_says_what_that_proves(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sidecar_path(checkpoint).unlink()
    with pytest.raises(IntegrityError, match=f"`graphids adopt {checkpoint}` writes one"):
        atomic_load(checkpoint)

    assert adopt(checkpoint) == digest_file(checkpoint)

    assert atomic_load(checkpoint)["epoch"] == 1
    assert sha256sum_check(checkpoint).returncode == 0
    assert "NOTHING PROVES that these are the bytes that were written" in caplog.text


def test_a_checkpoint_with_a_sidecar_is_not_adopted_whatever_the_sidecar_says(checkpoint: Path) -> None:
    flip_bit(checkpoint, offset=100)
    before = sidecar_path(checkpoint).read_bytes()

    with pytest.raises(FileExistsError, match=r"has a sidecar already.*restore both files"):
        adopt(checkpoint)
    assert sidecar_path(checkpoint).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 no zip"])
def test_what_does_not_load_is_not_adopted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)

    with pytest.raises(IntegrityError, match=r"x\.ckpt: .*do not load with weights_only=True.*not adopted") as refusal:
        adopt(tmp_path / "x.ckpt")
    assert "set to `False`" not in str(refusal.value)  # torch's advice, which would run code from the file
    assert os.listdir(tmp_path) == ["x.ckpt"]


def test_a_link_is_not_adopted(checkpoint: Path) -> None:
    (checkpoint.parent / "link.ckpt").symlink_to(checkpoint.name)

    with pytest.raises(IntegrityError, match="found a symbolic link"):
        adopt(checkpoint.parent / "link.ckpt")


def test_the_command_adopts_once_and_answers_in_a_line(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sidecar_path(checkpoint).unlink()

    main(["adopt", str(checkpoint)])
    assert digest_file(checkpoint) in capsys.readouterr().out

    with pytest.raises(SystemExit, match="2"):
        main(["adopt", str(checkpoint)])
    assert "has a sidecar already" in capsys.readouterr().err


def test_importing_needs_no_torch() -> None:
    code = "import sys, graphids._fs; assert not {'torch', 'lightning', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("sidecar", [None, b"", b"no digest"])
def test_a_file_that_no_sidecar_could_accept_is_refused_without_being_read(
    sidecar: bytes | None, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have any size: 64 GiB of it took all memory."""
    sidecar_path(checkpoint).unlink()
    if sidecar is not None:
        sidecar_path(checkpoint).write_bytes(sidecar)
    read = OpenedFile.read

    def small(file: OpenedFile, *arguments: Any) -> Any:
        assert file.path != checkpoint, "read"
        return read(file, *arguments)

    monkeypatch.setattr(OpenedFile, "read", small)

    with pytest.raises(IntegrityError, match=r"epoch=1\.ckpt"):
        atomic_load(checkpoint)
