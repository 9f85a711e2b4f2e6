"""A program: fits by four processes over gloo; a line of JSON per fit and rank.

    python four_ranks.py FOLDER none save tau

The processes are started as a cluster's scheduler starts them: nothing ends one because another has failed. In the
fits `save` and `tau` rank 0's disk is full: when the checkpoint is saved, or when tau-normalization saves it again.
"""

import errno
import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from graphids.core.callbacks import DigestCheckpointIO, Sha256ModelCheckpoint, TauNormCallback

RANKS, TAU = 4, 0.5


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.fc_layers = torch.nn.Sequential(torch.nn.Linear(4, 3))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.fc_layers(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class AtTrainEnd(pl.Callback):
    """Keeps the head as trained, and fills rank 0's disk if asked to."""

    def __init__(self, *, fill_disk: bool) -> None:
        self.fill_disk = fill_disk
        self.raw_head: list[list[float]] = []

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.raw_head = pl_module.state_dict()["fc_layers.0.weight"].tolist()
        if self.fill_disk and trainer.is_global_zero:
            fill_disk()


def fill_disk() -> None:
    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.write = write


def noted_replacements() -> list[str]:
    """Names of the files that this process replaces from now on."""
    replace, names = os.replace, []

    def noting(source: Any, target: Any) -> None:
        names.append(Path(target).name)
        replace(source, target)

    os.replace = noting
    return names


def fit(folder: str, fault: str) -> dict[str, Any]:
    pl.seed_everything(0, verbose=False)
    replaced = noted_replacements()
    model, at_train_end = Tiny(), AtTrainEnd(fill_disk=fault == "tau")
    data = DataLoader(TensorDataset(torch.randn(32, 4), torch.arange(32) % 3), batch_size=4)
    trainer = pl.Trainer(
        accelerator="cpu",
        strategy="ddp",
        devices=RANKS,
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[DigestCheckpointIO()],
        callbacks=[Sha256ModelCheckpoint(dirpath=folder, filename="best"), at_train_end, TauNormCallback(tau=TAU)],
        default_root_dir=folder,
    )
    if fault == "save" and trainer.is_global_zero:
        fill_disk()
    trainer.fit(model, data)
    head = model.state_dict()["fc_layers.0.weight"].tolist()
    return {"raw_head": at_train_end.raw_head, "head": head, "files_replaced": replaced}


def run(rank: int, port: int, folder: str, fault: str, answers: Any) -> None:
    sizes = {"WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS, "GROUP_RANK": 0, "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in sizes.items()}, MASTER_ADDR="127.0.0.1")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), TORCHELASTIC_RUN_ID="test")
    answer: dict[str, Any] = {"rank": rank}
    try:
        answer |= fit(folder, fault)
    except Exception as error:
        answer |= {"error": type(error).__name__, "message": str(error)}
    answers.put(answer)


def main(folder: str, *faults: str) -> None:
    for fault in faults:
        for answer in fit_by_all_ranks(f"{folder}/{fault}", fault):
            print(json.dumps({"fault": fault, **answer}))


def fit_by_all_ranks(folder: str, fault: str) -> list[dict[str, Any]]:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [context.Process(target=run, args=(rank, port, folder, fault, answers)) for rank in range(RANKS)]
    for process in ranks:
        process.start()
    try:
        return [answers.get(timeout=60) for _ in ranks]
    finally:
        for process in ranks:
            process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
