"""Kernels: the compiled code that counts the nodes and edges of windows and fills their features.

numba's cache looks at the source file of the outermost kernel only, so no kernel uses a constant or a kernel of another
module: the number of payload bytes and the places of columns come with the type of the records that are filled. The
cache also unpickles its index before it looks at anything: after renaming a NamedTuple of a kernel's arguments, delete
`__pycache__`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit
from graphids.core.graphs.features import EdgeRow, NodeRow
from graphids.core.graphs.links import Links


class FrameColumns(NamedTuple):
    """The columns of a capture's frames that features are computed from, C-contiguous, as in `Frames`."""

    node_key: NDArray[np.uint32]
    timestamp: NDArray[np.float64]
    payload: NDArray[np.uint8]
    dlc: NDArray[np.uint8]


class Cut(NamedTuple):
    """How windows are cut: frames per window, and the first frame of each, [G]."""

    window_size: int
    starts: NDArray[np.int64]


class GraphArrays(NamedTuple):
    """Graphs, packed as in `PackedGraphs`, or of one window: the arrays to fill.

    Attributes:
        nodes: `NODE_ROW` [N].
        node_key: uint32 [N].
        edges: `EDGE_ROW` [E].
        edge_index: int32 [2, E].
    """

    nodes: NDArray[np.void]
    node_key: NDArray[np.uint32]
    edges: NDArray[np.void]
    edge_index: NDArray[np.int32]


class Pointers(NamedTuple):
    """Nodes and edges before each window, and in all: int64 [G + 1] each."""

    node: NDArray[np.int64]
    edge: NDArray[np.int64]


class _Scratch(NamedTuple):
    """Of the window at hand: node and edge of each frame, latest frame of each node and edge."""

    node_of: NDArray[np.int32]
    edge_of: NDArray[np.int32]
    last_of_node: NDArray[np.int64]
    last_of_edge: NDArray[np.int64]


class _Window(NamedTuple):
    """First frame of the window at hand, and seconds that pass in it."""

    start: int
    duration_s: float


@njit(cache=True, nogil=True)
def count_nodes_and_edges(links: Links, cut: Cut) -> Pointers:
    """Pointers of all windows: cumulative counts of their nodes and edges."""
    num_windows = len(cut.starts)
    pointers = Pointers(np.zeros(num_windows + 1, np.int64), np.zeros(num_windows + 1, np.int64))
    for window in range(num_windows):
        start = cut.starts[window]
        nodes, edges = 1, 0
        for i in range(start + 1, start + cut.window_size):
            nodes += links.previous_of_id[i] < start
            edges += (links.previous_of_pair[i] <= start) & (links.previous_of_id[i] != i - 1)
        pointers.node[window + 1] = pointers.node[window] + nodes
        pointers.edge[window + 1] = pointers.edge[window] + edges
    return pointers


@njit(cache=True, nogil=True)
def fill_graphs(frames: FrameColumns, links: Links, cut: Cut, pointers: Pointers, graphs: GraphArrays) -> None:
    """Fill the graphs of all windows, whose pointers are known."""
    scratch = _Scratch(
        np.empty(cut.window_size, np.int32),
        np.empty(cut.window_size, np.int32),
        np.empty(cut.window_size, np.int64),
        np.empty(cut.window_size, np.int64),
    )
    for index in range(len(pointers.node) - 1):
        nodes = slice(pointers.node[index], pointers.node[index + 1])
        edges = slice(pointers.edge[index], pointers.edge[index + 1])
        graph = GraphArrays(
            graphs.nodes[nodes], graphs.node_key[nodes], graphs.edges[edges], graphs.edge_index[:, edges]
        )
        start = cut.starts[index]
        window = _Window(start, _connect(graph, scratch, frames, links, start))
        for node in range(len(graph.nodes)):
            _fill_node(graph.nodes[node], scratch.last_of_node[node], frames, links, window)
        for edge in range(len(graph.edges)):
            messages = graph.nodes[graph.edge_index[0, edge]].count
            _fill_edge(graph.edges[edge], scratch.last_of_edge[edge], frames, links, window, messages)


@njit(cache=True, nogil=True)
def _connect(graph: GraphArrays, scratch: _Scratch, frames: FrameColumns, links: Links, start: int) -> float:
    """Number the nodes and edges of the window from `start`, count degrees, and return the seconds that pass in it."""
    nodes, edges, duration_s = 0, 0, 0.0
    for i in range(start, start + len(scratch.node_of)):
        if links.previous_of_id[i] < start:
            node = nodes
            nodes += 1
            graph.node_key[node] = frames.node_key[i]
            row = graph.nodes[node]
            row.in_degree, row.out_degree, row.self_transitions = 0.0, 0.0, 0.0
        else:
            node = scratch.node_of[links.previous_of_id[i] - start]
        scratch.node_of[i - start] = node
        scratch.last_of_node[node] = i
        if i == start:
            continue
        duration_s += max(frames.timestamp[i] - frames.timestamp[i - 1], 0.0)
        source = scratch.node_of[i - 1 - start]
        if source == node:
            graph.nodes[node].self_transitions += 1.0
            continue
        if links.previous_of_pair[i] <= start:
            edge = edges
            edges += 1
            graph.edge_index[0, edge] = source
            graph.edge_index[1, edge] = node
            graph.nodes[source].out_degree += 1.0
            graph.nodes[node].in_degree += 1.0
        else:
            edge = scratch.edge_of[links.previous_of_pair[i] - start]
        scratch.edge_of[i - start] = edge
        scratch.last_of_edge[edge] = i
    return duration_s


@njit(cache=True, nogil=True)
def _spread(total: float, total_of_squares: float, count: int) -> float:
    """Population standard deviation from sums; rounding below zero counts as none."""
    mean = total / count
    return float(np.sqrt(max(total_of_squares / count - mean * mean, 0.0)))


@njit(cache=True, nogil=True)
def _fill_node(row: NodeRow, last: int, frames: FrameColumns, links: Links, window: _Window) -> None:
    """Features of one ID, all but degrees and self-transitions.

    Walks the ID's messages in the window from its `last` one back.
    """
    timestamp, payload, dlc = frames.timestamp, frames.payload, frames.dlc
    num_bytes = len(row.byte_mean)
    sums = np.zeros(num_bytes, np.int64)
    squares = np.zeros(num_bytes, np.int64)
    changes = np.zeros(num_bytes, np.int64)
    low = payload[last].copy()
    high = payload[last].copy()
    count, changed, dlc_sum = 0, 0, 0
    gap_sum, gap_squares, gap_min, gap_max = 0.0, 0.0, np.inf, 0.0
    frame = last
    while frame >= window.start:
        count += 1
        dlc_sum += dlc[frame]
        for b in range(num_bytes):
            value = np.int64(payload[frame, b])
            sums[b] += value
            squares[b] += value * value
            low[b] = min(low[b], payload[frame, b])
            high[b] = max(high[b], payload[frame, b])
        before = links.previous_of_id[frame]
        if before >= window.start:
            differs = dlc[frame] != dlc[before]
            for b in range(num_bytes):
                byte_differs = payload[frame, b] != payload[before, b]
                changes[b] += byte_differs
                differs |= byte_differs
            changed += differs
            gap = max(timestamp[frame] - timestamp[before], 0.0)
            gap_sum += gap
            gap_squares += gap * gap
            gap_min = min(gap_min, gap)
            gap_max = max(gap_max, gap)
        frame = before
    gaps = count - 1
    for b in range(num_bytes):
        row.byte_mean[b] = sums[b] / count
        row.byte_spread[b] = _spread(sums[b], squares[b], count)
        row.byte_range[b] = high[b] - low[b]
        row.byte_change_rate[b] = changes[b] / gaps if gaps else 0.0
    row.count = count
    row.rate_hz = count / window.duration_s if window.duration_s > 0.0 else 0.0
    row.gap_mean_s = gap_sum / gaps if gaps else window.duration_s
    row.gap_spread_s = _spread(gap_sum, gap_squares, gaps) if gaps else 0.0
    row.gap_min_s = gap_min if gaps else window.duration_s
    row.gap_max_s = gap_max if gaps else window.duration_s
    row.payload_change_rate = changed / gaps if gaps else 0.0
    row.dlc_mean = dlc_sum / count
    row.window_duration_s = window.duration_s


@njit(cache=True, nogil=True)
def _fill_edge(
    row: EdgeRow, last: int, frames: FrameColumns, links: Links, window: _Window, source_count: float
) -> None:
    """Features of one edge.

    Walks the pair's occurrences in the window from its `last` one back; an occurrence is named by its second frame.
    """
    count, gap_sum, gap_squares, gap_min = 0, 0.0, 0.0, np.inf
    frame = last
    while frame > window.start:
        gap = max(frames.timestamp[frame] - frames.timestamp[frame - 1], 0.0)
        count += 1
        gap_sum += gap
        gap_squares += gap * gap
        gap_min = min(gap_min, gap)
        frame = links.previous_of_pair[frame]
    row.count = count
    row.share = count / source_count
    row.gap_mean_s = gap_sum / count
    row.gap_spread_s = _spread(gap_sum, gap_squares, count)
    row.gap_min_s = gap_min
