"""What callbacks and logging add to an epoch of the default training.

Three trainings of the default configuration (same data, network and seed) take turns, epoch by epoch, each in a process
of its own, so that whatever else the machine does affects all of them alike:

- `graphids`: the default run with a watched card (an injected memory reader stands in for the GPU), logging to MLflow:
  a sqlite store of its own, or the server at `--tracking-uri`.
- `lightning`: the same Trainer with Lightning's own ModelCheckpoint in place of ours, its early stopping and its
  progress bar, without a logger.
- `bare`: the same Trainer without any callback.

An epoch lasts from one `on_train_epoch_start` to the next: validation, checkpoints and all hooks are in it. CPU counts
all threads of the process, for graphids including what the background thread sends after the end of the epoch. The
first epoch is left out: it warms up caches. `--by-callback` adds a table of the time that Lightning's profiler finds in
each callback, from a fourth training.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, as `graphids train` does it

import lightning.pytorch as pl
import mlflow
import mlflow.store.tracking.sqlalchemy_store  # loaded here for the processes, which are forks
import numpy as np
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.profilers import SimpleProfiler

from graphids._mlflow import MLflowTrainingCallback
from graphids._mlflow.tracked_run import tracked_run
from graphids.commands.config import render_config
from graphids.commands.wiring import Wiring, wire
from graphids.core.callbacks import DigestCheckpointIO, MemoryReading, Sha256ModelCheckpoint, VRAMDriftCallback
from graphids.options import OPTIONS, SIMULATED

GIB = 2**30
STOCK = ("EarlyStopping", "EpochProgress")


class Baton(Callback):
    """Waits before each epoch until it is this training's turn, and sends wall and CPU seconds after it.

    Args:
        turn: Sends a word when the turn comes, receives the seconds.
        after_epoch: Called once the wall clock is read; its CPU time is counted.
    """

    def __init__(self, turn: Connection, after_epoch: Callable[[], object]) -> None:
        self.turn = turn
        self.after_epoch = after_epoch
        self._began: tuple[float, float] | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the epoch before and begin this one."""
        self._finish_epoch()
        self.turn.recv()
        self._began = time.perf_counter(), time.process_time()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the last epoch."""
        self._finish_epoch()

    def _finish_epoch(self) -> None:
        if self._began is None:
            return
        wall_s = time.perf_counter() - self._began[0]
        self.after_epoch()
        self.turn.send((wall_s, time.process_time() - self._began[1]))
        self._began = None


def default_wiring(folder: Path, epochs: int, run_id: str) -> Wiring:
    defaults = {option.name: option.default for option in OPTIONS}
    given = {"data": SIMULATED, "max_epochs": epochs, "patience": epochs, "accelerator": "cpu"}
    config = render_config({**defaults, **given})
    return wire(config, [f"--trainer.default_root_dir={folder}"], run_id)


def steady_card() -> MemoryReading:
    return MemoryReading(total=40 * GIB, device_free=30 * GIB, reserved=2 * GIB, allocated=GIB)


def fit_graphids(folder: Path, epochs: int, turn: Connection, profiler: SimpleProfiler | None = None) -> None:
    with tracked_run(folder) as outbox:
        wiring = default_wiring(folder, epochs, outbox.run_id)
        for callback in wiring.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, MLflowTrainingCallback):
                callback.outbox = outbox
            elif isinstance(callback, VRAMDriftCallback):
                callback.memory_reader = steady_card
        if profiler is not None:
            wiring.trainer.profiler = profiler
        _fit(wiring, Baton(turn, outbox.flush))


def fit_lightning(folder: Path, epochs: int, turn: Connection) -> None:
    wiring = default_wiring(folder, epochs, "lightning")
    ours = next(c for c in wiring.trainer.callbacks if isinstance(c, Sha256ModelCheckpoint))  # type: ignore[attr-defined]
    theirs = ModelCheckpoint(monitor=ours.monitor, mode=ours.mode, save_top_k=ours.save_top_k, save_last=ours.save_last)
    wiring.trainer.callbacks = [*_stock(wiring.trainer), theirs]  # type: ignore[attr-defined]
    _without_digests(wiring.trainer)
    _fit(wiring, Baton(turn, lambda: None))


def fit_bare(folder: Path, epochs: int, turn: Connection) -> None:
    wiring = default_wiring(folder, epochs, "bare")
    wiring.trainer.callbacks = []  # type: ignore[attr-defined]
    _without_digests(wiring.trainer)
    _fit(wiring, Baton(turn, lambda: None))


def fit_profiled(folder: Path, epochs: int, turn: Connection) -> None:
    profiler = SimpleProfiler()
    fit_graphids(folder, epochs, turn, profiler)
    seconds: Counter[str] = Counter()
    for action, durations in profiler.recorded_durations.items():
        # "[Callback]VRAMDriftCallback.on_train_epoch_end"; what runs once per fit is not part of an epoch.
        kind, _, rest = action.partition("]")
        name = rest.partition("{")[0].partition(".")[0]
        if kind == "[Callback" and name != Baton.__name__ and len(durations) >= epochs:
            seconds[name] += sum(durations)
    turn.send({name: total / epochs for name, total in seconds.items()})


def _stock(trainer: pl.Trainer) -> list[Callback]:
    return [c for c in trainer.callbacks if type(c).__name__ in STOCK]  # type: ignore[attr-defined]


def _without_digests(trainer: pl.Trainer) -> None:
    if isinstance(trainer.strategy.checkpoint_io, DigestCheckpointIO):
        trainer.strategy.checkpoint_io = None  # Lightning's own takes its place


def _fit(wiring: Wiring, baton: Baton) -> None:
    wiring.trainer.callbacks.insert(0, baton)  # type: ignore[attr-defined]
    wiring.trainer.fit(wiring.detector, datamodule=wiring.datamodule)


def _worker(fit: Callable[..., None], name: str, folder: Path, epochs: int, uri: str, turn: Connection) -> None:
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    mlflow.set_tracking_uri(uri)
    try:
        fit(folder / "runs", epochs, turn)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise


def take_turns(fits: dict[str, Callable[..., None]], folder: Path, epochs: int, uri: str) -> dict[str, Any]:
    """Wall and CPU seconds, float [epochs, 2], of each training; a different one begins each epoch."""
    context = get_context("fork")
    ends, processes = {}, []
    for name, fit in fits.items():
        ends[name], theirs = context.Pipe()
        processes.append(context.Process(target=_worker, args=(fit, name, folder, epochs, uri, theirs)))
        processes[-1].start()
        theirs.close()
    rows: dict[str, Any] = {name: [] for name in fits}
    names = list(fits)
    for epoch in range(epochs):
        for name in names[epoch % len(names) :] + names[: epoch % len(names)]:
            try:
                ends[name].send("go")
                rows[name].append(ends[name].recv())
            except (EOFError, BrokenPipeError):
                sys.exit(f"{name} ended early:\n{(folder / f'{name}.log').read_text()[-3000:]}")
    times = {name: np.array(row) for name, row in rows.items()}
    if "profiled" in ends:
        times["by callback"] = ends["profiled"].recv()
    for process in processes:
        process.join()
    return times


def paired_ratio(ours: Any, theirs: Any, *, samples: int = 10_000) -> str:
    """Median of the ratios of neighbouring epochs as added percent, with a 95 % bootstrap interval."""
    added = 100 * (ours / theirs - 1)
    generator = np.random.default_rng(0)
    medians = np.median(generator.choice(added, (samples, len(added))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return f"{np.median(added):+.1f} % ({low:+.1f} to {high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=41, help="per training; the first is not counted")
    parser.add_argument("--tracking-uri", help="MLflow to log to; default a sqlite store of its own")
    parser.add_argument("--by-callback", action="store_true", help="also say which callback takes how long")
    arguments = parser.parse_args()
    fits: dict[str, Callable[..., None]] = {"graphids": fit_graphids, "lightning": fit_lightning, "bare": fit_bare}
    if arguments.by_callback:
        fits["profiled"] = fit_profiled
    with tempfile.TemporaryDirectory() as folder:
        uri = arguments.tracking_uri or f"sqlite:///{folder}/mlflow.db"
        times = take_turns(fits, Path(folder), arguments.epochs, uri)
    by_callback = times.pop("by callback", {})
    times = {name: rows[1:] for name, rows in times.items()}
    where = uri.partition(":")[0]
    print(f"{arguments.epochs - 1} epochs each, logging to {where}, load average {os.getloadavg()[1]:.1f}\n")
    print("|           | wall s (median) | CPU s (median) |\n|-----------|----------------:|---------------:|")
    for name in ("graphids", "lightning", "bare"):
        wall_s, cpu_s = np.median(times[name], axis=0)
        print(f"| {name:<9} | {wall_s:15.3f} | {cpu_s:14.3f} |")
    print(
        "\n| graphids adds to | wall clock | CPU, all threads |\n|------------------|-----------:|-----------------:|"
    )
    for name in ("lightning", "bare"):
        wall, cpu = (paired_ratio(times["graphids"][:, column], times[name][:, column]) for column in (0, 1))
        print(f"| {name:<16} | {wall} | {cpu} |")
    if by_callback:
        epoch_s = statistics.median(times["profiled"][:, 0])
        print("\n| callback | ms per epoch | share |\n|----------|-------------:|------:|")
        for name, seconds in sorted(by_callback.items(), key=lambda item: -item[1]):
            print(f"| {name} | {1000 * seconds:.1f} | {seconds / epoch_s:.2%} |")


if __name__ == "__main__":
    main()
