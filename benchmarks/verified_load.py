"""What verification costs: loading a checkpoint and a model, beside an unverified `torch.load` of the same bytes.

    python benchmarks/verified_load.py [--megabytes 1 38] [--repeats 51]

Checkpoint: `graphids._fs.atomic_load` beside `torch.load(path, weights_only=True)` of that file. Model:
`mlflow_graphids.load_model(folder, expected_digest=...)`, which also rebuilds the network, beside `torch.load` of a
`torch.save` of the same tensors. Imports are left out and files are in the page cache. The two alternate, in turn first
and second; the ratio is the median of the ratios of neighbours. Twice: again and again in one process, whose allocator
hands out memory it has already touched, and once per process, forked from one that has imported everything, as a
program does that loads one model. Hashing takes a second core while the first reads; sha256 alone is printed beside it,
since no verified load can be faster.
"""

import argparse
import hashlib
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from graphids._fs import atomic_load, atomic_save
from graphids.core.classifier import WindowClassifier
from graphids.core.data.features import EDGE_FEATURES, NODE_FEATURES
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.models.gat import GAT
from mlflow_graphids import load_model, save_model

CLASSES, TOKENS, LAYERS, HEADS = ("normal", "dos", "fuzzy", "spoof"), 101, 4, 8
Load = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 38])
    parser.add_argument("--repeats", type=int, default=51)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':12}{'MB':>7}{'':>4}{'':14}{'torch.load':>12}{'verified':>12}{'ratio':>8}{'sha256':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        for megabytes in arguments.megabytes:
            for subject in (checkpoint_of, model_of):
                name, size, plain, verified = subject(megabytes, Path(scratch))
                for way, timed in (("one process", seconds), ("own process", seconds_in_a_child)):
                    pairs = side_by_side(plain, verified, timed, arguments.repeats)
                    report(f"{name:12}{size / 1e6:7.1f}{'':>4}{way:14}", pairs, hashing_s(size))


def checkpoint_of(megabytes: float, scratch: Path) -> tuple[str, int, Load, Load]:
    """A network with the two moments of Adam for each weight, a third of the size each."""
    weights = classifier(hidden_for(megabytes / 3)).gat.state_dict()
    state = {
        key: {"step": torch.tensor(1.0), "exp_avg": weight.clone(), "exp_avg_sq": weight.clone()}
        for key, weight in weights.items()
    }
    path = scratch / f"{megabytes}.ckpt"
    atomic_save({"epoch": 1, "state_dict": weights, "optimizer_states": [{"state": state}]}, path)
    return "checkpoint", path.stat().st_size, lambda: torch.load(path, weights_only=True), lambda: atomic_load(path)


def model_of(megabytes: float, scratch: Path) -> tuple[str, int, Load, Load]:
    saved, folder, tensors = classifier(hidden_for(megabytes)), scratch / f"{megabytes}", scratch / f"{megabytes}.pt"
    digest = save_model(saved, folder)
    torch.save(saved.gat.state_dict(), tensors)
    return (
        "model",
        tensors.stat().st_size,
        lambda: torch.load(tensors, weights_only=True),
        lambda: load_model(folder, expected_digest=digest),
    )


def classifier(hidden: int) -> WindowClassifier:
    preprocessing = Preprocessing(
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


def side_by_side(
    plain: Load, verified: Load, timed: Callable[[Load], float], repeats: int
) -> list[tuple[float, float]]:
    """Seconds of each, pair by pair, after one of each that is not counted."""
    timed(plain), timed(verified)
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            pairs.append((timed(plain), timed(verified)))
        else:
            second = timed(verified)
            pairs.append((timed(plain), second))
    return pairs


def seconds(load: Load) -> float:
    start = time.perf_counter()
    loaded = load()
    duration = time.perf_counter() - start
    del loaded
    return duration


def seconds_in_a_child(load: Load) -> float:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, struct.pack("d", seconds(load)))
        os._exit(0)
    os.waitpid(child, 0)
    (duration,) = struct.unpack("d", os.read(read, 8))
    os.close(read), os.close(write)
    return float(duration)


def hashing_s(size: int) -> float:
    data = bytes(size)
    return min(seconds(lambda: hashlib.sha256(data)) for _ in range(5))


def report(label: str, pairs: list[tuple[float, float]], hashing: float) -> None:
    plain, verified = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
    ratio = statistics.median(second / first for first, second in pairs)
    print(f"{label}{plain:9.2f} ms{verified:9.2f} ms{ratio:8.2f}{hashing * 1e3:9.2f} ms")


if __name__ == "__main__":
    main()
