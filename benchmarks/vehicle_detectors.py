"""Detectors to compare on vehicles: the network, its twin without edges, trees, the largest deviation and rules.

Networks are `GAT` under the loss of `Detector`, in a plain loop instead of a `Trainer`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from vehicle_windows import CLASSES, Judged

from graphids.core.data.batches import GraphBatches
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.data.rules import RuleBaseline
from graphids.core.evaluation import attack_margin
from graphids.core.graphs.features import DEVIATIONS, EDGE_FEATURES, column_names
from graphids.core.graphs.packed import PackedGraphs, concat_graphs
from graphids.core.inference import classify, represent
from graphids.core.models.detector import Detector
from graphids.core.models.losses import inverse_sqrt_frequency
from graphids.core.models.optimization import lr_factor, parameter_groups

TREES = {"max_iter": 120, "learning_rate": 0.08, "max_leaf_nodes": 15, "l2_regularization": 1.0}
_SURPRISE = column_names(DEVIATIONS).index("surprise")
Scores = NDArray[np.float64]
Named = tuple[Scores, NDArray[np.float32]]
# Scores of windows, and where it names IDs, the logit of each node.
Detect = Callable[[Judged], tuple[Scores, NDArray[np.float32] | None]]


class Settings(NamedTuple):
    """What all detectors share.

    Attributes:
        window: Frames.
        windows: To learn from, at most.
        epochs: Of the networks.
        first_seed: Of the draw of windows, of the trees and of the first network.
        num_seeds: Networks of either kind.
    """

    window: int = 100
    windows: int = 20_000
    epochs: int = 2
    first_seed: int = 0
    num_seeds: int = 1

    @property
    def seeds(self) -> range:
        """Of the networks."""
        return range(self.first_seed, self.first_seed + self.num_seeds)


def fitted(
    vehicles: Iterable[list[PackedGraphs]], settings: Settings, *, without: Iterable[str] = ()
) -> dict[str, list[Detect]]:
    """The detectors by name, learned from these vehicles' windows; the networks once for each seed.

    Args:
        vehicles: Windows of each.
        settings: Of all detectors.
        without: Kinds of attack that none of them may learn.
    """
    graphs = drawn(vehicles, settings, without=without)
    networks = {
        name: [network(graphs, settings, seed, edges=edges) for seed in settings.seeds]
        for name, edges in (("graphids", True), ("no edges", False))
    }
    return {
        **{name: [judging(network) for network in found] for name, found in networks.items()},
        "trees": [trees(graphs, settings.first_seed)],
        "largest": [lambda capture: (largest_deviations(capture.graphs), None)],
        "rules": [lambda capture: (RuleBaseline.fit(capture.normal).score(capture.raw), None)],
    }


def judging(network: Callable[[PackedGraphs], Named]) -> Detect:
    return lambda capture: network(capture.graphs)


def drawn(vehicles: Iterable[list[PackedGraphs]], settings: Settings, *, without: Iterable[str] = ()) -> PackedGraphs:
    """Windows to learn from, in random order."""
    graphs = concat_graphs([part for parts in vehicles for part in parts], classes=CLASSES)
    left_out = [CLASSES.index(kind) for kind in without]
    graphs = graphs.take(np.flatnonzero(~np.isin(graphs.label, left_out)))
    return graphs.take(np.random.default_rng(settings.first_seed).permutation(len(graphs))[: settings.windows])


def network(graphs: PackedGraphs, settings: Settings, seed: int, *, edges: bool) -> Callable[[PackedGraphs], Named]:
    """The network of `Detector` with its loss and optimizer."""
    size, epochs, batch_size = settings.window, settings.epochs, 64
    preprocessing = Preprocessing.fit(graphs, window_size=size, stride=size, features="deviations")
    torch.manual_seed(seed)
    detector = Detector(edges=edges)
    detector.build(preprocessing.num_tokens, len(DEVIATIONS), len(EDGE_FEATURES), len(CLASSES))
    detector.class_weight.copy_(inverse_sqrt_frequency(torch.as_tensor(graphs.label), len(CLASSES)))
    hparams, steps = detector.hparams, epochs * (len(graphs) // batch_size)
    optimizer = torch.optim.AdamW(
        parameter_groups(detector.gat), lr=hparams["lr"], weight_decay=hparams["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, steps, hparams["warmup"]))
    batches, rng = GraphBatches(graphs, preprocessing), np.random.default_rng(seed)
    for _ in range(epochs):
        for indices in rng.permutation(len(graphs))[: steps // epochs * batch_size].reshape(-1, batch_size):
            optimizer.zero_grad()
            loss, _ = detector.loss(batches[indices])
            loss.backward()
            optimizer.step()
            schedule.step()

    def detect(judged: PackedGraphs) -> Named:
        represented = represent(detector.gat, judged, preprocessing)
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
