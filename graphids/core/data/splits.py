"""Splits: which frames train, which validate, which test.

By capture or by block of time with a gap, never by window: with `stride < window_size` neighbours share frames, and a
random split of windows would put the same frames in train and test.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from graphids.core.data.frames import NORMAL, Capture, DataError

SPLITS = ("train", "val", "test")
MODES = ("auto", "capture", "time")
FRACTIONS = (0.6, 0.2, 0.2)
MAX_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Where every frame went.

    Attributes:
        parts: For each of train, val and test the (capture index, slice of its frames), each cut into windows alone.
        mode: "capture" or "time".
        reason: A sentence for the log: what was done and why.
    """

    parts: Mapping[str, list[tuple[int, slice]]]
    mode: str
    reason: str


def split_captures(
    captures: Sequence[Capture],
    *,
    mode: str = "auto",
    fractions: tuple[float, float, float] = FRACTIONS,
    gap_s: float = 1.0,
    min_block_frames: int = 0,
    seed: int = 0,
) -> Split:
    """Assign the frames of all captures to train, val and test.

    "capture": captures of one source stay together; where an attack kind has three sources or more, each split gets
    one; and one attack-free source of each folder trains. "time": see `time_blocks`. "auto": by capture where every
    kind and normal traffic have three sources, else by time. Kinds decide which capture goes where; where within a
    capture an attack lies never moves a cut.

    Args:
        captures: At least one with frames; those without go nowhere.
        mode: One of `MODES`.
        fractions: Shares of train, val and test, positive, with sum 1.
        gap_s: By time: seconds dropped between neighbouring blocks.
        min_block_frames: By time: frames that the shortest block should hold, for the choice of how many rounds.
        seed: Decides among equals: the order of captures, and of the blocks within each round but the first.

    Raises:
        DataError: If an argument is out of range, or a split by capture would leave a split without captures.
    """
    if not any(len(capture.frames) for capture in captures):
        raise DataError(f"A split needs at least one capture with frames, found none among {len(captures)}.")
    if mode not in MODES:
        raise DataError(f"split is {mode!r}, expected one of {', '.join(MODES)}.")
    if min(fractions) <= 0 or not np.isclose(sum(fractions), 1.0):
        raise ValueError(f"fractions are {fractions}, expected three positive shares with sum 1.")
    if not (np.isfinite(gap_s) and gap_s >= 0):
        raise DataError(f"gap_s is {gap_s}, expected 0 or more seconds.")
    sources = _kinds_by_source(captures)
    sources_of = Counter(kind for kinds in sources.values() for kind in kinds)
    scarce = [f"{kind} in {n}" for kind, n in sorted(sources_of.items()) if n < len(SPLITS)]
    if mode == "time" or (mode == "auto" and scarce):
        why = f": split by capture needs three recordings of each kind, found {', '.join(scarce)}" if scarce else ""
        parts = _by_time(captures, fractions, gap_s, min_block_frames, seed)
        return Split(parts, "time", f"Split by time, blocks {gap_s:g} s apart{why}.")
    parts = _by_capture(captures, sources, fractions, seed)
    why = f"; too few recordings to have each split see {', '.join(scarce)}" if scarce else ""
    return Split(parts, "capture", f"Split by capture, {len(sources)} recordings{why}.")


def time_blocks(
    duration_s: float, shortest_s: float, fractions: tuple[float, float, float], gap_s: float, rng: np.random.Generator
) -> list[tuple[str, float, float]]:
    """Blocks (split, begin, end) in seconds from the start of a recording, `gap_s` apart.

    The recording is cut into rounds of equal length, each into one block for each split: one cut for the whole
    recording would leave an attack that is run once, for some seconds, in a single split. There are as many rounds as
    leave the shortest block `shortest_s` and lose no more than half of it to the gap, `MAX_ROUNDS` at most. The first
    round runs train, val, test; later ones in random order, so that attacks at a fixed interval do not fall into step
    with the splits.
    """
    least_s = max(shortest_s + gap_s, 2 * gap_s)
    fitting = duration_s * min(fractions) / least_s if least_s > 0 else 1
    rounds = int(np.clip(fitting, 1, MAX_ROUNDS))
    blocks = []
    begin = 0.0
    for index in range(rounds):
        order = range(len(SPLITS)) if index == 0 else rng.permutation(len(SPLITS))
        for split in order:
            end = begin + fractions[split] * duration_s / rounds
            blocks.append((SPLITS[split], begin + gap_s if begin else begin, end))
            begin = end
    return blocks


def _kinds_by_source(captures: Sequence[Capture]) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for capture in captures:
        if not len(capture.frames):
            continue
        found = kinds.setdefault(capture.source, set())
        labels = capture.frames.attack_kind
        present = (0,) if labels is None else np.flatnonzero(np.bincount(labels))
        found.update(capture.frames.kinds[index] for index in present)
    return kinds


def _by_capture(
    captures: Sequence[Capture], sources: Mapping[str, set[str]], fractions: tuple[float, float, float], seed: int
) -> dict[str, list[tuple[int, slice]]]:
    folders = {capture.source: PurePosixPath(capture.name).parent for capture in captures}
    split_of = _assign_sources(sources, folders, fractions, seed)
    parts: dict[str, list[tuple[int, slice]]] = {split: [] for split in SPLITS}
    for index, capture in enumerate(captures):
        if not len(capture.frames):
            continue
        parts[split_of[capture.source]].append((index, slice(0, len(capture.frames))))
    if empty := [split for split in SPLITS if not parts[split]]:
        raise DataError(
            f"split='capture' needs at least {len(SPLITS)} recordings, found {len(sources)}; {' and '.join(empty)} "
            "would be empty. Use split='time', or add captures."
        )
    return parts


def _assign_sources(
    sources: Mapping[str, set[str]],
    folders: Mapping[str, PurePosixPath],
    fractions: tuple[float, float, float],
    seed: int,
) -> dict[str, str]:
    """Each source to the split that lacks most of its kind, the scarcest kind first."""
    shuffled = np.random.default_rng(seed).permutation(sorted(sources)).tolist()
    # A folder holds one vehicle's captures, where there are several, and nothing can be said of a vehicle whose
    # normal traffic was never seen: one attack-free source of each folder trains.
    attack_free = {folders[source]: source for source in shuffled if sources[source] <= {NORMAL}}
    members = {kind: [s for s in shuffled if kind in sources[s]] for kind in set().union(*sources.values())}
    # Attacks before normal: a source of attacks holds normal traffic too.
    scarcest_first = sorted(members, key=lambda kind: (kind == NORMAL, len(members[kind]), kind))
    split_of = dict.fromkeys(attack_free.values(), "train")
    for kind in scarcest_first:
        lacking = {s: max(share * len(members[kind]), 1.0) for s, share in zip(SPLITS, fractions, strict=True)}
        for source in members[kind]:
            if source in split_of:
                lacking[split_of[source]] -= 1
        for source in members[kind]:
            if source not in split_of:
                split_of[source] = max(SPLITS, key=lambda split: lacking[split])
                lacking[split_of[source]] -= 1
    return split_of


def _by_time(
    captures: Sequence[Capture],
    fractions: tuple[float, float, float],
    gap_s: float,
    min_block_frames: int,
    seed: int,
) -> dict[str, list[tuple[int, slice]]]:
    parts: dict[str, list[tuple[int, slice]]] = {split: [] for split in SPLITS}
    members: dict[str, list[int]] = {}
    for index, capture in enumerate(captures):
        if len(capture.frames):
            members.setdefault(capture.source, []).append(index)
    for number, source in enumerate(sorted(members)):
        clocks = _source_clocks([captures[index].frames.timestamp for index in members[source]])
        duration_s = max(clock[-1] for clock in clocks)
        shortest_s = max(min_block_frames * clock[-1] / len(clock) for clock in clocks)
        blocks = time_blocks(duration_s, shortest_s, fractions, gap_s, np.random.default_rng((seed, number)))
        last = len(blocks) - 1
        for index, clock in zip(members[source], clocks, strict=True):
            for block, (split, begin, end) in enumerate(blocks):
                stop = len(clock) if block == last else int(np.searchsorted(clock, end))
                start = int(np.searchsorted(clock, begin))
                if start < stop:
                    parts[split].append((index, slice(start, stop)))
    return parts


def _source_clocks(timestamps: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Seconds on one clock per source, which never steps back, for captures of the same source.

    Captures laid over the same drive must be cut at the same moments of it, so they share an origin where their
    recorded times overlap. Where they do not (one absolute, one from zero), each counts from its own start.
    """
    running = [np.maximum.accumulate(t) for t in timestamps]
    shared = max(t[0] for t in running) <= min(t[-1] for t in running)
    origin = min(t[0] for t in running)
    return [t - (origin if shared else t[0]) for t in running]
