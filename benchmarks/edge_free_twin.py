"""Do edges pay? The network and its twin without edges on vehicles of which neither has seen anything.

    GRAPHIDS_TEST_DATA=... python benchmarks/edge_free_twin.py [--seeds 5] [--window 100]

Six vehicles, three left out at a time, under the twelve injected attacks; both networks learn from the same windows of
all other vehicles. The three cars with captures to judge (`unknown_vehicles.py`) are in neither part, so that the
default may be chosen by what comes out. AUROC of each kind's windows against all normal ones of the vehicle, mean over
vehicles; the difference with its standard error over seeds; and how often the first ID named is attacked, in windows
beyond the 98 % quantile of the vehicle's normal ones.
"""

import argparse
import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, as `graphids` does it

import numpy as np
from sklearn.metrics import roc_auc_score
from vehicle_detectors import Named, Settings, drawn, network
from vehicle_figures import named
from vehicle_windows import CARS, CLASSES, VEHICLES, attack_free, examples

from graphids.core.graphs.packed import PackedGraphs, concat_graphs
from graphids.core.injection.inject import KINDS

FOLDS = tuple(sorted(VEHICLES.values())[start::2] for start in (0, 1))
MASQUERADES = tuple(kind for kind in KINDS if kind.startswith("masquerade"))
OTHERS = tuple(kind for kind in KINDS if kind not in MASQUERADES)
QUIET = 0.98


class Found(NamedTuple):
    """Of one network on one vehicle, by kind."""

    auroc: dict[str, float]
    named: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--window", type=int, default=100, help="frames")
    parser.add_argument("--pieces", type=int, default=4, help="of each vehicle, to lay attacks over")
    given = parser.parse_args()
    settings = Settings(window=given.window, num_seeds=given.seeds)
    parts = {
        vehicle: list(examples(recordings, given.window, given.pieces, 0))
        for vehicle, recordings in attack_free(Path(os.environ["GRAPHIDS_TEST_DATA"])).items()
        if vehicle not in CARS
    }
    windows = {vehicle: concat_graphs(own, classes=CLASSES) for vehicle, own in parts.items() if own}
    found: dict[tuple[int, bool], list[Found]] = defaultdict(list)
    for fold in FOLDS:
        graphs = drawn([[own] for vehicle, own in windows.items() if vehicle not in fold], settings)
        for seed in settings.seeds:
            for edges in (True, False):
                detect = network(graphs, settings, seed, edges=edges)
                found[seed, edges] += [measured(windows[vehicle], detect(windows[vehicle])) for vehicle in fold]
    show(found, settings.seeds)


def measured(graphs: PackedGraphs, result: Named) -> Found:
    score, node_logits = result
    normal = graphs.label == 0
    threshold = np.quantile(score[normal], QUIET)
    auroc, first = {}, {}
    for kind in set(graphs.present_classes()) & set(KINDS):
        attack = graphs.label == graphs.classes.index(kind)
        auroc[kind] = float(roc_auc_score(attack[attack | normal], score[attack | normal]))
        first[kind] = named(graphs, attack & (score > threshold), node_logits)
    return Found(auroc, first)


def show(found: dict[tuple[int, bool], list[Found]], seeds: range) -> None:
    def mean(seed: int, edges: bool, kinds: tuple[str, ...], figure: str) -> float:
        values = [getattr(one, figure).get(kind, np.nan) for one in found[seed, edges] for kind in kinds]
        return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan

    groups = {"all twelve kinds": KINDS, "masquerades": MASQUERADES, "the other eight": OTHERS}
    groups |= {kind: (kind,) for kind in KINDS}
    for figure in Found._fields:
        print(f"\n{figure:20} {'edges':>7} {'without':>8} {'difference':>11} {'std. error':>11}")
        for name, kinds in groups.items():
            both = np.array([[mean(seed, edges, kinds, figure) for edges in (True, False)] for seed in seeds])
            differences = both[:, 0] - both[:, 1]
            error = differences.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.nan
            print(
                f"{name:20} {both[:, 0].mean():7.4f} {both[:, 1].mean():8.4f} {differences.mean():11.4f} {error:11.4f}"
            )


if __name__ == "__main__":
    main()
