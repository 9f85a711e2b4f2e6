"""Graph attention: a GATv2 layer over edges that are sorted by target once per batch.

The convolution of Brody et al. (ICLR 2022, arXiv 2105.14491) with edge features and self-loops, as PyTorch Geometric's
`GATv2Conv` computes it, its oracle in the tests. On the CPU scores, softmax and sum are one compiled pass over the
edges of each target, forward and backward: over twice as fast to train as the general layer, which writes every edge's
state to memory several times and adds self-loops in every layer.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graphids.core.compiled import njit

_SLOPE = 0.2  # of the leaky ReLU below zero
# Sums may be taken in another order, so that they are vectorised; NaN and infinity are what they always are.
_REORDERED = {"reassoc", "contract", "nsz", "arcp"}


class IncomingEdges(NamedTuple):
    """Edges of a batch and a self-loop of every node, sorted by target; a target's self-loop comes last.

    Attributes:
        source: int64 [E + N].
        target: int64 [E + N], rising.
        first: int64 [N + 1], the edges into node n are `first[n]:first[n + 1]`.
        edge_attr: float [E + N, FE]; a self-loop has the mean of its node's other edges, 0 where there is none.
        place: int64 [E], where each edge of `edge_index` is now.
    """

    source: Tensor
    target: Tensor
    first: Tensor
    edge_attr: Tensor
    place: Tensor


def incoming_edges(edge_index: Tensor, edge_attr: Tensor, num_nodes: int) -> IncomingEdges:
    """Sort the edges of a batch, once for all layers.

    Args:
        edge_index: int64 [2, E], source row 0, target row 1; no self-loops.
        edge_attr: float [E, FE].
        num_nodes: N.
    """
    loops = torch.arange(num_nodes, device=edge_index.device)
    target = edge_index[1]
    count = torch.bincount(target, minlength=num_nodes)  # [N]
    total = edge_attr.new_zeros(num_nodes, edge_attr.size(1)).index_add(0, target, edge_attr)
    mean = total / count.clamp(min=1).unsqueeze(1).to(total.dtype)
    order = torch.cat([target, loops]).argsort(stable=True)  # [E + N]
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    first = torch.cat([loops.new_zeros(1), (count + 1).cumsum(0)])
    return IncomingEdges(
        source=torch.cat([edge_index[0], loops])[order],
        target=torch.cat([target, loops])[order],
        first=first,
        edge_attr=torch.cat([edge_attr, mean])[order],
        place=place[: edge_index.size(1)],
    )


class GraphAttention(nn.Module):
    """One layer: every node attends to its neighbours and itself.

    Args:
        width: Of a node's state, a multiple of `heads`; the heads share it.
        heads: Attention heads.
        num_edge_features: FE.
    """

    def __init__(self, width: int, heads: int, num_edge_features: int) -> None:
        super().__init__()
        self.nodes = nn.Linear(width, 2 * width)  # what a node is as a source, and what as a target
        self.edges = nn.Linear(num_edge_features, width, bias=False)
        self.score = nn.Parameter(torch.empty(heads, width // heads))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.nodes.weight[:width])
        nn.init.xavier_uniform_(self.nodes.weight[width:])
        nn.init.zeros_(self.nodes.bias)
        nn.init.xavier_uniform_(self.edges.weight)
        nn.init.xavier_uniform_(self.score)

    def forward(self, x: Tensor, edges: IncomingEdges) -> tuple[Tensor, Tensor]:
        """The nodes' new states, float [N, width], from float [N, width], and the attention, float [E + N, heads].

        The attention is for looking at: gradients flow through the states alone.
        """
        source, target = self.nodes(x).chunk(2, dim=1)
        of_edges = self.edges(edges.edge_attr)
        if x.is_cuda:
            states, attention = self.in_torch(source, target, of_edges, edges)
        else:
            # Under mixed precision the products above may be bfloat16, which compiled code does not know.
            given = (t.float().contiguous() for t in (source, target, of_edges, self.score))
            states, attention = _Attend.apply(*given, edges.source, edges.first)  # type: ignore[no-untyped-call]
        return states + self.bias, attention.detach()

    def in_torch(self, source: Tensor, target: Tensor, of_edges: Tensor, edges: IncomingEdges) -> tuple[Tensor, Tensor]:
        """What the compiled pass computes, for devices that have none."""
        num_nodes, shape = len(edges.first) - 1, (-1, *self.score.shape)
        sent = source[edges.source].view(shape)  # [E + N, heads, width / heads]
        mixed = sent + (target[edges.target] + of_edges).view(shape)
        scores = (nn.functional.leaky_relu(mixed, _SLOPE) * self.score).sum(dim=2).float()  # [E + N, heads]
        into = edges.target.unsqueeze(1).expand_as(scores)
        highest = scores.new_full((num_nodes, scores.size(1)), -torch.inf).scatter_reduce(
            0, into, scores.detach(), reduce="amax"
        )
        weight = (scores - highest[edges.target]).exp()
        total = weight.new_zeros(num_nodes, scores.size(1)).index_add(0, edges.target, weight)
        attention = weight / total[edges.target]
        parts = (attention.unsqueeze(2) * sent).flatten(1)
        return parts.new_zeros(num_nodes, parts.size(1)).index_add(0, edges.target, parts), attention


class _Given(NamedTuple):
    """What attention is computed from: float32 but for the last two, which are int64.

    Attributes:
        source: [N, K], of each node as a source; K is the width.
        target: [N, K], and as a target.
        of_edges: [E + N, K].
        score: [heads, K / heads].
        source_of: [E + N], the source of each edge.
        first: [N + 1], as in `IncomingEdges`.
    """

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    of_edges: NDArray[np.float32]
    score: NDArray[np.float32]
    source_of: NDArray[np.int64]
    first: NDArray[np.int64]


class _Gradients(NamedTuple):
    """Gradients with respect to the first four of `_Given`, in their shapes."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    of_edges: NDArray[np.float32]
    score: NDArray[np.float32]


class _Attend(torch.autograd.Function):
    """The compiled pass over tensors as `_Given` has them."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        source, _, of_edges, score, *_ = given
        out, attention = torch.empty_like(source), source.new_empty(len(of_edges), score.size(0))
        _attend(_Given(*_arrays(*given)), *_arrays(out, attention))
        ctx.save_for_backward(*given, attention)
        ctx.mark_non_differentiable(attention)
        return out, attention

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        *given, attention = ctx.saved_tensors
        gradients = tuple(map(torch.zeros_like, given[:4]))
        wanted, attended = _arrays(gradient.contiguous(), attention)
        _attend_backward(wanted, _Given(*_arrays(*given)), attended, _Gradients(*_arrays(*gradients)))
        return (*gradients, None, None)


def _arrays(*tensors: Tensor) -> tuple[NDArray[Any], ...]:
    """The tensors' own memory."""
    return tuple(tensor.detach().numpy() for tensor in tensors)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def _attend(given: _Given, out: NDArray[np.float32], attention: NDArray[np.float32]) -> None:
    """Fill `out` [N, K] and `attention` [E + N, heads]."""
    heads, share = given.score.shape
    weights, first, slope = given.score.ravel(), given.first, np.float32(_SLOPE)
    parts = np.empty(heads * share, np.float32)
    highest, total = np.empty(heads, np.float32), np.empty(heads, np.float32)
    for node in range(len(first) - 1):
        own, state = given.target[node], out[node]
        highest[:], total[:], state[:] = -np.inf, 0.0, 0.0
        for edge in range(first[node], first[node + 1]):
            sent, on_the_way = given.source[given.source_of[edge]], given.of_edges[edge]
            scores = attention[edge]
            for k in range(len(parts)):
                mixed = sent[k] + own[k] + on_the_way[k]
                parts[k] = weights[k] * max(mixed, mixed * slope)
            for head in range(heads):
                scores[head] = parts[head * share : (head + 1) * share].sum()
                highest[head] = max(highest[head], scores[head])
        for edge in range(first[node], first[node + 1]):
            for head in range(heads):
                attention[edge, head] = np.exp(attention[edge, head] - highest[head])
                total[head] += attention[edge, head]
        for edge in range(first[node], first[node + 1]):
            sent = given.source[given.source_of[edge]]
            for head in range(heads):
                attention[edge, head] /= total[head]
                for k in range(head * share, (head + 1) * share):
                    state[k] += attention[edge, head] * sent[k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def _attend_backward(
    gradient: NDArray[np.float32], given: _Given, attention: NDArray[np.float32], gradients: _Gradients
) -> None:
    """Add to the gradients, which are zero, what follows from that of `out`, float32 [N, K]."""
    heads, share = given.score.shape
    weights, first, slope = given.score.ravel(), given.first, np.float32(_SLOPE)
    to_weights = gradients.score.ravel()
    products, by_score = np.empty(heads * share, np.float32), np.empty(heads * share, np.float32)
    weight, mean = np.empty(heads * share, np.float32), np.empty(heads, np.float32)
    to_attention = np.empty((np.max(first[1:] - first[:-1]) if len(first) > 1 else 0, heads), np.float32)
    for node in range(len(first) - 1):
        wanted, own, to_own, begin = gradient[node], given.target[node], gradients.target[node], first[node]
        mean[:] = 0.0
        for edge in range(begin, first[node + 1]):
            sent = given.source[given.source_of[edge]]
            for k in range(len(products)):
                products[k] = wanted[k] * sent[k]
            for head in range(heads):
                to_attention[edge - begin, head] = products[head * share : (head + 1) * share].sum()
                mean[head] += attention[edge, head] * to_attention[edge - begin, head]
        for edge in range(begin, first[node + 1]):
            sent, on_the_way = given.source[given.source_of[edge]], given.of_edges[edge]
            to_sent, to_edge = gradients.source[given.source_of[edge]], gradients.of_edges[edge]
            for head in range(heads):
                change = attention[edge, head] * (to_attention[edge - begin, head] - mean[head])
                for k in range(head * share, (head + 1) * share):
                    by_score[k], weight[k] = change, attention[edge, head]
            for k in range(len(products)):
                mixed = sent[k] + own[k] + on_the_way[k]
                steep = by_score[k] * (np.float32(1.0) if mixed > 0.0 else slope)
                to_weights[k] += steep * mixed
                to_edge[k] = steep * weights[k]
                to_own[k] += steep * weights[k]
                to_sent[k] += steep * weights[k] + weight[k] * wanted[k]
