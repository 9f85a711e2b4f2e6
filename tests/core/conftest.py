"""A fit that takes a second: a tiny detector on tiny random graphs, with a real Trainer."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from graphids.core.callbacks import DigestCheckpointIO, Sha256ModelCheckpoint
from graphids.core.models.detector import Detector

NUM_TOKENS, NODE_FEATURES, EDGE_FEATURES, CLASSES = 5, 3, 2, ("normal", "fuzzy", "spoof")


def random_batch(num_graphs: int, seed: int, nodes: int = 4, edges: int = 10) -> Data:
    """Graphs in which one node's first feature stands out by 3 for `fuzzy` and by -3 for `spoof`."""
    generator = torch.Generator().manual_seed(seed)
    num_nodes = num_graphs * nodes
    y = torch.arange(num_graphs) % len(CLASSES)
    x = torch.randn(num_nodes, NODE_FEATURES, generator=generator)
    x[torch.arange(num_graphs) * nodes, 0] += torch.tensor([0.0, 3.0, -3.0])[y]
    offset = torch.arange(num_graphs).repeat_interleave(edges) * nodes
    return Data(
        x=x,
        token=torch.randint(NUM_TOKENS, (num_nodes,), generator=generator),
        edge_index=torch.randint(nodes, (2, num_graphs * edges), generator=generator) + offset,
        edge_attr=torch.randn(num_graphs * edges, EDGE_FEATURES, generator=generator),
        batch=torch.arange(num_graphs).repeat_interleave(nodes),
        y=y,
        node_y=((torch.arange(num_nodes) % nodes == 0) & (y.repeat_interleave(nodes) > 0)).to(torch.int8),
        num_graphs=num_graphs,
    )


class TinyDataModule(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.batches = [random_batch(12, seed) for seed in range(4)]
        labels = np.concatenate([batch.y.numpy() for batch in self.batches])
        self.graphs = {"train": SimpleNamespace(label=labels)}
        self.preprocessing = SimpleNamespace(
            classes=CLASSES,
            features="raw",
            num_tokens=NUM_TOKENS,
            node_mean=np.zeros((NUM_TOKENS, NODE_FEATURES), np.float32),
            edge_mean=np.zeros(EDGE_FEATURES, np.float32),
            to_dict=lambda: {"window_size": 4, "classes": list(CLASSES), "vocabulary": [1, 2, 3, 4]},
        )

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.batches, batch_size=None)

    def val_dataloader(self) -> Any:
        return torch.utils.data.DataLoader([random_batch(12, 100)], batch_size=None)

    test_dataloader = val_dataloader


@pytest.fixture
def datamodule() -> TinyDataModule:
    return TinyDataModule()


@pytest.fixture
def detector() -> Detector:
    pl.seed_everything(0)
    return Detector(hidden=8, heads=2, layers=1)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """`make_trainer(callbacks=[...], max_epochs=2, **trainer arguments)`; keeps the best checkpoint and the last."""

    def make(callbacks: list[pl.Callback] | None = None, **arguments: Any) -> pl.Trainer:
        checkpoint = Sha256ModelCheckpoint(
            dirpath=tmp_path / "checkpoints", monitor="val/macro_auroc", mode="max", filename="best", save_last=True
        )
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "max_epochs": 2,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "plugins": [DigestCheckpointIO()],
            "callbacks": [checkpoint, *(callbacks or [])],
            "default_root_dir": tmp_path,
        }
        return pl.Trainer(**(defaults | arguments))

    return make
