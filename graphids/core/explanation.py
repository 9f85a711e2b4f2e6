"""Explanation: which arbitration IDs and which of their features drove the score of one window.

The network says of each ID how likely it is attacked. Whether something matters is then tested: the window is scored
again without the ID, and with one feature at its usual value.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graphids.core.classifier import DEFAULT_TOP_K, WindowClassifier, require_finite_timestamps
from graphids.core.data.batches import GraphBatches, NetworkInput
from graphids.core.data.preprocessing import UNK
from graphids.core.evaluation import attack_margin
from graphids.core.frames import Frames, format_arbitration_id
from graphids.core.graphs.features import EDGE_FEATURES, FEATURES, column_names
from graphids.core.graphs.followers import WARM_UP_S
from graphids.core.graphs.packed import PackedGraphs, build_graphs, concat_graphs
from graphids.core.graphs.window_stream import Window, find_windows
from graphids.core.inference import classify, order_by_suspicion, represent
from graphids.core.models.isolation import isolated
from graphids.core.profile.follower import Follower


@dataclass(frozen=True, slots=True)
class IdEvidence:
    """How one arbitration ID contributes to the score of its window.

    Attributes:
        arbitration_id: Hex, as in `WindowScores.arbitration_ids`.
        is_known: False for an ID that is not among `WindowClassifier.known_ids`.
        frames: Its frames in the window; 0 for one that is overdue.
        suspicion: How likely the network holds it for attacked, 0 to 1; `arbitration_ids` are in its order.
        score_without: Score of the window without the ID; None where no other ID is left.
        margin_without: The same as log-odds, nats.
    """

    arbitration_id: str
    is_known: bool
    frames: int
    suspicion: float
    score_without: float | None
    margin_without: float | None


@dataclass(frozen=True, slots=True)
class FeatureEvidence:
    """How one feature of one arbitration ID contributes to the score.

    Attributes:
        arbitration_id: Hex.
        feature: Name of a column of `FEATURES`, of those that the model is trained on.
        unit: Its unit; "1" for a plain number.
        value: In this window.
        usual: Mean over the ID's normal training windows, None for an ID that training has not seen; 0 for a deviation.
        spreads: How far `value` lies from `usual`, in the ID's own spreads; None where that is, and for a deviation.
        margin_change: How much the log-odds of attack fall when this feature alone is set to `usual`, nats. Where that
            is None, to the mean over all IDs, by which the features of an unknown ID are centred.
    """

    arbitration_id: str
    feature: str
    unit: str
    value: float
    usual: float | None
    spreads: float | None
    margin_change: float


@dataclass(frozen=True, slots=True)
class EdgeEvidence:
    """One edge of the graph: `target` directly followed `source` `frames` times; attention is 0 to 1."""

    source: str
    target: str
    frames: int
    attention: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """One window, its verdict and what drove it.

    Attributes:
        window: Number of the window in its capture, from 0.
        channel: Bus that carried it.
        start_s: Timestamp of its first frame.
        end_s: Timestamp of its last frame.
        frames: Frames in it.
        score: 1 - P(normal).
        margin: The same as log-odds, nats, which still tell scores near 1 apart.
        threshold: `score >= threshold` alerts, as an expert may beside it.
        alert: Whether it does.
        kind: The likeliest attack kind of an alert, else "normal".
        margin_without_unknown: `margin` without all IDs that are not known; None where no ID is unknown, or all are. An
            attack that spreads over many IDs shows here and in none of them alone.
        ids: The most suspicious first; the first are those that `WindowScores.arbitration_ids` names.
        features: Of the IDs that an alert names by default, those that drove the score most first.
        edges: Most attended to first.
    """

    window: int
    channel: str
    start_s: float
    end_s: float
    frames: int
    score: float
    margin: float
    threshold: float
    alert: bool
    kind: str
    margin_without_unknown: float | None
    ids: tuple[IdEvidence, ...]
    features: tuple[FeatureEvidence, ...]
    edges: tuple[EdgeEvidence, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, JSON-able."""
        return asdict(self)


def explain(
    classifier: WindowClassifier,
    capture: Frames | Iterable[Frames],
    window: int,
    *,
    threshold: float | None = None,
    warm_up_s: float = WARM_UP_S,
    name: str = "the capture",
) -> Explanation:
    """Explain the window with that number among those that `classifier.score` gives for the capture.

    Args:
        classifier: The model whose score is explained.
        capture: Its frames from the beginning, whole or in chunks; chunks after the window are not read.
        window: Number of the window, from 0.
        threshold: The model's own by default.
        warm_up_s: As in `WindowClassifier.score`.
        name: Of the capture, for errors.

    Raises:
        DataError: If there is no such window, or the model lacks the profile that it needs.
        ValueError: As `WindowClassifier.score`.
    """
    chunks = [capture] if isinstance(capture, Frames) else capture
    explained = explain_each(classifier, chunks, [window], threshold=threshold, warm_up_s=warm_up_s, name=name)
    return next(explained)[1]


def explain_each(
    classifier: WindowClassifier,
    chunks: Iterable[Frames],
    windows: Collection[int],
    *,
    threshold: float | None = None,
    warm_up_s: float = WARM_UP_S,
    name: str = "the capture",
) -> Iterator[tuple[Window, Explanation]]:
    """Explain several windows of a capture by one pass over it; arguments and errors as in `explain`."""
    fitted, followers = classifier.preprocessing, classifier.followers(warm_up_s)
    for window in find_windows(
        followers.passing(chunks),
        windows,
        fitted.window_size,
        fitted.stride,
        name=name,
        on_passed=lambda stretch: classifier.pass_by(stretch, followers, threshold=threshold),
    ):
        follower = followers.of(window.channel)
        explanation = explain_window(classifier, window, threshold=threshold, follower=follower)
        if explanation.alert and followers.is_warming_up(window.channel):
            followers.keep_out(window.channel)
        yield window, explanation


@isolated()
def explain_window(
    classifier: WindowClassifier,
    window: Window,
    *,
    threshold: float | None = None,
    follower: Follower | None = None,
) -> Explanation:
    """Explain one window, with an alert or without one.

    Args:
        classifier: The model whose score is explained.
        window: Of the classifier's window size.
        threshold: The model's own by default.
        follower: Of the window's bus, which has followed its frames and all before them, and whose experts have seen
            the windows before; needed by a model that judges by deviations. `explain` brings it.

    Raises:
        ValueError: As `WindowClassifier.score`, or if the follower is missing.
    """
    graph = _graph(classifier, window, follower)
    verdict = classifier.score_graphs(graph, channel=window.channel, threshold=threshold, top_k=0, follower=follower)
    node_logits = represent(classifier.gat, graph, classifier.preprocessing).node_logits
    batch = GraphBatches(graph, classifier.preprocessing).network_input([0])
    attention = classifier.gat.edge_attention(*batch.to(classifier.gat.head.weight.device)[:4]).cpu().numpy()  # [E]
    alarms = verdict.evidence.alarms & (verdict.score < (classifier.threshold if threshold is None else threshold))
    order = order_by_suspicion(graph, node_logits.numpy(), np.where(alarms, verdict.evidence.surest_ids(), -1))
    suspicion = node_logits.double().sigmoid().numpy()
    is_known = np.isin(graph.node_key, classifier.known_ids)
    each_id = list(np.eye(len(order), dtype=np.bool_))
    margin, without = _margins_without(classifier, window.frames, graph, [*each_id, ~is_known])
    return Explanation(
        window=window.number,
        channel=window.channel,
        start_s=float(graph.start_s[0]),
        end_s=float(graph.end_s[0]),
        frames=len(window.frames),
        score=float(verdict.score[0]),
        margin=margin,
        threshold=classifier.threshold if threshold is None else threshold,
        alert=bool(verdict.alert[0]),
        kind=str(verdict.kind[0]),
        margin_without_unknown=None if is_known.all() else without[-1],
        ids=tuple(
            _id_evidence(graph, node, bool(is_known[node]), float(suspicion[node]), without[node]) for node in order
        ),
        features=_features(classifier, graph, batch, order[:DEFAULT_TOP_K], margin),
        edges=_edges(graph, attention),
    )


def _graph(classifier: WindowClassifier, window: Window, follower: Follower | None) -> PackedGraphs:
    """The window's graph, of raw features or of deviations."""
    frames, size = window.frames, len(window.frames)
    require_finite_timestamps(frames)
    if follower is None and classifier.preprocessing.features != "raw":
        raise ValueError(
            f"Window {window.number} comes without a follower of its bus, and the model judges by deviations from what "
            "came before. Expected one that has followed the capture from its beginning; `explain` brings it."
        )
    return build_graphs(frames, size, size, follower, frame_offset=window.first)


def _id_evidence(
    graph: PackedGraphs, node: int, is_known: bool, suspicion: float, margin_without: float | None
) -> IdEvidence:
    score = None if margin_without is None else torch.tensor(margin_without, dtype=torch.float64).sigmoid().item()
    return IdEvidence(
        arbitration_id=format_arbitration_id(graph.node_key[node]),
        is_known=is_known,
        frames=int(graph.node_frames[node]),
        suspicion=suspicion,
        score_without=score,
        margin_without=margin_without,
    )


def _margins_without(
    classifier: WindowClassifier, frames: Frames, graph: PackedGraphs, removed: Sequence[NDArray[np.bool_]]
) -> tuple[float, list[float | None]]:
    """Log-odds of attack of the window whole, and without each of the sets of nodes, bool [N].

    None where nothing is left. Raw features are measured anew from the remaining frames: the neighbours of a removed
    frame then follow each other directly, as if it had never been sent. Deviations of the other IDs stay as they are.
    """
    if classifier.preprocessing.features == "raw":
        keys = frames.node_key()
        left = [frames.take(~np.isin(keys, graph.node_key[nodes])) for nodes in removed]
        parts = [build_graphs(part, len(part), len(part)) if len(part) else None for part in left]
    else:
        parts = [None if nodes.all() else graph.without_nodes(nodes) for nodes in removed]
    graphs = concat_graphs([graph, *(part for part in parts if part is not None)])
    states = represent(classifier.gat, graphs, classifier.preprocessing).states
    margins = iter(attack_margin(classify(classifier.gat, states)).tolist())
    return next(margins), [None if part is None else next(margins) for part in parts]


def _features(
    classifier: WindowClassifier, graph: PackedGraphs, batch: NetworkInput, nodes: Iterable[int], margin: float
) -> tuple[FeatureEvidence, ...]:
    """Every feature of the given nodes, tested one at a time."""
    fitted, evidence = classifier.preprocessing, []
    is_raw = fitted.features == "raw"
    for node in nodes:
        token = int(batch.token[node])
        margins = _margins_as_usual(classifier, batch, node)  # [F]
        for index, column in enumerate(FEATURES[fitted.features]):
            value = float(graph.x[node, index])
            usual = None if is_raw and token == UNK else float(fitted.node_mean[token, index])
            scale = float(fitted.node_scale[token, index])
            evidence.append(
                FeatureEvidence(
                    arbitration_id=format_arbitration_id(graph.node_key[node]),
                    feature=column.name,
                    unit=column.unit,
                    value=value,
                    usual=usual,
                    spreads=(value - usual) / scale if is_raw and usual is not None else None,
                    margin_change=margin - float(margins[index]),
                )
            )
    return tuple(sorted(evidence, key=lambda feature: -feature.margin_change))


def _margins_as_usual(classifier: WindowClassifier, batch: NetworkInput, node: int) -> NDArray[np.float64]:
    """Log-odds of attack with one feature of the node at its usual value, one after another: float64 [F]."""
    num_nodes, copies = batch.x.shape
    each = torch.arange(copies)
    x = batch.x.repeat(copies, 1, 1)  # [F, N, F]
    x[each, node, each] = 0.0  # preprocessing puts the usual value at 0
    offset = (each * num_nodes).repeat_interleave(batch.edge_index.size(1))
    varied = NetworkInput(
        x=x.flatten(0, 1),
        token=batch.token.repeat(copies),
        edge_index=batch.edge_index.repeat(1, copies) + offset,
        edge_attr=batch.edge_attr.repeat(copies, 1),
        batch=each.repeat_interleave(num_nodes),
        num_graphs=copies,
    )
    with torch.inference_mode():
        states = classifier.gat.represent(*varied.to(classifier.gat.head.weight.device)).states
    margins: NDArray[np.float64] = attack_margin(classify(classifier.gat, states.cpu())).numpy()
    return margins


def _edges(graph: PackedGraphs, attention: NDArray[np.float32]) -> tuple[EdgeEvidence, ...]:
    names = [format_arbitration_id(key) for key in graph.node_key]
    return tuple(
        EdgeEvidence(
            source=names[graph.edge_index[0, edge]],
            target=names[graph.edge_index[1, edge]],
            frames=int(graph.edge_attr[edge, _EDGE_COUNT]),
            attention=float(attention[edge]),
        )
        for edge in np.argsort(-attention, kind="stable")
    )


_EDGE_COUNT = column_names(EDGE_FEATURES).index("count")
