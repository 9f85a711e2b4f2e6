"""Recordings: attack-free ones of each vehicle, split and cut into pieces that attacks can be laid over."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from graphids.core.data.splits import FRACTIONS, GAP_S, SPLITS, Rounds, Split, time_blocks
from graphids.core.frames import Capture, Frames, unbroken_runs
from graphids.core.wire import elapsing_times

PIECE_S = 40.0
# Of each vehicle and split, evenly over its recordings; further ones add little but time.
MOST_PIECES = 4
_SHARE_OF_GAP = 0.02  # at most, of a recording that is split by time

Part = tuple[int, slice]


class Piece(NamedTuple):
    """A stretch of an attack-free recording.

    Attributes:
        vehicle: Of the recording.
        capture: Its name.
        frames: Followed from the first on.
        first: Index within the capture of the first of them.
    """

    vehicle: str
    capture: str
    frames: Frames
    first: int


def split_recordings(
    captures: Sequence[Capture], vehicles: Mapping[str, Sequence[int]], *, gap_s: float | None, seed: int
) -> dict[str, Split]:
    """Assign the recordings of each vehicle to train, val and test.

    Whole recordings where a vehicle has three or more, else three blocks of time of each, in this order and the gap
    apart: attacks are laid over afterwards, so that no split lacks any, and a long block is worth more than many.

    Args:
        captures: Attack-free.
        vehicles: Indices by vehicle.
        gap_s: Seconds dropped between blocks; None for 1 s, or less in a short recording.
        seed: Breaks ties.
    """
    return {name: _split(captures, indices, gap_s, seed) for name, indices in vehicles.items()}


def _split(captures: Sequence[Capture], indices: Sequence[int], gap_s: float | None, seed: int) -> Split:
    if len(indices) >= len(SPLITS):
        parts = _by_recording(captures, indices, seed)
        return Split(parts, "capture", f"by recording, {len(indices)}")
    parts = {split: [] for split in SPLITS}
    for index in indices:
        since = elapsing_times(captures[index].frames.timestamp)
        since = since - since[0]
        gap = min(GAP_S, float(since[-1]) * _SHARE_OF_GAP) if gap_s is None else gap_s
        for split, begin, end in time_blocks(float(since[-1]), Rounds(1, gap), FRACTIONS, np.random.default_rng(seed)):
            first, last = np.searchsorted(since, (begin, end)).tolist()
            last = len(since) if split == SPLITS[-1] else last
            if first < last:
                parts[split].append((index, slice(first, last)))
    return Split(parts, "time", "by time")


def _by_recording(captures: Sequence[Capture], indices: Sequence[int], seed: int) -> dict[str, list[Part]]:
    """The longest recording trains; each other goes to the split that lacks most seconds, the longest first."""
    lengths = {index: float(np.ptp(elapsing_times(captures[index].frames.timestamp))) for index in indices}
    shuffled = np.random.default_rng(seed).permutation(list(indices)).tolist()
    lacking = {s: share * sum(lengths.values()) for s, share in zip(SPLITS, FRACTIONS, strict=True)}
    parts: dict[str, list[Part]] = {split: [] for split in SPLITS}
    longest_first = sorted(shuffled, key=lambda index: -lengths[index])
    for position, index in enumerate(longest_first):
        empty = [split for split in SPLITS if not parts[split]]
        left = len(longest_first) - position
        split = max(empty if left <= len(empty) else SPLITS, key=lambda name: lacking[name])
        parts[split].append((index, slice(0, len(captures[index].frames))))
        lacking[split] -= lengths[index]
    return {split: sorted(members, key=lambda part: part[0]) for split, members in parts.items()}


def pieces_of(
    captures: Sequence[Capture], parts: Sequence[Part], vehicle: str, *, fewest_frames: int, at_least: int = 1
) -> list[Piece]:
    """Stretches of at most `PIECE_S`, none across a jump of a clock, at most `MOST_PIECES`.

    Args:
        captures: All.
        parts: What to cut.
        vehicle: Of the parts.
        fewest_frames: Shorter stretches are left out.
        at_least: Pieces that are needed: where there are fewer, each is cut into as many.
    """
    runs = [
        (index, slice(part.start + run.start, part.start + run.stop))
        for index, part in parts
        for run in unbroken_runs(captures[index].frames.timestamp[part])
    ]
    cut = [piece for index, run in runs for piece in _cut(captures[index], run, vehicle, fewest_frames, 1)]
    if sum(len(piece.frames) >= fewest_frames for piece in cut) < at_least:
        cut = [p for index, run in runs for p in _cut(captures[index], run, vehicle, fewest_frames, at_least)]
    long_enough = [piece for piece in cut if len(piece.frames) >= fewest_frames]
    chosen = np.linspace(0, len(long_enough) - 1, min(MOST_PIECES, len(long_enough))).round().astype(int)
    return [long_enough[index] for index in chosen]


def _cut(capture: Capture, run: slice, vehicle: str, fewest_frames: int, at_least: int) -> list[Piece]:
    times_s = elapsing_times(capture.frames.timestamp[run])
    # Half as many as would just do: a bus is busier at one time than at another.
    fitting = len(times_s) // (2 * fewest_frames)
    number = max(min(int(np.ceil(np.ptp(times_s) / PIECE_S)), fitting), at_least)
    edges = np.linspace(times_s[0], times_s[-1], number + 1)[1:-1]
    cuts = [0, *np.searchsorted(times_s, edges).tolist(), len(times_s)]
    return [
        Piece(vehicle, capture.name, capture.frames.take(slice(run.start + a, run.start + b)), run.start + a)
        for a, b in pairwise(cuts)
        if a < b
    ]


def others(captures: Sequence[Capture], parts: Sequence[Part], piece: Piece | None) -> list[Frames]:
    """The frames of the parts without those of the piece, in stretches."""
    stretches = []
    for index, part in parts:
        cuts = [part.start, part.stop]
        if piece is not None and captures[index].name == piece.capture:
            first, last = piece.first, piece.first + len(piece.frames)
            if part.start <= first and last <= part.stop:
                cuts = [part.start, first, last, part.stop]
        for begin, end in zip(cuts[::2], cuts[1::2], strict=True):
            stretches += [captures[index].frames.take(slice(begin, end))] if end > begin else []
    return stretches
