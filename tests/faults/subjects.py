"""What the faults are injected into: two trained networks of size `large`, each as a checkpoint and as a model.

The truth that a load is compared with comes from the pristine bytes through torch's, safetensors' and json's own
readers, never through the code under test.
"""

import dataclasses
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import safetensors.torch
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.connectors import callback_connector
from torch.utils.data import DataLoader

from graphids.core.callbacks import DigestCheckpointIO
from graphids.core.classifier import WindowClassifier
from graphids.core.data.batches import GraphBatches
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.models.detector import Detector
from mlflow_graphids import save_model
from support.tiny_model import CLASSES, STRIDE, WINDOW, three_ids_deviations, three_ids_profile

STEPS = 2  # so that the optimizer has a state


@dataclass(frozen=True)
class Saved:
    """One network, trained and saved.

    Attributes:
        checkpoint: Bytes of its checkpoint, with the optimizer's state.
        model: Files of its saved model, by relative path.
        digest: Root digest of that model, as `save_model` returned it.
    """

    checkpoint: bytes
    model: Mapping[str, bytes]
    digest: str

    @cached_property
    def checkpoint_truth(self) -> dict[str, Any]:
        """What a resume has to restore."""
        return restored(torch.load(BytesIO(self.checkpoint), weights_only=True))

    @cached_property
    def model_truth(self) -> dict[str, Any]:
        """What a loaded model has to consist of."""
        tensors = safetensors.torch.load(self.model["weights.safetensors"])
        raw_head = tensors.pop("tau_norm.raw_head", None)
        description = json.loads(self.model["model.json"])
        statistics = {name: tensors.pop(name) for name in sorted(tensors) if name.startswith("preprocessing.")}
        fitted = {name.removeprefix("preprocessing."): table.tolist() for name, table in statistics.items()}
        return {
            "weights": tensors,
            "raw_head": raw_head,
            "preprocessing": {**description["preprocessing"], **fitted},
            "threshold": description["threshold"],
            "tau_norm": description["tau_norm"],
            "overridden": {},
            "profile": self.model["vehicle.profile"],
        }

    @cached_property
    def described(self) -> tuple[Any, ...]:
        """The parts of MLmodel that are compared with the manifest."""
        return mlmodel_parts(self.model["MLmodel"])


@dataclass(frozen=True)
class Subjects:
    """Two networks that differ only in their weights: one is saved over, swapped with or forged into the other."""

    old: Saved
    new: Saved

    def checkpoint_of(self, used: Any) -> Saved | None:
        """Whose checkpoint a load returned; None if neither's."""
        return next((saved for saved in (self.old, self.new) if same(used, saved.checkpoint_truth)), None)

    def model_of(self, used: Any) -> Saved | None:
        """Whose model a load returned; None if neither's."""
        return next((saved for saved in (self.old, self.new) if same(used, saved.model_truth)), None)


def make_subjects(folder: Path) -> None:
    """Train and save both networks below `folder`, for `read_subjects`."""
    for seed, name in enumerate(("old", "new")):
        target = folder / name
        target.mkdir(parents=True)
        trainer, detector = trained(target, seed)
        with quiet():
            trainer.save_checkpoint(target / "x.ckpt")
        (target / "digest").write_text(save_model(classifier_of(detector, threshold=0.5 - seed / 8), target / "model"))


def read_subjects(folder: Path) -> Subjects:
    """What `make_subjects` wrote."""

    def read(target: Path) -> Saved:
        model = {
            path.relative_to(target / "model").as_posix(): path.read_bytes()
            for path in sorted((target / "model").rglob("*"))
            if path.is_file()
        }
        return Saved((target / "x.ckpt").read_bytes(), model, (target / "digest").read_text())

    return Subjects(read(folder / "old"), read(folder / "new"))


def trained(folder: Path, seed: int = 0, callbacks: tuple[Callback, ...] = ()) -> tuple[Trainer, Detector]:
    """A detector of size `large` after a few steps, and the trainer that can save it."""
    torch.manual_seed(seed)
    detector = new_detector()
    trainer = quiet_trainer(folder, callbacks=callbacks)
    with quiet():
        trainer.fit(detector, batches())
    return trainer, detector


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's and MLflow's messages."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def classifier_of(detector: Detector, threshold: float) -> WindowClassifier:
    """The classifier that is saved as a model, with a record of tau-normalization."""
    raw_head = detector.gat.head.weight.detach().clone()
    record = {"tau": 0.5, "key": "fc_layers.3.weight", "raw_head": raw_head * 2, "row_norms": raw_head.norm(dim=1) * 2}
    preprocessing = Preprocessing.from_dict(detector.preprocessing_dict or {})
    return WindowClassifier(detector.gat, preprocessing, threshold, record, three_ids_profile())


def new_detector() -> Detector:
    """Untrained."""
    preprocessing = _preprocessing()
    detector = Detector(size="large")
    detector.build(
        preprocessing.num_tokens, preprocessing.node_mean.shape[1], len(preprocessing.edge_mean), len(CLASSES)
    )
    detector.preprocessing_dict = preprocessing.to_dict()
    return detector


@cache
def batches() -> DataLoader[Any]:
    """One batch per step."""
    graphs = three_ids_deviations()
    graphs = dataclasses.replace(graphs, label=np.arange(len(graphs)) % len(CLASSES), classes=CLASSES)
    batch = GraphBatches(graphs, _preprocessing())[list(range(8))]
    return DataLoader([batch] * STEPS, batch_size=None)  # type: ignore[arg-type]


def quiet_trainer(folder: Path, *, callbacks: tuple[Callback, ...] = ()) -> Trainer:
    """A trainer for `STEPS` steps that says nothing and keeps only the checkpoints that `callbacks` keep."""
    # Searching all installed packages for callbacks takes a third of a resume.
    with quiet(), patch.object(callback_connector, "_load_external_callbacks", return_value=[]):
        return _trainer(folder, callbacks)


def _trainer(folder: Path, callbacks: tuple[Callback, ...]) -> Trainer:
    return Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[DigestCheckpointIO()],
        default_root_dir=folder,
    )


def restored(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a checkpoint that a fit continues from, or that a model is made of."""
    return {
        "weights": checkpoint["state_dict"],
        "optimizer": checkpoint["optimizer_states"][0],
        "scheduler": checkpoint["lr_schedulers"][0]["last_epoch"],
        "preprocessing": checkpoint["graphids_preprocessing"],
        "step": checkpoint["global_step"],
    }


def mlmodel_parts(data: bytes) -> tuple[Any, ...]:
    """Signature, loader module and our section of MLmodel."""
    mlmodel = yaml.safe_load(data)
    flavors = mlmodel["flavors"]
    return mlmodel["signature"], flavors["python_function"]["loader_module"], flavors["graphids"]


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, in types and shapes too."""
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return type(one) is type(other) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@cache
def _preprocessing() -> Preprocessing:
    fitted = Preprocessing.fit(three_ids_deviations(), window_size=WINDOW, stride=STRIDE, features="deviations")
    return Preprocessing.from_dict({**fitted.to_dict(), "classes": list(CLASSES)})
