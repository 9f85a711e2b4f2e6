"""Locks that end with the processes that hold them."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from graphids._fs import locks
from graphids._fs.locks import folder_held, try_lock
from support.resumed_run import ALWAYS, Interruption, TinyRuns


def test_a_locked_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "lock")
    assert held is not None

    assert try_lock(tmp_path / "lock") is None
    os.close(held)
    again = try_lock(tmp_path / "lock")

    assert again is not None
    os.close(again)


@contextmanager
def started_program() -> Iterator[None]:
    """A program that runs meanwhile, with the descriptors that this process lets it inherit."""
    words = [sys.executable, "-c", "input('begun')"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as program:
        assert program.stdout is not None
        program.stdout.read(5)  # only then it has closed what it does not inherit
        yield
        program.communicate(b"\n")


@pytest.mark.parametrize("inherit", [True, False])
def test_a_program_holds_the_lock_with_its_parent_where_it_inherits_it(tmp_path: Path, inherit: bool) -> None:
    held = try_lock(tmp_path / "lock", inherit=inherit)
    assert held is not None

    with started_program():
        os.close(held)
        meanwhile = try_lock(tmp_path / "lock")
        assert (meanwhile is None) == inherit

    afterwards = try_lock(tmp_path / "lock") if inherit else meanwhile
    assert afterwards is not None
    os.close(afterwards)


def test_a_file_that_cannot_be_opened_is_an_error_and_not_a_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere/lock"):
        try_lock(tmp_path / "nowhere" / "lock")


def test_a_folder_is_held_by_one_alone_or_by_several_together(tmp_path: Path) -> None:
    with folder_held(tmp_path, alone=False), folder_held(tmp_path, alone=False) as second:
        assert second
        with folder_held(tmp_path, alone=True) as alone:
            assert not alone

    with folder_held(tmp_path, alone=True) as alone:
        assert alone


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_filesystem_without_locks_lets_everyone_through_and_says_so_once(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "_warned", set())
    monkeypatch.setattr(fcntl, "flock", failing(number))

    descriptors = [try_lock(tmp_path / name) for name in ("lock", "lock", "other")]

    assert capsys.readouterr().err.count(f"graphids: {tmp_path}: its filesystem has no locks") == 1
    for descriptor in descriptors:
        assert descriptor is not None
        os.close(descriptor)


def test_a_disk_that_fails_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))

    with pytest.raises(OSError, match=f"{tmp_path / 'lock'}"):
        try_lock(tmp_path / "lock")


def test_a_training_in_a_folder_without_locks_is_finished(tmp_path: Path) -> None:
    runs = TinyRuns(tmp_path, max_epochs=1)

    run_id, code = runs.train(Interruption(fcntl, "flock", ALWAYS, failing(errno.ENOLCK)))

    assert code == 0, runs.log()
    assert runs.log().count("its filesystem has no locks") == 1
    assert runs.ask(lambda client: client.get_run(run_id).info.status) == "FINISHED"


def failing(number: int) -> Callable[..., None]:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return flock
