"""Batches: which graphs go together, and how they become tensors.

A batch is gathered from the packed arrays; no object is made per window, and no worker process is needed.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import DataLoader, Sampler

from graphids.core.compiled import njit
from graphids.core.data.preprocessing import UNK, Preprocessing
from graphids.core.graphs.packed import UNLABELLED, PackedGraphs

if TYPE_CHECKING:
    from torch_geometric.data import Data


class NetworkInput(NamedTuple):
    """The arguments of `GAT.forward` and `GAT.represent`, for B graphs.

    Attributes:
        x: float32 [N, F].
        token: int64 [N].
        edge_index: int64 [2, E], numbered within the batch.
        edge_attr: float32 [E, FE].
        batch: int64 [N], the graph of each node.
        num_graphs: B.
    """

    x: torch.Tensor
    token: torch.Tensor
    edge_index: torch.Tensor
    edge_attr: torch.Tensor
    batch: torch.Tensor
    num_graphs: int

    def to(self, device: torch.device) -> "NetworkInput":
        """The tensors there."""
        return NetworkInput(
            self.x.to(device),
            self.token.to(device),
            self.edge_index.to(device),
            self.edge_attr.to(device),
            self.batch.to(device),
            self.num_graphs,
        )


class GraphBatches(torch.utils.data.Dataset["Data"]):
    """Batches of preprocessed graphs by array of indices; for a DataLoader with `batch_size=None`.

    `GraphBatches(graphs, preprocessing)[indices]` is a `torch_geometric.data.Data` with the fields of `NetworkInput`,
    `y` int64 [B] (-1: unlabelled, or a kind that the model has no class for) and `node_y` int8 [N].

    `node_y` is 1 for the ID of an attacked frame, 0 for any other, and -1 where that is not known: without labels, and
    in windows of an attack that marks no frame, such as a suppression.

    Args:
        graphs: Raw graphs; they are kept, not copied.
        preprocessing: How their features are scaled and their IDs become tokens.
        unk_rate: Probability that a node is shown as UNK: in training it gives UNK's embedding examples of every kind
            of ID. 0 for validation and test.
        seed: Of those draws, which depend on it and on the batch's indices alone: a resumed run sees the same.

    Raises:
        ValueError: If `unk_rate` is outside [0, 1).
    """

    def __init__(
        self, graphs: PackedGraphs, preprocessing: Preprocessing, *, unk_rate: float = 0.0, seed: int = 0
    ) -> None:
        if not 0.0 <= unk_rate < 1.0:
            raise ValueError(f"unk_rate is {unk_rate}, expected a probability in [0, 1).")
        self.graphs = graphs
        self.preprocessing = preprocessing
        self.unk_rate = unk_rate
        self.seed = seed
        # The model's class of each label; the extra last entry maps -1 to itself.
        known = {name: index for index, name in enumerate(preprocessing.classes)}
        self._class_of = np.array([*(known.get(name, UNLABELLED) for name in graphs.classes), UNLABELLED])

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, indices: ArrayLike) -> "Data":
        # Only here: scoring needs no `Data`, and the import costs as much as torch's own.
        from torch_geometric.data import Data

        graphs = self.graphs.take(indices)
        return Data(
            **self._input(graphs, indices)._asdict(),
            y=_tensor(self._class_of[graphs.label]),
            node_y=_tensor(_node_labels(graphs)),
        )

    def network_input(self, indices: ArrayLike) -> NetworkInput:
        """What the network sees of the chosen graphs, without their labels."""
        return self._input(self.graphs.take(indices), indices)

    def _input(self, graphs: PackedGraphs, indices: ArrayLike) -> NetworkInput:
        token = self.preprocessing.tokens(graphs.node_key)
        if self.unk_rate > 0.0:
            drawn = np.random.default_rng((self.seed, *np.ravel(indices).tolist())).random(len(token))
            token[drawn < self.unk_rate] = UNK
        batch, edge_index = _number(graphs.node_ptr, graphs.edge_index, graphs.edge_ptr)
        return NetworkInput(
            x=_tensor(self.preprocessing.nodes(graphs.x, token)),
            token=_tensor(token),
            edge_index=_tensor(edge_index),
            edge_attr=_tensor(self.preprocessing.edges(graphs.edge_attr)),
            batch=_tensor(batch),
            num_graphs=len(graphs),
        )


class BatchLoader(DataLoader["Data"]):
    """Batches in a sampler's order, with the sampler's state: Lightning stores it and treats the loader as resumable.

    No workers: a batch is one gather from packed arrays, and a worker would only add a copy.
    """

    def __init__(self, batches: GraphBatches, sampler: "NodeBudgetBatchSampler") -> None:
        super().__init__(batches, sampler=sampler, batch_size=None, num_workers=0)
        self._order = sampler

    def state_dict(self) -> dict[str, int]:
        """The sampler's state."""
        return self._order.state_dict()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore the sampler's state."""
        self._order.load_state_dict(state)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """A copy in torch's own memory.

    numpy aligns to 16 bytes only; matrix kernels choose their path by alignment, and two runs of the same command gave
    scores that differed in the last digits of float32. torch always aligns to 64 bytes.
    """
    return torch.from_numpy(array).clone()


def _node_labels(graphs: PackedGraphs) -> NDArray[np.int8]:
    marked = np.maximum.reduceat(graphs.node_attacked, graphs.node_ptr[:-1]) if len(graphs) else np.empty(0, np.int8)
    unmarked = np.repeat((graphs.label > 0) & (marked == 0), graphs.num_nodes())
    return np.where(unmarked, np.int8(UNLABELLED), graphs.node_attacked)


class NodeBudgetBatchSampler(Sampler[NDArray[np.int64]]):
    """Batches of at most `batch_size` graphs and, if given, `max_nodes` nodes.

    The order is drawn anew from (seed, epoch) each epoch, and batches are cut from it. Batches packed by size would
    hold almost one class each: windows of an attack resemble each other in size.

    Each pass over the sampler is an epoch, unless `set_epoch` or `set_position` says what comes next.

    Args:
        node_counts: Nodes of each graph, [G].
        batch_size: Graphs per batch at most.
        max_nodes: Nodes per batch at most; a larger graph makes a batch of its own. None: no limit.
        shuffle: False keeps the order of the graphs.
        seed: Of the order.
        rank: Of this process among `world_size`; each gets an equal share of the batches. Up to `world_size - 1`
            batches of an epoch are left out to make them equal.
        world_size: Processes that train together.

    Raises:
        ValueError: If `batch_size` or `max_nodes` is below 1, or `rank` is not in [0, world_size).
    """

    def __init__(
        self,
        node_counts: ArrayLike,
        batch_size: int,
        *,
        max_nodes: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank} of world_size {world_size}, expected it in [0, world_size).")
        if batch_size < 1 or (max_nodes is not None and max_nodes < 1):
            raise ValueError(f"batch_size is {batch_size} and max_nodes {max_nodes}, expected at least 1 each.")
        self.node_counts = np.asarray(node_counts, dtype=np.int64)
        self.batch_size = batch_size
        self.max_nodes = max_nodes
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._first = 0
        self._yielded: tuple[int, int] | None = None  # epoch and batches of the pass that has begun

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of `epoch`; whole, unless `set_position` was called for this same epoch."""
        self.set_position(epoch, self._first if epoch == self.epoch else 0)

    def set_position(self, epoch: int, batch: int) -> None:
        """Make the next pass that of `epoch`, without its first `batch` batches."""
        self.epoch, self._first, self._yielded = epoch, batch, None

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        # A generator, so that the order is drawn at the first batch: on resume Lightning makes the iterator before it
        # calls set_epoch.
        epoch, first, batches = self.epoch, self._first, self._batches()
        self.set_position(epoch + 1, 0)
        own = batches[self.rank : len(batches) - len(batches) % self.world_size : self.world_size]
        for number, batch in enumerate(own[first:], start=first + 1):
            self._yielded = (epoch, number)
            yield batch
        self._yielded = None

    def __len__(self) -> int:
        """Batches of the coming epoch, all of them; with a node budget it differs a little from epoch to epoch."""
        return len(self._batches()) // self.world_size

    def state_dict(self) -> dict[str, int]:
        """Epoch, and how many of its batches were yielded: with the arguments, all that the rest depends on."""
        epoch, batch = self._yielded or (self.epoch, self._first)
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from the stored position."""
        self.set_position(int(state["epoch"]), int(state["batch"]))

    def _batches(self) -> list[NDArray[np.int64]]:
        order = np.arange(len(self.node_counts), dtype=np.int64)
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(order)
        if self.max_nodes is None:
            return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        cuts = _cuts(self.node_counts[order], self.batch_size, self.max_nodes)
        return np.split(order, cuts[1:]) if len(order) else []


@njit(cache=True, nogil=True)
def _cuts(node_counts: NDArray[np.int64], batch_size: int, max_nodes: int) -> NDArray[np.int64]:
    """Index of the first graph of each batch."""
    cuts = [0]
    nodes = 0
    for i in range(len(node_counts)):
        if i > cuts[-1] and (i - cuts[-1] == batch_size or nodes + node_counts[i] > max_nodes):
            cuts.append(i)
            nodes = 0
        nodes += node_counts[i]
    return np.array(cuts)


@njit(cache=True, nogil=True)
def _number(
    node_ptr: NDArray[np.int64], edge_index: NDArray[np.int32], edge_ptr: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Graph of each node, int64 [N], and the edges numbered within the batch, int64 [2, E]."""
    batch = np.empty(node_ptr[-1], np.int64)
    numbered = np.empty(edge_index.shape, np.int64)
    for g in range(len(node_ptr) - 1):
        batch[node_ptr[g] : node_ptr[g + 1]] = g
        for end in range(2):
            for edge in range(edge_ptr[g], edge_ptr[g + 1]):
                numbered[end, edge] = edge_index[end, edge] + node_ptr[g]
    return batch, numbered
