"""Windows of real vehicles as deviations from their own profiles: attack-free, under injected attacks, and to judge."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.captures.index_file import index_entry, read_index
from graphids.core.captures.read import find_captures, read_captures
from graphids.core.frames import NORMAL, DataError, Frames, unbroken_runs
from graphids.core.graphs.packed import PackedGraphs, build_graphs, concat_graphs
from graphids.core.injection.inject import KINDS, Injection, inject
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile, fit_profile

CARS = ("camaro", "civic_8g", "gt350")
CLASSES = (NORMAL, *KINDS)
WARM_UP_S = 8.0
PIECE_S, FEWEST_FRAMES = 40.0, 600
MOST_WINDOWS = 24  # of each class in a capture that is learned from
# Recordings of `normal_multi_vehicle`, without those of the three cars, over some of which attacks were laid.
VEHICLES = {
    "350z": "350z",
    "civic_type": "civic_type_r",
    "corvette": "corvette",
    "durango": "durango",
    "ralliart": "ralliart",
    "yaris": "yaris",
}


class Judged(NamedTuple):
    """The windows of a capture to judge, those within an attack without an attacked frame left out.

    Attributes:
        graphs: Deviations; `label` is 0 or the capture's kind.
        raw: The same windows with raw features, for rules.
        normal: Raw windows of the attack-free captures, for rules.
        events: float64 [k, 2], begin and end of each attack, on the clock of the graphs.
        is_covered: Whether the profile holds a sum or parities of every ID with an altered frame.
    """

    graphs: PackedGraphs
    raw: PackedGraphs
    normal: PackedGraphs
    events: NDArray[np.float64]
    is_covered: bool


def attack_free(data: Path) -> dict[str, list[Frames]]:
    """Attack-free recordings by vehicle and bus."""
    found: dict[str, list[Frames]] = defaultdict(list)
    for folder in ("semisynthetic", "normal_multi_vehicle", "normal_drives"):
        for path, _ in find_captures(data / folder):
            vehicle = vehicle_of(folder, path)
            if vehicle:
                found[vehicle] += [unlabelled(capture.frames) for capture in read_captures(path)]
    return found


def vehicle_of(folder: str, path: Path) -> str:
    """The vehicle and bus of a recording that may be learned from; empty for any other."""
    name = path.name.split(".")[0]
    if folder == "semisynthetic":
        return path.parent.name if name.startswith("attack-free") else ""
    if folder == "normal_multi_vehicle":
        return next((vehicle for begin, vehicle in VEHICLES.items() if name.startswith(begin)), "")
    if path.parent.name == "tesla_model3":
        return "tesla chassis" if "chassis" in name else "tesla vehicle"
    if path.parent.name == "css_electronics":
        return f"css {name.split('_')[0]} {name.split('_')[-1]}"
    return name.split("_exp")[0]


def unlabelled(frames: Frames) -> Frames:
    return replace(frames, attack=None, attack_kind=None, kinds=(NORMAL,))


def examples(recordings: list[Frames], size: int, num_pieces: int, seed: int) -> Iterator[PackedGraphs]:
    """Windows of a vehicle's pieces, attack-free and under each attack, against the profile of its other pieces."""
    pieces = cut(recordings, num_pieces)
    rng = np.random.default_rng(seed)
    for index, piece in enumerate(pieces):
        profile = fit_profile([other for other in pieces if other is not piece])
        labelled = replace(
            piece, attack=np.zeros(len(piece), np.uint8), attack_kind=np.zeros(len(piece), np.int16), kinds=(NORMAL,)
        )
        yield few(windows_of(profile, labelled, size), len(KINDS) * MOST_WINDOWS // 2, rng)
        seconds = float(np.ptp(piece.timestamp))
        for kind in KINDS:
            first_s = seconds * rng.uniform(0.1, 0.5)
            last_s = min(first_s + seconds * rng.uniform(0.15, 0.3), seconds * 0.99)
            try:
                injected = inject(piece, [Injection(kind, first_s, last_s)], seed=seed + index)
            except DataError:
                continue  # nothing on this bus could be attacked so
            graphs = windows_of(profile, injected.frames, size)
            if kind == "suppress":
                mark_overdue(graphs, injected.injections[0].target)
            yield few(graphs.take(counting(graphs, injected.frames, injected.is_within())), MOST_WINDOWS, rng)


def mark_overdue(graphs: PackedGraphs, node_key: int) -> None:
    """In windows of a suppression the overdue ID is what is attacked, though no frame is left to say so."""
    within = np.repeat(graphs.label > 0, graphs.num_nodes())
    graphs.node_attacked[within & (graphs.node_key == node_key) & (graphs.node_frames == 0)] = 1


def few(graphs: PackedGraphs, most: int, rng: np.random.Generator) -> PackedGraphs:
    """At most so many windows of each class."""
    chosen = [rng.permutation(np.flatnonzero(graphs.label == label))[:most] for label in range(len(graphs.classes))]
    return graphs.take(np.sort(np.concatenate(chosen)))


def cut(recordings: list[Frames], num_pieces: int) -> list[Frames]:
    """At most so many pieces of some tens of seconds; thirds of a recording that is the only one."""
    runs = [frames.take(run) for frames in recordings for run in unbroken_runs(frames.timestamp)]
    pieces = []
    for frames in runs:
        since = frames.timestamp - frames.timestamp[0]
        ends = np.arange(1, max(int(since[-1] / PIECE_S), 1) + 1) * min(PIECE_S, float(since[-1]))
        cuts = [0, *np.searchsorted(since, ends, side="right").tolist()]
        pieces += [frames.take(slice(a, b)) for a, b in pairwise(cuts) if b - a >= FEWEST_FRAMES]
    if len(pieces) == 1:
        pieces = [pieces[0].take(rows) for rows in thirds(len(pieces[0]))]
    chosen = np.linspace(0, len(pieces) - 1, min(num_pieces, len(pieces))).astype(int)
    return [pieces[index] for index in chosen]


def thirds(num_frames: int) -> list[slice]:
    return [slice(num_frames * part // 3, num_frames * (part + 1) // 3) for part in range(3)]


def windows_of(profile: Profile, frames: Frames, size: int) -> PackedGraphs:
    """Windows side by side."""
    follower = Follower(profile)
    follower.follow(frames)
    return build_graphs(frames, size, size, follower)


def counting(graphs: PackedGraphs, frames: Frames, within: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Windows to count: without a frame within the attack, with an attacked one, or wholly within a suppression."""
    size = int(graphs.first_frame[1] - graphs.first_frame[0])
    rows = graphs.first_frame[:, None] + np.arange(size)
    if frames.attack is None or not frames.attack.any():
        return np.flatnonzero(within[rows].all(axis=1) | ~within[rows].any(axis=1))
    return np.flatnonzero(frames.attack[rows].any(axis=1) | ~within[rows].any(axis=1))


def judged(folder: Path, size: int, *, warm: bool) -> Iterator[tuple[str, Judged]]:
    """Kind and windows of each attacked capture of a car."""
    captures = {path.name: read_captures(path)[0].frames for path, _ in find_captures(folder)}
    own = [unlabelled(frames) for name, frames in captures.items() if name.startswith("attack-free")]
    for name, frames in captures.items():
        entry = index_entry(folder / name)
        if name.startswith("attack-free") or entry is None:
            continue
        start = frames.take(frames.timestamp - frames.timestamp[0] < WARM_UP_S)
        known = [*own, unlabelled(start)] if warm else own
        events = entry.intervals.seconds + (frames.timestamp[0] if entry.intervals.is_elapsed else 0.0)
        capture = to_judge(known, frames, size, events, after_s=WARM_UP_S if warm else 0.0)
        kind = name.split("-")[0]
        if kind == "suppress":
            mark_overdue(capture.graphs, target(entry.index, f"{folder.name}/{name}"))
        yield kind, capture


def target(index: Path, name: str) -> int:
    """The ID that a capture's attack is on, as its index says."""
    return next(int(str(entry["target"]), 16) for entry in read_index(index) if entry["file"] == name)


def to_judge(
    known: list[Frames], frames: Frames, size: int, events: NDArray[np.float64], *, after_s: float = 0.0
) -> Judged:
    """The windows of a capture, given attack-free recordings of the vehicle."""
    profile = fit_profile(known)
    graphs, raw = windows_of(profile, frames, size), build_graphs(frames, size, size)
    within = np.any([(frames.timestamp >= a) & (frames.timestamp <= b) for a, b in events], axis=0)
    rows = counting(graphs, frames, within)
    rows = rows[graphs.end_s[rows] - frames.timestamp[0] >= after_s]
    normal = concat_graphs([build_graphs(part, size, size) for part in known])
    return Judged(graphs.take(rows), raw.take(rows), normal, events, is_covered(profile, frames))


def is_covered(profile: Profile, frames: Frames) -> bool:
    """Whether an altered payload can break a check: the profile holds one of every ID with an altered frame."""
    altered = np.unique(frames.node_key()[frames.attack == 1])
    has_check = (profile.checks["num_parities"] > 0) | (profile.checks["sum_field"] > 0)
    return bool(np.isin(altered, profile.node_key[has_check]).all())


def recorded_attacks(data: Path, size: int) -> Iterator[tuple[str, Judged]]:
    """Real attacks, each with the profile of another drive, or of a later part of the same one."""
    folder = data / "j1939_truck"
    truck = [unlabelled(read_captures(folder / "normal.log.gz")[0].frames)]
    for path, name in find_captures(folder):
        if path.name != "normal.log.gz":
            frames = read_captures(path)[0].frames
            yield name.removesuffix(".log.gz"), to_judge(truck, frames, size, attacked_spans(frames))
    frames = read_captures(data / "can_train_and_test" / "DoS-1.csv.gz")[0].frames
    later = frames.timestamp - frames.timestamp[0] > 20.0
    rest = frames.take(~later)
    yield (
        "can-train-and-test DoS",
        to_judge([unlabelled(frames.take(later))], rest, size, attacked_spans(rest)),
    )
    folder = data / "crysys_masquerade"
    other = [unlabelled(read_captures(folder / "trace-48.first20000.csv.gz")[0].frames)]
    (path,) = folder.glob("*malicious*.log.gz")
    frames = read_captures(path)[0].frames
    yield (
        "CrySyS masquerade, profile of another recording",
        to_judge(other, frames, size, attacked_spans(frames)),
    )


def attacked_spans(frames: Frames) -> NDArray[np.float64]:
    """Begin and end of each run of attacked frames with less than a second between two."""
    times_s = frames.timestamp[frames.attack == 1]
    cuts = np.flatnonzero(np.diff(times_s) > 1.0)
    return np.column_stack((times_s[np.append(0, cuts + 1)], times_s[np.append(cuts, -1)]))
