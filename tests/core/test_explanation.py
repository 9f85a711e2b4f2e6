"""Does an explanation point at what was planted, and are its numbers what a second scoring says?"""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from graphids.core.classifier import WindowClassifier
from graphids.core.data.batches import GraphBatches, NetworkInput
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.explanation import Explanation, explain, explain_each, explain_window
from graphids.core.frames import DataError, Frames, format_arbitration_id
from graphids.core.graphs.features import EDGE_FEATURES, NODE_FEATURES, column_names
from graphids.core.graphs.packed import build_graphs, concat_graphs
from graphids.core.graphs.window_stream import Window
from graphids.core.graphs.windows import window_starts
from graphids.core.models.gat import GAT
from graphids.core.models.losses import balanced_binary_cross_entropy
from graphids.core.simulation.simulate import simulate
from support.tiny_model import STRIDE, WINDOW, three_ids, tiny_classifier, tiny_profile_classifier

KINDS = ("dos", "spoof")
TRAINED_WINDOW, TRAINED_STRIDE = 128, 64


@pytest.fixture(scope="module")
def trained() -> WindowClassifier:
    """A small network after ten epochs on three simulated drives under each kind of attack."""
    drives = [simulate(seed, 10.0, kind).frames for kind in KINDS for seed in range(3)]
    graphs = concat_graphs([build_graphs(frames, TRAINED_WINDOW, TRAINED_STRIDE) for frames in drives])
    fitted = Preprocessing.fit(graphs, window_size=TRAINED_WINDOW, stride=TRAINED_STRIDE)
    torch.manual_seed(0)
    gat = GAT(fitted.num_tokens, len(NODE_FEATURES), len(EDGE_FEATURES), 1 + len(KINDS), hidden=16, layers=1)
    optimizer = torch.optim.Adam(gat.parameters(), lr=5e-3)
    batches, generator = GraphBatches(graphs, fitted, unk_rate=0.05), np.random.default_rng(0)
    for _ in range(10):
        for indices in np.array_split(generator.permutation(len(graphs)), 8):
            batch = batches[indices]
            optimizer.zero_grad()
            represented = gat.represent(*(batch[name] for name in NetworkInput._fields))
            loss = torch.nn.functional.cross_entropy(gat.head(represented.states), batch.y)
            loss = loss + balanced_binary_cross_entropy(represented.node_logits, batch.node_y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return WindowClassifier(gat, fitted, threshold=0.5)


# Explanation, planted ID, and what the alert names.
Explained = list[tuple[Explanation, str, tuple[str, ...]]]


@pytest.fixture(scope="module", params=KINDS)
def explained(request: pytest.FixtureRequest, trained: WindowClassifier) -> Explained:
    """Forty of the alerted windows with one planted ID, from a drive that training has not seen."""
    frames = simulate(100, 10.0, request.param).frames
    assert frames.attack is not None
    scores, keys = trained.score(frames), frames.node_key()
    windows = [slice(s, s + TRAINED_WINDOW) for s in window_starts(len(frames), TRAINED_WINDOW, TRAINED_STRIDE)]
    planted = [np.unique(keys[window][frames.attack[window] == 1]) for window in windows]
    chosen = [k for k in np.flatnonzero(scores.alert) if len(planted[k]) == 1]
    assert len(chosen) >= 40
    return [
        (
            explain_window(trained, Window(int(k), "", frames.take(windows[k]))),
            format_arbitration_id(planted[k][0]),
            scores.arbitration_ids[k],
        )
        for k in chosen[:: len(chosen) // 40][:40]
    ]


def test_the_planted_id_stands_first_and_removing_its_frames_makes_the_score_fall(explained: Explained) -> None:
    first = [e.ids[0].arbitration_id == planted for e, planted, _ in explained]
    falls = [
        i.score_without is not None and i.score_without < e.score
        for e, planted, _ in explained
        for i in e.ids
        if i.arbitration_id == planted
    ]

    assert np.mean(first) >= 0.95
    assert np.mean(falls) >= 0.9


def test_no_other_id_takes_as_much_of_the_score_with_it(explained: Explained) -> None:
    largest = [
        min(e.ids, key=lambda i: np.inf if i.margin_without is None else i.margin_without).arbitration_id == planted
        for e, planted, _ in explained
    ]

    assert np.mean(largest) >= 0.9


def test_the_feature_that_drove_the_score_most_is_one_of_the_planted_id(explained: Explained) -> None:
    assert np.mean([e.features[0].arbitration_id == planted for e, planted, _ in explained]) >= 0.85


def test_the_first_ids_are_those_that_the_alert_names(explained: Explained) -> None:
    for e, _, named in explained:
        assert tuple(i.arbitration_id for i in e.ids[: len(named)]) == named


@pytest.fixture(scope="module")
def tiny() -> WindowClassifier:
    return tiny_classifier()


def test_the_verdict_is_that_of_the_window_among_all(tiny: WindowClassifier) -> None:
    frames = three_ids(30, seed=1)
    scores = tiny.score(frames)
    middle = float(np.median(scores.score))
    scores = tiny.score(frames, threshold=middle)

    explanations = [explain(tiny, frames, k, threshold=middle) for k in range(len(scores))]

    assert [e.window for e in explanations] == list(range(len(scores)))
    assert [(e.start_s, e.end_s) for e in explanations] == list(zip(scores.start_s, scores.end_s, strict=True))
    assert [e.alert for e in explanations] == scores.alert.tolist()
    assert [e.kind for e in explanations] == scores.kind.tolist()
    np.testing.assert_allclose([e.score for e in explanations], scores.score, rtol=1e-6)
    np.testing.assert_allclose([1 / (1 + np.exp(-e.margin)) for e in explanations], scores.score, rtol=1e-5)


def test_the_score_without_an_id_is_that_of_the_frames_that_are_left(tiny: WindowClassifier) -> None:
    frames = frames_with([0x1A4, 0x2B0, 0x18FEF100, 0x2B0])
    left = frames.take(frames.arbitration_id != 0x2B0)
    two_frames = replace(tiny, preprocessing=replace(tiny.preprocessing, window_size=2))

    (without,) = (i for i in explain(tiny, frames, 0).ids if i.arbitration_id == "2B0")

    assert without.frames == 2
    assert without.score_without == pytest.approx(two_frames.score(left).score[0], rel=1e-6)


def test_an_id_that_is_alone_in_its_window_cannot_be_removed(tiny: WindowClassifier) -> None:
    (only,) = explain(tiny, frames_with([0x1A4] * WINDOW), 0).ids

    assert (only.frames, only.score_without, only.margin_without) == (WINDOW, None, None)


def test_unknown_ids_are_marked_and_removed_together(tiny: WindowClassifier) -> None:
    frames = frames_with([0x1A4, 0x555, 0x666, 0x1A4])
    one_id = replace(tiny, preprocessing=replace(tiny.preprocessing, window_size=2))
    left = one_id.score(frames.take(frames.arbitration_id == 0x1A4)).score[0]

    e = explain(tiny, frames, 0)

    assert {i.arbitration_id: i.is_known for i in e.ids} == {"1A4": True, "555": False, "666": False}
    assert e.margin_without_unknown == pytest.approx(np.log(left / (1 - left)), rel=1e-5)
    assert explain(tiny, frames_with([0x1A4, 0x2B0] * 2), 0).margin_without_unknown is None
    assert explain(tiny, frames_with([0x555, 0x666] * 2), 0).margin_without_unknown is None


def test_a_feature_is_given_in_its_unit_beside_what_is_usual_for_the_id(tiny: WindowClassifier) -> None:
    frames, fitted = frames_with([0x1A4, 0x2B0, 0x1A4, 0x1A4]), tiny.preprocessing
    token, column = fitted.tokens(np.array([0x1A4], np.uint32))[0], column_names(NODE_FEATURES).index("count")

    (count,) = (f for f in explain(tiny, frames, 0).features if (f.arbitration_id, f.feature) == ("1A4", "count"))

    assert (count.value, count.unit, count.usual) == (3.0, "messages", fitted.node_mean[token, column])
    assert count.usual is not None
    assert count.spreads == pytest.approx((3.0 - count.usual) / fitted.node_scale[token, column])


def test_nothing_is_usual_for_an_id_that_training_has_not_seen(tiny: WindowClassifier) -> None:
    features = explain(tiny, frames_with([0x1A4, 0x555, 0x1A4, 0x555]), 0).features

    assert {(f.usual is None, f.spreads is None) for f in features if f.arbitration_id == "555"} == {(True, True)}
    assert {(f.usual is None, f.spreads is None) for f in features if f.arbitration_id == "1A4"} == {(False, False)}


def test_the_change_by_a_feature_is_that_of_the_network_with_this_one_at_its_mean(tiny: WindowClassifier) -> None:
    frames = frames_with([0x1A4, 0x2B0, 0x18FEF100, 0x1A4])
    graph = build_graphs(frames, WINDOW, STRIDE)
    node, column = graph.node_key.tolist().index(0x2B0), column_names(NODE_FEATURES).index("byte_3_mean")
    token = tiny.preprocessing.tokens(graph.node_key)[node]
    graph.x[node, column] = tiny.preprocessing.node_mean[token, column]
    arguments = GraphBatches(graph, tiny.preprocessing).network_input([0])
    logits = tiny.gat(*arguments).double()[0]
    e = explain(tiny, frames, 0)

    (byte,) = (f for f in e.features if (f.arbitration_id, f.feature) == ("2B0", "byte_3_mean"))

    assert byte.margin_change == pytest.approx(e.margin - (logits[1:].logsumexp(0) - logits[0]).item(), abs=1e-5)
    assert [f.margin_change for f in e.features] == sorted((f.margin_change for f in e.features), reverse=True)


def test_an_edge_leads_from_a_frames_id_to_the_next_ones_with_its_frames_and_its_attention(
    tiny: WindowClassifier,
) -> None:
    e = explain(tiny, frames_with([0x1A4, 0x2B0, 0x1A4, 0x2B0]), 0)

    assert {(edge.source, edge.target): edge.frames for edge in e.edges} == {("1A4", "2B0"): 2, ("2B0", "1A4"): 1}
    assert all(0.0 < edge.attention < 1.0 for edge in e.edges)
    assert e.edges[0].attention >= e.edges[1].attention


def test_everything_is_plain_json(tiny: WindowClassifier) -> None:
    e = explain(tiny, three_ids(WINDOW), 0)

    stored = json.loads(json.dumps(e.to_dict(), allow_nan=False))

    assert stored["ids"][0]["arbitration_id"] == e.ids[0].arbitration_id
    assert len(stored["features"]) == len(NODE_FEATURES) * len(e.ids)


def test_a_window_that_is_not_there_is_refused_with_how_many_there_are(tiny: WindowClassifier) -> None:
    frames = three_ids(WINDOW + STRIDE)

    with pytest.raises(DataError, match=r"there is no window 2\. It has 2 windows, numbered from 0 to 1"):
        explain(tiny, frames, 2)
    with pytest.raises(DataError, match="window is -1, expected at least 0"):
        explain(tiny, frames, -1)
    with pytest.raises(DataError, match=f"its frames make no window of {WINDOW}"):
        explain(tiny, frames.take(slice(0, WINDOW - 1)), 0)


def frames_with(ids: list[int]) -> Frames:
    """One window of frames with these identifiers, payloads as those of `three_ids`."""
    frames = three_ids(len(ids), seed=2)
    identifiers = np.array(ids, np.uint32)
    return replace(frames, arbitration_id=identifiers, is_extended=identifiers > 0x7FF)


@pytest.mark.parametrize("judge", [tiny_classifier, tiny_profile_classifier], ids=["raw features", "deviations"])
def test_several_windows_explained_by_one_pass_are_explained_as_each_alone(
    judge: Callable[[], WindowClassifier],
) -> None:
    frames, classifier = three_ids(64, seed=2), judge()

    def chunks() -> list[Frames]:
        return [frames.take(slice(first, first + 10)) for first in range(0, 64, 10)]

    found = list(explain_each(classifier, chunks(), [20, 3]))

    assert [window.number for window, _ in found] == [3, 20]
    for window, explanation in found:
        assert explanation == explain(classifier, chunks(), window.number)
