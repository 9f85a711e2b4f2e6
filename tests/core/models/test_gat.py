import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from graphids.core.evaluation import attack_margin
from graphids.core.models.gat import GAT, SIZES
from graphids.core.models.losses import balanced_binary_cross_entropy

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]


def graphs(num_graphs: int = 3, nodes: int = 5, edges: int = 12, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    offset = torch.arange(num_graphs).repeat_interleave(edges) * nodes
    return (
        torch.randn(num_graphs * nodes, 6, generator=generator),
        torch.randint(9, (num_graphs * nodes,), generator=generator),
        torch.randint(nodes, (2, num_graphs * edges), generator=generator) + offset,
        torch.randn(num_graphs * edges, 2, generator=generator),
        torch.arange(num_graphs).repeat_interleave(nodes),
        num_graphs,
    )


def network(**changes: Any) -> GAT:
    torch.manual_seed(0)
    sizes = {"hidden": 8, "layers": 2, "heads": 2, "dropout": 0.1} | changes
    return GAT(num_tokens=9, num_node_features=6, num_edge_features=2, num_classes=4, **sizes).eval()


@pytest.mark.parametrize("jumping", ["max", "cat", "lstm"])
def test_logits_have_one_row_per_graph_and_one_column_per_class(jumping: str) -> None:
    assert network(jumping=jumping)(*graphs(num_graphs=3)).shape == (3, 4)


@pytest.mark.parametrize("size", SIZES)
def test_named_sizes_build(size: str) -> None:
    assert network(**SIZES[size])(*graphs()).shape == (3, 4)


def test_the_order_of_nodes_and_edges_does_not_matter() -> None:
    gat, (x, token, edge_index, edge_attr, batch, _) = network(), graphs(num_graphs=1)
    nodes, edges = torch.randperm(5), torch.randperm(12)
    place = nodes.argsort()  # where each node went

    permuted = (x[nodes], token[nodes], place[edge_index[:, edges]], edge_attr[edges], batch, 1)

    torch.testing.assert_close(gat(*permuted), gat(x, token, edge_index, edge_attr, batch, 1))
    torch.testing.assert_close(
        gat.represent(*permuted).node_logits,
        gat.represent(x, token, edge_index, edge_attr, batch, 1).node_logits[nodes],
    )


def test_a_graph_has_the_logits_alone_that_it_has_within_a_batch() -> None:
    gat, (x, token, edge_index, edge_attr, batch, _) = network(), graphs(num_graphs=3)

    alone = gat(x[5:10], token[5:10], edge_index[:, 12:24] - 5, edge_attr[12:24], batch[5:10] - 1, 1)

    torch.testing.assert_close(alone[0], gat(x, token, edge_index, edge_attr, batch, 3)[1])


def test_a_graph_without_edges_is_classified_by_its_nodes() -> None:
    x, token, _, _, batch, num_graphs = graphs()
    no_edges = torch.empty(2, 0, dtype=torch.int64), torch.empty(0, 2)

    logits = network()(x, token, *no_edges, batch, num_graphs)

    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


def test_edge_features_matter() -> None:
    gat, (x, token, edge_index, edge_attr, batch, g) = network(), graphs()

    assert not torch.allclose(gat(x, token, edge_index, edge_attr + 1, batch, g), gat(*graphs()))


def test_the_architecture_rebuilds_the_network() -> None:
    gat = network(jumping="cat", layers=3)
    rebuilt = GAT(**gat.architecture()).eval()
    rebuilt.load_state_dict(gat.state_dict())

    assert torch.equal(rebuilt(*graphs()), gat(*graphs()))


def test_the_head_is_the_last_linear_of_fc_layers_and_its_input_is_what_represent_gives() -> None:
    gat = network()
    head = gat.fc_layers[-1]

    assert isinstance(head, torch.nn.Linear)
    assert head.weight.shape == (4, 8)
    torch.testing.assert_close(head(gat.represent(*graphs()).states), gat(*graphs()))


def test_the_same_seed_gives_the_same_gradients() -> None:
    def gradients() -> list[Tensor]:
        gat = network()
        attack_margin(gat(*graphs(num_graphs=20))).sum().backward()
        return [p.grad for p in gat.parameters() if p.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


def without_edges(gat: GAT) -> GAT:
    """The network without edges whose layers are what those of `gat` are where a node has but its self-loop."""
    twin = GAT(**gat.architecture() | {"edges": False}).eval()
    weights = {name: value for name, value in gat.state_dict().items() if not name.startswith("convs")}
    for index, conv in enumerate(gat.convs):
        as_source, _ = conv.nodes.weight.chunk(2)
        weights[f"convs.{index}.weight"] = as_source
        weights[f"convs.{index}.bias"] = conv.nodes.bias.chunk(2)[0] + conv.bias
    twin.load_state_dict(weights)
    return twin


def test_without_edges_the_network_is_what_it_is_on_graphs_that_have_none() -> None:
    gat, (x, token, edge_index, edge_attr, batch, g) = network(), graphs()
    twin = without_edges(gat)

    logits = gat(x, token, edge_index[:, :0], edge_attr[:0], batch, g)

    torch.testing.assert_close(twin(x, token, edge_index, edge_attr, batch, g), logits)
    assert not torch.allclose(logits, gat(*graphs()))
    assert twin.architecture()["edges"] is False
    assert twin.edge_attention(x, token, edge_index, edge_attr).tolist() == [0.0] * edge_index.size(1)


def test_without_edges_a_nodes_logit_is_its_own() -> None:
    twin, (x, *rest) = without_edges(network()), graphs()
    changed = x.clone()
    changed[3] += 1.0

    before, after = (twin.represent(features, *rest).node_logits for features in (x, changed))

    assert torch.equal(before == after, torch.arange(15) != 3)


def test_node_logits_are_those_of_the_graph_alone() -> None:
    gat, (x, token, edge_index, edge_attr, batch, _) = network(), graphs(num_graphs=3)

    alone = gat.represent(x[5:10], token[5:10], edge_index[:, 12:24] - 5, edge_attr[12:24], batch[5:10] - 1, 1)

    torch.testing.assert_close(alone.node_logits, gat.represent(*graphs(num_graphs=3)).node_logits[5:10])


def test_the_largest_node_logit_reaches_the_class_head() -> None:
    gat, inputs = network(), graphs()
    before = gat(*inputs)
    torch.nn.init.constant_(gat.node_head.bias, 2.0)

    assert (gat(*inputs) != before).any()


def test_a_node_that_prefers_none_of_its_edges_attends_equally_to_each_and_to_its_self_loop() -> None:
    gat, (x, token, _, edge_attr, *_) = network(layers=2), graphs(num_graphs=1)
    for conv in gat.convs:
        torch.nn.init.zeros_(conv.score)  # type: ignore[arg-type]
    edge_index = torch.tensor([[0, 1, 2, 0], [3, 3, 3, 4]])

    attention = gat.edge_attention(x, token, edge_index, edge_attr[:4])

    torch.testing.assert_close(attention, torch.tensor([1 / 4, 1 / 4, 1 / 4, 1 / 2]))


def test_the_attention_of_an_edge_stays_with_it_in_another_order() -> None:
    gat, (x, token, _, edge_attr, *_) = network(layers=1, heads=1), graphs(num_graphs=1)
    edge_index = torch.tensor([[0, 1, 2, 0, 3, 4], [3, 3, 3, 4, 4, 0]])
    edge_attr, edges = edge_attr[:6], torch.randperm(6)

    attention = gat.edge_attention(x, token, edge_index, edge_attr)
    permuted = gat.edge_attention(x, token, edge_index[:, edges], edge_attr[edges])

    torch.testing.assert_close(permuted, attention[edges])
    assert len(attention.unique()) > 1


def planted(num_graphs: int, seed: int) -> tuple[Inputs, Tensor, Tensor]:
    """Graphs of 12 nodes, every second an attack: one node's first feature is shifted by 4."""
    x, *rest = graphs(num_graphs, nodes=12, edges=40, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    is_attack = torch.arange(num_graphs) % 2
    culprit = torch.randint(12, (num_graphs,), generator=generator)
    x[torch.arange(num_graphs) * 12 + culprit, 0] += 4.0 * is_attack
    return (x, *rest), is_attack, culprit  # type: ignore[return-value]


@pytest.mark.parametrize("edges", [True, False])
def test_the_planted_node_has_the_largest_logit_in_nine_of_ten_alerted_graphs(edges: bool) -> None:
    gat = network(hidden=16, dropout=0.0, edges=edges).train()
    optimizer = torch.optim.Adam(gat.parameters(), lr=1e-2)
    for step in range(100):
        inputs, is_attack, culprit = planted(32, seed=step)
        node_labels = torch.zeros(32 * 12, dtype=torch.int8)
        node_labels[torch.arange(32) * 12 + culprit] = is_attack.to(torch.int8)
        represented = gat.represent(*inputs)
        loss = torch.nn.functional.cross_entropy(gat.head(represented.states), is_attack)
        loss = loss + balanced_binary_cross_entropy(represented.node_logits, node_labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    inputs, is_attack, culprit = planted(200, seed=1000)
    represented = gat.eval().represent(*inputs)
    alerted = (attack_margin(gat.head(represented.states)) > 0) & (is_attack == 1)
    first = represented.node_logits.view(200, 12).argmax(dim=1)

    assert alerted.sum() > 80
    assert (first == culprit)[alerted].float().mean() >= 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": 10, "heads": 4}, "multiple of heads=4, found hidden=10"),
        ({"layers": 0}, "layers >= 1, found 0"),
        ({"dropout": -0.1}, "dropout >= 0"),
        ({"jumping": "mean"}, "'max', 'cat' and 'lstm', found 'mean'"),
    ],
)
def test_impossible_architectures_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**change)


def test_a_network_whose_weights_are_replaced_is_built_without_the_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from graphids.core.models.gat import GAT\n"
        "with torch.device('meta'):\n"
        "    GAT(3, 4, 2, 2)\n"
        "assert 'torch._dynamo' not in sys.modules and 'torch_geometric' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
