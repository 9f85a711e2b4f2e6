import math

import pytest
import torch
from torch import nn

from graphids.core.models.losses import (
    balanced_binary_cross_entropy,
    focal_cross_entropy,
    inverse_sqrt_frequency,
)


def test_class_weights_fall_with_the_root_of_the_frequency_and_average_to_one() -> None:
    labels = torch.tensor([0] * 16 + [1] * 4)

    weight = inverse_sqrt_frequency(labels, num_classes=3)

    assert weight[1] / weight[0] == pytest.approx(2.0)
    assert weight[labels].mean() == pytest.approx(1.0)
    assert weight[2] == 1.0


def test_class_weights_refuse_unlabelled_windows() -> None:
    with pytest.raises(ValueError, match=r"in \[0, 2\), found -1 to 1"):
        inverse_sqrt_frequency(torch.tensor([0, 1, -1]), num_classes=2)


def test_without_focus_and_weights_the_focal_loss_is_cross_entropy() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])

    torch.testing.assert_close(
        focal_cross_entropy(logits, labels, torch.ones(3), gamma=0.0), nn.functional.cross_entropy(logits, labels)
    )


def test_the_focal_loss_of_an_even_choice_is_a_quarter_of_its_cross_entropy() -> None:
    # p = 1/2, so (1 - p)^2 = 1/4.
    loss = focal_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), torch.ones(2), gamma=2.0)

    assert loss.item() == pytest.approx(math.log(2) / 4)


def test_the_focal_loss_of_a_certain_window_has_finite_gradients() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    focal_cross_entropy(logits, torch.tensor([0]), torch.ones(2), gamma=0.5).backward()

    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_one_attacked_node_weighs_as_much_as_all_others_and_an_unlabelled_one_nothing() -> None:
    logits, labels = torch.tensor([1.0, -2.0, 0.5, 40.0]), torch.tensor([1, 0, 0, -1], dtype=torch.int8)
    attacked, first, second = (math.log1p(math.exp(wrong)) for wrong in (-1.0, -2.0, 0.5))

    loss = balanced_binary_cross_entropy(logits, labels)

    assert loss.item() == pytest.approx((attacked + (first + second) / 2) / 2)


def test_nodes_without_labels_have_no_loss_and_no_gradient() -> None:
    logits = torch.randn(4, requires_grad=True)

    loss = balanced_binary_cross_entropy(logits, torch.full((4,), -1, dtype=torch.int8))
    loss.backward()

    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()
