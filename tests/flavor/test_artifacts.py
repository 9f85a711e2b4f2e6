"""From verified bytes to a network: built without memory and random numbers, with the very tensors of the file."""

import json
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch

from graphids import __version__
from graphids._fs import IntegrityError
from graphids.core.classifier import WindowClassifier
from graphids.core.models.gat import GAT
from mlflow_graphids.artifacts import from_payload, tensors_in, to_payload
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


@pytest.mark.parametrize(
    ("shape", "offsets"),
    [
        (["a" * 100, 1 << 60], [0, 4]),
        ([1 << 62, 1 << 62, 0], [0, 0]),
        ([2**63], [0, 4]),
        ([-1, -1], [0, 4]),
        ([1], [0, 1 << 80]),
        ([1], [4, 0]),
        ([1] * 100_000, [0, 4]),
        ([True], [0, 4]),
        ([1.0], [0, 4]),
        ({}, [0, 4]),
        (None, [0, 4]),
    ],
)
def test_a_header_that_claims_what_the_file_does_not_hold_is_refused_before_anything_is_allocated(
    shape: Any, offsets: Any
) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()

    with pytest.raises(IntegrityError, match=r"malformed header|end at byte") as refused:
        tensors_in(len(header).to_bytes(8, "little") + header + bytes(4))

    assert len(str(refused.value)) < 500


def test_two_tensors_of_the_same_bytes_are_refused() -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({"a": entry, "b": entry}).encode()

    with pytest.raises(IntegrityError, match=r"malformed header .* do not follow the tensor before"):
        tensors_in(len(header).to_bytes(8, "little") + header + bytes(4))


def test_a_float64_weight_beyond_float32_is_neither_saved_nor_loaded(classifier: WindowClassifier) -> None:
    """The network computes in float32, where it is infinity."""
    gat = GAT(**classifier.gat.architecture()).double()
    with torch.no_grad():
        gat.head.bias.fill_(1e300)
    with pytest.raises(ValueError, match=r"not finite cannot be saved: .*bias"):
        to_payload(replace(classifier, gat=gat, tau_record={}))

    header = json.dumps({"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}).encode()
    number = torch.tensor([1e300], dtype=torch.float64).numpy().tobytes()
    with pytest.raises(IntegrityError, match="expected finite weights, found NaN or infinity in w"):
        tensors_in(len(header).to_bytes(8, "little") + header + number)
