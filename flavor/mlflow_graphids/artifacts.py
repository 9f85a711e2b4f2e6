"""The payload of a saved model, from a classifier and back: `weights.safetensors`, `model.json`, `vehicle.profile`.

No pickle. A model without a profile has no `vehicle.profile`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch

from graphids._fs import IntegrityError
from graphids.core.classifier import WindowClassifier
from graphids.core.data.preprocessing import STATISTICS, Preprocessing
from graphids.core.graphs.features import EDGE_FEATURES, FEATURES, Column
from graphids.core.models.gat import GAT
from graphids.core.models.isolation import isolated
from graphids.core.profile.profile_file import profile_bytes, read_profile
from mlflow_graphids.verification.manifest import (
    MAX_MODEL_BYTES,
    MODEL_FILE,
    PROFILE_FILE,
    WEIGHTS_FILE,
    version_advice,
)
from mlflow_graphids.verification.strict import Buffer, parse_json, render_json

FORMAT_VERSION = 2
# Not a weight of the network: the head before tau-normalization, from which another tau starts.
RAW_HEAD = "tau_norm.raw_head"
# Nor are these: as JSON, their 9,000 or so numbers took as long to parse as a MB of weights takes to verify.
STATISTIC = "preprocessing."
_MAX_DIMENSIONS = 8
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@isolated()
def to_payload(classifier: WindowClassifier) -> dict[str, bytes]:
    """Payload files by path; equal classifiers give equal bytes.

    Raises:
        ValueError: If a weight is not finite.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.gat.state_dict().items()}
    if classifier.tau_record:
        tensors[RAW_HEAD] = torch.as_tensor(classifier.tau_record["raw_head"]).detach().cpu().contiguous().clone()
    fitted = classifier.preprocessing.to_dict()
    for name in STATISTICS:
        tensors[STATISTIC + name] = torch.tensor(fitted.pop(name), dtype=torch.float32)
    if bad := _not_finite(tensors):
        raise ValueError(f"Weights that are not finite cannot be saved: {', '.join(bad)}. The training has diverged.")
    description = {
        "format_version": FORMAT_VERSION,
        "architecture": classifier.gat.architecture(),
        "features": classifier.preprocessing.features,
        "node_features": _columns(FEATURES[classifier.preprocessing.features]),
        "edge_features": _columns(EDGE_FEATURES),
        "preprocessing": fitted,
        "classes": list(classifier.preprocessing.classes),
        "threshold": float(classifier.threshold),
        "tau_norm": _tau_numbers(classifier.tau_record),
    }
    payload = {WEIGHTS_FILE: safetensors.torch.save(tensors), MODEL_FILE: render_json(description)}
    if classifier.profile is not None:
        payload[PROFILE_FILE] = profile_bytes(classifier.profile)
    return payload


class IncompatibleModelError(ValueError):
    """An undamaged model that needs another version of graphids; the message says what differs and which version."""


@isolated()
def from_payload(payload: Mapping[str, Buffer], *, written_by: str) -> WindowClassifier:
    """Classifier from verified bytes. Its tensors are views of `payload`'s buffers, which must not be written to again.

    Args:
        payload: Content by path.
        written_by: The version of graphids that wrote it, for messages.

    Raises:
        IntegrityError: If a payload file is not declared or malformed, the parts contradict each other, or a weight
            is not finite.
        IncompatibleModelError: If the model needs another version of graphids.
    """
    if missing := sorted({WEIGHTS_FILE, MODEL_FILE} - set(payload)):
        raise IntegrityError(f"The manifest does not declare {', '.join(missing)}, which every model consists of.")
    description = parse_json(payload[MODEL_FILE], MODEL_FILE)
    try:
        _require_same_features(description, written_by)
        tensors = tensors_in(payload[WEIGHTS_FILE])
        statistics = {name: tensors.pop(STATISTIC + name).numpy() for name in STATISTICS}
        raw_head = tensors.pop(RAW_HEAD, None)
        tau_record = description["tau_norm"]
        if (raw_head is None) != (tau_record is None):
            raise ValueError("they disagree on whether the head is tau-normalized")
        return WindowClassifier(
            gat=_network(description["architecture"], tensors),
            preprocessing=Preprocessing.from_dict(dict(**description["preprocessing"], **statistics)),
            threshold=description["threshold"],
            tau_record={} if tau_record is None else {**tau_record, "raw_head": raw_head},
            profile=read_profile(bytes(payload[PROFILE_FILE]), PROFILE_FILE) if PROFILE_FILE in payload else None,
        )
    except IncompatibleModelError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise IntegrityError(
            f"{_named(payload)}: expected parts of one model, but they do not fit together ({reason}). "
            f"{version_advice(written_by)}"
        ) from error


def _named(payload: Mapping[str, Buffer]) -> str:
    *names, last = [name for name in (MODEL_FILE, WEIGHTS_FILE, PROFILE_FILE) if name in payload]
    return f"{', '.join(names)} and {last}"


def tensors_in(data: Buffer) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, by name, as views of its bytes.

    The library copies every tensor: 18 ms for 38 MB, where reading these bytes into memory takes 10. The format is a
    header length (8 bytes, little-endian), a JSON header and the tensors, without gaps between them.

    Raises:
        IntegrityError: If `data` is not such a file, or a value in it is not finite.
    """
    view = memoryview(data) if not memoryview(data).readonly else memoryview(bytearray(data))
    start = 8 + int.from_bytes(view[:8], "little")
    if len(view) < 8 or start > len(view):
        raise IntegrityError(
            f"{WEIGHTS_FILE}: expected a safetensors file, found {len(view)} bytes, into which its header does not fit."
        )
    header = parse_json(view[8:start], WEIGHTS_FILE)
    if not isinstance(header, dict):
        raise IntegrityError(f"{WEIGHTS_FILE}: expected a safetensors header, found {type(header).__name__}.")
    header.pop("__metadata__", None)
    try:
        entries = sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"]))
        ends = [start + entry["data_offsets"][1] for _, entry in entries]
        tensors = {
            name: _tensor(view, begin, entry, start)
            for (name, entry), begin in zip(entries, [start, *ends], strict=False)
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise IntegrityError(f"{WEIGHTS_FILE}: malformed header ({type(error).__name__}: {error}).") from error
    if (end := ends[-1] if ends else start) != len(view):
        raise IntegrityError(f"{WEIGHTS_FILE}: its tensors end at byte {end}, the file at {len(view)}.")
    if bad := _not_finite(tensors):
        raise IntegrityError(f"{WEIGHTS_FILE}: expected finite weights, found NaN or infinity in {', '.join(bad)}.")
    return tensors


def _tensor(view: memoryview, begin: int, entry: Mapping[str, Any], start: int) -> torch.Tensor:
    dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
    first, last = entry["data_offsets"]
    # Before anything is computed from them: a product of texts, or of numbers of a thousand digits, fills the memory.
    if len(shape) > _MAX_DIMENSIONS or not all(
        type(number) is int and 0 <= number <= MAX_MODEL_BYTES for number in (first, last, *shape)
    ):
        raise ValueError(
            f"offsets {entry['data_offsets']!r:.80} and shape {shape!r:.80} are not all whole numbers from 0 to "
            f"{MAX_MODEL_BYTES}, at most {_MAX_DIMENSIONS} of them in a shape"
        )
    count = math.prod(shape)
    if start + first != begin or last - first != count * dtype.itemsize:
        raise ValueError(f"bytes {first} to {last} do not follow the tensor before, or do not hold {shape} {dtype}")
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(view, dtype=dtype, count=count, offset=begin).view(shape)


def _network(architecture: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> GAT:
    """The network with these tensors, uncopied, as its weights."""
    # Every layer has weights; without this check a description could ask for layers until memory runs out.
    if architecture["layers"] > len(tensors):
        raise ValueError(f"the architecture has {architecture['layers']} layers, but there are {len(tensors)} weights")
    # Without memory and random numbers for weights that are about to be replaced.
    with torch.device("meta"):
        gat = GAT(**architecture)
    # Not in the dtype of the network just made, which is the process's default.
    gat.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    return gat


def _tau_numbers(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record without its tensor, JSON-able; None for a model whose head is as trained."""
    if not record:
        return None
    raw_head = torch.as_tensor(record["raw_head"])
    norms = torch.as_tensor(record.get("row_norms", raw_head.double().norm(dim=1)))
    return {"tau": float(record["tau"]), "key": str(record["key"]), "row_norms": norms.double().tolist()}


def _columns(columns: Sequence[Column]) -> list[dict[str, str]]:
    return [{"name": column.name, "unit": column.unit} for column in columns]


def _require_same_features(description: Mapping[str, Any], written_by: str) -> None:
    if (version := description.get("format_version")) != FORMAT_VERSION:
        raise IncompatibleModelError(
            f"{MODEL_FILE}: format_version is {version!r:.80}, expected {FORMAT_VERSION}. {version_advice(written_by)}"
        )
    if (features := description["features"]) not in FEATURES:
        raise IncompatibleModelError(
            f"{MODEL_FILE}: features are {features!r:.80}, expected one of {', '.join(FEATURES)}. "
            f"{version_advice(written_by)}"
        )
    for name, columns in (("node_features", FEATURES[features]), ("edge_features", EDGE_FEATURES)):
        if description[name] != _columns(columns):
            trained = {(column["name"], column["unit"]) for column in description[name]}
            computed = {(column.name, column.unit) for column in columns}
            difference = sorted(trained ^ computed) or "only their order"
            raise IncompatibleModelError(
                f"{MODEL_FILE}: the model was trained on other {name} than this graphids computes; they differ in "
                f"{difference}. {version_advice(written_by)}"
            )


def _not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of tensors with a value that is not finite in float32, in which the network computes."""
    # A finite sum has finite terms; it takes a sixteenth of the time, and large finite terms may still overflow it.
    computed = {name: t.float() if t.dtype == torch.float64 else t for name, t in tensors.items()}
    return sorted(name for name, t in computed.items() if not t.sum().isfinite() and not t.isfinite().all())
