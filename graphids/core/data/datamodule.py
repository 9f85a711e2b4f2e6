"""The datamodule: captures in, batches out."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from graphids._fs import IntegrityError
from graphids.core.captures.labels import KINDS, Kinds
from graphids.core.captures.read import OnBadLine
from graphids.core.data.batches import BatchLoader, GraphBatches, NodeBudgetBatchSampler
from graphids.core.data.dataset import (
    dataset_digest,
    load_captures,
    require_labels,
    split_windows,
    summarise,
)
from graphids.core.data.injected import Windowing
from graphids.core.data.labelled import labelled_material
from graphids.core.data.material import Material, Settings
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.data.rules import RuleBaseline, largest_deviation
from graphids.core.data.splits import MODES, Split, split_captures
from graphids.core.data.unlabelled import injected_material
from graphids.core.frames import Capture, num_attacked
from graphids.core.graphs.features import FEATURES
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.profile.profile import Profile
from graphids.core.simulation.simulate import CAPTURES_PER_KIND, DURATION_S
from graphids.options import AUTO, FLEET

logger = logging.getLogger(__name__)


class CANDataModule(pl.LightningDataModule):
    """Captures, split, cut into windows and fitted on the training split; batches of graphs.

    Args:
        data: "fleet" or "simulated", or a capture file, a folder of captures or a glob; see `load_captures`.
        window_size: Frames per window.
        stride: Frames between window starts.
        batch_size: Windows per batch at most.
        split: "auto", "capture" or "time"; see `split_captures`.
        gap_s: Seconds dropped between neighbouring blocks of a split by time; None for 1 s, or less in a short
            recording, see `plan_rounds`.
        seed: Of the order of batches and of the IDs shown as UNK.
        split_seed: Of the split among equals. Apart from `seed`, so that runs with other seeds share a test split.
        kinds: How attack kinds are named; see `read_captures`.
        on_bad_line: "raise" or "drop"; see `read_captures`.
        unk_rate: Share of training nodes that are shown as UNK.
        max_nodes_per_batch: Nodes per training batch at most; None for no limit.
        data_seed: Of simulated drives and of injected attacks.
        simulated_duration_s: Length of each simulated capture.
        simulated_captures_per_kind: Captures of the one simulated vehicle under each attack.
        inject: "auto" lays attacks over the captures where none of them has any, "always" also over the attack-free
            ones of labelled captures, in training alone; "never".
        features: What nodes carry: "raw" features, or "deviations" from the profiles of the captures' vehicles; "auto"
            for deviations where attacks are injected.
        hold_out: Vehicle that only the test has, as the folder of its captures is called; "auto" for the last one of
            the simulated fleet, else none.
        injected_windows: Attack windows of each kind and vehicle in training; validation and test have a third each.

    Attributes (after `setup`):
        graphs: Raw `PackedGraphs` of "train", "val" and "test", with the same `classes`.
        classes: `("normal", ...)`: the kinds that windows of any split belong to.
        preprocessing: Fitted on the training windows.
        rule_scores: Of `summary["baseline"]`, for every window of "val" and "test", float64 [G]; fitted on train.
        profiles: By vehicle, fitted on its training recordings; empty where features are raw.
        window_vehicles: Vehicle of every window by split, str [G]; empty where vehicles are not told apart.
        dataset_digest: sha256 of the captures' content, names and labels, and of how attacks were injected, if any.
        summary: Counts of what was read and how it was split, JSON-able.

    Raises:
        ValueError: For an argument out of range, named `data.<argument>`.
    """

    def __init__(
        self,
        data: str = FLEET,
        window_size: int = 256,
        stride: int = 128,
        batch_size: int = 64,
        split: str = "auto",
        gap_s: float | None = None,
        seed: int = 0,
        split_seed: int = 0,
        kinds: Kinds = "auto",
        on_bad_line: OnBadLine = "raise",
        unk_rate: float = 0.005,
        max_nodes_per_batch: int | None = None,
        data_seed: int = 0,
        simulated_duration_s: float = DURATION_S,
        simulated_captures_per_kind: int = CAPTURES_PER_KIND,
        inject: str = AUTO,
        features: str = AUTO,
        hold_out: str = AUTO,
        injected_windows: int = 100,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        _check_arguments(self.hparams)
        self._max_nodes: int | None = max_nodes_per_batch
        self.graphs: dict[str, PackedGraphs] = {}
        self.classes: tuple[str, ...] = ()
        self.preprocessing: Preprocessing
        self.profiles: dict[str, Profile] = {}
        self.rule_scores: dict[str, NDArray[np.float64]] = {}
        self.window_vehicles: dict[str, NDArray[np.str_]] = {}
        self.dataset_digest = ""
        self.summary: dict[str, Any] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read, split and fit, once, whatever the stage: validation and test need what training fitted.

        Raises:
            DataError: If a capture has no labels, or training, validation or test cannot be done with the windows that
                the split leaves them; see `split_windows`.
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
        settings = self._settings(captures)
        window_size, stride = settings.windowing.window_size, settings.windowing.stride
        material = self._material(captures, settings)
        if material is None:
            split = self._split(captures)
            graphs = split_windows(captures, split, window_size, stride)
        else:
            split, graphs = material.split, material.graphs(captures, settings.windowing)
            self.profiles = material.profiles
            self.window_vehicles = {name: material.vehicles(name) for name in graphs}
        self.classes = graphs["train"].classes
        self.preprocessing = Preprocessing.fit(
            graphs["train"], window_size=window_size, stride=stride, features=settings.features
        )
        score = RuleBaseline.fit(graphs["train"]).score if settings.features == "raw" else largest_deviation
        self.rule_scores = {name: score(graphs[name]) for name in ("val", "test")}
        self.dataset_digest = dataset_digest(captures, settings.of_injection() if settings.injects else None)
        self.summary = summarise(captures, split, graphs, window_size, stride)
        self.summary |= {
            "features": settings.features,
            "baseline": "rules" if settings.features == "raw" else "largest deviation",
            "injected": "" if not settings.injects else "training" if settings.are_attacked else "every split",
            **(material.summary(graphs) if material else {}),
        }
        self.graphs = graphs
        logger.info("%s", split.reason)

    def _settings(self, captures: Sequence[Capture]) -> Settings:
        hparams = self.hparams
        are_attacked = any(num_attacked(capture.frames) for capture in captures)
        injects = hparams["inject"] == "always" or (hparams["inject"] == AUTO and not are_attacked)
        features = hparams["features"]
        return Settings(
            windowing=Windowing(hparams["window_size"], hparams["stride"]),
            split=hparams["split"],
            gap_s=hparams["gap_s"],
            split_seed=hparams["split_seed"],
            are_attacked=are_attacked,
            injects=injects,
            features=("deviations" if injects else "raw") if features == AUTO else features,
            hold_out=hparams["hold_out"],
            holds_out_one=hparams["data"] == FLEET,
            injected_windows=hparams["injected_windows"],
            injection_seed=hparams["data_seed"],
        )

    def _material(self, captures: Sequence[Capture], settings: Settings) -> Material | None:
        """What vehicles bring; None for labelled captures as they are."""
        if settings.injects and not settings.are_attacked:
            return injected_material(captures, settings)
        if settings.injects or settings.features == "deviations" or settings.hold_out != AUTO:
            return labelled_material(captures, settings)
        return None

    def _split(self, captures: Sequence[Capture]) -> Split:
        require_labels(captures)
        hparams = self.hparams
        return split_captures(
            captures,
            mode=hparams["split"],
            gap_s=hparams["gap_s"],
            window_size=hparams["window_size"],
            stride=hparams["stride"],
            seed=hparams["split_seed"],
        )

    def state_dict(self) -> dict[str, Any]:
        """The captures' digest, for the checkpoint."""
        return {"dataset_digest": self.dataset_digest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Require the captures of the checkpoint; raises as `require_digest`."""
        self.require_digest(state_dict["dataset_digest"])

    def require_digest(self, expected: str) -> None:
        """Check, after `setup`, that the captures are the ones that an earlier run read.

        Raises:
            IntegrityError: If they are not.
        """
        if self.dataset_digest != expected:
            raise IntegrityError(
                f"{self.hparams['data']}: the captures have digest {self.dataset_digest}, but the run was trained on "
                f"{expected}. Put those captures back, or train anew."
            )

    def limit_nodes(self, max_nodes: int) -> bool:
        """Limit batches of loaders made from now on to `max_nodes` nodes, where they could have more.

        Otherwise order and `batch_size` alone decide: batches that depend on free memory would make a run depend on who
        shares the card.

        Args:
            max_nodes: At least 1; a graph larger than that makes a batch of its own.

        Returns:
            Whether a training batch could have had more, so that existing loaders have to be made again.

        Raises:
            ValueError: If `max_nodes` is below 1.
        """
        if max_nodes < 1:
            raise ValueError(f"limit_nodes: max_nodes is {max_nodes}, expected at least 1.")
        largest = int(np.sort(self.graphs["train"].num_nodes())[-self.hparams["batch_size"] :].sum())
        if max_nodes >= min(largest, self._max_nodes or largest):
            return False
        self._max_nodes = max_nodes
        return True

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
            max_nodes=self._max_nodes,
            shuffle=shuffle,
            seed=hparams["seed"],
            # Every process validates on the whole split: metrics need no reduction and no padding.
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        unk_rate = hparams["unk_rate"] if shuffle else 0.0
        batches = GraphBatches(graphs, self.preprocessing, unk_rate=unk_rate, seed=hparams["seed"])
        return BatchLoader(batches, sampler)


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse values out of range, most of which would otherwise fail only after the captures were read."""

    def at_least(lowest: int) -> Callable[[Any], bool]:
        return lambda value: isinstance(value, int) and value >= lowest

    def among(*choices: str) -> tuple[Callable[[Any], bool], str]:
        return choices.__contains__, f"one of {', '.join(choices)}"

    count, seed = (at_least(1), "an integer >= 1"), (at_least(0), "an integer >= 0")
    allowed: dict[str, tuple[Callable[[Any], bool], str]] = {
        "window_size": (at_least(2), "an integer >= 2 (frames per window)"),
        "stride": (at_least(1), "an integer >= 1 (frames between window starts)"),
        "batch_size": count,
        "split": among(*MODES),
        "gap_s": (
            lambda gap: gap is None or (math.isfinite(gap) and gap >= 0),
            "a finite number >= 0 (seconds), or null",
        ),
        "seed": seed,
        "split_seed": seed,
        "kinds": among(*KINDS),
        "on_bad_line": among("raise", "drop"),
        "unk_rate": (lambda rate: 0 <= rate < 1, "a probability in [0, 1)"),
        "max_nodes_per_batch": (
            lambda nodes: nodes is None or count[0](nodes),
            "an integer >= 1, or null for no limit",
        ),
        "data_seed": seed,
        "simulated_duration_s": (lambda duration: 1 <= duration <= 86_400, "1 to 86400 (seconds)"),
        "simulated_captures_per_kind": count,
        "inject": among(AUTO, "always", "never"),
        "features": among(AUTO, *FEATURES),
        "hold_out": (bool, "a vehicle's name, or auto"),
        "injected_windows": count,
    }
    for name, (is_allowed, expected) in allowed.items():
        if not is_allowed(arguments[name]):
            raise ValueError(f"data.{name} is {arguments[name]!r}, expected {expected}.")
