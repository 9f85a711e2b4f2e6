import json
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from graphids.core.data.preprocessing import MIN_WINDOWS, SCALE_FLOOR, UNK, Preprocessing
from graphids.core.graphs.features import EDGE_FEATURES, NODE_FEATURES, column_names
from graphids.core.graphs.packed import PackedGraphs

COUNT = column_names(NODE_FEATURES).index("count")
NUM_COLUMNS = len(NODE_FEATURES)


def graphs_of(counts: dict[int, list[float]], label: list[int] | None = None) -> PackedGraphs:
    """Windows without edges in which each ID has the given `count` and every other feature is zero."""
    num_windows = len(next(iter(counts.values())))
    keys = np.array(sorted(counts), dtype=np.uint32)
    x = np.zeros((num_windows * len(keys), len(NODE_FEATURES)), np.float32)
    x[:, COUNT] = np.array([[counts[int(k)][w] for k in keys] for w in range(num_windows)]).ravel()
    return PackedGraphs(
        x=x,
        node_key=np.tile(keys, num_windows),
        node_frames=x[:, COUNT].astype(np.int32),
        node_attacked=np.full(len(x), -1, np.int8),
        edge_index=np.zeros((2, 0), np.int32),
        edge_attr=np.zeros((0, len(EDGE_FEATURES)), np.float32),
        node_ptr=np.arange(num_windows + 1, dtype=np.int64) * len(keys),
        edge_ptr=np.zeros(num_windows + 1, np.int64),
        label=np.zeros(num_windows, np.int64) if label is None else np.array(label),
        start_s=np.zeros(num_windows),
        end_s=np.ones(num_windows),
        capture=np.zeros(num_windows, np.int32),
        first_frame=np.arange(num_windows, dtype=np.int64),
        classes=("normal", "dos"),
    )


def fit(graphs: PackedGraphs) -> Preprocessing:
    return Preprocessing.fit(graphs, window_size=256, stride=128)


def row(count: float) -> NDArray[np.float32]:
    x = np.zeros((1, len(NODE_FEATURES)), np.float32)
    x[0, COUNT] = count
    return x


def test_a_feature_is_scaled_by_its_own_ids_mean_and_spread() -> None:
    preprocessing = fit(graphs_of({0x10: [8, 12] * 10, 0x20: [80, 120] * 10}))
    overall = np.std([8, 12, 80, 120])
    expected = np.arcsinh(4 / np.hypot(2, SCALE_FLOOR * overall))

    tokens = preprocessing.tokens(np.array([0x10], np.uint32))

    assert preprocessing.nodes(row(14), tokens)[0, COUNT] == pytest.approx(expected)
    assert preprocessing.nodes(row(10), tokens)[0, COUNT] == 0


def test_an_unseen_id_is_unk_and_is_scaled_by_the_statistics_over_all_ids() -> None:
    preprocessing = fit(graphs_of({0x10: [8, 12] * 10, 0x20: [80, 120] * 10}))

    tokens = preprocessing.tokens(np.array([0x10, 0x11, 0x20, 0xFFFFFFFF], np.uint32))

    assert tokens.tolist() == [1, UNK, 2, UNK]
    assert preprocessing.node_mean[UNK, COUNT] == 55
    assert preprocessing.nodes(row(55), np.array([UNK]))[0, COUNT] == 0


def test_a_feature_that_never_moved_in_training_stays_finite_and_in_its_own_unit() -> None:
    preprocessing = fit(graphs_of({0x10: [5] * 10}))

    assert preprocessing.nodes(row(7), np.array([1]))[0, COUNT] == pytest.approx(np.arcsinh(2))


def test_statistics_and_vocabulary_come_from_normal_windows() -> None:
    counts = {0x10: [10.0, 20.0] * 8 + [5000.0] * 4}
    graphs = graphs_of(counts, label=[0] * 16 + [1] * 4)
    attack_only = np.concatenate((graphs.node_key[:16], np.full(4, 0x666, np.uint32)))

    preprocessing = fit(replace(graphs, node_key=attack_only))

    assert preprocessing.vocabulary.tolist() == [0x10]
    assert preprocessing.node_mean[:, COUNT].tolist() == [15, 15]


def test_an_id_in_too_few_windows_is_unk() -> None:
    graphs = graphs_of({0x10: [1.0] * 100})
    keys = graphs.node_key.copy()
    keys[: MIN_WINDOWS - 1], keys[-MIN_WINDOWS:] = 0x5, 0x7

    assert fit(replace(graphs, node_key=keys)).vocabulary.tolist() == [0x7, 0x10]


def test_fitting_needs_a_normal_window() -> None:
    with pytest.raises(ValueError, match="None of the 2 training windows is normal"):
        fit(graphs_of({0x10: [1, 2]}, label=[1, 1]))


def test_json_gives_back_the_same_bits() -> None:
    fitted = fit(graphs_of({0x10: [8, 12, 9] * 10, 0x8000_0020: [80.1, 120.3, 1e-7] * 10}))

    restored = Preprocessing.from_dict(json.loads(json.dumps(fitted.to_dict())))

    for name in (f.name for f in fields(Preprocessing)):
        expected = getattr(fitted, name)
        np.testing.assert_array_equal(getattr(restored, name), expected, err_msg=name)
        if isinstance(expected, np.ndarray):
            assert getattr(restored, name).dtype == expected.dtype


def test_an_empty_vocabulary_survives_the_round_trip() -> None:
    empty = replace(fit(graphs_of({0x10: [1] * 10})), vocabulary=np.zeros(0, np.uint32))
    empty = replace(empty, node_mean=empty.node_mean[:1], node_scale=empty.node_scale[:1])

    restored = Preprocessing.from_dict(empty.to_dict())

    assert restored.tokens(np.array([0x10], np.uint32)).tolist() == [UNK]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node_features": ["count"]}, "node_features are not the ones.*byte_0_change_rate"),
        ({"window_size": 0}, "window_size is 0, expected an integer of at least 1"),
        ({"vocabulary": [3, 2]}, "not a strictly increasing list"),
        ({"vocabulary": [2**32]}, "32-bit node keys"),
        ({"vocabulary": [1, 2]}, rf"node_mean has shape \(2, {NUM_COLUMNS}\), expected \(3, {NUM_COLUMNS}\)"),
        ({"edge_mean": [float("nan")] * len(EDGE_FEATURES)}, "edge_mean holds values that are not finite"),
        ({"edge_scale": [0.0] * len(EDGE_FEATURES)}, "edge_scale holds values that are not positive"),
        ({"edge_scale": "wide"}, "edge_scale is not an array"),
    ],
)
def test_a_malformed_record_is_refused_by_name(change: dict[str, object], message: str) -> None:
    stored = fit(graphs_of({0x10: [1] * 10})).to_dict()

    with pytest.raises(ValueError, match=message):
        Preprocessing.from_dict(stored | change)


def test_a_record_with_a_missing_entry_is_refused_by_name() -> None:
    stored = fit(graphs_of({0x10: [1] * 10})).to_dict()
    del stored["vocabulary"]

    with pytest.raises(ValueError, match=r"lacks \['vocabulary'\]"):
        Preprocessing.from_dict(stored)
