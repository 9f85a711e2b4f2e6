"""What verification costs: loading a checkpoint and a model, and an unverified loader of the same bytes.

    python benchmarks/verified_load.py [--megabytes 1 38] [--repeats 31]

- checkpoint: `graphids._fs.atomic_load` and `torch.load(path, weights_only=True)` of that file;
- tensors: a model's folder to its tensors alone (all of its files read, hashed and compared, then the tensors parsed)
  and `torch.load` of a `torch.save` of the same tensors;
- model: `mlflow_graphids.load_model(folder, expected_digest=...)` and what a loader has to do that verifies nothing:
  `torch.load`, `json.loads`, `GAT(**architecture)`, `load_state_dict` and the preprocessing.

Imports are excluded and files are in the page cache. The two alternate, each first in every other round. Measured
twice: repeatedly in one process, whose allocator hands out memory it has already touched, and once per process, forked
from one that has imported everything, like a program that loads one model.

Columns: medians of both in wall-clock time; `ratio`, the median of the ratios within a round. The others are medians of
ratios of CPU seconds to the unverified load's, which other work on the machine disturbs little: `CPU`, of both threads
together, what a machine without a free second core pays; `busier`, of the thread that takes longer, reading and parsing
or hashing, what two free cores can reach; `sha256`, hashing those bytes alone, which no verified load can undercut.
"""

import argparse
import hashlib
import json
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from graphids._fs import atomic_load, atomic_save
from graphids.core.classifier import WindowClassifier
from graphids.core.data.preprocessing import STATISTICS, Preprocessing
from graphids.core.graphs.features import EDGE_FEATURES, NODE_FEATURES
from graphids.core.models.gat import GAT
from mlflow_graphids import load_model, save_model
from mlflow_graphids.artifacts import tensors_in
from mlflow_graphids.verification.folder import verify_folder
from mlflow_graphids.verification.manifest import MODEL_FILE, WEIGHTS_FILE

CLASSES, TOKENS, LAYERS, HEADS = ("normal", "dos", "fuzzy", "spoof"), 101, 4, 8
Load = Callable[[], object]


class Subject(NamedTuple):
    """Two ways to load `path`, the file that holds nearly all of the bytes."""

    name: str
    path: Path
    plain: Load
    verified: Load


class Cost(NamedTuple):
    """Seconds by the clock, and of CPU: over all threads, and of the one that uses most."""

    wall_s: float
    cpu_s: float
    busier_s: float


class Round(NamedTuple):
    """One load of each kind, and sha256 alone of the same bytes."""

    plain: Cost
    verified: Cost
    hashing: Cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 38])
    parser.add_argument("--repeats", type=int, default=31)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.1f}")
    print(
        f"{'':12}{'MB':>6}  {'':12}{'unverified':>12}{'verified':>12}{'ratio':>8}{'CPU':>8}{'busier':>8}{'sha256':>8}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for megabytes in arguments.megabytes:
            for subject in (checkpoint_of(megabytes, Path(scratch)), *model_of(megabytes, Path(scratch))):
                for way, timed in (("one process", cost), ("own process", cost_in_a_child)):
                    rounds = side_by_side(subject, timed, arguments.repeats)
                    report(f"{subject.name:12}{subject.path.stat().st_size / 1e6:6.1f}  {way:12}", rounds)
    print(f"load average {os.getloadavg()[0]:.1f}")


def checkpoint_of(megabytes: float, scratch: Path) -> Subject:
    """A network and both of Adam's moments for each weight, a third of the size each."""
    weights = classifier(hidden_for(megabytes / 3)).gat.state_dict()
    state = {
        key: {"step": torch.tensor(1.0), "exp_avg": weight.clone(), "exp_avg_sq": weight.clone()}
        for key, weight in weights.items()
    }
    path = scratch / f"{megabytes}.ckpt"
    atomic_save({"epoch": 1, "state_dict": weights, "optimizer_states": [{"state": state}]}, path)
    return Subject("checkpoint", path, lambda: torch.load(path, weights_only=True), lambda: atomic_load(path))


def model_of(megabytes: float, scratch: Path) -> tuple[Subject, Subject]:
    """A saved model, loaded to its tensors alone and to a classifier."""
    saved, folder, plain = classifier(hidden_for(megabytes)), scratch / f"{megabytes}", scratch / f"{megabytes}.pt"
    digest = save_model(saved, folder)
    torch.save({"weights": saved.gat.state_dict(), "tables": statistics_of(saved.preprocessing)}, plain)

    def verified_tensors() -> dict[str, torch.Tensor]:
        return tensors_in(verify_folder(folder, digest, "").require_verified().content[WEIGHTS_FILE])

    def unverified_model() -> WindowClassifier:
        stored, description = torch.load(plain, weights_only=True), json.loads((folder / MODEL_FILE).read_bytes())
        gat = GAT(**description["architecture"])
        gat.load_state_dict(stored["weights"])
        tables = {name: table.numpy() for name, table in stored["tables"].items()}
        preprocessing = Preprocessing.from_dict({**description["preprocessing"], **tables})
        return WindowClassifier(gat, preprocessing, description["threshold"])

    path = folder / WEIGHTS_FILE
    return (
        Subject("tensors", path, lambda: torch.load(plain, weights_only=True), verified_tensors),
        Subject("model", path, unverified_model, lambda: load_model(folder, expected_digest=digest)),
    )


def statistics_of(preprocessing: Preprocessing) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(getattr(preprocessing, name)) for name in STATISTICS}


def classifier(hidden: int) -> WindowClassifier:
    preprocessing = Preprocessing(
        features="raw",
        window_size=256,
        stride=128,
        classes=CLASSES,
        vocabulary=np.arange(TOKENS - 1, dtype=np.uint32),
        node_mean=np.zeros((TOKENS, len(NODE_FEATURES)), np.float32),
        node_scale=np.ones((TOKENS, len(NODE_FEATURES)), np.float32),
        edge_mean=np.zeros(len(EDGE_FEATURES), np.float32),
        edge_scale=np.ones(len(EDGE_FEATURES), np.float32),
    )
    gat = GAT(TOKENS, len(NODE_FEATURES), len(EDGE_FEATURES), len(CLASSES), hidden=hidden, layers=LAYERS, heads=HEADS)
    return WindowClassifier(gat, preprocessing, threshold=0.5, tau_record={})


def hidden_for(megabytes: float) -> int:
    """Width at which the network's weights take about that much: each layer has two square matrices."""
    return max(HEADS, round((megabytes * 1e6 / 4 / (2 * LAYERS + 1)) ** 0.5 / HEADS) * HEADS)


def side_by_side(subject: Subject, timed: Callable[[Load], Cost], repeats: int) -> list[Round]:
    """What each load cost, round by round, after one of each that is not counted."""
    data = subject.path.read_bytes()
    timed(subject.plain), timed(subject.verified)
    rounds = []
    for repeat in range(repeats):
        first, second = (subject.plain, subject.verified)[:: 1 if repeat % 2 else -1]
        costs = {first: timed(first), second: timed(second)}
        rounds.append(Round(costs[subject.plain], costs[subject.verified], cost(lambda: hashlib.sha256(data))))
    return rounds


def cost(load: Load) -> Cost:
    start, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
    loaded = load()
    own_s, cpu_s, wall_s = time.thread_time() - own, time.process_time() - cpu, time.perf_counter() - start
    del loaded
    return Cost(wall_s, cpu_s, max(own_s, cpu_s - own_s))


def cost_in_a_child(load: Load) -> Cost:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, struct.pack("3d", *cost(load)))
        os._exit(0)
    os.waitpid(child, 0)
    measured = Cost(*struct.unpack("3d", os.read(read, 24)))
    os.close(read), os.close(write)
    return measured


def report(label: str, rounds: list[Round]) -> None:
    plain_ms, verified_ms = (statistics.median(each[side].wall_s for each in rounds) * 1e3 for side in (0, 1))
    ratios = (
        statistics.median(each.verified.wall_s / each.plain.wall_s for each in rounds),
        statistics.median(each.verified.cpu_s / each.plain.cpu_s for each in rounds),
        statistics.median(each.verified.busier_s / each.plain.cpu_s for each in rounds),
        statistics.median(each.hashing.cpu_s / each.plain.cpu_s for each in rounds),
    )
    print(f"{label}{plain_ms:9.2f} ms{verified_ms:9.2f} ms", *(f"{ratio:7.2f}" for ratio in ratios), flush=True)


if __name__ == "__main__":
    main()
