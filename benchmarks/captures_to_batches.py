"""Frames per second from a csv capture to one epoch of shuffled batches, on one core.

    python benchmarks/captures_to_batches.py [--csv FILE] [--duration-s 600] [--repeats 5]

Side by side: graphids, and the usual way with the tools a user would reach for: pandas' C engine, payloads decoded in
one go, numpy within each window, one PyG Data object per window, PyG's DataLoader. Both start at the file and end when
the last batch has been made; both give the same tensors, which is checked before anything is timed. Everything is warm:
compilation is excluded and reported separately. graphids' time includes fitting the vocabulary and the scaling; the
usual way is handed them. Seconds are CPU seconds of this process, which has one thread: on a shared machine wall time
measures the neighbours too.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as PyGDataLoader

from graphids.core.captures.read import read_captures
from graphids.core.data.batches import GraphBatches, NodeBudgetBatchSampler
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.graphs.packed import build_graphs
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.simulation.text_writer import csv_text

WINDOW_SIZE, STRIDE, BATCH_SIZE = 256, 128, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, help="can-train-and-test csv; a simulated drive by default")
    parser.add_argument("--duration-s", type=float, default=600.0, help="of the simulated drive")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        csv = arguments.csv or simulated_csv(Path(folder) / "drive.csv", arguments.duration_s)
        stages: dict[str, float] = {}
        (first_s,) = timed(lambda: graphids_epoch(csv, stages), repeats=1)
        num_frames = len(read_captures(csv)[0].frames)
        check_same_batches(csv)
        print(f"{csv.name}: {num_frames} frames, {csv.stat().st_size / 1e6:.0f} MB; {arguments.repeats} repeats")
        ours = timed(lambda: graphids_epoch(csv, stages), arguments.repeats)
        preprocessing = fitted(csv)
        usual = timed(lambda: usual_epoch(csv, preprocessing), arguments.repeats)
    print(f"{'':12}{'median s':>10}{'min s':>10}{'frames/s (median)':>20}{'frames/s (best)':>18}")
    for name, seconds in (("graphids", ours), ("usual way", usual)):
        median, least = statistics.median(seconds), min(seconds)
        print(f"{name:12}{median:10.3f}{least:10.3f}{num_frames / median:20,.0f}{num_frames / least:18,.0f}")
    print(f"ratio of medians {statistics.median(usual) / statistics.median(ours):.0f}")
    print("graphids by stage, last repeat: " + ", ".join(f"{name} {s * 1e3:.0f} ms" for name, s in stages.items()))
    print(f"graphids' first epoch of this process, including loading or compiling its kernels: {first_s:.1f} s")


def simulated_csv(path: Path, duration_s: float) -> Path:
    path.write_bytes(csv_text(simulate_vehicle(seed=0, duration_s=duration_s, attack="fuzzy")))
    return path


def timed(epoch: Callable[[], None], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        epoch()
        seconds.append(time.process_time() - started)
    return seconds


def graphids_epoch(csv: Path, stages: dict[str, float]) -> None:
    clock = [time.process_time()]
    (capture,) = read_captures(csv)
    clock.append(time.process_time())
    graphs = build_graphs(capture.frames, WINDOW_SIZE, STRIDE)
    clock.append(time.process_time())
    preprocessing = Preprocessing.fit(graphs, window_size=WINDOW_SIZE, stride=STRIDE)
    clock.append(time.process_time())
    sampler = NodeBudgetBatchSampler(graphs.num_nodes(), BATCH_SIZE, shuffle=True)
    for _ in DataLoader(GraphBatches(graphs, preprocessing), sampler=sampler, batch_size=None):
        pass
    clock.append(time.process_time())
    stages.update(zip(("read", "graphs", "fit", "batches"), (b - a for a, b in pairwise(clock)), strict=True))


def usual_epoch(csv: Path, preprocessing: Preprocessing) -> None:
    for _ in PyGDataLoader(usual_graphs(csv, preprocessing), batch_size=BATCH_SIZE, shuffle=True):
        pass


def fitted(csv: Path) -> Preprocessing:
    (capture,) = read_captures(csv)
    graphs = build_graphs(capture.frames, WINDOW_SIZE, STRIDE)
    return Preprocessing.fit(graphs, window_size=WINDOW_SIZE, stride=STRIDE)


def usual_graphs(csv: Path, preprocessing: Preprocessing) -> list[Data]:
    """A Data object for every window, features computed by numpy window by window."""
    table = pd.read_csv(csv, dtype={"arbitration_id": "category", "data_field": str}, keep_default_na=False)
    ids = table["arbitration_id"].cat
    numbers = np.array([int(text, 16) for text in ids.categories], dtype=np.uint32)
    key = numbers[ids.codes.to_numpy()]
    text = table["data_field"]
    dlc = text.str.len().to_numpy() // 2
    payload = np.frombuffer(bytes.fromhex("".join(text.str.ljust(16, "0"))), np.uint8).reshape(-1, 8)
    timestamp, attack = table["timestamp"].to_numpy(), table["attack"].to_numpy()
    data = []
    for start in range(0, len(table) - WINDOW_SIZE + 1, STRIDE):
        rows = slice(start, start + WINDOW_SIZE)
        x, edge_index, edge_attr, node_key = usual_window(timestamp[rows], key[rows], dlc[rows], payload[rows])
        tokens = preprocessing.tokens(node_key)
        data.append(
            Data(
                x=torch.from_numpy(preprocessing.nodes(x, tokens)),
                token=torch.from_numpy(tokens),
                edge_index=torch.from_numpy(edge_index),
                edge_attr=torch.from_numpy(preprocessing.edges(edge_attr)),
                y=torch.tensor([int(attack[rows].any())]),
            )
        )
    return data


def usual_window(
    timestamp: NDArray[np.float64], key: NDArray[np.uint32], dlc: NDArray[np.int64], payload: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.uint32]]:
    """Node features, edges, edge features and node keys of one window; frames sorted by node, then reduced by runs."""
    unique, first, node = np.unique(key, return_index=True, return_inverse=True)
    appearance = np.argsort(first)
    node = np.argsort(appearance)[node]  # in order of first appearance
    steps = np.maximum(np.diff(timestamp), 0.0)
    duration = steps.sum()
    order = np.argsort(node, kind="stable")
    count = np.bincount(node)
    run = np.concatenate(([0], np.cumsum(count)[:-1]))
    sent = payload[order].astype(np.float64)
    means = np.add.reduceat(sent, run) / count[:, None]
    spreads = np.sqrt(np.maximum(np.add.reduceat(sent**2, run) / count[:, None] - means**2, 0.0))
    ranges = np.maximum.reduceat(sent, run) - np.minimum.reduceat(sent, run)
    same = np.diff(node[order]) == 0  # neighbours in this order that are messages of one ID
    owner, gaps = node[order][1:][same], np.maximum(np.diff(timestamp[order])[same], 0.0)
    num_gaps = np.maximum(count - 1, 1)
    changed = (np.diff(sent, axis=0) != 0)[same]
    changes = np.stack([np.bincount(owner, changed[:, b], len(count)) for b in range(8)], axis=1) / num_gaps[:, None]
    differs = changed.any(axis=1) | (np.diff(dlc[order]) != 0)[same]
    gap_mean = np.bincount(owner, gaps, len(count)) / num_gaps
    gap_spread = np.sqrt(np.maximum(np.bincount(owner, gaps**2, len(count)) / num_gaps - gap_mean**2, 0.0))
    gap_min, gap_max = np.full(len(count), np.inf), np.zeros(len(count))
    np.minimum.at(gap_min, owner, gaps)
    np.maximum.at(gap_max, owner, gaps)
    once = count == 1
    gap_mean[once] = gap_min[once] = gap_max[once] = duration
    moving = node[:-1] != node[1:]
    pair = node[:-1][moving] * len(count) + node[1:][moving]
    _, pair_first, pair_of = np.unique(pair, return_index=True, return_inverse=True)
    pair_order = np.argsort(pair_first)
    pair_of = np.argsort(pair_order)[pair_of]
    edge_index = np.stack(np.divmod(pair[np.sort(pair_first)], len(count)))
    edge_count = np.bincount(pair_of)
    edge_mean = np.bincount(pair_of, steps[moving]) / edge_count
    edge_square = np.bincount(pair_of, steps[moving] ** 2) / edge_count
    edge_min = np.full(len(edge_count), np.inf)
    np.minimum.at(edge_min, pair_of, steps[moving])
    columns = [
        count,
        count / duration if duration > 0 else np.zeros(len(count)),
        gap_mean,
        gap_spread,
        gap_min,
        gap_max,
        np.bincount(owner, differs, len(count)) / num_gaps,
        np.bincount(node, dlc) / count,
        np.bincount(edge_index[1], minlength=len(count)),
        np.bincount(edge_index[0], minlength=len(count)),
        np.bincount(node[1:][~moving], minlength=len(count)),
        np.full(len(count), duration),
    ]
    x = np.hstack((means, spreads, ranges, changes, np.stack(columns, axis=1))).astype(np.float32)
    edge_spread = np.sqrt(np.maximum(edge_square - edge_mean**2, 0.0))
    edge_columns = (edge_count, edge_count / count[edge_index[0]], edge_mean, edge_spread, edge_min)
    return x, edge_index, np.stack(edge_columns, axis=1).astype(np.float32), unique[appearance]


def check_same_batches(csv: Path) -> None:
    """Both ways give the same tensors, batch by batch, in recorded order."""
    (capture,) = read_captures(csv)
    graphs = build_graphs(capture.frames, WINDOW_SIZE, STRIDE)
    preprocessing = fitted(csv)
    ours = GraphBatches(graphs, preprocessing)
    for number, usual in enumerate(PyGDataLoader(usual_graphs(csv, preprocessing), batch_size=BATCH_SIZE)):
        first = number * BATCH_SIZE
        batch = ours[range(first, min(first + BATCH_SIZE, len(graphs)))]
        for name in ("token", "edge_index", "y", "batch"):
            torch.testing.assert_close(batch[name], usual[name], rtol=0, atol=0)
        for name in ("x", "edge_attr"):
            # Spreads of nearly constant gaps are differences of nearly equal numbers, summed in another order.
            torch.testing.assert_close(batch[name], usual[name], rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    main()
