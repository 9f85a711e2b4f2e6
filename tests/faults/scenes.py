"""Scenes: a folder with a checkpoint in some state, something that is about to be done to it, and what may be found.

Kills, failing calls and power loss all play the same ones.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from faults import doors
from faults.crew import in_child
from faults.damage import CHECKPOINT
from faults.subjects import Saved, Subjects, quiet, restored, trained
from faults.table import Wrong
from faults.trace import Call, interposed
from graphids import _fs

BESIDE = "y.ckpt"
Found = Literal["old", "new", "nothing"]


@dataclass(frozen=True)
class Scene:
    """One thing that happens to a checkpoint.

    Attributes:
        name: For the table's examples.
        prepare: Puts the folder, empty before, in the state in which it starts.
        act: What is killed, failed or cut off; the folder is its argument.
        during: What may be found until it has returned.
        after: What must be found once it has.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    during: frozenset[Found]
    after: Found


def scenes(subjects: Subjects, folder: Path) -> list[Scene]:
    """All of them; `folder` is for what they need beside the folder that they are played in."""
    old, new = subjects.old.checkpoint, subjects.new.checkpoint
    save_old, save_new = partial(_save, old), partial(_save, new)
    either: frozenset[Found] = frozenset({"old", "new"})
    trainer, _ = trained(folder / "trainer", seed=1)

    def through_lightning(target: Path) -> None:
        with quiet():
            trainer.save_checkpoint(target / CHECKPOINT)

    def settle(target: Path) -> None:
        _fs.settle(target)

    def link(target: Path) -> None:
        _fs.atomic_link(target / BESIDE, target / CHECKPOINT)

    def both(target: Path) -> None:
        save_old(target)
        _fs.atomic_save(new, target / BESIDE)

    def remove(target: Path) -> None:
        trainer.strategy.remove_checkpoint(target / CHECKPOINT)

    unpublished, published = partial(_cut_off, old, new, before=True), partial(_cut_off, old, new, before=False)
    return [
        Scene("first save", _nothing, save_new, frozenset({"nothing", "new"}), "new"),
        Scene("save over", save_old, save_new, either, "new"),
        Scene("save over through Lightning", save_old, through_lightning, either, "new"),
        Scene("save the same again", save_old, save_old, frozenset({"old"}), "old"),
        Scene("save after a save that was killed before its rename", unpublished, save_new, either, "new"),
        Scene("save after a save that was killed after its rename", published, save_old, either, "old"),
        Scene("settle a save that was killed before its rename", unpublished, settle, frozenset({"old"}), "old"),
        Scene("settle a save that was killed after its rename", published, settle, frozenset({"new"}), "new"),
        Scene("link over, as save_last='link' does", both, link, either, "new"),
        Scene("remove", save_old, remove, frozenset({"old", "nothing"}), "nothing"),
    ]


def fresh(folder: Path) -> Path:
    """The folder, emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def judge(answer: doors.Answer, path: Path, subjects: Subjects, allowed: Collection[Found]) -> tuple[Wrong | None, str]:
    """What is wrong with a door's answer about the checkpoint at `path`, if only these may be found."""
    if answer.kind == "failed":
        return "other_errors", answer.message
    if answer.kind == "absent":
        return (None, "") if "nothing" in allowed else ("lost", answer.message)
    if answer.kind == "refused":
        return ("false_refusals" if _is_whole(path, subjects) else "lost"), answer.message
    found = _name(subjects, subjects.checkpoint_of(answer.used))
    if found is None:
        return "undetected", "loaded what was never saved"
    return (None, "") if found in allowed else ("lost", f"found the {found} one, expected {sorted(allowed)}")


def judge_folder(folder: Path, subjects: Subjects, allowed: Collection[Found]) -> tuple[Wrong | None, str]:
    """What is wrong with the folder after a fault, for a reader and for the next start, which puts it in order."""
    path = folder / CHECKPOINT
    wrong, why = judge_read(folder, subjects, allowed)
    if wrong is None:
        wrong, why = judge(doors.resume(path), path, subjects, allowed)
        why = f"resume: {why}"
    return (wrong, why) if wrong is not None else settled(folder)


def judge_read(folder: Path, subjects: Subjects, allowed: Collection[Found]) -> tuple[Wrong | None, str]:
    """What is wrong with the folder for a reader."""
    path = folder / CHECKPOINT
    answer = doors.read_checkpoint(path)
    if answer.kind == "loaded":
        answer = doors.Answer("loaded", restored(answer.used))
    wrong, why = judge(answer, path, subjects, allowed)
    return wrong, f"read: {why}"


def settled(folder: Path) -> tuple[Wrong | None, str]:
    """What is wrong with a folder that a new start has put in order: leftovers, or a sidecar that is not closed."""
    names = {entry.name for entry in folder.iterdir()}
    checkpoints = {name for name in names if name.endswith(".ckpt")}
    sidecars = sorted(f"{name}.sha256" for name in checkpoints)
    if names != checkpoints.union(sidecars):
        return "other_errors", f"expected checkpoints with sidecars alone after a new start, found {sorted(names)}"
    if sidecars:
        command = ["sha256sum", "--strict", "--check", *sidecars]
        check = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if check.returncode:
            return "other_errors", f"sha256sum: {check.stdout}{check.stderr}"
    return None, ""


def _is_whole(path: Path, subjects: Subjects) -> bool:
    """Whether the bytes, taken without any verification, are a checkpoint that was saved."""
    try:
        return subjects.checkpoint_of(restored(torch.load(path, weights_only=True))) is not None
    except Exception:  # whatever torch raises over bytes that are not a checkpoint
        return False


def _name(subjects: Subjects, saved: Saved | None) -> Found | None:
    if saved is None:
        return None
    return "old" if saved is subjects.old else "new"


def _nothing(folder: Path) -> None:
    """A folder without a checkpoint."""


def _save(data: bytes, folder: Path) -> None:
    _fs.atomic_save(data, folder / CHECKPOINT)


def _cut_off(old: bytes, new: bytes, folder: Path, *, before: bool) -> None:
    """What a save leaves that is killed before or after the checkpoint takes its place."""

    def die_at_rename(call: Call, proceed: Callable[..., Any]) -> Any:
        renames = call.name in ("replace", "rename") and Path(call.paths[-1]).name == CHECKPOINT
        if renames and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = proceed()
        if renames:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def save() -> None:
        with interposed(folder, die_at_rename):
            _save(new, folder)

    _save(old, folder)
    in_child(save)
