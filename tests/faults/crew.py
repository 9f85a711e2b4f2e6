"""Forked workers: the parent imports everything once and starts no thread, its children inject the faults."""

import contextlib
import os
import pickle
import random
import select
import shutil
import signal
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.subjects import Subjects
from faults.table import Tally


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of one fault's cases: the same cases in every run, whichever worker runs it.

    Attributes:
        fault: Name of the fault.
        number: Of the shard within its fault.
        cases: How many to run; for some faults, how many seconds.
        seed: Of the suite.
        subjects: What the faults are injected into.
        folder: The worker's own, empty, on a local disk.
        run: Runs the cases.
        background: Runs beside the others, not as one of the workers: it waits more than it computes, or has processes
            of its own.
        limit_s: A shard that takes longer counts as hanging.
    """

    fault: str
    number: int
    cases: int
    seed: int
    subjects: Subjects
    folder: Path
    run: Callable[["Shard"], Tally]
    background: bool = False
    limit_s: float = 900.0

    def random(self) -> random.Random:
        """Random numbers of this shard's own."""
        return random.Random(f"{self.seed} {self.fault} {self.number}")


@dataclass(frozen=True, slots=True)
class _Worker:
    shard: Shard
    pid: int
    pipe: int
    started: float
    chunks: list[bytes]


def run_shards(shards: Sequence[Shard], workers: int) -> Iterator[tuple[Shard, Tally]]:
    """Run each shard in a child, at most `workers` at a time besides those in the background; tallies as they come."""
    waiting = deque(sorted(shards, key=lambda shard: not shard.background))
    running: dict[int, _Worker] = {}
    try:
        while waiting or running:
            while waiting and (waiting[0].background or _busy(running) < workers):
                worker = _start(waiting.popleft())
                running[worker.pipe] = worker
            for worker in _finished(running):
                yield worker.shard, _collect(worker)
    finally:
        for worker in running.values():
            _end(worker)


def in_child(function: Callable[[], None], limit_s: float = 120.0) -> int:
    """Run a function in a forked child and wait for it: its exit code, or minus the signal that ended it.

    An exception in the child is code 1, with its traceback on standard error.
    """
    pid = fork(function)
    deadline = time.monotonic() + limit_s
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)


def fork(function: Callable[[], None]) -> int:
    """Pid of a child that runs `function` and exits, whatever it raises."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        function()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)  # no exit handlers of the parent's: they would delete its folders


def require_one_thread() -> None:
    """A fork copies only the forking thread; a lock that another one holds would be held for ever.

    Raises:
        RuntimeError: If this process has other threads.
    """
    threads = [Path(task.path, "comm").read_text().strip() for task in os.scandir("/proc/self/task")]
    threads = [name for name in threads if name != "jemalloc_bg_thd"]  # pyarrow's allocator handles forks itself
    if len(threads) > 1:
        raise RuntimeError(f"expected one thread before the first fork, found {len(threads)}: {threads}.")


def _busy(running: dict[int, _Worker]) -> int:
    return sum(not worker.shard.background for worker in running.values())


def _start(shard: Shard) -> _Worker:
    reading, writing = os.pipe()

    def work() -> None:
        os.setpgid(0, 0)  # so that a hanging shard can be ended with its children
        os.close(reading)
        shard.folder.mkdir(parents=True)
        tempfile.tempdir = str(shard.folder)
        try:
            tally = shard.run(shard)
        except Exception:
            tally = Tally()
            tally.add(hit=True, wrong="other_errors", example=f"the fault's own code failed\n{traceback.format_exc()}")
        finally:
            shutil.rmtree(shard.folder, ignore_errors=True)
        tally.cpu_seconds = sum(os.times()[:4])  # of this process, and of its children
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(tally, pipe)

    pid = fork(work)
    os.close(writing)
    return _Worker(shard, pid, reading, time.monotonic(), [])


def _finished(running: dict[int, _Worker]) -> list[_Worker]:
    """Workers that have ended, after a wait of a second at most; one past its limit is ended."""
    done = []
    for pipe in select.select(list(running), [], [], 1.0)[0]:
        if chunk := os.read(pipe, 1 << 16):
            running[pipe].chunks.append(chunk)
        else:
            done.append(running.pop(pipe))
            os.close(pipe)
    for worker in running.values():
        if time.monotonic() - worker.started > worker.shard.limit_s:
            _end(worker)
    return done


def _end(worker: _Worker) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)


def _collect(worker: _Worker) -> Tally:
    status = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
    try:
        tally = pickle.loads(b"".join(worker.chunks))
    except (EOFError, pickle.UnpicklingError):
        tally = Tally()
        name = f"{worker.shard.fault}, shard {worker.shard.number}"
        tally.add(hit=True, wrong="other_errors", example=f"{name} ended with {status} and no answer")
    return tally
