"""GAT: a graph attention network that classifies a window of CAN traffic.

A plain `nn.Module` over tensors: it knows neither captures nor Lightning.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypedDict, cast

import torch
from torch import Tensor, nn

from graphids.core.models.attention import GraphAttention, incoming_edges

Jumping = Literal["max", "cat", "lstm"]


class Size(TypedDict):
    """The settings that a named size stands for; each can be overridden."""

    hidden: int
    layers: int
    heads: int
    dropout: float


SIZES: dict[str, Size] = {
    "small": Size(hidden=32, layers=2, heads=4, dropout=0.1),
    "large": Size(hidden=128, layers=4, heads=8, dropout=0.2),
}


class Represented(NamedTuple):
    """What the network makes of a batch before its class head.

    Attributes:
        states: float [G, hidden], the head's input for each graph.
        node_logits: float [N], log-odds that the node's arbitration ID is attacked.
    """

    states: Tensor
    node_logits: Tensor


class GAT(nn.Module):
    """Embedding of the arbitration ID and node features -> GATv2 layers -> mean and maximum over nodes -> logits.

    Each layer is a pre-norm residual block around `GraphAttention`, GATv2 with edge features and a self-loop per node,
    whose edge features are the mean of the node's incoming edges. Jumping
    knowledge (Xu et al., ICML 2018, arXiv 1806.03536) combines the layers' states of a node. LayerNorm throughout:
    a window's logits never depend on the other windows of its batch.

    `node_head` says of each node whether its ID is attacked. The largest of a window's node logits is part of what
    `fc_layers` sees, so that one attacked ID among a hundred is not averaged away.

    Without edges a node sees itself alone: a layer is the linear map that GATv2 is where every node has but its
    self-loop. Only the class head then joins what the nodes say.

    Args:
        num_tokens: Size of the vocabulary, token 0 (UNK) included.
        num_node_features: F, columns of `x`.
        num_edge_features: FE, columns of `edge_attr`.
        num_classes: C, class 0 is normal.
        hidden: Width of a node's state, a multiple of `heads`; the heads share it.
        layers: Number of GATv2 layers.
        heads: Attention heads per layer.
        dropout: Probability, on layer outputs and before the head; attention weights are never dropped.
        jumping: How layer outputs combine. `lstm` costs about four times the step of `max`.
        embedding_dim: Width of the arbitration ID's embedding.
        edges: Whether nodes attend to their neighbours.

    Raises:
        ValueError: If a size is below 1, C below 2, `hidden` is not a multiple of `heads`, or `jumping` is unknown.
    """

    def __init__(
        self,
        num_tokens: int,
        num_node_features: int,
        num_edge_features: int,
        num_classes: int,
        hidden: int = SIZES["small"]["hidden"],
        layers: int = SIZES["small"]["layers"],
        heads: int = SIZES["small"]["heads"],
        dropout: float = SIZES["small"]["dropout"],
        jumping: Jumping = "max",
        embedding_dim: int = 16,
        edges: bool = True,
    ) -> None:
        super().__init__()
        self._architecture: dict[str, Any] = {
            "num_tokens": num_tokens,
            "num_node_features": num_node_features,
            "num_edge_features": num_edge_features,
            "num_classes": num_classes,
            "hidden": hidden,
            "layers": layers,
            "heads": heads,
            "dropout": dropout,
            "jumping": jumping,
            "embedding_dim": embedding_dim,
            "edges": edges,
        }
        check_architecture(self._architecture)
        self.embedding = nn.Embedding(num_tokens, embedding_dim, _weight=_normal(num_tokens, embedding_dim))
        self.input = nn.Linear(num_node_features + embedding_dim, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.convs = nn.ModuleList(
            GraphAttention(hidden, heads, num_edge_features) if edges else nn.Linear(hidden, hidden)
            for _ in range(layers)
        )
        self.jump = _jump(jumping, hidden, layers)
        self.activation = nn.ELU()
        self.dropout = nn.Dropout(dropout)
        pooled = hidden * layers if jumping == "cat" else hidden
        self.node_head = nn.Linear(pooled, 1)
        self.fc_layers = nn.Sequential(
            nn.Linear(2 * pooled + 1, hidden), nn.ELU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
        )

    @property
    def head(self) -> nn.Linear:
        """The last of `fc_layers`: one row of weight per class."""
        return cast(nn.Linear, self.fc_layers[-1])

    def architecture(self) -> dict[str, Any]:
        """Constructor arguments as plain values: `GAT(**gat.architecture())` is the same network, newly initialised."""
        return dict(self._architecture)

    def forward(
        self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, num_graphs: int
    ) -> Tensor:
        """Classify a batch of graphs.

        Args:
            x: float [N, F] node features, scaled.
            token: int64 [N] index of the node's arbitration ID in the vocabulary.
            edge_index: int64 [2, E], source row 0, target row 1.
            edge_attr: float [E, FE] edge features, scaled.
            batch: int64 [N] graph of each node, ascending.
            num_graphs: G.

        Returns:
            float [G, C] logits.
        """
        represented = self.represent(x, token, edge_index, edge_attr, batch, num_graphs)
        return cast(Tensor, self.head(represented.states))  # [G, C]

    def represent(
        self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, num_graphs: int
    ) -> Represented:
        """The head's input for each graph and the logit of each node; arguments as in `forward`.

        With it the logits of another head, such as that of another tau, cost one matrix product.
        """
        h = self.jump([state for state, _ in self._layers(x, token, edge_index, edge_attr)])  # [N, pooled]
        node_logits = self.node_head(h)  # [N, 1]
        lengths = torch.bincount(batch, minlength=num_graphs)
        pooled = (
            torch.segment_reduce(h, "mean", lengths=lengths),  # [G, pooled]
            torch.segment_reduce(torch.cat([h, node_logits], dim=1), "max", lengths=lengths),  # [G, pooled + 1]
        )
        return Represented(self.fc_layers[:-1](torch.cat(pooled, dim=1)), node_logits.squeeze(1))

    def edge_attention(self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Attention of each edge, mean over heads and layers; arguments as in `forward`, call in eval mode.

        It says where a node looks. The self-loops take part but have no row: the weights of a node's incoming edges
        and of its self-loop sum to 1. Graphs of CAN traffic have no self-loops of their own.

        Returns:
            float [E]; zeros where the network is without edges.
        """
        with torch.no_grad():
            weights = [alpha.mean(dim=1) for _, alpha in self._layers(x, token, edge_index, edge_attr)]  # [E] each
            return torch.stack(weights).mean(dim=0)

    def _layers(
        self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """State of each node [N, hidden] and attention of each edge [E, heads], layer by layer.

        A caller that keeps only states holds the attention of one layer at a time.
        """
        h = self.input(torch.cat([x, self.embedding(token)], dim=1))  # [N, hidden]
        edges = incoming_edges(edge_index, edge_attr, x.size(0)) if self._architecture["edges"] else None
        for norm, layer in zip(self.norms, self.convs, strict=True):
            if edges is None:
                out, attention = layer(norm(h)), edge_attr.new_zeros(edge_index.size(1), 1)
            else:
                out, attention = layer(norm(h), edges)
                attention = attention[edges.place]
            h = h + self.dropout(self.activation(out))  # [N, hidden]
            yield h, attention


def _normal(rows: int, columns: int) -> Tensor:
    """Values that an embedding begins with.

    On the meta device, for weights that are about to be replaced, torch would import its compiler to draw none: 1.7 s.
    """
    values = torch.empty(rows, columns)
    return values if values.is_meta else values.normal_()


def _jump(jumping: Jumping, hidden: int, layers: int) -> nn.Module:
    if jumping == "lstm":
        # Only here: the import costs as much as torch's own.
        from torch_geometric.nn import JumpingKnowledge

        return cast(nn.Module, JumpingKnowledge(jumping, channels=hidden, num_layers=layers))
    return _Largest() if jumping == "max" else _Joined()


class _Largest(nn.Module):
    """The largest of the layers' states, column by column."""

    def forward(self, states: list[Tensor]) -> Tensor:
        return torch.stack(states).amax(dim=0)


class _Joined(nn.Module):
    """The layers' states side by side."""

    def forward(self, states: list[Tensor]) -> Tensor:
        return torch.cat(states, dim=1)


def check_architecture(architecture: dict[str, Any]) -> None:
    """Raise ValueError unless these constructor arguments of `GAT`, all of them or some, make a network."""
    least = {"num_classes": 2, "dropout": 0}
    for name, value in architecture.items():
        if name not in ("jumping", "edges") and value < least.get(name, 1):
            raise ValueError(f"GAT needs {name} >= {least.get(name, 1)}, found {value}.")
    hidden, heads = architecture["hidden"], architecture["heads"]
    if hidden % heads:
        raise ValueError(
            f"GAT's heads share hidden: expected hidden a multiple of heads={heads}, found hidden={hidden}."
        )
    if architecture["jumping"] not in ("max", "cat", "lstm"):
        raise ValueError(f"GAT knows jumping 'max', 'cat' and 'lstm', found {architecture['jumping']!r}.")
