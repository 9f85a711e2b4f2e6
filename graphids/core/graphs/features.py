"""Features: the columns of a window's nodes and edges, and the compiled code that fills them.

The names are a contract: a model stores the names of the columns that it was trained on, and they are compared when
it is loaded. A column that changes its meaning gets a new name.

A frame's bytes beyond its DLC count as zero. Only steps forward of the recorder's clock count as time; a step back
counts as 0 s. Gaps are as the recorder saw them, bursts of a USB adapter included.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from graphids.core.frames import MAX_PAYLOAD_BYTES


class Column(NamedTuple):
    """One feature column: what it is called, its unit ("1" for a plain number) and what it says."""

    name: str
    unit: str
    meaning: str


_PER_BYTE = (
    Column("byte_{}_mean", "1", "mean of payload byte {} over the ID's messages, 0 to 255"),
    Column("byte_{}_spread", "1", "population standard deviation of payload byte {}"),
    Column("byte_{}_range", "1", "largest less smallest value of payload byte {}"),
    Column("byte_{}_change_rate", "1", "share of the ID's consecutive messages in which byte {} changed; 0 for one"),
)
# One node per arbitration ID in the window. "Gap" is the time from one message of the ID to its next.
NODE_FEATURES: tuple[Column, ...] = (
    *(
        Column(name.format(byte), unit, meaning.format(byte))
        for name, unit, meaning in _PER_BYTE
        for byte in range(MAX_PAYLOAD_BYTES)
    ),
    Column("count", "messages", "messages of the ID in the window"),
    Column("rate_hz", "1/s", "count over the window's duration; 0 where the duration is 0"),
    Column("gap_mean_s", "s", "mean gap; the window's duration, a lower bound, for an ID seen once"),
    Column("gap_spread_s", "s", "population standard deviation of the gaps; 0 for an ID seen once"),
    Column("gap_min_s", "s", "shortest gap; the window's duration for an ID seen once"),
    Column("gap_max_s", "s", "longest gap; the window's duration for an ID seen once"),
    Column("payload_change_rate", "1", "share of consecutive messages whose payload or DLC differ; 0 for one"),
    Column("dlc_mean", "bytes", "mean payload length"),
    Column("in_degree", "IDs", "distinct other IDs that a message of this one directly followed"),
    Column("out_degree", "IDs", "distinct other IDs that directly followed a message of this one"),
    Column("self_transitions", "messages", "times that the ID directly followed itself; such pairs are no edges"),
    Column("window_duration_s", "s", "time that passed from the window's first to its last frame"),
)
# One edge per ordered pair of different IDs of which the second directly followed the first at least once. "Gap" is
# the time between the two frames.
EDGE_FEATURES: tuple[Column, ...] = (
    Column("count", "frames", "times that the target's ID directly followed the source's"),
    Column("share", "1", "count over the messages of the source: how likely this successor is"),
    Column("gap_mean_s", "s", "mean gap"),
    Column("gap_spread_s", "s", "population standard deviation of the gaps"),
    Column("gap_min_s", "s", "shortest gap"),
)

_B = MAX_PAYLOAD_BYTES
_NODE = {column.name: index for index, column in enumerate(NODE_FEATURES)}
_EDGE = {column.name: index for index, column in enumerate(EDGE_FEATURES)}
_COUNT, _RATE, _GAP_MEAN, _GAP_SPREAD = (_NODE[n] for n in ("count", "rate_hz", "gap_mean_s", "gap_spread_s"))
_GAP_MIN, _GAP_MAX, _CHANGE_RATE = (_NODE[n] for n in ("gap_min_s", "gap_max_s", "payload_change_rate"))
_DLC, _DURATION = _NODE["dlc_mean"], _NODE["window_duration_s"]
_IN_DEGREE, _OUT_DEGREE, _SELF_TRANSITIONS = (_NODE[n] for n in ("in_degree", "out_degree", "self_transitions"))
_E_COUNT, _E_SHARE, _E_GAP_MEAN = (_EDGE[n] for n in ("count", "share", "gap_mean_s"))
_E_GAP_SPREAD, _E_GAP_MIN = (_EDGE[n] for n in ("gap_spread_s", "gap_min_s"))


def column_names(columns: tuple[Column, ...]) -> list[str]:
    """The columns' names, in order: what a model stores and compares."""
    return [column.name for column in columns]


# All kernels that know a column stand in this module: numba's cache looks at the source file of the outermost kernel
# only, and would keep one compiled with columns that have since moved.


@njit(cache=True, nogil=True)
def count_nodes_and_edges(previous, previous_pair, window_size, stride, node_ptr, edge_ptr):  # type: ignore[no-untyped-def]
    """Fill the pointers of all windows: `node_ptr` and `edge_ptr`, int64 [G + 1], cumulative counts."""
    node_ptr[0] = 0
    edge_ptr[0] = 0
    for window in range(len(node_ptr) - 1):
        start = window * stride
        nodes, edges = 1, 0
        for i in range(start + 1, start + window_size):
            nodes += previous[i] < start
            edges += (previous_pair[i] <= start) & (previous[i] != i - 1)
        node_ptr[window + 1] = node_ptr[window] + nodes
        edge_ptr[window + 1] = edge_ptr[window] + edges


@njit(cache=True, nogil=True)
def fill_graphs(  # type: ignore[no-untyped-def]
    node_key,
    timestamp,
    payload,
    dlc,
    previous,
    previous_pair,
    window_size,
    stride,
    node_ptr,
    edge_ptr,
    x,
    keys,
    edge_index,
    edge_attr,
):
    """Fill `x`, `keys`, `edge_index` and `edge_attr` of all windows, whose pointers are known."""
    node_of = np.empty(window_size, np.int32)  # node and edge of each frame of the window
    edge_of = np.empty(window_size, np.int32)
    last_of_node = np.empty(window_size, np.int64)  # latest frame of each node and edge
    last_of_edge = np.empty(window_size, np.int64)
    for window in range(len(node_ptr) - 1):
        start = window * stride
        first_node, first_edge = node_ptr[window], edge_ptr[window]
        window_x = x[first_node : node_ptr[window + 1]]
        window_edges = edge_index[:, first_edge : edge_ptr[window + 1]]
        window_x[:, _IN_DEGREE : _SELF_TRANSITIONS + 1] = 0.0
        nodes, edges, duration = 0, 0, 0.0
        for i in range(start, start + window_size):
            if previous[i] < start:
                node = nodes
                nodes += 1
                keys[first_node + node] = node_key[i]
            else:
                node = node_of[previous[i] - start]
            node_of[i - start] = node
            last_of_node[node] = i
            if i == start:
                continue
            duration += max(timestamp[i] - timestamp[i - 1], 0.0)
            source = node_of[i - 1 - start]
            if source == node:
                window_x[node, _SELF_TRANSITIONS] += 1.0
                continue
            if previous_pair[i] <= start:
                edge = edges
                edges += 1
                window_edges[0, edge] = source
                window_edges[1, edge] = node
                window_x[source, _OUT_DEGREE] += 1.0
                window_x[node, _IN_DEGREE] += 1.0
            else:
                edge = edge_of[previous_pair[i] - start]
            edge_of[i - start] = edge
            last_of_edge[edge] = i
        for node in range(nodes):
            _fill_node(window_x[node], last_of_node[node], start, previous, timestamp, payload, dlc, duration)
        for edge in range(edges):
            messages = window_x[window_edges[0, edge], _COUNT]
            _fill_edge(edge_attr[first_edge + edge], last_of_edge[edge], start, previous_pair, timestamp, messages)


@njit(cache=True, nogil=True)
def _spread(total: float, total_of_squares: float, count: int) -> float:
    """Population standard deviation from sums; rounding below zero counts as none."""
    mean = total / count
    return float(np.sqrt(max(total_of_squares / count - mean * mean, 0.0)))


@njit(cache=True, nogil=True)
def _fill_node(row, last, start, previous, timestamp, payload, dlc, duration):  # type: ignore[no-untyped-def]
    """Features of one ID in the window from `start`, all but degrees and self-transitions.

    Walks the ID's messages from its `last` one back, along `previous`: the index of the ID's message before.
    """
    sums = np.zeros(_B, np.int64)
    squares = np.zeros(_B, np.int64)
    changes = np.zeros(_B, np.int64)
    low = payload[last].copy()
    high = payload[last].copy()
    count, changed, dlc_sum = 0, 0, 0
    gap_sum, gap_squares, gap_min, gap_max = 0.0, 0.0, np.inf, 0.0
    frame = last
    while frame >= start:
        count += 1
        dlc_sum += dlc[frame]
        for b in range(_B):
            value = np.int64(payload[frame, b])
            sums[b] += value
            squares[b] += value * value
            low[b] = min(low[b], payload[frame, b])
            high[b] = max(high[b], payload[frame, b])
        before = previous[frame]
        if before >= start:
            differs = dlc[frame] != dlc[before]
            for b in range(_B):
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
    for b in range(_B):
        row[b] = sums[b] / count
        row[_B + b] = _spread(sums[b], squares[b], count)
        row[2 * _B + b] = high[b] - low[b]
        row[3 * _B + b] = changes[b] / gaps if gaps else 0.0
    row[_COUNT] = count
    row[_RATE] = count / duration if duration > 0.0 else 0.0
    row[_GAP_MEAN] = gap_sum / gaps if gaps else duration
    row[_GAP_SPREAD] = _spread(gap_sum, gap_squares, gaps) if gaps else 0.0
    row[_GAP_MIN] = gap_min if gaps else duration
    row[_GAP_MAX] = gap_max if gaps else duration
    row[_CHANGE_RATE] = changed / gaps if gaps else 0.0
    row[_DLC] = dlc_sum / count
    row[_DURATION] = duration


@njit(cache=True, nogil=True)
def _fill_edge(row, last, start, previous_pair, timestamp, source_count):  # type: ignore[no-untyped-def]
    """Features of one edge in the window from `start`.

    Walks the pair's occurrences from its `last` one back; an occurrence is named by its second frame.
    """
    count, gap_sum, gap_squares, gap_min = 0, 0.0, 0.0, np.inf
    frame = last
    while frame > start:
        gap = max(timestamp[frame] - timestamp[frame - 1], 0.0)
        count += 1
        gap_sum += gap
        gap_squares += gap * gap
        gap_min = min(gap_min, gap)
        frame = previous_pair[frame]
    row[_E_COUNT] = count
    row[_E_SHARE] = count / source_count
    row[_E_GAP_MEAN] = gap_sum / count
    row[_E_GAP_SPREAD] = _spread(gap_sum, gap_squares, count)
    row[_E_GAP_MIN] = gap_min
