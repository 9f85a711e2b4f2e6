"""What deviations from a vehicle's own profile tell of attacks on it, when no attack on it was ever learned from.

    GRAPHIDS_TEST_DATA=... python benchmarks/unknown_vehicles.py [--window 100] [--seeds 1] [--epochs 2]

For each car with labelled captures, detectors learn from the windows of all other vehicles, over whose attack-free
recordings attacks are laid, and judge the car's labelled captures, given its attack-free ones alone ("cold") or those
and the first eight seconds of the drive ("warm", which are then no test windows). The detectors:

- graphids: `GAT` under the loss of `Detector`, in a plain loop instead of a `Trainer`; and the same without edges;
- trees: boosted trees (scikit-learn) over the largest deviations of a window;
- largest: the largest deviation, which learns nothing;
- rules: `RuleBaseline` fitted on the same attack-free recordings of the car itself, raw features.

Windows within an attack that hold no attacked frame are left out. Recall and delay are of attacks (two in a capture),
at the threshold at which the car's windows before the first attack alarm once a minute: few windows, so a point of each
detector's curve rather than a threshold to use. "False alarms" is the share of all normal windows beyond it, those in
the wake of an attack included; "named" the share of detected attack windows whose first ID is attacked.
Captures of `semisynthetic` are real recordings with attacks laid over by another program; the last table is of real
recorded attacks.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, as `graphids` does it

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from vehicle_windows import CARS, CLASSES, Judged, attack_free, examples, judged, recorded_attacks

from graphids.core.classifier import classify, represent
from graphids.core.data.batches import GraphBatches
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.data.rules import RuleBaseline
from graphids.core.evaluation import attack_margin
from graphids.core.graphs.features import DEVIATIONS, EDGE_FEATURES, column_names
from graphids.core.graphs.packed import PackedGraphs, concat_graphs
from graphids.core.models.detector import Detector
from graphids.core.models.losses import inverse_sqrt_frequency
from graphids.core.models.optimization import lr_factor, parameter_groups

TREES = {"max_iter": 120, "learning_rate": 0.08, "max_leaf_nodes": 15, "l2_regularization": 1.0}
FALSE_ALARMS_PER_HOUR = 60.0
_SURPRISE = column_names(DEVIATIONS).index("surprise")
Scores = NDArray[np.float64]
# Scores of windows, and where it names IDs, the logit of each node.
Detect = Callable[[Judged], tuple[Scores, NDArray[np.float32] | None]]


class Figures(NamedTuple):
    """What is measured of one detector on one capture; NaN where it is not defined."""

    auroc: float
    precision: float
    recall: float
    delay_s: float
    false_alarms: float
    named: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", type=int, default=100, help="frames")
    parser.add_argument("--pieces", type=int, default=4, help="of each vehicle, to lay attacks over")
    parser.add_argument("--seed", type=int, default=0, help="of the attacks, and the first of the networks'")
    parser.add_argument("--seeds", type=int, default=1, help="networks to train for each car; figures are their mean")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--windows", type=int, default=20_000, help="to learn from, drawn from all")
    arguments = parser.parse_args()
    data = Path(os.environ["GRAPHIDS_TEST_DATA"])
    learned = {
        vehicle: list(examples(recordings, arguments.window, arguments.pieces, arguments.seed))
        for vehicle, recordings in attack_free(data).items()
    }
    cars: dict[tuple[str, str, str], list[Figures]] = defaultdict(list)
    share: dict[tuple[str, str], list[float]] = defaultdict(list)
    for car in CARS:
        detectors = fitted([parts for vehicle, parts in learned.items() if vehicle != car], arguments)
        for state in ("cold", "warm"):
            captures = list(judged(data / "semisynthetic" / car, arguments.window, warm=state == "warm"))
            for kind, capture in captures:
                share[state, kind].append(float((capture.graphs.label > 0).mean()))
            for name, runs in detectors.items():
                for detect in runs:
                    for kind, figures in measured(detect, captures):
                        cars[state, kind, name].append(figures)
    for state in ("cold", "warm"):
        show(f"{state}, three cars", cars, share, state, list(detectors))
    detectors = fitted(list(learned.values()), arguments)
    real: dict[tuple[str, str, str], list[Figures]] = defaultdict(list)
    share = {}
    for kind, capture in recorded_attacks(data, arguments.window):
        share["real", kind] = [float((capture.graphs.label > 0).mean())]
        for name, runs in detectors.items():
            for detect in runs:
                real["real", kind, name] += [figures for _, figures in measured(detect, [(kind, capture)])]
    show("real recorded attacks, none learned from", real, share, "real", list(detectors))


def fitted(vehicles: Iterable[list[PackedGraphs]], arguments: argparse.Namespace) -> dict[str, list[Detect]]:
    """The detectors by name, learned from these vehicles' windows; the networks once for each seed."""
    graphs = concat_graphs([part for parts in vehicles for part in parts], classes=CLASSES)
    chosen = np.random.default_rng(arguments.seed).permutation(len(graphs))[: arguments.windows]
    graphs = graphs.take(chosen)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    return {
        "graphids": [network(graphs, arguments, seed, edges=True) for seed in seeds],
        "no edges": [network(graphs, arguments, seed, edges=False) for seed in seeds],
        "trees": [trees(graphs, arguments.seed)],
        "largest": [lambda capture: (largest_deviations(capture.graphs), None)],
        "rules": [lambda capture: (RuleBaseline.fit(capture.normal).score(capture.raw), None)],
    }


def network(graphs: PackedGraphs, arguments: argparse.Namespace, seed: int, *, edges: bool) -> Detect:
    """The network of `Detector` with its loss and optimizer."""
    size, epochs, batch_size = arguments.window, arguments.epochs, 64
    preprocessing = Preprocessing.fit(graphs, window_size=size, stride=size, features="deviations")
    torch.manual_seed(seed)
    detector = Detector(edges=edges)
    detector.build(preprocessing.num_tokens, len(DEVIATIONS), len(EDGE_FEATURES), len(CLASSES))
    detector.class_weight.copy_(inverse_sqrt_frequency(torch.as_tensor(graphs.label), len(CLASSES)))
    settings, steps = detector.hparams, epochs * (len(graphs) // batch_size)
    optimizer = torch.optim.AdamW(
        parameter_groups(detector.gat), lr=settings["lr"], weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, steps, settings["warmup"]))
    batches, rng = GraphBatches(graphs, preprocessing), np.random.default_rng(seed)
    for _ in range(epochs):
        for indices in rng.permutation(len(graphs))[: steps // epochs * batch_size].reshape(-1, batch_size):
            optimizer.zero_grad()
            loss, _ = detector.loss(batches[indices])
            loss.backward()
            optimizer.step()
            schedule.step()

    def detect(capture: Judged) -> tuple[Scores, NDArray[np.float32]]:
        represented = represent(detector.gat, capture.graphs, preprocessing)
        margin = attack_margin(classify(detector.gat, represented.states))
        return margin.numpy(), represented.node_logits.numpy()

    return detect


def trees(graphs: PackedGraphs, seed: int) -> Detect:
    """Boosted trees in which normal traffic weighs as much as all attacks."""
    attack = graphs.label > 0
    weight = np.where(attack, 1 / max(attack.sum(), 1), 1 / max((~attack).sum(), 1)) * len(attack) / 2
    features = window_features(graphs)
    # A larger deviation never speaks for normal traffic, whatever one vehicle's quirks teach.
    rising = np.ones(features.shape[1], np.int64)
    model = HistGradientBoostingClassifier(random_state=seed, monotonic_cst=rising, **TREES)
    model.fit(features, attack, sample_weight=weight)
    return lambda capture: (model.predict_proba(window_features(capture.graphs))[:, 1], None)


def window_features(graphs: PackedGraphs) -> NDArray[np.float32]:
    """Largest, second largest and sum of every deviation, and the two most deviating IDs of a window; [G, 3F + 2]."""
    deviation = np.log1p(graphs.x)
    features = np.zeros((len(graphs), 3 * deviation.shape[1] + 2), np.float32)
    for window in range(len(graphs)):
        own = deviation[graphs.node_ptr[window] : graphs.node_ptr[window + 1]]
        ordered, of_nodes = np.sort(own, axis=0), np.sort(own.max(axis=1))
        second = -2 if len(own) > 1 else -1
        features[window] = np.concatenate(
            (ordered[-1], ordered[second], np.log1p(own.sum(axis=0)), of_nodes[[-1, second]])
        )
    return features


def largest_deviations(graphs: PackedGraphs) -> Scores:
    """Without the order of IDs, which always surprises a little."""
    of_nodes = np.delete(graphs.x, _SURPRISE, axis=1).max(axis=1)
    return np.asarray(np.maximum.reduceat(of_nodes, graphs.node_ptr[:-1]), np.float64)


def measured(detect: Detect, captures: list[tuple[str, Judged]]) -> list[tuple[str, Figures]]:
    """Figures of each capture of one car."""
    found = [(kind, capture, *detect(capture)) for kind, capture in captures]
    quiet = [capture.graphs.end_s < capture.events.min() for _, capture, _, _ in found]
    spans = [
        (capture.graphs.end_s - capture.graphs.start_s)[rows]
        for (_, capture, _, _), rows in zip(found, quiet, strict=True)
    ]
    normal = np.concatenate([score[rows] for (_, _, score, _), rows in zip(found, quiet, strict=True)])
    allowed = int(np.concatenate(spans).sum() / 3600 * FALSE_ALARMS_PER_HOUR)
    threshold = float(np.sort(normal)[-1 - allowed]) if len(normal) > allowed else np.inf
    return [(kind, figures(capture, score, threshold, logits)) for kind, capture, score, logits in found]


def figures(capture: Judged, score: Scores, threshold: float, node_logits: NDArray[np.float32] | None) -> Figures:
    graphs, attack = capture.graphs, capture.graphs.label > 0
    alarm = attack & (score > threshold)
    delays = [
        graphs.end_s[alarm & (graphs.end_s >= first_s) & (graphs.start_s <= last_s)].min(initial=np.inf) - first_s
        for first_s, last_s in capture.events
        if (attack & (graphs.end_s >= first_s) & (graphs.start_s <= last_s)).any()
    ]
    detected = [delay for delay in delays if np.isfinite(delay)]
    return Figures(
        auroc=float(roc_auc_score(attack, score)),
        precision=float(average_precision_score(attack, score)),
        recall=len(detected) / max(len(delays), 1),
        delay_s=float(np.mean(detected)) if detected else np.nan,
        false_alarms=float((score > threshold)[~attack].mean()),
        named=np.nan if node_logits is None else named(graphs, alarm, node_logits),
    )


def named(graphs: PackedGraphs, alarm: NDArray[np.bool_], node_logits: NDArray[np.float32]) -> float:
    """Share of these windows, of those that hold an attacked node, in which it is the most suspicious."""
    window = np.repeat(np.arange(len(graphs)), graphs.num_nodes())
    first = np.lexsort((-node_logits, window))[graphs.node_ptr[:-1]]
    known = alarm & (np.maximum.reduceat(graphs.node_attacked, graphs.node_ptr[:-1]) == 1)
    return float((graphs.node_attacked[first] == 1)[known].mean()) if known.any() else np.nan


def show(
    title: str,
    results: dict[tuple[str, str, str], list[Figures]],
    share: dict[tuple[str, str], list[float]],
    state: str,
    names: list[str],
) -> None:
    """A table for each figure: a row for each kind, a column for each detector, the mean over cars and seeds."""
    kinds = list(dict.fromkeys(kind for found, kind, _ in results if found == state))
    for figure in Figures._fields:
        columns = [
            name for name in names if not np.isnan([mean(results[state, kind, name], figure) for kind in kinds]).all()
        ]
        print(f"\n{title}: {figure}\n{'':48} {'share':>6} " + " ".join(f"{name:>9}" for name in columns))
        means = [
            [np.mean(share[state, kind]), *(mean(results[state, kind, name], figure) for name in columns)]
            for kind in kinds
        ]
        for kind, row in zip([*kinds, "macro"], [*means, np.nanmean(means, axis=0)], strict=True):
            print(f"{kind:48} {row[0]:6.2f} " + " ".join(f"{value:9.3f}" for value in row[1:]), flush=True)


def mean(found: list[Figures], figure: str) -> float:
    values = [getattr(figures, figure) for figures in found]
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan


if __name__ == "__main__":
    main()
