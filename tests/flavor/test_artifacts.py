"""From verified bytes to a network: built without memory and random numbers, with the very tensors of the file."""

from dataclasses import replace
from itertools import chain

import pytest
import torch

from graphids import __version__
from graphids.core.classifier import WindowClassifier
from graphids.core.models.gat import GAT
from mlflow_graphids.artifacts import from_payload, to_payload
from support.tiny_model import three_ids


@pytest.mark.parametrize("jumping", ["max", "cat", "lstm"])
def test_a_network_of_any_kind_comes_back_ready_to_score_and_to_train(
    classifier: WindowClassifier, jumping: str
) -> None:
    gat = GAT(**{**classifier.gat.architecture(), "layers": 2, "jumping": jumping})
    original = replace(classifier, gat=gat, tau_record={})

    loaded = from_payload(to_payload(original), written_by=__version__)

    assert loaded.gat.state_dict().keys() == gat.state_dict().keys()
    assert [t.dtype for t in loaded.gat.parameters()] == [t.dtype for t in gat.parameters()]
    assert not any(tensor.is_meta for tensor in chain(loaded.gat.parameters(), loaded.gat.buffers()))
    assert all(parameter.requires_grad for parameter in loaded.gat.parameters())
    frames = three_ids(40, seed=3)
    assert loaded.score(frames).score.tolist() == original.score(frames).score.tolist()


def test_loading_draws_no_random_numbers(classifier: WindowClassifier) -> None:
    payload = to_payload(classifier)
    before = torch.get_rng_state()

    from_payload(payload, written_by=__version__)

    assert torch.equal(torch.get_rng_state(), before)
