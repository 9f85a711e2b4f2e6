"""Files that change while they are read.

`readers`: one process saves as fast as it can, others read: every read has to return one of the saved checkpoints.
`swapper`: a process puts other bytes in a file's place as fast as it can, by rename, by overwriting it in place and by
a link that leads to another folder. A load may refuse; what it returns has to be what was asked for, and has to stay so
while the file goes on changing (a load that maps the file would change with it).
"""

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults import doors
from faults.crew import Shard, fork
from faults.damage import CHECKPOINT, write_subject
from faults.scenes import fresh, judge
from faults.subjects import Saved, restored
from faults.table import Tally, Wrong
from graphids import _fs

_RESUME_EVERY = 20  # of the loads of a checkpoint; the others go through the plugin alone, at half the cost
_MANNERS = ("rename", "overwriting", "link")


def readers(shard: Shard) -> Tally:
    """Reads against a writer for `cases` seconds. A hit is a read during which a save ended."""
    tally, subjects, path = Tally(), shard.subjects, shard.folder / CHECKPOINT
    _fs.atomic_save(subjects.old.checkpoint, path)

    def save(turn: int) -> None:
        _fs.atomic_save((subjects.new if turn % 2 else subjects.old).checkpoint, path)

    until = time.monotonic() + shard.cases
    with _beside(save) as turns:
        while time.monotonic() < until:
            before = turns()
            resumes = tally.cases % _RESUME_EVERY == 0
            answer = doors.resume(path, settling=False) if resumes else _checkpoint(path)
            wrong, why = judge(answer, path, subjects, {"old", "new"})
            if wrong == "lost":  # what is refused now may be whole a moment later
                wrong = "false_refusals"
            tally.add(hit=turns() != before, wrong=wrong, example=f"read {tally.cases}: {why}")
        tally.notes.add(f"{turns():,} saves beside the reads")
    return tally


def swaps(shard: Shard) -> Tally:
    """Loads against the swapper, in each manner. A hit is a load during which the file changed."""
    tally, third = Tally(), -(-shard.cases // len(_MANNERS))
    for manner in _MANNERS:
        load = _loads_of_checkpoint if shard.number % 2 else _loads_of_model
        load(shard, fresh(shard.folder / manner.replace(" ", "_")), manner, third, tally)
    return tally


def _loads_of_checkpoint(shard: Shard, folder: Path, manner: str, loads: int, tally: Tally) -> None:
    """The checkpoint changes between the old one, which its sidecar names, and the new one.

    By link the whole folder changes, sidecar and all: then both are right.
    """
    old, new = shard.subjects.old, shard.subjects.new
    swap = _swapper(folder, CHECKPOINT, (old, new), (old.checkpoint, new.checkpoint), manner)
    right = (old, new) if manner == "link" else (old,)
    path = folder / "current" / CHECKPOINT

    def load(number: int) -> doors.Answer:
        return doors.resume(path, settling=False) if number % _RESUME_EVERY == 0 else _checkpoint(path)

    def is_right(used: Any) -> bool:
        return shard.subjects.checkpoint_of(used) in right

    with _beside(swap) as turns:
        _compare(load, is_right, loads, turns, tally, f"a checkpoint by {manner}")


def _loads_of_model(shard: Shard, folder: Path, manner: str, loads: int, tally: Tally) -> None:
    """The model's weights change between the old ones, whose digest is expected, and the new ones.

    By link the whole folder changes, manifest and all.
    """
    old, new = shard.subjects.old, shard.subjects.new
    weights = (old.model["weights.safetensors"], new.model["weights.safetensors"])
    swap = _swapper(folder, "model/weights.safetensors", (old, new), weights, manner)

    def load(_: int) -> doors.Answer:
        return doors.load_model(folder / "current" / "model", old.digest)

    with _beside(swap) as turns:
        _compare(load, lambda used: shard.subjects.model_of(used) is old, loads, turns, tally, f"a model by {manner}")


def _compare(
    load: Callable[[int], doors.Answer],
    is_right: Callable[[Any], bool],
    loads: int,
    turns: Callable[[], int],
    tally: Tally,
    what: str,
) -> None:
    loaded: list[tuple[int, Any]] = []
    returned = 0
    for number in range(loads):
        before = turns()
        answer = load(number)
        wrong: Wrong | None = "other_errors" if answer.kind == "failed" else None
        tally.add(hit=turns() != before, wrong=wrong, example=f"{what}, load {number}: {answer.message}")
        # Compared once the file has changed again.
        if loaded and not is_right(loaded[-1][1]):
            tally.find("undetected", f"{what}, load {loaded[-1][0]} returned other weights than were asked for")
        loaded = [(number, answer.used)] if answer.kind == "loaded" else []
        returned += answer.kind == "loaded"
    tally.notes.add(f"{returned:,} of {loads:,} loads returned, {what}")


def _checkpoint(path: Path) -> doors.Answer:
    answer = doors.read_checkpoint(path)
    return doors.Answer("loaded", restored(answer.used)) if answer.kind == "loaded" else answer


def _swapper(
    folder: Path, name: str, subjects: tuple[Saved, Saved], contents: tuple[bytes, bytes], manner: str
) -> Callable[[int], None]:
    """What puts the first of two things in place at even turns and the second at odd ones.

    `folder/current/name` holds one of `contents`, or, by link, `current` leads to one of `subjects`, each in a folder.
    """
    targets = [folder / "old", folder / "new"]
    for target, subject in zip(targets, subjects, strict=True):
        target.mkdir()
        write_subject(subject, target)
    current, spare = folder / "current", folder / "spare"
    path = current / name
    current.symlink_to(targets[0])

    def by_rename(turn: int) -> None:
        spare.write_bytes(contents[turn % 2])
        spare.replace(path)

    def in_place(turn: int) -> None:
        with path.open("r+b") as file:
            file.write(contents[turn % 2])

    def by_link(turn: int) -> None:
        spare.symlink_to(targets[turn % 2])
        spare.replace(current)

    return {"rename": by_rename, "overwriting": in_place, "link": by_link}[manner]


@contextmanager
def _beside(act: Callable[[int], None]) -> Iterator[Callable[[], int]]:
    """Run `act(turn)` in a child over and over; gives a function that says how many turns it has had."""
    counter = mmap.mmap(-1, 8)  # shared with the child

    def turns() -> int:
        return int.from_bytes(counter[:8], "little")

    def work() -> None:
        while True:
            act(turns())
            counter[:8] = (turns() + 1).to_bytes(8, "little")
            time.sleep(0.001)  # a few turns in each load are enough; the core is wanted for other faults

    pid = fork(work)
    try:
        while not turns():
            if os.waitpid(pid, os.WNOHANG)[0]:
                raise RuntimeError("the process beside the loads has ended in its first turn.")
            time.sleep(0.001)
        yield turns
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
