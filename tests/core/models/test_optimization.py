import math

import pytest
from torch import nn

from graphids.core.models.optimization import lr_factor, parameter_groups


def test_the_learning_rate_warms_up_peaks_and_ends_at_a_hundredth() -> None:
    factors = [lr_factor(step, total_steps=100, warmup=0.1) for step in range(101)]

    assert factors[0] == pytest.approx(1 / 11)
    assert max(factors) == factors[10] == 1.0
    assert factors[100] == pytest.approx(0.01)
    assert lr_factor(10**6, total_steps=100, warmup=0.1) == pytest.approx(0.01)
    assert lr_factor(5, total_steps=math.inf, warmup=0.1) == 1.0


def test_weight_matrices_alone_are_decayed() -> None:
    network = nn.ModuleDict({"embedding": nn.Embedding(3, 2), "norm": nn.LayerNorm(2), "linear": nn.Linear(2, 2)})

    decayed, rest = parameter_groups(network)

    assert decayed == {"params": [network["linear"].weight]}
    assert rest["weight_decay"] == 0.0
    assert [id(p) for p in rest["params"]] == [
        id(p) for name, p in network.named_parameters() if name != "linear.weight"
    ]
