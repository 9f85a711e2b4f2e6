"""The attention layer against PyTorch Geometric's, and its compiled pass against the same maths in torch."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch_geometric.nn import GATv2Conv

from graphids.core.models.attention import GraphAttention, IncomingEdges, incoming_edges

NODES, EDGES, EDGE_FEATURES = 40, 150, 3


def graph(num_edges: int = EDGES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Edges without self-loops, some nodes without any, and their features."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(0, NODES - 3, (2, num_edges), generator=generator)
    ends = ends[:, ends[0] != ends[1]]
    return ends, torch.randn(ends.size(1), EDGE_FEATURES, generator=generator)


def states(width: int) -> Tensor:
    return torch.randn(NODES, width, generator=torch.Generator().manual_seed(1)).requires_grad_()


def twin(layer: GraphAttention, width: int, heads: int) -> GATv2Conv:
    """PyTorch Geometric's layer with the same weights."""
    other = GATv2Conv(width, width // heads, heads, edge_dim=EDGE_FEATURES, add_self_loops=True, fill_value="mean")
    source, target = layer.nodes.weight.detach().chunk(2)
    source_bias, target_bias = layer.nodes.bias.detach().chunk(2)
    with torch.no_grad():
        for parameter, value in (
            (other.lin_l.weight, source),
            (other.lin_r.weight, target),
            (other.lin_l.bias, source_bias),
            (other.lin_r.bias, target_bias),
            (other.lin_edge.weight, layer.edges.weight),
            (other.att, layer.score.unsqueeze(0)),
            (other.bias, layer.bias),
        ):
            parameter.copy_(value)
    return other


def layer_of(width: int, heads: int) -> GraphAttention:
    torch.manual_seed(2)
    layer = GraphAttention(width, heads, EDGE_FEATURES)
    with torch.no_grad():
        for parameter in (layer.nodes.bias, layer.bias):
            parameter.uniform_(-1.0, 1.0)
    return layer


@pytest.mark.parametrize(("width", "heads"), [(8, 1), (8, 2), (32, 4), (9, 3)])
@pytest.mark.parametrize("num_edges", [0, EDGES])
def test_states_and_gradients_are_those_of_pytorch_geometric(width: int, heads: int, num_edges: int) -> None:
    layer, (edge_index, edge_attr) = layer_of(width, heads), graph(num_edges)
    other, x, same_x = twin(layer, width, heads), states(width), states(width)
    wanted = torch.randn(NODES, width, generator=torch.Generator().manual_seed(3))

    found, _ = layer(x, incoming_edges(edge_index, edge_attr, NODES))
    expected = other(same_x, edge_index, edge_attr)
    found.backward(wanted)
    expected.backward(wanted)

    assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert_close(x.grad, same_x.grad, atol=1e-5, rtol=1e-5)
    nodes = torch.cat([other.lin_l.weight.grad, other.lin_r.weight.grad])
    assert_close(layer.nodes.weight.grad, nodes, atol=1e-4, rtol=1e-4)
    assert_close(layer.edges.weight.grad, other.lin_edge.weight.grad, atol=1e-4, rtol=1e-4)
    assert_close(layer.score.grad, other.att.grad[0], atol=1e-4, rtol=1e-4)
    assert_close(layer.bias.grad, other.bias.grad, atol=1e-5, rtol=1e-5)


def test_attention_is_that_of_pytorch_geometric_edge_by_edge() -> None:
    layer, (edge_index, edge_attr) = layer_of(8, 2), graph()
    edges = incoming_edges(edge_index, edge_attr, NODES)

    state, attention = layer(states(8), edges)

    expected, (_, weights) = twin(layer, 8, 2)(states(8), edge_index, edge_attr, return_attention_weights=True)
    assert_close(state, expected, atol=1e-5, rtol=1e-5)
    assert_close(attention[edges.place], weights[: edge_index.size(1)], atol=1e-6, rtol=1e-5)
    loops = torch.ones(len(edges.source), dtype=torch.bool).index_fill(0, edges.place, False)
    assert_close(attention[loops], weights[edge_index.size(1) :], atol=1e-6, rtol=1e-5)


def in_torch(layer: GraphAttention, x: Tensor, edges: IncomingEdges) -> tuple[Tensor, Tensor]:
    return layer.in_torch(*layer.nodes(x).chunk(2, dim=1), layer.edges(edges.edge_attr), edges)


@pytest.mark.parametrize(("scale", "atol"), [(1.0, 1e-5), (1e4, 1e-1)])  # the second overflows an exponential
def test_the_compiled_pass_gives_what_torch_gives(scale: float, atol: float) -> None:
    layer, edges = layer_of(32, 4), incoming_edges(*graph(), NODES)
    x, same_x = states(32), states(32)

    found, expected = layer(x * scale, edges), in_torch(layer, same_x * scale, edges)
    found[0].sum().backward()
    expected[0].sum().backward()

    assert found[0].isfinite().all()
    assert_close(found[0], expected[0] + layer.bias, rtol=1e-4, atol=atol)
    assert_close(found[1], expected[1], rtol=1e-3, atol=1e-5)
    assert_close(x.grad, same_x.grad, rtol=1e-3, atol=1e-3 * scale)


def test_what_is_not_a_number_stays_visible() -> None:
    x = states(8).detach().clone()
    x[5] = torch.nan

    assert layer_of(8, 2)(x, incoming_edges(*graph(), NODES))[0][5].isnan().all()


def test_mixed_precision_trains_on_the_cpu() -> None:
    layer, edges = layer_of(8, 2), incoming_edges(*graph(), NODES)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = layer(states(8), edges)
    found.sum().backward()

    assert found.dtype == torch.float32
    assert layer.score.grad is not None
    assert layer.score.grad.isfinite().all()
