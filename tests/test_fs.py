import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from graphids._fs import (
    IntegrityError,
    atomic_load,
    atomic_save,
    digest_bytes,
    digest_file,
    publish_bytes,
    remove,
    sidecar_path,
)

OLD, NEW = {"epoch": 1, "w": torch.zeros(3)}, {"epoch": 2, "w": torch.ones(3)}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "epoch=1.ckpt"
    atomic_save(OLD, path)
    return path


def flip_bit(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def sha256sum_check(path: Path) -> subprocess.CompletedProcess[str]:
    command = ["sha256sum", "--strict", "-c", sidecar_path(path).name]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)


def save_and_be_killed(obj: object, path: Path, *, rename: int, after: bool) -> None:
    """Save, and be killed just before or just after the n-th rename."""
    replace, calls = os.replace, []

    def killed(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) != rename:
            return replace(source, target)
        if after:
            replace(source, target)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            atomic_save(obj, path)


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
    "text",
    [
        "",
        "abc\n",
        "{digest}\n",
        "{digest}  other.ckpt\n",
        "# {digest}\n",
        "{digest}  {name}\n# x\n",
        "{digest}  {name}\n" * 3,
        "\xff",
    ],
)
def test_a_malformed_sidecar_is_an_error(checkpoint: Path, text: str) -> None:
    content = text.format(digest=digest_file(checkpoint), name=checkpoint.name)
    sidecar_path(checkpoint).write_bytes(content.encode("latin-1"))

    with pytest.raises(IntegrityError, match=r"expected '<64 hex digits>  epoch=1\.ckpt', found"):
        atomic_load(checkpoint)


def test_a_missing_checkpoint_is_not_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_load(tmp_path / "none.ckpt")


def test_a_checkpoint_that_holds_an_object_is_not_unpickled(tmp_path: Path) -> None:
    atomic_save({"path": tmp_path}, tmp_path / "x.ckpt")

    with pytest.raises(Exception, match=r"(?i)weights.only"):
        atomic_load(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("rename", "after", "epoch"),
    [(1, False, 1), (1, True, 1), (2, False, 1), (2, True, 2), (3, False, 2), (3, True, 2)],
)
def test_a_save_killed_at_any_rename_leaves_the_whole_old_or_new_checkpoint(
    checkpoint: Path, rename: int, after: bool, epoch: int
) -> None:
    save_and_be_killed(NEW, checkpoint, rename=rename, after=after)

    assert atomic_load(checkpoint)["epoch"] == epoch
    assert not list(checkpoint.parent.glob(".*.tmp"))


@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("second", [1, 2, 3])
def test_a_save_killed_after_a_killed_save_still_leaves_a_whole_checkpoint(
    checkpoint: Path, first: int, second: int
) -> None:
    for epoch, rename in ((2, first), (3, second)):
        save_and_be_killed({"epoch": epoch}, checkpoint, rename=rename, after=True)

        assert atomic_load(checkpoint)["epoch"] in (1, 2, 3)

    atomic_save({"epoch": 4}, checkpoint)

    assert atomic_load(checkpoint)["epoch"] == 4
    assert sha256sum_check(checkpoint).returncode == 0


def test_a_first_save_that_is_killed_leaves_no_checkpoint(tmp_path: Path) -> None:
    save_and_be_killed(NEW, tmp_path / "x.ckpt", rename=2, after=False)

    with pytest.raises(FileNotFoundError):
        atomic_load(tmp_path / "x.ckpt")


def test_a_reader_between_whom_and_the_sidecar_a_save_ends_sees_no_mismatch(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes = Path.read_bytes

    def read_then_save(path: Path) -> bytes:
        data = read_bytes(path)
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        atomic_save(NEW, checkpoint)
        return data

    monkeypatch.setattr(Path, "read_bytes", read_then_save)

    assert atomic_load(checkpoint)["epoch"] == 2


def test_a_corrupted_checkpoint_stays_refused_while_its_replacement_is_being_saved(checkpoint: Path) -> None:
    flip_bit(checkpoint, offset=100)
    save_and_be_killed(NEW, checkpoint, rename=1, after=True)

    with pytest.raises(IntegrityError):
        atomic_load(checkpoint)


def test_a_published_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        publish_bytes(tmp_path / "x", b"x")
    finally:
        os.umask(before)

    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_removing_takes_the_sidecar_along_and_is_harmless_twice(checkpoint: Path) -> None:
    remove(checkpoint)
    remove(checkpoint)

    assert list(checkpoint.parent.iterdir()) == []


def test_importing_needs_no_torch() -> None:
    code = "import sys, graphids._fs; assert not {'torch', 'lightning', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
