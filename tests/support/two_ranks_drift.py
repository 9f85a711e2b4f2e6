"""A program: a fit by two processes over gloo, each with a card of its own; a line of JSON per rank.

python two_ranks_drift.py FOLDER
"""

import json
import multiprocessing
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from graphids.core.callbacks import MemoryReading, VRAMDriftCallback
from support.four_ranks import Tiny
from support.memory_readers import usable_mib
from support.ports import free_port

RANKS = 2
# When the fit starts, and after each of two epochs.
USABLE_MIB = {0: (10_000, 9_500, 12_000), 1: (8_000, 8_000, 4_000)}


def _cards() -> Iterator[MemoryReading]:
    yield from map(usable_mib, USABLE_MIB[int(os.environ.get("RANK", 0))])


_own_card = _cards()


def read_own_card() -> MemoryReading:
    """The next reading of this process's card."""
    return next(_own_card)


def fit(folder: str) -> dict[str, Any]:
    watch = VRAMDriftCallback(0.2, read_own_card)
    data = DataLoader(TensorDataset(torch.randn(8, 4), torch.arange(8) % 3), batch_size=4)
    trainer = pl.Trainer(
        accelerator="cpu",
        strategy="ddp",
        devices=RANKS,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
        default_root_dir=folder,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(Tiny(), data)
    drifted = [str(warning.message) for warning in caught if "GPU memory drifted" in str(warning.message)]
    return {"state": watch.state_dict(), "tags": watch.tags(), "warnings": drifted}


def run(rank: int, port: int, folder: str, answers: Any) -> None:
    sizes = {"WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS, "GROUP_RANK": 0, "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in sizes.items()}, MASTER_ADDR="127.0.0.1")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), TORCHELASTIC_RUN_ID="test")
    answers.put((rank, fit(folder)))


def main(folder: str) -> None:
    context = multiprocessing.get_context("fork")
    answers, port = context.Queue(), free_port()
    ranks = [context.Process(target=run, args=(rank, port, folder, answers)) for rank in range(RANKS)]
    for process in ranks:
        process.start()
    try:
        by_rank = dict(answers.get(timeout=120) for _ in ranks)
    finally:
        for process in ranks:
            process.kill()
    for rank in range(RANKS):
        print(json.dumps(by_rank[rank]))


if __name__ == "__main__":
    main(*sys.argv[1:])
