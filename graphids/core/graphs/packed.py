"""Packed graphs: the windows of a capture, or of a whole split, as graphs in a few arrays.

A window's nodes are its arbitration IDs, in order of first appearance; an edge goes from one frame's ID to the next
frame's. A graph depends on its own window's frames and on nothing before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphids.core.compiled import njit
from graphids.core.frames import NORMAL, Frames
from graphids.core.graphs.features import (
    DEVIATIONS,
    EDGE_FEATURES,
    EDGE_ROW,
    NODE_FEATURES,
    NODE_ROW,
    Column,
    column_names,
)
from graphids.core.graphs.kernels import Cut, FrameColumns, GraphArrays, count_nodes_and_edges, fill_graphs
from graphids.core.graphs.links import link_frames
from graphids.core.graphs.windows import unbroken_window_starts, window_classes
from graphids.core.profile.expert_kernels import Windows as ExpertWindows
from graphids.core.profile.follower import Follower

__all__ = [
    "EDGE_FEATURES",
    "NODE_FEATURES",
    "UNLABELLED",
    "Column",
    "PackedGraphs",
    "build_graphs",
    "column_names",
    "concat_graphs",
]

UNLABELLED = -1
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class PackedGraphs:
    """`G` graphs with `N` nodes and `E` edges in all; graph g owns nodes `node_ptr[g]:node_ptr[g + 1]`.

    Attributes:
        x: float32 [N, F], raw features, `NODE_FEATURES`, or deviations from a profile.
        node_key: uint32 [N], arbitration ID, bit 31 set for a 29-bit identifier.
        node_frames: int32 [N], frames of the ID in the window; 0 for one that is absent and should not be.
        node_attacked: int8 [N], 1 where any of these frames is attacked, else 0; -1 where the capture has no labels.
        edge_index: int32 [2, E], source and target, numbered within their graph.
        edge_attr: float32 [E, len(EDGE_FEATURES)], raw units.
        node_ptr: int64 [G + 1].
        edge_ptr: int64 [G + 1].
        label: int64 [G], index into `classes`; -1 where the capture has no labels.
        start_s: float64 [G], timestamp of the window's first frame.
        end_s: float64 [G], timestamp of its last frame.
        capture: int32 [G], index into `capture_names`.
        first_frame: int64 [G], index of the window's first frame within its capture.
        classes: `("normal", ...)`.
        capture_names: Names of the captures that the windows were cut from.
    """

    x: NDArray[np.float32]
    node_key: NDArray[np.uint32]
    node_frames: NDArray[np.int32]
    node_attacked: NDArray[np.int8]
    edge_index: NDArray[np.int32]
    edge_attr: NDArray[np.float32]
    node_ptr: NDArray[np.int64]
    edge_ptr: NDArray[np.int64]
    label: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    capture: NDArray[np.int32]
    first_frame: NDArray[np.int64]
    classes: tuple[str, ...] = (NORMAL,)
    capture_names: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.label)

    def num_nodes(self) -> NDArray[np.int64]:
        """Nodes of each graph, int64 [G]."""
        return np.diff(self.node_ptr)

    def present_classes(self) -> list[str]:
        """Classes that at least one graph belongs to."""
        return [self.classes[index] for index in np.unique(self.label) if index != UNLABELLED]

    def expert_windows(self) -> ExpertWindows:
        """The graphs as experts look at them, where they carry deviations."""
        return ExpertWindows(self.x, self.node_key, self.node_ptr, self.start_s, self.end_s)

    def take(self, indices: ArrayLike) -> "PackedGraphs":
        """The chosen graphs, copied, in the order of `indices` (int [B], each in [0, G)).

        Raises:
            IndexError: If an index is outside [0, G).
        """
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self):
            raise IndexError(f"Graph indices span {chosen.min()} to {chosen.max()}, expected them in [0, {len(self)}).")
        first_node, first_edge = self.node_ptr[chosen], self.edge_ptr[chosen]
        node_ptr = _pointers(self.node_ptr[chosen + 1] - first_node)
        edge_ptr = _pointers(self.edge_ptr[chosen + 1] - first_edge)
        edge_index = np.empty((2, edge_ptr[-1]), np.int32)
        for end in (0, 1):
            _gather_rows(self.edge_index[end], first_edge, edge_ptr, edge_index[end])
        return PackedGraphs(
            x=_gather(self.x, first_node, node_ptr),
            node_key=_gather(self.node_key, first_node, node_ptr),
            node_frames=_gather(self.node_frames, first_node, node_ptr),
            node_attacked=_gather(self.node_attacked, first_node, node_ptr),
            edge_index=edge_index,
            edge_attr=_gather(self.edge_attr, first_edge, edge_ptr),
            node_ptr=node_ptr,
            edge_ptr=edge_ptr,
            label=self.label[chosen],
            start_s=self.start_s[chosen],
            end_s=self.end_s[chosen],
            capture=self.capture[chosen],
            first_frame=self.first_frame[chosen],
            classes=self.classes,
            capture_names=self.capture_names,
        )

    def without_nodes(self, removed: NDArray[np.bool_]) -> "PackedGraphs":
        """The graphs without some of their nodes, bool [N], and the edges that these had; a graph may become empty."""
        graph_of_edge = np.repeat(np.arange(len(self)), np.diff(self.edge_ptr))
        ends = self.edge_index + self.node_ptr[graph_of_edge]  # [2, E], numbered over all graphs
        kept, kept_edges = ~removed, ~removed[ends].any(axis=0)
        before, edges_before = _pointers(kept), _pointers(kept_edges)
        node_ptr = before[self.node_ptr]
        return replace(
            self,
            x=self.x[kept],
            node_key=self.node_key[kept],
            node_frames=self.node_frames[kept],
            node_attacked=self.node_attacked[kept],
            edge_index=(before[ends] - node_ptr[graph_of_edge])[:, kept_edges].astype(np.int32),
            edge_attr=self.edge_attr[kept_edges],
            node_ptr=node_ptr,
            edge_ptr=edges_before[self.edge_ptr],
        )


def build_graphs(
    frames: Frames,
    window_size: int,
    stride: int,
    follower: Follower | None = None,
    *,
    capture_name: str = "",
    frame_offset: int = 0,
) -> PackedGraphs:
    """The graphs of all full windows of one capture; none lies across a jump of its clock.

    Args:
        frames: Frames of one bus, in recorded order.
        window_size: Frames per window.
        stride: Frames between consecutive starts.
        follower: Of the bus, which has followed these frames already and those before them: nodes then carry
            deviations from its profile in place of raw features, and IDs that are overdue at the end of a window are
            nodes of it too, behind the others and without edges.
        capture_name: Name of the capture, kept with its windows.
        frame_offset: Index within the capture, and the follower's number, of the first of `frames`, where they are a
            slice of it.

    Raises:
        ValueError: If `window_size` or `stride` is below 1, or the frames are of several buses.
    """
    if len(frames) and frames.channel.min() != frames.channel.max():
        found = sorted({frames.channels[c] for c in np.unique(frames.channel)})
        raise ValueError(
            f"Frames of {capture_name or 'a capture'} come from the buses {found}, expected one: a window must not "
            "span two. Split them by `channel` first; read_captures does."
        )
    starts = unbroken_window_starts(frames.timestamp, window_size, stride)
    columns = FrameColumns(
        frames.node_key(),
        np.ascontiguousarray(frames.timestamp),
        np.ascontiguousarray(frames.payload),
        np.ascontiguousarray(frames.dlc),
    )
    links, cut = link_frames(columns.node_key), Cut(window_size, starts)
    pointers = count_nodes_and_edges(links, cut)
    num_nodes, num_edges = pointers.node[-1], pointers.edge[-1]
    graphs = GraphArrays(
        nodes=np.empty(num_nodes, NODE_ROW),
        node_key=np.empty(num_nodes, np.uint32),
        edges=np.empty(num_edges, EDGE_ROW),
        edge_index=np.empty((2, num_edges), np.int32),
    )
    fill_graphs(columns, links, cut, pointers, graphs)
    raw = PackedGraphs(
        x=graphs.nodes.view(np.float32).reshape(-1, len(NODE_FEATURES)),
        node_key=graphs.node_key,
        node_frames=graphs.nodes["count"].astype(np.int32),
        node_attacked=_attacked_nodes(frames, starts, window_size, graphs.node_key, pointers.node),
        edge_index=graphs.edge_index,
        edge_attr=graphs.edges.view(np.float32).reshape(-1, len(EDGE_FEATURES)),
        node_ptr=pointers.node,
        edge_ptr=pointers.edge,
        label=_labels(frames, starts, window_size),
        start_s=frames.timestamp[starts],
        end_s=frames.timestamp[starts + window_size - 1],
        capture=np.zeros(len(starts), np.int32),
        first_frame=starts + frame_offset,
        classes=frames.kinds,
        capture_names=(capture_name,),
    )
    return raw if follower is None else _with_deviations(raw, follower, window_size)


def _with_deviations(raw: PackedGraphs, follower: Follower, window_size: int) -> PackedGraphs:
    """The graphs with the follower's nodes in place of their own, which come first among those and in this order."""
    nodes = follower.nodes(raw.first_frame, window_size)
    attacked = np.where(nodes.frames > 0, 0, min(raw.node_attacked.min(initial=0), 0)).astype(np.int8)
    attacked[nodes.frames > 0] = raw.node_attacked
    return replace(
        raw,
        x=nodes.deviations.view(np.float32).reshape(-1, len(DEVIATIONS)),
        node_key=nodes.node_key,
        node_frames=nodes.frames,
        node_attacked=attacked,
        node_ptr=nodes.ptr,
    )


def concat_graphs(parts: Sequence[PackedGraphs], *, classes: tuple[str, ...] | None = None) -> PackedGraphs:
    """All graphs of `parts`, in order.

    Capture names become their union in order of appearance; parts with the same capture name are parts of one capture.

    Args:
        parts: At least one.
        classes: Classes to number the labels by. None: the union of the parts' classes, normal first, the attack
            kinds sorted by name.

    Raises:
        ValueError: If `parts` is empty, or a window's class is not among `classes`.
    """
    if not parts:
        raise ValueError("concat_graphs needs at least one part, found none.")
    if classes is None:
        classes = (NORMAL, *sorted({name for part in parts for name in part.classes} - {NORMAL}))
    elif foreign := {name for part in parts for name in part.present_classes()} - set(classes):
        raise ValueError(f"Windows are of the classes {sorted(foreign)}, expected only {classes}.")
    capture_names = tuple(dict.fromkeys(name for part in parts for name in part.capture_names))

    def joined(name: str, axis: int = 0) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts], axis=axis)

    def renumbered(name: str, table: str, union: tuple[str, ...]) -> list[NDArray[np.int64]]:
        number = {n: index for index, n in enumerate(union)}
        # The extra last entry maps UNLABELLED, -1, to itself.
        new = [np.array([*(number.get(n, UNLABELLED) for n in getattr(p, table)), UNLABELLED]) for p in parts]
        return [numbers[getattr(part, name)] for numbers, part in zip(new, parts, strict=True)]

    plain = ("x", "node_key", "node_frames", "node_attacked", "edge_attr", "start_s", "end_s", "first_frame")
    return PackedGraphs(
        **{name: joined(name) for name in plain},  # type: ignore[arg-type]
        edge_index=joined("edge_index", axis=1),  # type: ignore[arg-type]
        node_ptr=_pointers(np.concatenate([np.diff(part.node_ptr) for part in parts])),
        edge_ptr=_pointers(np.concatenate([np.diff(part.edge_ptr) for part in parts])),
        label=np.concatenate(renumbered("label", "classes", classes)),
        capture=np.concatenate(renumbered("capture", "capture_names", capture_names)).astype(np.int32),
        classes=classes,
        capture_names=capture_names,
    )


def _attacked_nodes(
    frames: Frames,
    starts: NDArray[np.int64],
    window_size: int,
    node_key: NDArray[np.uint32],
    node_ptr: NDArray[np.int64],
) -> NDArray[np.int8]:
    if frames.attack is None:
        return np.full(len(node_key), UNLABELLED, np.int8)
    attacked = np.zeros(len(node_key), np.int8)
    _mark_attacked(frames.node_key(), frames.attack, starts, window_size, node_key, node_ptr, attacked)
    return attacked


def _labels(frames: Frames, starts: NDArray[np.int64], window_size: int) -> NDArray[np.int64]:
    if frames.attack_kind is None:
        return np.full(len(starts), UNLABELLED, np.int64)
    return window_classes(frames.attack_kind, starts, window_size)


def _pointers(lengths: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))


def _gather(rows: NDArray[_T], first: NDArray[np.int64], ptr: NDArray[np.int64]) -> NDArray[_T]:
    out = np.empty((ptr[-1], *rows.shape[1:]), rows.dtype)
    _gather_rows(rows, first, ptr, out)
    return out


@njit(cache=True, nogil=True)
def _gather_rows(
    rows: NDArray[np.generic], first: NDArray[np.int64], ptr: NDArray[np.int64], out: NDArray[np.generic]
) -> None:
    """Copy runs of rows: `out[ptr[g]:ptr[g + 1]] = rows[first[g]:...]` for each g."""
    for g in range(len(first)):
        length = ptr[g + 1] - ptr[g]
        out[ptr[g] : ptr[g + 1]] = rows[first[g] : first[g] + length]


@njit(cache=True, nogil=True)
def _mark_attacked(
    keys: NDArray[np.uint32],
    attack: NDArray[np.uint8],
    starts: NDArray[np.int64],
    window_size: int,
    node_key: NDArray[np.uint32],
    node_ptr: NDArray[np.int64],
    attacked: NDArray[np.int8],
) -> None:
    """Set `attacked` of the nodes of which a frame is."""
    for g in range(len(starts)):
        for i in range(starts[g], starts[g] + window_size):
            if attack[i]:
                for node in range(node_ptr[g], node_ptr[g + 1]):
                    if node_key[node] == keys[i]:
                        attacked[node] = 1
