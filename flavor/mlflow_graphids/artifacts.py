"""The payload of a saved model: `weights.safetensors` and `model.json`, from a classifier and back. No pickle."""

from collections.abc import Mapping, Sequence
from typing import Any

import safetensors.torch
import torch

from graphids._fs import IntegrityError
from graphids.core.classifier import WindowClassifier
from graphids.core.data.graphs import EDGE_FEATURES, NODE_FEATURES, Column
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.models.gat import GAT
from mlflow_graphids.manifest import parse_json, render_json

FORMAT_VERSION = 1
WEIGHTS_FILE = "weights.safetensors"
MODEL_FILE = "model.json"
# Not a weight of the network: the head before tau-normalization, from which another tau starts.
RAW_HEAD = "tau_norm.raw_head"
_TAU_NUMBERS = ("tau", "key", "row_norms")


def to_payload(classifier: WindowClassifier) -> dict[str, bytes]:
    """Payload files by path; equal classifiers give equal bytes.

    Raises:
        ValueError: If a weight is not finite.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.gat.state_dict().items()}
    if classifier.tau_record:
        tensors[RAW_HEAD] = torch.as_tensor(classifier.tau_record["raw_head"]).detach().cpu().contiguous().clone()
    if bad := _not_finite(tensors):
        raise ValueError(f"Weights that are not finite cannot be saved: {', '.join(bad)}. The training has diverged.")
    description = {
        "format_version": FORMAT_VERSION,
        "architecture": classifier.gat.architecture(),
        "node_features": _columns(NODE_FEATURES),
        "edge_features": _columns(EDGE_FEATURES),
        "preprocessing": classifier.preprocessing.to_dict(),
        "classes": list(classifier.preprocessing.classes),
        "threshold": float(classifier.threshold),
        "tau_norm": _tau_numbers(classifier.tau_record),
    }
    return {WEIGHTS_FILE: safetensors.torch.save(tensors), MODEL_FILE: render_json(description)}


def from_payload(payload: Mapping[str, bytes]) -> WindowClassifier:
    """Classifier from verified bytes.

    Raises:
        IntegrityError: If a payload file is not declared, or the parts contradict each other.
        ValueError: If the model needs another version of graphids, or a weight is not finite.
    """
    if missing := sorted({WEIGHTS_FILE, MODEL_FILE} - set(payload)):
        raise IntegrityError(f"The manifest does not declare {', '.join(missing)}, which every model consists of.")
    description = parse_json(payload[MODEL_FILE], MODEL_FILE)
    _require_same_features(description)
    tensors = safetensors.torch.load(payload[WEIGHTS_FILE])
    if bad := _not_finite(tensors):
        raise ValueError(f"{WEIGHTS_FILE}: expected finite weights, found NaN or infinity in {', '.join(bad)}.")
    raw_head = tensors.pop(RAW_HEAD, None)
    tau_record = description["tau_norm"]
    if (raw_head is None) != (tau_record is None):
        raise IntegrityError(f"{MODEL_FILE} and {WEIGHTS_FILE} disagree on whether the head is tau-normed.")
    gat = GAT(**description["architecture"])
    gat.load_state_dict(tensors)
    return WindowClassifier(
        gat=gat,
        preprocessing=Preprocessing.from_dict(description["preprocessing"]),
        threshold=description["threshold"],
        tau_record={} if tau_record is None else {**tau_record, "raw_head": raw_head},
    )


def _tau_numbers(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record without its tensor, as JSON; None for a model whose head is as trained."""
    if not record:
        return None
    raw_head = torch.as_tensor(record["raw_head"])
    norms = torch.as_tensor(record.get("row_norms", raw_head.double().norm(dim=1)))
    return {"tau": float(record["tau"]), "key": str(record["key"]), "row_norms": norms.double().tolist()}


def _columns(columns: Sequence[Column]) -> list[dict[str, str]]:
    return [{"name": column.name, "unit": column.unit} for column in columns]


def _require_same_features(description: Mapping[str, Any]) -> None:
    if (version := description.get("format_version")) != FORMAT_VERSION:
        raise ValueError(
            f"{MODEL_FILE} has format version {version}, expected {FORMAT_VERSION}. "
            "Install the version of graphids that the model's requirements.txt names."
        )
    for name, columns in (("node_features", NODE_FEATURES), ("edge_features", EDGE_FEATURES)):
        if description[name] != _columns(columns):
            trained = {(column["name"], column["unit"]) for column in description[name]}
            computed = {(column.name, column.unit) for column in columns}
            difference = sorted(trained ^ computed) or "only their order"
            raise ValueError(
                f"{MODEL_FILE}: the model was trained on other {name} than this graphids computes; they differ in "
                f"{difference}. Install the version of graphids that the model's requirements.txt names."
            )


def _not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    return sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
