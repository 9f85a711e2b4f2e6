"""Inference: graphs through the network, to states, logits and the order of their nodes by suspicion."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from graphids.core.data.batches import GraphBatches
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.frames import format_arbitration_id
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.models.gat import GAT, Represented
from graphids.core.models.isolation import isolated

# Bounds the memory of a forward pass: at 64 hidden units and 4 heads a layer holds 64 MiB of activations.
NODES_PER_BATCH = 1 << 16


@isolated()
def represent(gat: GAT, graphs: PackedGraphs, preprocessing: Preprocessing) -> Represented:
    """The head's input for every window and the logit of every node, on the CPU; the network is left in eval mode.

    With it another head, such as that of another tau, costs a matrix product instead of a pass over the graphs.
    """
    gat.eval()
    batches, device = GraphBatches(graphs, preprocessing), gat.head.weight.device
    with torch.inference_mode():
        parts = [gat.represent(*batches.network_input(batch).to(device)) for batch in _batches(graphs)]
    return Represented(*(torch.cat([tensor.cpu() for tensor in column]) for column in zip(*parts, strict=True)))


@isolated()
def classify(gat: GAT, states: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Logits of represented windows, float64 [G, C]: in float32 the scores of clear attacks would all be 1.

    Args:
        gat: Whose head it is.
        states: float32 [G, hidden], from `represent`.
        weight: float [C, hidden], another weight in place of the head's.
    """
    weight = gat.head.weight if weight is None else weight
    weight, bias = weight.detach().cpu(), gat.head.bias.detach().cpu()
    return torch.nn.functional.linear(states, weight, bias).double()


def order_by_suspicion(
    graphs: PackedGraphs, node_logits: NDArray[np.float32], lead: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Nodes, int64 [N], graph by graph, the most suspicious first; ties go by ID, so that every machine agrees.

    Args:
        graphs: Of the windows.
        node_logits: float32 [N].
        lead: As in `suspects`.
    """
    graph = np.repeat(np.arange(len(graphs)), graphs.num_nodes())
    follows = np.zeros(len(graph), np.bool_) if lead is None else graphs.node_key != lead[graph]
    return np.lexsort((graphs.node_key, -node_logits, follows, graph))


def suspects(
    graphs: PackedGraphs,
    node_logits: torch.Tensor,
    alert: NDArray[np.bool_],
    top_k: int,
    lead: NDArray[np.int64],
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[float, ...], ...]]:
    """The `top_k` most suspicious IDs of windows that alert, and how sure the network is of each.

    Args:
        graphs: Of the windows.
        node_logits: float [N].
        alert: bool [G].
        top_k: At most so many of each window.
        lead: int64 [G], node key of the ID to name first, whatever the network says; -1 for none.
    """
    order = order_by_suspicion(graphs, node_logits.numpy(), lead)
    suspicion = node_logits.double().sigmoid().numpy()
    last = np.minimum(graphs.node_ptr[:-1] + top_k, graphs.node_ptr[1:])
    named = [
        order[first:end] if is_alert else order[:0]
        for first, end, is_alert in zip(graphs.node_ptr[:-1], last, alert, strict=True)
    ]
    return (
        tuple(tuple(map(format_arbitration_id, graphs.node_key[nodes])) for nodes in named),
        tuple(tuple(suspicion[nodes].tolist()) for nodes in named),
    )


def _batches(graphs: PackedGraphs) -> Iterator[NDArray[np.int64]]:
    """Indices of consecutive graphs, at most `NODES_PER_BATCH` nodes together (or one graph that has more)."""
    first = 0
    while first < len(graphs):
        limit = graphs.node_ptr[first] + NODES_PER_BATCH
        last = max(int(np.searchsorted(graphs.node_ptr, limit, side="right")) - 1, first + 1)
        yield np.arange(first, last)
        first = last
