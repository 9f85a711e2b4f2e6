"""kill -9 in the middle of a save, up to three times in a row.

Models the out-of-memory killer, a job past its time limit, an operator. The kill lands before, after or in the middle
of a random call of those that the save makes on its folder. A hit is a case whose last kill fell inside a save. Then
a reader and a new start have to find the old or the new checkpoint.
"""

import os
import random
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.crew import Shard, in_child
from faults.scenes import Scene, fresh, judge_folder, scenes
from faults.table import Tally
from faults.trace import Call, Hook, interposed, record

OTHER_FILESYSTEM = Path("/dev/shm")
MOMENTS = ("before", "half", "after")
_MAX_KILLS = 3


def kills(shard: Shard) -> Tally:
    """Kills during all scenes in turn, with TMPDIR on the same and on another filesystem."""
    tally, chance = Tally(), shard.random()
    played = scenes(shard.subjects, shard.folder)
    lengths = [_length(scene, fresh(shard.folder / "played")) for scene in played]
    elsewhere = _other_filesystem(shard.folder)
    tally.notes.add(f"TMPDIR in half of the cases on {elsewhere}" if elsewhere else "no other filesystem for TMPDIR")
    for case in range(shard.cases):
        number = (shard.number * shard.cases + case) % len(played)
        folder = fresh(shard.folder / "played")
        temporary = elsewhere if elsewhere and chance.random() < 0.5 else shard.folder
        hit, where = _play(played[number], folder, lengths[number], chance, temporary)
        wrong, why = judge_folder(folder, shard.subjects, played[number].during | {played[number].after})
        tally.add(hit=hit, wrong=wrong, example=f"{played[number].name}, killed at {where}: {why}")
    return tally


def killer(index: int, moment: str, tell: Callable[[Call], object] = lambda _: None) -> Hook:
    """A hook that kills this process at call `index`: "before" it, "after" it, or with "half" of a write done."""

    def hook(call: Call, proceed: Callable[..., Any]) -> Any:
        if call.index != index:
            return proceed()
        tell(call)
        if moment == "half" and call.name == "write":
            descriptor, data = call.arguments
            proceed(descriptor, bytes(data[: len(data) // 2]))
        elif moment == "after":
            proceed()
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit("killed")  # not reached: SIGKILL cannot be blocked

    return hook


def _play(scene: Scene, folder: Path, length: int, chance: random.Random, temporary: Path) -> tuple[bool, str]:
    """Play a scene and kill it, perhaps again; whether the last kill hit, and where."""
    scene.prepare(folder)
    where = ""
    code = 0
    for _ in range(chance.choice((1, 1, _MAX_KILLS))):
        index, moment = chance.randrange(length), chance.choice(MOMENTS)

        def act(index: int = index, moment: str = moment) -> None:
            tempfile.tempdir = str(temporary)
            with interposed(folder, killer(index, moment)):
                scene.act(folder)

        code = in_child(act)
        where += f"{' then ' if where else ''}{moment} call {index} of {length}"
    return code == -signal.SIGKILL, where


def _length(scene: Scene, folder: Path) -> int:
    scene.prepare(folder)
    return len(record(folder, lambda: scene.act(folder)))


def _other_filesystem(folder: Path) -> Path | None:
    if OTHER_FILESYSTEM.is_dir() and OTHER_FILESYSTEM.stat().st_dev != folder.stat().st_dev:
        return OTHER_FILESYSTEM
    return None
