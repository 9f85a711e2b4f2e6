"""Splits: which frames train, which validate, which test.

By capture or by block of time with a gap, never by window: with `stride < window_size` neighbours share frames, and a
random split of windows would put the same frames in train and test.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import NORMAL, Capture, DataError, without_clock_jumps

SPLITS = ("train", "val", "test")
MODES = ("auto", "capture", "time")
FRACTIONS = (0.6, 0.2, 0.2)
# Rounds of a split by time. A single attack over a fifth of a short recording, at a random place, is met by all three
# splits in 96 % of 2,000 draws with five rounds, 79 % with four and 50 % with three.
MIN_ROUNDS, MAX_ROUNDS = 5, 10
# Windows that the shortest block of a split by time should hold, and those that it may have in a short recording.
WINDOWS_PER_BLOCK, MIN_WINDOWS_PER_BLOCK = 10, 2
GAP_S = 1.0


@dataclass(frozen=True, slots=True)
class Split:
    """Which split every frame belongs to.

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
    gap_s: float | None = None,
    window_size: int = 1,
    stride: int = 1,
    seed: int = 0,
) -> Split:
    """Assign the frames of all captures to train, val and test.

    "capture": captures of one source stay together; where an attack kind has three sources or more, each split gets
    one; and one attack-free source of each folder trains. "time": see `time_blocks`. "auto": by capture where every
    kind and normal traffic have three sources, else by time. Kinds decide which split a capture goes to; the
    position of an attack within a capture never moves a cut.

    Args:
        captures: At least one with frames; those without frames are in no split.
        mode: One of `MODES`.
        fractions: Shares of train, val and test, positive, with sum 1.
        gap_s: By time: seconds dropped between neighbouring blocks. None: `GAP_S`, or the length of a window where a
            recording is too short for `MIN_ROUNDS` rounds with that.
        window_size: Frames per window, by time for the choice of how many rounds.
        stride: Frames between window starts, likewise.
        seed: Breaks ties: the order of captures, and of the blocks within each round but the first.

    Raises:
        DataError: If an argument is out of range, or a split by capture would leave a split without captures.
    """
    if not any(len(capture.frames) for capture in captures):
        raise DataError(f"A split needs at least one capture with frames, found none among {len(captures)}.")
    if mode not in MODES:
        raise DataError(f"split is {mode!r}, expected one of {', '.join(MODES)}.")
    if min(fractions) <= 0 or not np.isclose(sum(fractions), 1.0):
        raise ValueError(f"fractions are {fractions}, expected three positive shares with sum 1.")
    if gap_s is not None and not (np.isfinite(gap_s) and gap_s >= 0):
        raise DataError(f"gap_s is {gap_s}, expected 0 or more seconds, or none.")
    sources = _kinds_by_source(captures)
    sources_of = Counter(kind for kinds in sources.values() for kind in kinds)
    scarce = [f"{kind} in {n}" for kind, n in sorted(sources_of.items()) if n < len(SPLITS)]
    if mode == "time" or (mode == "auto" and scarce):
        why = f": split by capture needs three recordings of each kind, found {', '.join(scarce)}" if scarce else ""
        parts, rounds = _by_time(captures, fractions, gap_s, window_size, stride, seed)
        how = f"rounds of train, val and test: {_span([r.number for r in rounds])}"
        apart = f"blocks {_span([r.gap_s for r in rounds])} s apart"
        return Split(parts, "time", f"Split by time, {how}, {apart}{why}.")
    parts = _by_capture(captures, sources, fractions, seed)
    why = f"; too few recordings to have each split see {', '.join(scarce)}" if scarce else ""
    return Split(parts, "capture", f"Split by capture, {len(sources)} recordings{why}.")


class Rounds(NamedTuple):
    """How a recording is cut: rounds, seconds dropped between neighbouring blocks, whether blocks had to shrink."""

    number: int
    gap_s: float
    is_short: bool = False


def plan_rounds(share_s: float, frame_s: float, gap_s: float | None, window_size: int, stride: int) -> Rounds:
    """Rounds for a recording of some length.

    As many as leave `WINDOWS_PER_BLOCK` windows in the shortest block and lose no more than half of it to the
    gap, `MAX_ROUNDS` at most. Where these are fewer than `MIN_ROUNDS`, blocks may shrink to `MIN_WINDOWS_PER_BLOCK`
    windows, and the gap, unless it is given, to one window. Only lengths decide, never labels.

    Args:
        share_s: Seconds that the smallest split is to get, over all rounds.
        frame_s: Mean seconds per frame.
        gap_s: As `split_captures` takes it.
        window_size: Frames per window.
        stride: Frames between window starts.

    >>> plan_rounds(share_s=60.0, frame_s=0.001, gap_s=None, window_size=256, stride=128)
    Rounds(number=10, gap_s=1.0, is_short=False)
    >>> plan_rounds(share_s=6.0, frame_s=0.001, gap_s=None, window_size=256, stride=128)
    Rounds(number=5, gap_s=0.256, is_short=True)
    >>> plan_rounds(share_s=6.0, frame_s=0.001, gap_s=1.0, window_size=256, stride=128)
    Rounds(number=3, gap_s=1.0, is_short=True)
    """

    def fitting(windows: int, gap_s: float, most: int) -> int:
        block_s = (window_size + (windows - 1) * stride) * frame_s
        least_s = max(block_s + gap_s, 2 * gap_s)
        return int(min(share_s / least_s, most)) if least_s > 0 else 1

    gap = GAP_S if gap_s is None else gap_s
    number = fitting(WINDOWS_PER_BLOCK, gap, MAX_ROUNDS)
    if number >= MIN_ROUNDS:
        return Rounds(number, gap)
    gap = min(GAP_S, window_size * frame_s) if gap_s is None else gap_s
    number = max(fitting(WINDOWS_PER_BLOCK, gap, MAX_ROUNDS), fitting(MIN_WINDOWS_PER_BLOCK, gap, MIN_ROUNDS), 1)
    return Rounds(number, gap, is_short=True)


def time_blocks(
    duration_s: float, rounds: Rounds, fractions: tuple[float, float, float], rng: np.random.Generator
) -> list[tuple[str, float, float]]:
    """Blocks (split, begin, end) in seconds from the start of a recording, the rounds' gap apart.

    The recording is cut into rounds of equal length, each into one block for each split: one cut for the whole
    recording would leave an attack that is run once, for some seconds, in a single split. The first round runs train,
    val, test; later ones in random order, so that attacks at a fixed interval do not fall into step with the splits. A
    short recording holds an attack or two, and a stretch without a split must not grow to nearly two rounds: there
    train stays first, and val and test take turns at random.
    """
    blocks = []
    begin = 0.0
    for index in range(rounds.number):
        order = [0, 1, 2]
        if index and rounds.is_short:
            order[1:] = rng.permutation(order[1:]).tolist()
        elif index:
            order = rng.permutation(order).tolist()
        for split in order:
            end = begin + fractions[split] * duration_s / rounds.number
            blocks.append((SPLITS[split], begin + rounds.gap_s if begin else begin, end))
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
    """Assign each source to the split that lacks most of its kind, the scarcest kind first."""
    shuffled = np.random.default_rng(seed).permutation(sorted(sources)).tolist()
    # Where there are several folders, each holds one vehicle's captures, and nothing can be said of a vehicle whose
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
    gap_s: float | None,
    window_size: int,
    stride: int,
    seed: int,
) -> tuple[dict[str, list[tuple[int, slice]]], list[Rounds]]:
    """Parts as in `Split`, and the rounds of each source."""
    parts: dict[str, list[tuple[int, slice]]] = {split: [] for split in SPLITS}
    members: dict[str, list[int]] = {}
    for index, capture in enumerate(captures):
        if len(capture.frames):
            members.setdefault(capture.source, []).append(index)
    all_rounds = []
    for number, source in enumerate(sorted(members)):
        clocks = _source_clocks([captures[index].frames.timestamp for index in members[source]])
        duration_s = max(clock[-1] for clock in clocks)
        frame_s = max(float(clock[-1]) / len(clock) for clock in clocks)
        rounds = plan_rounds(duration_s * min(fractions), frame_s, gap_s, window_size, stride)
        blocks = time_blocks(duration_s, rounds, fractions, np.random.default_rng((seed, number)))
        all_rounds.append(rounds)
        last = len(blocks) - 1
        for index, clock in zip(members[source], clocks, strict=True):
            for block, (split, begin, end) in enumerate(blocks):
                stop = len(clock) if block == last else int(np.searchsorted(clock, end))
                start = int(np.searchsorted(clock, begin))
                if start < stop:
                    parts[split].append((index, slice(start, stop)))
    return parts, all_rounds


def _span(values: Sequence[float]) -> str:
    low, high = (f"{value:.2g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _source_clocks(timestamps: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Seconds on one clock per source, which never steps back, for captures of the same source.

    Captures laid over the same drive must be cut at the same moments of it, so they share an origin where their
    recorded times overlap. Where they do not (one absolute, one from zero), each counts from its own start. A jump of
    the recorder's clock takes no time.
    """
    running = [np.maximum.accumulate(without_clock_jumps(t)) for t in timestamps]
    shared = max(t[0] for t in running) <= min(t[-1] for t in running)
    origin = min(t[0] for t in running)
    return [t - (origin if shared else t[0]) for t in running]
