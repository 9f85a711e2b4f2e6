"""The datamodule: captures in, batches out."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from graphids.core.data.batches import GraphBatches, NodeBudgetBatchSampler
from graphids.core.data.captures import OnBadLine, find_captures, read_captures
from graphids.core.data.frames import NORMAL, Capture, DataError
from graphids.core.data.graphs import PackedGraphs, build_graphs, concat_graphs
from graphids.core.data.labels import Kinds
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.data.rules import RuleBaseline
from graphids.core.data.simulate import CAPTURES_PER_KIND, DURATION_S, simulated_captures
from graphids.core.data.splits import SPLITS, Split, split_captures
from graphids.core.data.windows import dropped_tail

SIMULATED = "simulated"
# A split by time is cut into blocks that hold at least this many windows, where the capture is long enough.
WINDOWS_PER_BLOCK = 10

logger = logging.getLogger(__name__)


class CANDataModule(pl.LightningDataModule):
    """Captures, split, cut into windows and fitted on the training split; batches of graphs.

    Args:
        data: "simulated", or a capture file, a folder of captures or a glob.
        window_size: Frames per window.
        stride: Frames between window starts.
        batch_size: Windows per batch at most.
        split: "auto", "capture" or "time"; see `split_captures`.
        gap_s: Seconds dropped between neighbouring blocks of a split by time.
        seed: Of the order of batches and of the IDs shown as UNK.
        split_seed: Of the split among equals. Apart from `seed`, so that runs with other seeds share a test split.
        kinds: How attack kinds are named; see `read_captures`.
        on_bad_line: "raise" or "drop"; see `read_captures`.
        unk_rate: Share of training nodes that are shown as UNK.
        max_nodes_per_batch: Nodes per training batch at most; None for no limit.
        data_seed: Of the simulated drives.
        simulated_duration_s: Length of each simulated capture.
        simulated_captures_per_kind: Simulated captures of each attack.

    Attributes (after `setup`):
        graphs: Raw `PackedGraphs` of "train", "val" and "test", with the same `classes`.
        classes: `("normal", ...)`: the kinds that windows of any split belong to.
        preprocessing: Fitted on the training windows.
        rule_scores: The rule baseline's score of every window of "val" and "test", float64 [G]; fitted on train.
        dataset_digest: sha256 of the captures' content, names and labels.
        summary: Counts of what was read and how it was split, JSON-able.
    """

    def __init__(
        self,
        data: str = SIMULATED,
        window_size: int = 256,
        stride: int = 128,
        batch_size: int = 64,
        split: str = "auto",
        gap_s: float = 1.0,
        seed: int = 0,
        split_seed: int = 0,
        kinds: Kinds = "auto",
        on_bad_line: OnBadLine = "raise",
        unk_rate: float = 0.005,
        max_nodes_per_batch: int | None = None,
        data_seed: int = 0,
        simulated_duration_s: float = DURATION_S,
        simulated_captures_per_kind: int = CAPTURES_PER_KIND,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.graphs: dict[str, PackedGraphs] = {}
        self.classes: tuple[str, ...] = ()
        self.preprocessing: Preprocessing
        self.rule_scores: dict[str, NDArray[np.float64]] = {}
        self.dataset_digest = ""
        self.summary: dict[str, Any] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read, split and fit, once, whatever the stage: validation and test need what training fitted.

        Raises:
            DataError: If a capture has no labels, no window is attacked, or a split has no full window.
        """
        del stage
        if self.graphs:
            return
        captures = load_captures(
            self.hparams["data"],
            kinds=self.hparams["kinds"],
            on_bad_line=self.hparams["on_bad_line"],
            data_seed=self.hparams["data_seed"],
            duration_s=self.hparams["simulated_duration_s"],
            captures_per_kind=self.hparams["simulated_captures_per_kind"],
        )
        require_labels(captures)
        window_size, stride = self.hparams["window_size"], self.hparams["stride"]
        split = split_captures(
            captures,
            mode=self.hparams["split"],
            gap_s=self.hparams["gap_s"],
            min_block_frames=window_size + (WINDOWS_PER_BLOCK - 1) * stride,
            seed=self.hparams["split_seed"],
        )
        graphs = _split_graphs(captures, split, window_size, stride)
        self.classes = graphs["train"].classes
        self.preprocessing = Preprocessing.fit(graphs["train"], window_size=window_size, stride=stride)
        rules = RuleBaseline.fit(graphs["train"])
        self.rule_scores = {name: rules.score(graphs[name]) for name in ("val", "test")}
        self.dataset_digest = dataset_digest(captures)
        self.summary = _summarise(captures, split, graphs, window_size, stride)
        self.graphs = graphs
        logger.info("%s", split.reason)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled anew every epoch."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """In recorded order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """In recorded order."""
        return self._loader("test")

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader[Any]:
        graphs, hparams = self.graphs[split], self.hparams
        trainer = self.trainer if shuffle else None
        sampler = NodeBudgetBatchSampler(
            graphs.num_nodes(),
            hparams["batch_size"],
            max_nodes=hparams["max_nodes_per_batch"],
            shuffle=shuffle,
            seed=hparams["seed"],
            # Every process validates on the whole split: metrics need no reduction and no padding.
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        unk_rate = hparams["unk_rate"] if shuffle else 0.0
        batches = GraphBatches(graphs, self.preprocessing, unk_rate=unk_rate, seed=hparams["seed"])
        # No workers: a batch is one gather from packed arrays, and a worker would only add a copy.
        return DataLoader(batches, sampler=sampler, batch_size=None, num_workers=0)


def load_captures(
    data: str,
    *,
    kinds: Kinds = "auto",
    on_bad_line: OnBadLine = "raise",
    data_seed: int = 0,
    duration_s: float = DURATION_S,
    captures_per_kind: int = CAPTURES_PER_KIND,
) -> list[Capture]:
    """Captures of a file, a folder or a glob; or, for "simulated", drives of the simulated vehicle.

    Args:
        data: What to load.
        kinds: How attack kinds are named; see `read_captures`.
        on_bad_line: "raise" or "drop"; see `read_captures`.
        data_seed: Of the simulated drives.
        duration_s: Of each simulated drive.
        captures_per_kind: Simulated drives of each attack.

    Raises:
        LogFormatError: If a file cannot be read.
    """
    if data == SIMULATED:
        return simulated_captures(seed=data_seed, duration_s=duration_s, captures_per_kind=captures_per_kind)
    return [
        capture
        for path, name in find_captures(data)
        for capture in read_captures(path, name=name, on_bad_line=on_bad_line, kinds=kinds)
    ]


def dataset_digest(captures: Sequence[Capture]) -> str:
    """Hex sha256 of the captures' names, sources, frames and labels, in order."""
    digest = hashlib.sha256()
    for capture in captures:
        frames = capture.frames
        header = (capture.name, capture.source, len(frames), frames.channels, frames.kinds, frames.attack is None)
        digest.update(repr(header).encode())
        for name in (
            "timestamp",
            "arbitration_id",
            "dlc",
            "payload",
            "is_extended",
            "channel",
            "attack",
            "attack_kind",
        ):
            column = getattr(frames, name)
            if column is not None:
                digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def require_labels(captures: Sequence[Capture]) -> None:
    """Refuse captures without labels.

    Raises:
        DataError: Naming them and saying how to label them.
    """
    # A recording of error frames and status lines alone gives a capture without frames; it has nothing to label.
    unlabelled = [c.name for c in captures if len(c.frames) and c.frames.attack_kind is None]
    if unlabelled:
        raise DataError(
            f"Training needs labels, found none in {len(unlabelled)} of {len(captures)} captures: "
            f"{', '.join(unlabelled[:5])}{' ...' if len(unlabelled) > 5 else ''}. Put a NAME.labels.csv beside the "
            "capture, name its attacks in the folder's index.json, or leave it out."
        )


def _split_graphs(captures: Sequence[Capture], split: Split, window_size: int, stride: int) -> dict[str, PackedGraphs]:
    parts: dict[str, list[PackedGraphs]] = {}
    for name in SPLITS:
        parts[name] = [
            build_graphs(
                captures[index].frames.take(rows),
                window_size,
                stride,
                capture_name=captures[index].name,
                frame_offset=rows.start,
            )
            for index, rows in split.parts[name]
        ]
        if not any(len(part) for part in parts[name]):
            frames = sum(rows.stop - rows.start for _, rows in split.parts[name])
            raise DataError(
                f"The {name} split has no full window: {frames} frames in {len(parts[name])} pieces, windows of "
                f"{window_size} frames. {split.reason} Use a smaller window or gap_s, or add captures."
            )
    present = {kind for graphs in parts.values() for part in graphs for kind in part.present_classes()}
    classes = (NORMAL, *sorted(present - {NORMAL}))
    if len(classes) == 1:
        raise DataError("Training needs windows of at least one attack, found only normal ones. Add labelled attacks.")
    return {name: concat_graphs(graphs, classes=classes) for name, graphs in parts.items()}


def _summarise(
    captures: Sequence[Capture], split: Split, graphs: Mapping[str, PackedGraphs], window_size: int, stride: int
) -> dict[str, Any]:
    def summary_of(name: str) -> dict[str, Any]:
        pieces = [captures[index].frames.timestamp[rows] for index, rows in split.parts[name]]
        windows = np.bincount(graphs[name].label, minlength=len(graphs[name].classes)).tolist()
        return {
            "frames": sum(len(piece) for piece in pieces),
            "seconds": round(sum(float(max(piece[-1] - piece[0], 0.0)) for piece in pieces if len(piece)), 3),
            "dropped_tail_frames": sum(dropped_tail(len(piece), window_size, stride) for piece in pieces),
            "captures": len({index for index, _ in split.parts[name]}),
            "windows": dict(zip(graphs[name].classes, windows, strict=True)),
        }

    counts = sum((Counter(capture.counts) for capture in captures), Counter())
    return {
        "captures": len(captures),
        "frames": sum(len(capture.frames) for capture in captures),
        "reader": dict(sorted(counts.items())),
        "split": split.mode,
        "split_reason": split.reason,
        **{name: summary_of(name) for name in SPLITS},
    }
