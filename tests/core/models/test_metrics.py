import pytest
import torch

from graphids.core.models.metrics import EpochMean


def test_an_epochs_mean_continues_from_stored_sums() -> None:
    values, weights = torch.rand(7), [3, 1, 4, 1, 5, 9, 2]
    whole, interrupted, resumed = EpochMean(), EpochMean(), EpochMean()
    for batch in range(7):
        whole.update(values[batch], weights[batch], batch)
    for batch in range(4):
        interrupted.update(values[batch], weights[batch], batch)

    resumed.resume(interrupted.sums(batches=4))
    for batch in range(4, 7):
        resumed.update(values[batch], weights[batch], batch)

    assert torch.equal(resumed.compute(), whole.compute())
    assert whole.compute() == pytest.approx(sum(v * w for v, w in zip(values.tolist(), weights, strict=True)) / 25)


def test_a_batch_that_is_trained_again_counts_once() -> None:
    mean = EpochMean()
    mean.update(torch.tensor(1.0), 2, 0)
    mean.update(torch.tensor(4.0), 1, 1)

    assert mean.sums(batches=1) == [2.0, 2.0]
    mean.resume(mean.sums(batches=1))
    assert mean.sums(batches=1) == [2.0, 2.0]  # stored again before another batch
    mean.update(torch.tensor(4.0), 1, 1)
    assert mean.compute() == 2.0


def test_the_first_batch_of_an_epoch_forgets_the_one_before() -> None:
    mean = EpochMean()
    mean.update(torch.tensor(9.0), 1, 0)
    mean.update(torch.tensor(1.0), 1, 0)

    assert mean.compute() == 1.0
