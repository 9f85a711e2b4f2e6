"""The compiled graph builder against a slow and obvious one, and what holds for every graph."""

from dataclasses import fields, replace
from itertools import pairwise
from statistics import mean, pstdev
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from graphids.core.frames import Frames
from graphids.core.graphs import links
from graphids.core.graphs.packed import (
    EDGE_FEATURES,
    NODE_FEATURES,
    PackedGraphs,
    build_graphs,
    column_names,
    concat_graphs,
)

NODE = {name: index for index, name in enumerate(column_names(NODE_FEATURES))}
EDGE = {name: index for index, name in enumerate(column_names(EDGE_FEATURES))}


def make_frames(
    ids: ArrayLike,
    *,
    timestamp: ArrayLike | None = None,
    payload: ArrayLike | None = None,
    kind: ArrayLike | None = None,
    extended: ArrayLike | None = None,
    kinds: tuple[str, ...] = ("normal", "dos", "spoof"),
) -> Frames:
    ids = np.asarray(ids, dtype=np.uint32)
    n = len(ids)
    kind = None if kind is None else np.asarray(kind, dtype=np.int16)
    return Frames(
        timestamp=np.arange(n) * 0.001 if timestamp is None else np.asarray(timestamp, dtype=np.float64),
        arbitration_id=ids,
        dlc=np.full(n, 8, np.uint8),
        payload=np.zeros((n, 8), np.uint8) if payload is None else np.asarray(payload, dtype=np.uint8),
        is_extended=np.zeros(n, bool) if extended is None else np.asarray(extended, dtype=bool),
        channel=np.zeros(n, np.uint8),
        attack=None if kind is None else (kind > 0).astype(np.uint8),
        attack_kind=kind,
        kinds=("normal",) if kind is None else kinds,
    )


def random_frames(n: int, num_ids: int, seed: int = 0) -> Frames:
    """Traffic with everything awkward: repeats, clock steps back, short payloads, 29-bit twins of 11-bit IDs."""
    rng = np.random.default_rng(seed)
    dlc = rng.integers(0, 9, n).astype(np.uint8)
    payload = rng.integers(0, 4, (n, 8)) * (np.arange(8) < dlc[:, None])
    steps = rng.choice([0.0, 0.0005, 0.002, 0.1, -0.05], n)
    frames = make_frames(
        rng.integers(0, num_ids, n),
        timestamp=1.6e9 + np.cumsum(steps),
        payload=payload,
        kind=rng.choice([0, 0, 0, 1, 2], n),
        extended=rng.random(n) < 0.2,
    )
    return replace(frames, dlc=dlc)


def one_graph(frames: Frames) -> PackedGraphs:
    return build_graphs(frames, window_size=len(frames), stride=1)


def slow_graph(frames: Frames) -> tuple[list[int], list[dict[str, float]], dict[tuple[int, int], dict[str, float]]]:
    """One window's graph as its definition reads: node keys, node features, features by edge."""
    key = frames.node_key().tolist()
    time, payload, dlc = frames.timestamp.tolist(), frames.payload.tolist(), frames.dlc.tolist()
    nodes = list(dict.fromkeys(key))
    duration = sum(max(b - a, 0.0) for a, b in pairwise(time))
    transitions = list(pairwise(range(len(key))))
    edges: dict[tuple[int, int], list[float]] = {}
    for i, j in transitions:
        if key[i] != key[j]:
            edges.setdefault((nodes.index(key[i]), nodes.index(key[j])), []).append(max(time[j] - time[i], 0.0))
    features = []
    for number, node in enumerate(nodes):
        seen = [i for i, k in enumerate(key) if k == node]
        gaps = [max(time[j] - time[i], 0.0) for i, j in pairwise(seen)]
        row: dict[str, float] = {}
        for b in range(8):
            values = [payload[i][b] for i in seen]
            changed = [payload[i][b] != payload[j][b] for i, j in pairwise(seen)]
            row |= {f"byte_{b}_mean": mean(values), f"byte_{b}_spread": pstdev(values)}
            row |= {f"byte_{b}_range": max(values) - min(values)}
            row |= {f"byte_{b}_change_rate": mean(changed) if changed else 0.0}
        differ = [(payload[i], dlc[i]) != (payload[j], dlc[j]) for i, j in pairwise(seen)]
        row |= {
            "count": len(seen),
            "rate_hz": len(seen) / duration if duration else 0.0,
            "gap_mean_s": mean(gaps) if gaps else duration,
            "gap_spread_s": pstdev(gaps) if gaps else 0.0,
            "gap_min_s": min(gaps, default=duration),
            "gap_max_s": max(gaps, default=duration),
            "payload_change_rate": mean(differ) if differ else 0.0,
            "dlc_mean": mean(dlc[i] for i in seen),
            "in_degree": sum(target == number for _, target in edges),
            "out_degree": sum(source == number for source, _ in edges),
            "self_transitions": sum(key[i] == key[j] == node for i, j in transitions),
            "window_duration_s": duration,
        }
        features.append(row)
    described = {
        (source, target): {
            "count": len(gaps),
            "share": len(gaps) / key.count(nodes[source]),
            "gap_mean_s": mean(gaps),
            "gap_spread_s": pstdev(gaps),
            "gap_min_s": min(gaps),
        }
        for (source, target), gaps in edges.items()
    }
    return nodes, features, described


@pytest.mark.parametrize(("window_size", "stride"), [(16, 8), (16, 16), (7, 11), (1, 1), (40, 3)])
def test_every_graph_is_the_one_that_the_definition_gives(window_size: int, stride: int) -> None:
    frames = random_frames(n=160, num_ids=6)

    graphs = build_graphs(frames, window_size, stride)

    assert len(graphs) == len(range(0, 160 - window_size + 1, stride))
    for g, start in enumerate(range(0, 160 - window_size + 1, stride)):
        nodes, features, edges = slow_graph(frames.take(slice(start, start + window_size)))
        node_rows = slice(graphs.node_ptr[g], graphs.node_ptr[g + 1])
        edge_rows = slice(graphs.edge_ptr[g], graphs.edge_ptr[g + 1])
        assert graphs.node_key[node_rows].tolist() == nodes
        assert [tuple(e) for e in graphs.edge_index[:, edge_rows].T.tolist()] == list(edges)
        assert_columns(graphs.x[node_rows], NODE, features)
        assert_columns(graphs.edge_attr[edge_rows], EDGE, list(edges.values()))


def test_an_edge_goes_from_the_earlier_frames_id_to_the_later_ones() -> None:
    graph = one_graph(make_frames([0x10, 0x20, 0x30]))

    assert graph.node_key.tolist() == [0x10, 0x20, 0x30]
    assert graph.edge_index.tolist() == [[0, 1], [1, 2]]


def test_a_repeated_pair_is_one_edge_with_its_count_and_gap() -> None:
    graph = one_graph(make_frames([1, 2, 1, 2], timestamp=[0.0, 0.1, 1.0, 1.3]))

    assert graph.edge_index.tolist() == [[0, 1], [1, 0]]
    assert graph.edge_attr[:, EDGE["count"]].tolist() == [2, 1]
    assert graph.edge_attr[:, EDGE["share"]].tolist() == [1, 0.5]
    assert graph.edge_attr[:, EDGE["gap_mean_s"]] == pytest.approx([0.2, 0.9])
    assert graph.edge_attr[:, EDGE["gap_min_s"]] == pytest.approx([0.1, 0.9])


def test_an_id_that_follows_itself_is_counted_and_is_no_edge() -> None:
    graph = one_graph(make_frames([5, 5, 5]))

    assert graph.edge_index.shape == (2, 0)
    assert graph.x[0, NODE["self_transitions"]] == 2


def test_an_id_seen_once_has_the_windows_duration_for_a_gap() -> None:
    graph = one_graph(make_frames([1, 2, 1], timestamp=[10.0, 10.5, 12.0]))

    assert graph.x[1, [NODE["gap_mean_s"], NODE["gap_min_s"], NODE["gap_max_s"]]].tolist() == [2, 2, 2]
    assert graph.x[1, NODE["gap_spread_s"]] == 0


def test_a_message_that_only_grows_shorter_has_changed() -> None:
    frames = replace(make_frames([1, 1, 1]), dlc=np.array([8, 7, 7], np.uint8))

    assert one_graph(frames).x[0, NODE["payload_change_rate"]] == 0.5


def test_11_and_29_bit_identifiers_of_one_number_are_two_nodes() -> None:
    assert len(one_graph(make_frames([7, 7], extended=[False, True])).node_key) == 2


def test_a_window_depends_on_nothing_before_it() -> None:
    frames = random_frames(n=200, num_ids=9)

    whole = build_graphs(frames, window_size=32, stride=8).take(range(5, 20))
    cut = build_graphs(frames.take(slice(40, 40 + 32 + 14 * 8)), window_size=32, stride=8, frame_offset=40)

    assert_equal(cut, whole)


def test_graphs_across_a_wrap_of_the_clock_are_those_of_the_recording_cut_there() -> None:
    frames = random_frames(90, num_ids=5)
    frames = replace(frames, timestamp=np.concatenate([0.9 + np.arange(40) * 1e-3, np.arange(50) * 1e-3]))
    before, after = frames.take(slice(0, 40)), frames.take(slice(40, None))

    graphs = build_graphs(frames, 16, 8)

    parts = [build_graphs(before, 16, 8), build_graphs(after, 16, 8, frame_offset=40)]
    assert_equal(graphs, concat_graphs(parts, classes=frames.kinds))


def test_renaming_ids_changes_the_node_keys_alone() -> None:
    frames = random_frames(n=300, num_ids=12)
    new_id = np.random.default_rng(1).permutation(2048).astype(np.uint32)
    renamed = replace(frames, arbitration_id=new_id[frames.arbitration_id])

    before, after = (build_graphs(f, 64, 16) for f in (frames, renamed))

    assert after.node_key.tolist() != before.node_key.tolist()
    assert_equal(replace(after, node_key=before.node_key), before)


def test_a_fuzzed_bus_with_more_ids_than_the_first_hash_table_holds_reads_right() -> None:
    ids = np.random.default_rng(0).permutation(5000)

    graph = one_graph(make_frames(np.concatenate((ids, ids))))

    assert graph.node_key.tolist() == ids.tolist()
    assert (graph.x[:, NODE["count"]] == 2).all()


@pytest.mark.parametrize("seed", [1, 3, 2**64 - 1, 0x9E37_79B9_7F4A_7C15])
def test_each_key_is_linked_to_its_latest_earlier_occurrence_whatever_the_seed(seed: int) -> None:
    keys = np.array([7, 9, 7, 7, *range(1000, 4000), 9], dtype=np.uint64)

    previous = links.previous_occurrence(keys, np.uint64(seed))

    assert previous.tolist() == [-1, -1, 0, 2, *[-1] * 3000, 1]


def test_a_capture_without_labels_has_label_minus_one() -> None:
    assert one_graph(make_frames([1, 2])).label.tolist() == [-1]


def test_frames_of_two_buses_are_refused() -> None:
    frames = replace(make_frames([1, 2]), channel=np.array([0, 1], np.uint8), channels=("can0", "can1"))

    with pytest.raises(ValueError, match=r"\['can0', 'can1'\], expected one"):
        build_graphs(frames, 2, 1, capture_name="drive.log")


def test_a_capture_shorter_than_a_window_has_no_graphs() -> None:
    graphs = build_graphs(make_frames([1, 2]), window_size=3, stride=1)

    assert len(graphs) == 0
    assert graphs.x.shape == (0, len(NODE_FEATURES))
    assert len(concat_graphs([graphs, one_graph(make_frames([1]))])) == 1


def test_take_gives_the_chosen_graphs_in_any_order_and_repeatedly() -> None:
    graphs = build_graphs(random_frames(n=100, num_ids=5), 10, 5)

    taken = graphs.take([7, 0, 7])

    assert_equal(taken, concat_graphs([graphs.take([7]), graphs.take([0]), graphs.take([7])], classes=graphs.classes))
    assert_equal(graphs.take(range(len(graphs))), graphs)


def test_take_refuses_an_index_out_of_range() -> None:
    with pytest.raises(IndexError, match=r"span -1 to 0, expected them in \[0, 1\)"):
        one_graph(make_frames([1, 2])).take([0, -1])


def test_without_nodes_their_edges_are_gone_and_the_others_join_the_same_ids() -> None:
    graphs = build_graphs(random_frames(n=60, num_ids=5), 10, 10)
    removed = graphs.node_key == graphs.node_key[1]

    left = graphs.without_nodes(removed)

    assert left.node_key.tolist() == graphs.node_key[~removed].tolist()
    assert left.num_nodes().sum() == (~removed).sum()
    for g in range(len(graphs)):
        expected = [edge for edge in named_edges(graphs, g) if graphs.node_key[1] not in edge[:2]]
        assert named_edges(left, g) == expected
    assert_equal(graphs.without_nodes(np.zeros(len(removed), np.bool_)), graphs)


def named_edges(graphs: PackedGraphs, g: int) -> list[tuple[int, int, int]]:
    """Source and target ID and count of each edge of a graph."""
    keys = graphs.node_key[graphs.node_ptr[g] : graphs.node_ptr[g + 1]]
    edges = slice(graphs.edge_ptr[g], graphs.edge_ptr[g + 1])
    ends, counts = keys[graphs.edge_index[:, edges]], graphs.edge_attr[edges, EDGE["count"]]
    return [(int(a), int(b), int(count)) for a, b, count in zip(*ends, counts, strict=True)]


def test_concatenation_renumbers_classes_and_captures() -> None:
    a = build_graphs(make_frames([1, 2], kind=[1, 1], kinds=("normal", "spoof")), 2, 1, capture_name="a")
    b = build_graphs(make_frames([1, 2], kind=[1, 0], kinds=("normal", "dos")), 2, 1, capture_name="b")
    unlabelled = build_graphs(make_frames([1, 2]), 2, 1, capture_name="a")

    joined = concat_graphs([a, b, unlabelled])

    assert joined.classes == ("normal", "dos", "spoof")
    assert joined.label.tolist() == [2, 1, -1]
    assert joined.capture_names == ("a", "b")
    assert joined.capture.tolist() == [0, 1, 0]
    assert joined.node_ptr.tolist() == [0, 2, 4, 6]
    with pytest.raises(ValueError, match="spoof"):
        concat_graphs([a, b], classes=("normal", "dos"))


def assert_columns(found: NDArray[np.float32], column: dict[str, int], expected: list[dict[str, float]]) -> None:
    """The columns that the definition has, and no others, with its values; a failure names the column."""
    only_one_side_has = {name for row in expected for name in row.keys() ^ column.keys()}
    assert only_one_side_has == set()
    for name, index in column.items():
        np.testing.assert_allclose(
            found[:, index], [row[name] for row in expected], rtol=1e-5, atol=2e-7, err_msg=f"column {name}"
        )


def assert_equal(found: PackedGraphs, expected: PackedGraphs) -> None:
    for name in (f.name for f in fields(PackedGraphs)):
        a: Any = getattr(found, name)
        b: NDArray[np.generic] = getattr(expected, name)
        np.testing.assert_array_equal(a, b, err_msg=name)
