"""Power loss: what a disk may hold if the machine stops after any call of a save, read back state by state.

A recorded save is replayed on a model of a disk that promises no more than POSIX does:
- bytes of a file are there once `fsync` of it has returned; before that the file may be as it was at its last
  `fsync`, empty, cut, zeros of the right length, or whole;
- names (made, renamed, removed) are there once `fsync` of their directory has returned; before that each of these
  changes may or may not be, in any combination, but a rename happens as a whole or not at all.
Every state that differs from the others is written to a folder and read there. A hit is a state in which something
was dropped.
"""

import itertools
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.crew import Shard
from faults.scenes import Scene, fresh, judge_folder, scenes
from faults.table import Tally
from faults.trace import Call, interposed

_MAX_SUBSETS = 64  # of unsynced changes of names after one call; more are sampled


@dataclass(slots=True)
class Inode:
    """A file: its bytes as the last `fsync` left them, and as they are now. A symbolic link: its target."""

    durable: bytes = b""
    current: bytes = b""
    link: str | None = None
    synced: bool = False

    def possible(self) -> dict[bytes, str]:
        """What the disk may hold of it."""
        if self.link is not None or self.synced:
            return {self.current: "whole"}
        cut, zeros = self.current[: len(self.current) // 2], bytes(len(self.current))
        return {self.durable: "as at its last fsync", b"": "empty", cut: "cut", zeros: "zeros", self.current: "whole"}


Names = dict[str, Inode | None]  # by path relative to the folder; None: no longer there


@dataclass(slots=True)
class Disk:
    """Names that are durable, and changes to them that are not, oldest first."""

    durable: dict[str, Inode] = field(default_factory=dict)
    pending: list[Names] = field(default_factory=list)

    def now(self) -> dict[str, Inode]:
        """Names as a running system sees them."""
        return self.after(self.pending)

    def after(self, changes: list[Names]) -> dict[str, Inode]:
        """Names if of all unsynced changes only these have reached the disk."""
        names: Names = dict(self.durable)
        for change in changes:
            names |= change
        return {name: inode for name, inode in names.items() if inode is not None}

    def sync_names(self, folder: str) -> None:
        """`fsync` of a directory."""
        mine = [change for change in self.pending if all(Path(name).parent == Path(folder) for name in change)]
        self.durable = self.after(mine)
        self.pending = [change for change in self.pending if not any(change is done for done in mine)]


def power_loss(shard: Shard) -> Tally:
    """All states of one scene, or `cases` of them where there are more."""
    tally, chance = Tally(), shard.random()
    played = scenes(shard.subjects, shard.folder)
    scene = played[shard.number % len(played)]
    states = _states(scene, fresh(shard.folder / "played"), chance)
    for content, returned, dropped in states if len(states) <= shard.cases else chance.sample(states, shard.cases):
        folder = fresh(shard.folder / "disk")
        _materialise(content, folder)
        wrong, why = judge_folder(folder, shard.subjects, {scene.after} if returned else scene.during | {scene.after})
        tally.add(hit=bool(dropped), wrong=wrong, example=f"{scene.name}: {dropped or 'nothing'} dropped: {why}")
    return tally


State = tuple[dict[str, bytes | str], bool, str]  # files and links by name; whether the save had returned; what is lost


def _states(scene: Scene, folder: Path, chance: random.Random) -> list[State]:
    """Every state that the disk may be in during and after a scene, each once."""
    scene.prepare(folder)
    disk = Disk()
    for path in folder.iterdir():
        data = path.read_bytes()
        disk.durable[path.name] = Inode(data, data, synced=True)
    found: dict[Any, State] = {}

    def keep(returned: bool, where: str) -> None:
        for content, dropped in _crashes(disk, chance):
            key = (returned, frozenset((name, hash(data)) for name, data in content.items()))
            found.setdefault(key, (content, returned, f"{dropped} {where}" if dropped else ""))

    def replay(call: Call, proceed: Callable[..., Any]) -> Any:
        result = proceed()
        if not call.reads:
            _apply(disk, call, result, folder)
            keep(False, f"after {call}")
        return result

    keep(False, "before it")
    with interposed(folder, replay):
        scene.act(folder)
    keep(True, "after it returned")
    return list(found.values())


def _apply(disk: Disk, call: Call, result: Any, folder: Path) -> None:
    """Follow one call on the model.

    Raises:
        NotImplementedError: For a call that the model does not know; it would silently be held for durable.
    """
    names = [os.path.relpath(path, folder) for path in call.paths]
    now = disk.now()
    match call.name:
        case "open":
            if names[0] not in now:
                disk.pending.append({names[0]: Inode()})
            elif call.flags & os.O_TRUNC:
                _rewrite(now[names[0]], b"")
        case "write":
            inode, written = now[names[0]], bytes(call.arguments[1][:result])
            _rewrite(inode, inode.current + written)  # a save appends; it does not seek
        case "fsync" | "fdatasync":
            if names[0] in now:
                inode = now[names[0]]
                inode.durable, inode.synced = inode.current, True
            else:
                disk.sync_names(names[0])
        case "replace" | "rename":
            disk.pending.append({names[0]: None, names[1]: now[names[0]]})
        case "unlink" | "remove":
            disk.pending.append({names[0]: None})
        case "link":
            disk.pending.append({names[1]: now[names[0]]})
        case "symlink":
            disk.pending.append({names[0]: Inode(link=os.fsdecode(call.arguments[0]))})
        case "close":
            pass
        case _:
            raise NotImplementedError(f"{call}: the model of the disk does not know what this call makes durable.")


def _rewrite(inode: Inode, data: bytes) -> None:
    inode.current, inode.synced = data, False


def _crashes(disk: Disk, chance: random.Random) -> Iterator[tuple[dict[str, bytes | str], str]]:
    """What may be on the disk if the power fails now, and what was dropped."""
    for chosen in _subsets(disk.pending, chance):
        names = disk.after(chosen)
        possible = [[(name, data, how) for data, how in inode.possible().items()] for name, inode in names.items()]
        missing = len(disk.pending) - len(chosen)
        for combination in itertools.product(*possible):
            content = {name: names[name].link or data for name, data, _ in combination}
            dropped = [f"{name} is {how}" for name, _, how in combination if how != "whole"]
            yield content, ", ".join([*dropped, *([f"{missing} changes of names"] if missing else [])])


def _subsets(changes: list[Names], chance: random.Random) -> Iterator[list[Names]]:
    if 1 << len(changes) <= _MAX_SUBSETS:
        for flags in itertools.product((False, True), repeat=len(changes)):
            yield list(itertools.compress(changes, flags))
        return
    for length in range(len(changes) + 1):  # in order, as a journal would
        yield changes[:length]
    for _ in range(_MAX_SUBSETS):
        yield [change for change in changes if chance.random() < 0.5]


def _materialise(content: Mapping[str, bytes | str], folder: Path) -> None:
    for name, data in content.items():
        if isinstance(data, str):
            (folder / name).symlink_to(data)
        else:
            (folder / name).write_bytes(data)
