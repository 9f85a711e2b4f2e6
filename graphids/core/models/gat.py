"""GAT: a graph attention network that classifies a window of CAN traffic.

A plain `nn.Module` over tensors: it knows neither captures nor Lightning. Layers and pooling are PyTorch Geometric's.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypedDict, cast

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv, JumpingKnowledge, global_mean_pool
from torch_geometric.utils import scatter

from graphids.core.evaluation import attack_margin

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


class _Layer(NamedTuple):
    """What one layer gives: of each node, and of each edge with the layer's own self-loops last."""

    state: Tensor  # [N, hidden]
    source: Tensor  # [E + N]
    attention: Tensor  # [E + N, heads]


class GAT(nn.Module):
    """Embedding of the arbitration ID and node features -> GATv2 layers -> mean over nodes -> logits.

    Each layer is a pre-norm residual block around `GATv2Conv` (Brody et al., ICLR 2022, arXiv 2105.14491) with edge
    features and the layer's own self-loops, whose edge features are the mean of a node's incoming edges. Jumping
    knowledge (Xu et al., ICML 2018, arXiv 1806.03536) combines the layers' states of a node. LayerNorm throughout:
    a window's logits never depend on the other windows of its batch.

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
        }
        check_architecture(self._architecture)
        self.embedding = nn.Embedding(num_tokens, embedding_dim)
        self.input = nn.Linear(num_node_features + embedding_dim, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(layers))
        self.convs = nn.ModuleList(
            GATv2Conv(
                hidden, hidden // heads, heads, edge_dim=num_edge_features, add_self_loops=True, fill_value="mean"
            )
            for _ in range(layers)
        )
        self.jump = JumpingKnowledge(jumping, channels=hidden, num_layers=layers)
        self.activation = nn.ELU()
        self.dropout = nn.Dropout(dropout)
        pooled = hidden * layers if jumping == "cat" else hidden
        self.fc_layers = nn.Sequential(
            nn.Linear(pooled, hidden), nn.ELU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
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
        states = self.represent(x, token, edge_index, edge_attr, batch, num_graphs)
        return cast(Tensor, self.head(states))  # [G, C]

    def represent(
        self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, num_graphs: int
    ) -> Tensor:
        """The head's input for each graph, float [G, hidden]; arguments as in `forward`.

        With it the logits of another head, such as that of another tau, cost one matrix product.
        """
        states = [layer.state for layer in self._layers(x, token, edge_index, edge_attr)]
        return self._pool(states, batch, num_graphs)

    def attention(
        self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, num_graphs: int
    ) -> Tensor:
        """Relevance of each node for the attack margin of its graph; arguments as in `forward`, call in eval mode.

        Raw attention says where a node looks, not whether it matters for the verdict. So each attention weight is
        multiplied by the gradient of the margin with respect to it, and the positive products are summed per source
        node (self-loops included) over edges, heads and layers. Autograd works inside, whatever mode the caller is in.

        Returns:
            float32 [N], non-negative, sums to 1 over the nodes of a graph (to 0 where no product is positive).
        """
        with torch.inference_mode(False), torch.enable_grad():
            # Tensors made under inference_mode cannot take part in autograd; their clones can.
            x, token, edge_index, edge_attr, batch = (t.clone() for t in (x, token, edge_index, edge_attr, batch))
            layers = list(self._layers(x.requires_grad_(), token, edge_index, edge_attr))
            # Every graph's margin depends on its own weights alone, so one backward pass of the sum serves all.
            margin = attack_margin(self.head(self._pool([layer.state for layer in layers], batch, num_graphs))).sum()
            gradients = torch.autograd.grad(margin, [layer.attention for layer in layers])
        relevance = x.new_zeros(x.size(0), dtype=torch.float32)
        for layer, gradient in zip(layers, gradients, strict=True):
            for_attack = (layer.attention.detach() * gradient).float().clamp(min=0).sum(dim=1)  # [E + N]
            relevance += scatter(for_attack, layer.source, dim_size=x.size(0), reduce="sum")
        total = scatter(relevance, batch, dim_size=num_graphs, reduce="sum")  # [G]
        return cast(Tensor, relevance / total.clamp(min=torch.finfo(torch.float32).tiny)[batch])

    def edge_attention(self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Attention of each edge, mean over heads and layers; arguments as in `forward`, call in eval mode.

        It says where a node looks. The layers' own self-loops take part but have no row: the weights of a node's
        incoming edges and of its self-loop sum to 1. Graphs of CAN traffic have no self-loops of their own.

        Returns:
            float [E].
        """
        with torch.no_grad():
            layers = self._layers(x, token, edge_index, edge_attr)
            weights = [layer.attention[: edge_index.size(1)].mean(dim=1) for layer in layers]  # [E] each
            return torch.stack(weights).mean(dim=0)

    def _layers(self, x: Tensor, token: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Iterator[_Layer]:
        """The layers one after another: a caller that keeps only states holds the attention of one layer at a time."""
        h = self.input(torch.cat([x, self.embedding(token)], dim=1))  # [N, hidden]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            # The convolution computes the attention in any case; asking for it costs nothing.
            out, (edges, alpha) = conv(norm(h), edge_index, edge_attr, return_attention_weights=True)
            h = h + self.dropout(self.activation(out))  # [N, hidden]
            yield _Layer(state=h, source=edges[0], attention=alpha)

    def _pool(self, states: list[Tensor], batch: Tensor, num_graphs: int) -> Tensor:
        h = self.jump(states)  # [N, hidden] or, for "cat", [N, layers * hidden]
        return cast(Tensor, self.fc_layers[:-1](global_mean_pool(h, batch, size=num_graphs)))  # [G, hidden]


def check_architecture(architecture: dict[str, Any]) -> None:
    """Raise ValueError unless these constructor arguments of `GAT`, all of them or some, make a network."""
    least = {"num_classes": 2, "dropout": 0}
    for name, value in architecture.items():
        if name != "jumping" and value < least.get(name, 1):
            raise ValueError(f"GAT needs {name} >= {least.get(name, 1)}, found {value}.")
    hidden, heads = architecture["hidden"], architecture["heads"]
    if hidden % heads:
        raise ValueError(
            f"GAT's heads share hidden: expected hidden a multiple of heads={heads}, found hidden={hidden}."
        )
    if architecture["jumping"] not in ("max", "cat", "lstm"):
        raise ValueError(f"GAT knows jumping 'max', 'cat' and 'lstm', found {architecture['jumping']!r}.")
