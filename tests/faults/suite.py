"""The suite: which faults, how many cases of each, and the table of the results."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Telemetry runs in a thread of its own, and this process has to be forked without other threads.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ["OMP_NUM_THREADS"] = "1"

from faults import (
    damage,
    doors,
    failing_calls,
    forgery,
    hostile,
    interruptions,
    kills,
    parsers,
    power_loss,
    races,
    server,
    tampering,
    trainings,
)
from faults.crew import Shard, require_one_thread, run_shards
from faults.subjects import Subjects, make_subjects, read_subjects
from faults.table import Tally, render
from faults.variants import INTACT, VARIANTS

SCENES = 10


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and its size.

    Attributes:
        name: In the table.
        run: Runs a shard of it.
        short: Cases in the short form, of all shards together; seconds, for `readers`.
        long: Cases in the long form.
        shards: Parts that may run at the same time.
        each: `short` and `long` hold for each shard.
        background: Runs beside the others.
    """

    name: str
    run: Callable[[Shard], Tally]
    short: int
    long: int
    shards: int = 1
    each: bool = False
    background: bool = False

    def cases(self, long: bool) -> int:
        """Of one shard."""
        total = self.long if long else self.short
        return total if self.each else max(total // self.shards, 1)


FAULTS = (
    Fault("readers against a writer", races.readers, 12, 300, background=True),
    Fault("lines for the parsers", parsers.parsers, 20, 10_000, each=True),
    Fault("SIGTERM, then a resume", interruptions.interruptions, 1, 64),
    Fault("scoring server", server.server, 152, 5_700),
    Fault("hostile folders", hostile.folders, 36, 500),
    Fault("loads against a swapper", races.swaps, 300, 30_000, shards=4),
    Fault("bit flips", damage.flips, 1_000, 50_000, shards=20),
    Fault("cuts, zeroed pages and tails", damage.cuts, 500, 25_000, shards=10),
    Fault("kills during a save", kills.kills, 60, 2_000, shards=2),
    Fault("kills during a fit", trainings.fit_kills, 10, 1_000),
    Fault("kills during save_model", trainings.model_kills, 10, 1_000),
    Fault("failing calls", failing_calls.failing_calls, 1, 4, shards=SCENES, each=True),
    Fault("failing calls of a fit", trainings.fit_failures, 1, 4),
    Fault("failing calls of save_model", trainings.model_failures, 1, 4),
    Fault("power loss", power_loss.power_loss, 100, 10_000, shards=SCENES, each=True),
    Fault("tampering list", tampering.tamper, 1, 1),
    Fault("forged models", forgery.forgeries, 100, 5_000),
    Fault("forged models in a store", forgery.anchored, 40, 1_000),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Inject faults, print the table; 1 unless it is all zeros."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the children end too
    if chosen.variants:
        return _find_variants(chosen.seed, chosen.workers)
    faults = [fault for fault in FAULTS if not chosen.only or fault.name in chosen.only]
    began = time.monotonic()
    with prepared() as (subjects, folder):
        shards = [
            Shard(
                fault=fault.name,
                number=number,
                cases=fault.cases(chosen.long),
                seed=chosen.seed,
                subjects=subjects,
                folder=folder / f"{index}-{number}",
                run=fault.run,
                background=fault.background,
                limit_s=6 * 3600.0 if chosen.long else 1800.0,
            )
            for index, fault in enumerate(faults)
            for number in range(fault.shards)
        ]
        tallies = tally_of(shards, chosen.workers)
    print(render({fault.name: tallies[fault.name] for fault in faults}))
    form = "long" if chosen.long else "short"
    used = sum(os.times()[:4])  # of this process and all that it has waited for
    print(
        f"{form} form, seed {chosen.seed}, {chosen.workers} workers, {time.monotonic() - began:.0f} s, "
        f"{used:.0f} s of CPU time"
    )
    return 1 if any(tally.failures for tally in tallies.values()) else 0


def tally_of(shards: Sequence[Shard], workers: int) -> dict[str, Tally]:
    """Tallies by fault, summed over its shards."""
    tallies = {shard.fault: Tally() for shard in shards}
    for shard, tally in run_shards(shards, workers):
        tallies[shard.fault].merge(tally)
        print(f"{shard.fault}, {shard.number + 1}: {tally.cases} cases, {tally.failures} wrong", file=sys.stderr)
    return tallies


@contextmanager
def prepared() -> Iterator[tuple[Subjects, Path]]:
    """Subjects and a folder for the shards, in a process that is ready to fork."""
    folder = Path(tempfile.mkdtemp(prefix="graphids-faults-"))
    try:
        make_subjects(folder / "subjects")
        subjects = read_subjects(folder / "subjects")
        warm_up(subjects, folder / "warm")
        require_one_thread()
        yield subjects, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def warm_up(subjects: Subjects, folder: Path) -> None:
    """Go through every door once: what that imports, compiles and computes need not be done again in each child."""
    folder.mkdir()
    damage.write_subject(subjects.old, folder)
    resumed, read = doors.resume(folder / damage.CHECKPOINT), doors.read_checkpoint(folder / damage.CHECKPOINT)
    loaded, verified = (door(folder / "model", subjects.old.digest) for door in (doors.load_model, doors.verify))
    right = subjects.checkpoint_of(resumed.used) is subjects.old is subjects.model_of(loaded.used)
    if not (right and read.kind == verified.kind == "loaded"):
        messages = [answer.message for answer in (resumed, read, loaded, verified)]
        raise RuntimeError(f"Without any fault the doors did not return what was saved: {messages}.")


def _find_variants(seed: int, workers: int) -> int:
    """Run the probes of each broken variant until they find it: 1 if one does not, or finds something unbroken."""
    tallies: dict[str, Tally] = {}
    with prepared() as (subjects, folder):
        for variant in (INTACT, *VARIANTS):
            with variant.broken():
                for fault, probe in variant.probes.items():
                    name = f"{variant.name}: {fault}"
                    tallies[name] = Tally()
                    for turn in range(probe.rounds if variant is not INTACT else 1):
                        shard = Shard(
                            fault, probe.number, probe.cases, seed + turn, subjects, folder / "probe", probe.run
                        )
                        for _, tally in run_shards([shard], workers):
                            tallies[name].merge(tally)
                        if tallies[name].found:
                            break
    print(render(tallies))
    wrong = [
        name
        for name, tally in tallies.items()
        if (bool(tally.failures) if name.startswith(INTACT.name) else not tally.found)
    ]
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/faults", description=(__doc__ or "").strip())
    parser.add_argument("--long", action="store_true", help="several times the cases; under an hour on two cores")
    parser.add_argument("--seed", type=int, default=0, help="of the cases; the same seed gives the same ones")
    parser.add_argument("--only", action="append", choices=[fault.name for fault in FAULTS], help="repeatable")
    parser.add_argument("--variants", action="store_true", help="instead: whether each broken variant is found")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes beside the background's")
    return parser
