"""Every call of a save failing once, and writes that take only half.

Models a full disk, a quota, lost permissions and a dying disk. The error has to be an OSError that names the path;
afterwards the checkpoint before it or the new one loads, and the next save works. A hit is a call that was failed.
"""

import errno
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.crew import Shard
from faults.scenes import Scene, fresh, judge_folder, judge_read, scenes
from faults.table import Tally, Wrong
from faults.trace import Call, interposed, record

_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EIO)
_ERRORS_OF_READS = (errno.EACCES, errno.EIO)
_HALF = 0  # in place of an error number: the write takes half of its bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """One call of many that fails."""

    call: Call
    error: int

    def __str__(self) -> str:
        """For a table's example."""
        return f"{self.call} with {errno.errorcode.get(self.error, 'half of its bytes')}"

    def play(self, folder: Path, act: Callable[[], object]) -> tuple[bool, Exception | None]:
        """Run `act` on `folder` with this call failing: whether the call was made, and what was raised."""
        met = False

        def fail(call: Call, proceed: Callable[..., Any]) -> Any:
            nonlocal met
            if call.index != self.call.index:
                return proceed()
            met = True
            if self.error == _HALF:
                descriptor, data = call.arguments
                return proceed(descriptor, bytes(data[: max(len(data) // 2, 1)]))
            if call.name == "close":
                proceed()  # a close that reports an error has closed
            # As the system does: an error of a call on a descriptor, such as a write, has no path.
            raise OSError(self.error, os.strerror(self.error), *([] if call.on_descriptor else [call.paths[0]]))

        try:
            with interposed(folder, fail):
                act()
        except Exception as raised:
            return met, raised
        return met, None

    def judge(self, raised: Exception | None, folder: Path) -> tuple[Wrong | None, str]:
        """What is wrong with what was raised; nothing need be raised if the caller can do without the call."""
        if raised is None:
            return None, ""
        if self.error == _HALF:
            return "other_errors", f"a short write is not an error, found {raised!r}"
        if not isinstance(raised, OSError):
            return "other_errors", f"expected an OSError, found {raised!r}"
        if os.fspath(folder) not in str(raised):
            return "other_errors", f"the error does not name the path: {raised!r}"
        return None, ""


def failures_of(calls: Sequence[Call], errors: int, chance: random.Random) -> Iterator[Failure]:
    """For each call that many of the errors it can raise, and for each write a short one."""
    for call in calls:
        possible = _ERRORS_OF_READS if call.reads else _ERRORS
        for error in chance.sample(possible, min(errors, len(possible))):
            yield Failure(call, error)
        if call.name == "write":
            yield Failure(call, _HALF)


def failing_calls(shard: Shard) -> Tally:
    """One scene per shard, with `cases` errors at each of its calls."""
    tally, chance = Tally(), shard.random()
    played = scenes(shard.subjects, shard.folder)
    scene = played[shard.number % len(played)]
    folder = fresh(shard.folder / "played")
    scene.prepare(folder)
    for failure in failures_of(record(folder, lambda: scene.act(folder)), shard.cases, chance):
        scene.prepare(fresh(folder))
        met, raised = failure.play(folder, lambda: scene.act(folder))
        wrong, why = failure.judge(raised, folder)
        if wrong is None:
            wrong, why = _judge_retry(scene, folder, shard, returned=raised is None)
        tally.add(hit=met, wrong=wrong, example=f"{scene.name}: {failure}: {why}")
    return tally


def _judge_retry(scene: Scene, folder: Path, shard: Shard, *, returned: bool) -> tuple[Wrong | None, str]:
    """What is wrong with the folder now, and after the scene is played again without a fault."""
    allowed = {scene.after} if returned else scene.during | {scene.after}
    wrong, why = judge_folder(folder, shard.subjects, allowed)
    if wrong is None:
        scene.act(folder)
        wrong, why = judge_read(folder, shard.subjects, {scene.after})
    return wrong, why
