"""Kernels find columns by name, and numba never loads one that was compiled for other columns."""

import numpy as np
import pytest
from numba import typeof
from numba.core.registry import cpu_target

from graphids.core.frames import MAX_PAYLOAD_BYTES
from graphids.core.graphs.features import EDGE_ROW, NODE_ROW
from graphids.core.graphs.kernels import Cut, FrameColumns, GraphArrays, count_nodes_and_edges, fill_graphs
from graphids.core.graphs.links import link_frames

CUT = Cut(window_size=16, starts=np.array([0, 8, 16, 24]))


def columns(num_bytes: int = MAX_PAYLOAD_BYTES) -> FrameColumns:
    rng = np.random.default_rng(0)
    n = CUT.window_size + int(CUT.starts[-1])
    payload = np.zeros((n, num_bytes), np.uint8)
    payload[:, :MAX_PAYLOAD_BYTES] = rng.integers(0, 4, (n, MAX_PAYLOAD_BYTES))
    return FrameColumns(
        rng.integers(0, 5, n).astype(np.uint32), np.cumsum(rng.random(n)), payload, np.full(n, 8, np.uint8)
    )


def moved(row: np.dtype[np.void], num_bytes: int = MAX_PAYLOAD_BYTES) -> np.dtype[np.void]:
    """The same fields, the last one first, with another number of payload bytes."""
    fields = [(name, np.float32, (num_bytes,) if row[name].shape else ()) for name in reversed(row.names or ())]
    return np.dtype(fields, align=True)


def filled(frames: FrameColumns, node_row: np.dtype[np.void], edge_row: np.dtype[np.void]) -> GraphArrays:
    links = link_frames(frames.node_key)
    pointers = count_nodes_and_edges(links, CUT)
    num_nodes, num_edges = pointers.node[-1], pointers.edge[-1]
    graphs = GraphArrays(
        np.empty(num_nodes, node_row),
        np.empty(num_nodes, np.uint32),
        np.empty(num_edges, edge_row),
        np.empty((2, num_edges), np.int32),
    )
    fill_graphs(frames, links, CUT, pointers, graphs)
    return graphs


def test_columns_are_filled_by_name_wherever_they_lie_and_however_many_bytes_a_payload_has() -> None:
    expected = filled(columns(), NODE_ROW, EDGE_ROW)

    graphs = filled(columns(num_bytes=12), moved(NODE_ROW, num_bytes=12), moved(EDGE_ROW))

    for name in NODE_ROW.names or ():
        values = graphs.nodes[name]
        kept = values[:, :MAX_PAYLOAD_BYTES] if values.ndim > 1 else values
        np.testing.assert_array_equal(kept, expected.nodes[name], err_msg=name)
    for name in EDGE_ROW.names or ():
        np.testing.assert_array_equal(graphs.edges[name], expected.edges[name], err_msg=name)


@pytest.mark.parametrize(
    ("node_row", "edge_row"),
    [(moved(NODE_ROW), EDGE_ROW), (NODE_ROW, moved(EDGE_ROW)), (np.dtype(NODE_ROW.descr[:-1], align=True), EDGE_ROW)],
    ids=["node columns moved", "edge columns moved", "one column less"],
)
def test_the_key_of_numbas_cache_knows_the_place_of_every_column(
    node_row: np.dtype[np.void], edge_row: np.dtype[np.void]
) -> None:
    def key(*rows: np.dtype[np.void]) -> object:
        nodes, edges = (np.empty(1, row) for row in rows)
        graphs = GraphArrays(nodes, np.empty(1, np.uint32), edges, np.empty((2, 1), np.int32))
        return fill_graphs._cache._index_key((typeof(graphs),), cpu_target.target_context.codegen())

    assert key(NODE_ROW, EDGE_ROW) == key(NODE_ROW, EDGE_ROW) != key(node_row, edge_row)
