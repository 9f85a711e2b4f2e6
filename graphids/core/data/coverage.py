"""Coverage: how much of a capture carries arbitration IDs that a model knows, which is what it can judge."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames
from graphids.core.graphs.packed import PackedGraphs

# Share of a bus's frames whose IDs the model must know to judge the bus. Vocabularies of 23 buses of real vehicles,
# applied to attack-free recordings: at least .959 in 122 pairs of recordings of one bus; below .5 in 495 of 506 pairs
# of buses, and 0 in most. Above lie sister models, buses that carry little but OBD requests, and one pair at .502. A
# higher value would take an attack for another vehicle: floods of an ID of their own leave .45 to .69 of a recording.
# Distinct IDs do not separate the two: under fuzzing a model knows .01 of those of its own vehicle.
MIN_COVERAGE = 0.5


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many frames, and how many distinct arbitration IDs, of a bus or a recording a model knows.

    An 11-bit and a 29-bit identifier of one number are two IDs.
    """

    frames: int
    known_frames: int
    ids: int
    known_ids: int

    @property
    def share(self) -> float:
        """Share of the frames whose ID is known, 0 to 1; 1 where there is no frame."""
        return self.known_frames / self.frames if self.frames else 1.0

    @property
    def id_share(self) -> float:
        """Share of the distinct IDs that are known, 0 to 1; 1 where there is none."""
        return self.known_ids / self.ids if self.ids else 1.0

    @property
    def is_enough(self) -> bool:
        """Whether at least `MIN_COVERAGE` of the frames carry known IDs: else the model cannot judge them."""
        return self.share >= MIN_COVERAGE

    def words(self) -> str:
        """Both shares with their counts.

        >>> Coverage(frames=200, known_frames=5, ids=70, known_ids=2).words()
        '2.5% of the frames and 2 of 70 arbitration IDs'
        """
        return f"{self.share:.1%} of the frames and {self.known_ids} of {self.ids} arbitration IDs"

    def problem(self) -> str:
        """Why the model cannot judge the frames, "" where it can."""
        if self.is_enough:
            return ""
        return (
            f"the model knows {self.words()}, and has to know {MIN_COVERAGE:.0%} of the frames to judge them: they are "
            "another vehicle's, or unknown IDs flood the bus, and neither an alert nor its absence means anything"
        )

    def to_dict(self) -> dict[str, Any]:
        """Shares, verdict and counts, as every answer in JSON has them."""
        return {
            "coverage": self.share,
            "id_coverage": self.id_share,
            "is_covered": self.is_enough,
            **asdict(self),
        }


def coverage_of(node_key: NDArray[np.uint32], vocabulary: NDArray[np.uint32]) -> Coverage:
    """Coverage of frames with these node keys, uint32 [n], by a vocabulary of node keys, uint32 [V]."""
    return coverage_of_ids(*np.unique(node_key, return_counts=True), vocabulary)


def coverage_of_ids(keys: NDArray[np.uint32], counts: NDArray[np.int64], vocabulary: NDArray[np.uint32]) -> Coverage:
    """Coverage of frames whose distinct node keys, and the number of frames of each, are known already, both [k]."""
    is_known = np.isin(keys, vocabulary)
    return Coverage(int(counts.sum()), int(counts[is_known].sum()), len(keys), int(np.count_nonzero(is_known)))


@dataclass(slots=True)
class CoverageCount:
    """Coverage by bus, counted while chunks of a recording pass by; memory grows with the distinct IDs only.

    Attributes:
        known: uint32 [V], the node keys that a model knows.
    """

    known: NDArray[np.uint32]
    # By bus: distinct node keys, uint32 [k], and the frames of each, int64 [k].
    _met: dict[str, tuple[NDArray[np.uint32], NDArray[np.int64]]] = field(default_factory=dict)

    def passing(self, chunks: Iterable[Frames]) -> Iterator[Frames]:
        """The chunks, each counted before it is passed on."""
        for frames in chunks:
            self.observe(frames)
            yield frames

    def observe(self, frames: Frames) -> None:
        """Count frames of any buses."""
        keys, present = frames.node_key(), np.flatnonzero(np.bincount(frames.channel))
        for index in map(int, present):
            self._observe_bus(frames.channels[index], keys if len(present) == 1 else keys[frames.channel == index])

    def by_bus(self) -> dict[str, Coverage]:
        """What was counted so far, by name of the bus."""
        return {bus: coverage_of_ids(keys, counts, self.known) for bus, (keys, counts) in self._met.items()}

    def _observe_bus(self, bus: str, node_key: NDArray[np.uint32]) -> None:
        keys, counts = np.unique(node_key, return_counts=True)
        if bus in self._met:
            keys_before, counts_before = self._met[bus]
            keys, place = np.unique(np.concatenate((keys_before, keys)), return_inverse=True)
            both, counts = np.concatenate((counts_before, counts)), np.zeros(len(keys), np.int64)
            np.add.at(counts, place, both)
        self._met[bus] = keys, counts


def window_coverage(graphs: PackedGraphs, known: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the frames, and of the distinct IDs, of each window that the model knows: two float64 [G], 0 to 1.

    Args:
        graphs: The windows.
        known: uint32 [V], the node keys that the model knows.
    """
    if not len(graphs):
        return np.empty(0), np.empty(0)
    first = graphs.node_ptr[:-1]  # no window is without a node, as reduceat needs it
    is_known, is_present = np.isin(graphs.node_key, known), graphs.node_frames > 0  # [N] each
    frames, ids = (np.add.reduceat(of.astype(np.float64), first) for of in (graphs.node_frames, is_present))
    known_frames = np.add.reduceat((graphs.node_frames * is_known).astype(np.float64), first)
    return known_frames / frames, np.add.reduceat((is_present & is_known).astype(np.float64), first) / ids
