"""Every instant of everything that `_fs` does to a checkpoint: killed there, failed there, power lost there.

`tests/faults` does the same at random, through a Trainer and real kills; here every case is met, in memory.
"""

import errno
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from faults.trace import Call, Hook, interposed, record
from graphids._fs import IntegrityError, atomic_link, atomic_save, read_verified, remove, settle, sidecar_path

OLD, NEW, OTHER = b"the old checkpoint", b"the new checkpoint", b"another checkpoint"
NOTHING, REFUSED = b"(nothing there)", b"(refused)"
Act = Callable[[Path], object]


class Killed(BaseException):
    """The process is gone; what would clean up does not come to it either."""


def save(data: bytes) -> Act:
    return lambda folder: atomic_save(data, folder / "x.ckpt")


def delete(folder: Path) -> None:
    remove(folder / "x.ckpt")


def link(folder: Path) -> None:
    atomic_link(folder / "other.ckpt", folder / "x.ckpt")


def killed_at(index: int) -> Hook:
    def hook(call: Call, proceed: Callable[..., Any]) -> Any:
        if call.index >= index:
            raise Killed
        return proceed()

    return hook


def kill(act: Act, folder: Path, index: int) -> None:
    with pytest.raises(Killed), interposed(folder, killed_at(index)):
        act(folder)


def whole(folder: Path) -> None:
    save(OLD)(folder)


def without_sidecar(folder: Path) -> None:
    (folder / "x.ckpt").write_bytes(OLD)


def with_a_foreign_sidecar(folder: Path) -> None:
    without_sidecar(folder)
    sidecar_path(folder / "x.ckpt").write_bytes(b"%064x  y.ckpt\n" % 0)


def damaged(folder: Path) -> None:
    whole(folder)
    (folder / "x.ckpt").write_bytes(b"damaged")


def beside_another(folder: Path) -> None:
    whole(folder)
    atomic_save(OTHER, folder / "other.ckpt")


def empty(folder: Path) -> None:
    """Nothing was saved here."""


@dataclass(frozen=True)
class Story:
    """What is done to a folder, and what a reader may find until it has ended, and must find then."""

    name: str
    start: Act
    act: Act
    until: set[bytes]
    then: bytes

    def __str__(self) -> str:
        return self.name


STORIES = [
    Story("first save", empty, save(NEW), {NOTHING, NEW}, NEW),
    Story("save over", whole, save(NEW), {OLD, NEW}, NEW),
    Story("the same saved again", whole, save(OLD), {OLD}, OLD),
    Story("save over a file without sidecar", without_sidecar, save(NEW), {REFUSED, NEW}, NEW),
    Story("save over a file with a foreign sidecar", with_a_foreign_sidecar, save(NEW), {REFUSED, NEW}, NEW),
    Story("save over a damaged file", damaged, save(NEW), {REFUSED, NEW}, NEW),
    Story("save over a damaged file what it was", damaged, save(OLD), {REFUSED, OLD}, OLD),
    Story("remove", whole, delete, {OLD, NOTHING}, NOTHING),
    Story("link over another", beside_another, link, {OLD, OTHER}, OTHER),
    Story("link twice", lambda folder: (beside_another(folder), link(folder)), link, {OTHER}, OTHER),
]
SECOND = {"save": save(b"a third checkpoint"), "save the old": save(OLD), "remove": delete, "settle": settle}


def found(folder: Path) -> bytes:
    try:
        return bytes(read_verified(folder / "x.ckpt"))
    except FileNotFoundError:
        return NOTHING
    except IntegrityError:
        return REFUSED


def sidecars_are_closed(folder: Path) -> bool:
    checkpoints = sorted(path.name for path in folder.glob("*.ckpt"))
    if sorted(os.listdir(folder)) != sorted([*checkpoints, *(f"{name}.sha256" for name in checkpoints)]):
        return False
    command = ["sha256sum", "--strict", "--status", "-c", *(f"{name}.sha256" for name in checkpoints)]
    return not checkpoints or subprocess.run(command, cwd=folder, check=False).returncode == 0


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[Act], Path]:
    folder = tmp_path / "checkpoints"

    def make(start: Act) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        start(folder)
        return folder

    return make


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_killed_before_any_call_a_reader_finds_the_whole_old_or_new_and_a_new_start_tidies_up(
    fresh: Callable[[Act], Path], story: Story
) -> None:
    calls = len(record(folder := fresh(story.start), lambda: story.act(folder)))
    for index in range(calls):
        folder = fresh(story.start)
        kill(story.act, folder, index)
        before = found(folder)
        assert before in story.until, f"killed before call {index}"

        settle(folder)

        assert found(folder) == before, f"killed before call {index}, then settled"
        # A damaged file keeps its sidecar, and one that never had a valid sidecar has none: both stay refused.
        assert before == REFUSED or sidecars_are_closed(folder), f"killed before call {index}, then settled"
        save(NEW)(folder)
        assert found(folder) == NEW
        assert sidecars_are_closed(folder)


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_whichever_call_fails_the_error_names_the_path_and_the_next_save_works(
    fresh: Callable[[Act], Path], story: Story
) -> None:
    def fails(call: Call, proceed: Callable[..., Any]) -> Any:
        if call.index != index:
            return proceed()
        if call.name == "close":
            proceed()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls = len(record(folder := fresh(story.start), lambda: story.act(folder)))
    descriptors = len(os.listdir("/proc/self/fd"))
    for index in range(calls):
        folder = fresh(story.start)
        try:
            with interposed(folder, fails):
                story.act(folder)
            told = ""
        except OSError as error:
            told = str(error)
        if told:
            assert str(folder) in told, f"call {index} failed"
            assert "Input/output error" in told, f"call {index} failed"
            assert found(folder) in story.until, f"call {index} failed"
        else:
            assert found(folder) == story.then, f"call {index} failed without an error"
        save(NEW)(folder)
        assert found(folder) == NEW
        settle(folder)
        assert sidecars_are_closed(folder)
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_power_lost_at_any_instant_leaves_the_whole_old_or_new(fresh: Callable[[Act], Path], story: Story) -> None:
    folder = fresh(story.start)
    disk = Disk(folder)
    with interposed(folder, disk.follow):
        story.act(folder)

    for state in disk.states[:-1]:
        assert read_back(state, fresh) in story.until, state
    for state in disk.after_power_loss():
        assert read_back(state, fresh) == story.then, state


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("story", STORIES[:3] + STORIES[7:9], ids=str)
def test_power_lost_in_what_follows_a_kill_leaves_nothing_that_is_refused(
    fresh: Callable[[Act], Path], story: Story, second: str
) -> None:
    """What the killed process renamed or removed had not reached the disk when the next one began."""
    allowed = story.until | {b"a third checkpoint", OLD} | ({NOTHING} if second == "remove" else set())
    calls = len(record(folder := fresh(story.start), lambda: story.act(folder)))
    seen = set()
    for index in range(calls):
        folder = fresh(story.start)
        disk = Disk(folder)
        with pytest.raises(Killed), interposed(folder, partial(disk.follow, kill_at=index)):
            story.act(folder)
        with interposed(folder, disk.follow):
            SECOND[second](folder)
        for state in disk.states:
            if (key := frozenset(state.items())) not in seen:
                seen.add(key)
                assert read_back(state, fresh) in allowed, state


def read_back(state: dict[str, bytes], fresh: Callable[[Act], Path]) -> bytes:
    folder = fresh(empty)
    for name, data in state.items():
        (folder / name).write_bytes(data)
    return found(folder)


@dataclass
class Disk:
    """What of a folder survives a loss of power.

    Bytes that were synced; of the changes of names since the folder was synced any selection, in their order.

    Attributes:
        states: What each loss of power, after each call so far, would have left: bytes by name.
    """

    folder: Path
    names: dict[str, int] = field(default_factory=dict)
    durable_names: dict[str, int] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)
    durable_content: dict[int, bytes] = field(default_factory=dict)
    pending: list[dict[str, int | None]] = field(default_factory=list)
    states: list[dict[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in self.folder.iterdir():
            inode = path.stat().st_ino
            self.names[path.name], self.content[inode] = inode, path.read_bytes()
        self.durable_names, self.durable_content = dict(self.names), dict(self.content)

    def follow(self, call: Call, proceed: Callable[..., Any], kill_at: int | None = None) -> Any:
        if kill_at is not None and call.index >= kill_at:
            raise Killed
        result = proceed()
        names = [Path(path).name for path in call.paths]
        if call.name == "open" and call.flags & os.O_CREAT:
            inode = -len(self.content)  # numbers of the disk itself are used again
            self.content[inode] = self.durable_content[inode] = b""
            self._rename({names[0]: inode})
        elif call.name == "write":
            self.content[self.names[names[0]]] += bytes(call.arguments[1][:result])
        elif call.name == "fsync" and call.paths[0] == str(self.folder):
            self.durable_names, self.pending = dict(self.names), []
        elif call.name == "fsync":
            inode = self.names[names[0]]
            self.durable_content[inode] = self.content[inode]
        elif call.name == "replace" and self.names[names[0]] != self.names.get(names[1]):
            self._rename({names[0]: None, names[1]: self.names[names[0]]})
        elif call.name == "link":
            self._rename({names[1]: self.names[names[0]]})
        elif call.name == "unlink":
            self._rename({names[0]: None})
        elif not call.reads and call.name not in ("close", "replace"):
            raise NotImplementedError(f"{call}: say here what it makes of names and bytes.")
        self.states += self.after_power_loss()
        return result

    def _rename(self, change: dict[str, int | None]) -> None:
        self.pending.append(change)
        self.names = _applied(self.names, [change])

    def after_power_loss(self) -> Iterator[dict[str, bytes]]:
        for kept in itertools.product((True, False), repeat=len(self.pending)):
            names = _applied(self.durable_names, itertools.compress(self.pending, kept))
            yield {name: self.durable_content[inode] for name, inode in names.items()}


def _applied(names: dict[str, int], changes: Any) -> dict[str, int]:
    result: dict[str, int | None] = dict(names)
    for change in changes:
        result |= change
    return {name: inode for name, inode in result.items() if inode is not None}
