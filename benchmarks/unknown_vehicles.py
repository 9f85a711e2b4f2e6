"""What deviations from a vehicle's own profile tell of attacks on it, when no attack on it was ever learned from.

    GRAPHIDS_TEST_DATA=... python benchmarks/unknown_vehicles.py [--window 100] [--seed 0] [--pieces 4]

For each car with labelled captures, boosted trees (scikit-learn) learn from the windows of all other vehicles, over
whose attack-free recordings attacks are laid, and judge the car's labelled captures, given its attack-free ones alone
("cold") or those and the first eight seconds of the drive ("warm", which are then no test windows). Beside them stands
the largest deviation, which learns nothing. Windows within an attack that hold no attacked frame are left out; captures
of `semisynthetic` are real recordings with attacks laid over by another program, the last lines real recorded attacks.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

from graphids.core.captures.index_file import index_entry
from graphids.core.captures.read import find_captures, read_captures
from graphids.core.frames import DataError, Frames, unbroken_runs
from graphids.core.injection.inject import KINDS, Injection, inject
from graphids.core.profile.follower import window_deviations
from graphids.core.profile.profile import Profile, fit_profile

CARS = ("camaro", "civic_8g", "gt350")
WARM_UP_S = 8.0
PIECE_S, FEWEST_FRAMES = 40.0, 600
TREES = {"max_iter": 120, "learning_rate": 0.08, "max_leaf_nodes": 15, "l2_regularization": 1.0}
MOST_WINDOWS = 60_000  # to learn from
# Recordings of `normal_multi_vehicle`, without those of the three cars, over some of which attacks were laid.
VEHICLES = {
    "350z": "350z",
    "civic_type": "civic_type_r",
    "corvette": "corvette",
    "durango": "durango",
    "ralliart": "ralliart",
    "yaris": "yaris",
}


class Windows(NamedTuple):
    """Windows of one capture: float32 [G, F] features, 0 or 1 [G], the largest deviation [G], and end times [G]."""

    features: NDArray[np.float32]
    label: NDArray[np.int64]
    largest: NDArray[np.float32]
    end_s: NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", type=int, default=100, help="frames")
    parser.add_argument("--pieces", type=int, default=4, help="of each vehicle, to lay attacks over")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = Path(os.environ["GRAPHIDS_TEST_DATA"])
    learned = {
        vehicle: list(examples(recordings, arguments.window, arguments.pieces, arguments.seed))
        for vehicle, recordings in attack_free(data).items()
    }
    results: dict[tuple[str, str], dict[str, tuple[float, ...]]] = defaultdict(dict)
    for car in CARS:
        trees = fit([w for vehicle, windows in learned.items() if vehicle != car for w in windows], arguments.seed)
        for warm in ("cold", "warm"):
            for kind, windows in judged(data / "semisynthetic" / car, arguments.window, warm=warm == "warm"):
                results[warm, kind][car] = measured(trees, windows)
    show(results)
    trees = fit([w for windows in learned.values() for w in windows], arguments.seed)
    for name, windows in recorded_attacks(data, arguments.window):
        print(row(name, [measured(trees, windows)]))


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
    return replace(frames, attack=None, attack_kind=None, kinds=("normal",))


def examples(recordings: list[Frames], size: int, num_pieces: int, seed: int) -> Iterator[Windows]:
    """Windows of a vehicle's pieces, attack-free and under each attack, against the profile of its other pieces."""
    pieces = cut(recordings, num_pieces)
    rng = np.random.default_rng(seed)
    for index, piece in enumerate(pieces):
        profile = fit_profile([other for other in pieces if other is not piece])
        yield windows_of(profile, piece, size)
        seconds = float(np.ptp(piece.timestamp))
        for kind in KINDS:
            first_s = seconds * rng.uniform(0.1, 0.5)
            last_s = min(first_s + seconds * rng.uniform(0.15, 0.3), seconds * 0.99)
            try:
                injected = inject(piece, [Injection(kind, first_s, last_s)], seed=seed + index)
            except DataError:
                continue  # nothing on this bus could be attacked so
            within = injected.is_within()
            yield windows_of(profile, injected.frames, size, within)


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


def windows_of(profile: Profile, frames: Frames, size: int, within: NDArray[np.bool_] | None = None) -> Windows:
    """Windows side by side; those within an attack without an attacked frame are left out."""
    num_windows = len(frames) // size
    starts = np.arange(num_windows) * size
    nodes = window_deviations(profile, frames, starts, size)
    deviation = np.log1p(nodes.deviations.view(np.float32).reshape(len(nodes.node_key), -1))
    features = np.zeros((num_windows, 3 * deviation.shape[1] + 2), np.float32)
    largest = np.zeros(num_windows, np.float32)
    for window in range(num_windows):
        own = deviation[nodes.ptr[window] : nodes.ptr[window + 1]]
        ordered, of_nodes = np.sort(own, axis=0), np.sort(own.max(axis=1))
        second = -2 if len(own) > 1 else -1
        parts = (ordered[-1], ordered[second], np.log1p(own.sum(axis=0)), of_nodes[[-1, second]])
        features[window] = np.concatenate(parts)
        largest[window] = own[:, : own.shape[1] - 1].max()  # without the order of IDs, which always surprises a little
    label, counts = labels(frames, within, num_windows, size)
    ends = frames.timestamp[starts + size - 1]
    return Windows(features[counts], label[counts], largest[counts], ends[counts] - frames.timestamp[0])


def labels(
    frames: Frames, within: NDArray[np.bool_] | None, num_windows: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """1 for windows with an attacked frame, or wholly within a suppression; and which windows count."""
    if frames.attack is None or frames.attack_kind is None:
        return np.zeros(num_windows, np.int64), np.ones(num_windows, np.bool_)
    attacked = frames.attack[: num_windows * size].reshape(num_windows, size).any(axis=1)
    inside = frames.attack_kind != 0 if within is None else within
    inside = inside[: num_windows * size].reshape(num_windows, size)
    if not frames.attack.any():
        return inside.all(axis=1).astype(np.int64), inside.all(axis=1) | ~inside.any(axis=1)
    return attacked.astype(np.int64), attacked | ~inside.any(axis=1)


def fit(parts: list[Windows], seed: int) -> HistGradientBoostingClassifier:
    """Trees in which the attack windows of each capture weigh as much as those of any other."""
    features, label = (np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "label"))
    weight = np.concatenate([weights(part.label, len(KINDS)) for part in parts])
    chosen = np.random.default_rng(seed).permutation(len(label))[:MOST_WINDOWS]
    # A larger deviation never speaks for normal traffic, whatever one vehicle's quirks teach.
    rising = np.ones(features.shape[1], np.int64)
    trees = HistGradientBoostingClassifier(random_state=seed, monotonic_cst=rising, **TREES)
    return trees.fit(features[chosen], label[chosen], sample_weight=weight[chosen] * len(weight) / weight.sum())


def weights(label: NDArray[np.int64], num_kinds: int) -> NDArray[np.float64]:
    attacks, normal = max(int(label.sum()), 1), max(int((label == 0).sum()), 1)
    return np.where(label == 1, 1.0 / attacks, num_kinds / 60 / normal)


def judged(folder: Path, size: int, *, warm: bool) -> Iterator[tuple[str, Windows]]:
    """Kind and windows of each attacked capture of a car."""
    captures = {path.name: read_captures(path)[0].frames for path, _ in find_captures(folder)}
    own = [unlabelled(frames) for name, frames in captures.items() if name.startswith("attack-free")]
    for name, frames in captures.items():
        if name.startswith("attack-free"):
            continue
        entry = index_entry(folder / name)
        within = entry.intervals.of_frames(frames.timestamp) if entry else None
        start = frames.take(frames.timestamp - frames.timestamp[0] < WARM_UP_S)
        windows = windows_of(fit_profile([*own, unlabelled(start)] if warm else own), frames, size, within)
        yield name.split("-")[0], after(windows, WARM_UP_S if warm else 0.0)


def after(windows: Windows, seconds: float) -> Windows:
    counts = windows.end_s >= seconds
    return Windows(*(column[counts] for column in windows))


def recorded_attacks(data: Path, size: int) -> Iterator[tuple[str, Windows]]:
    """Real attacks, each with the profile of another drive, or of a later part of the same one."""
    folder = data / "j1939_truck"
    truck = fit_profile([unlabelled(read_captures(folder / "normal.log.gz")[0].frames)])
    for path, name in find_captures(folder):
        if path.name != "normal.log.gz":
            yield name.removesuffix(".log.gz"), windows_of(truck, read_captures(path)[0].frames, size)
    frames = read_captures(data / "can_train_and_test" / "DoS-1.csv.gz")[0].frames
    later = frames.timestamp - frames.timestamp[0] > 20.0
    profile = fit_profile([unlabelled(frames.take(later))])
    yield "can-train-and-test DoS", windows_of(profile, frames.take(~later), size)
    folder = data / "crysys_masquerade"
    other = fit_profile([unlabelled(read_captures(folder / "trace-48.first20000.csv.gz")[0].frames)])
    (path,) = folder.glob("*malicious*.log.gz")
    yield "CrySyS masquerade, profile of another recording", windows_of(other, read_captures(path)[0].frames, size)


def measured(trees: HistGradientBoostingClassifier, windows: Windows) -> tuple[float, ...]:
    """Share of attack windows; AUROC and average precision of the trees; AUROC of the largest deviation."""
    score = trees.predict_proba(windows.features)[:, 1]
    return (
        float(windows.label.mean()),
        float(roc_auc_score(windows.label, score)),
        float(average_precision_score(windows.label, score)),
        float(roc_auc_score(windows.label, windows.largest)),
    )


def row(name: str, cars: list[tuple[float, ...]]) -> str:
    share, auroc, precision, largest = np.mean(cars, axis=0)
    each = "  ".join(f"{car[1]:.3f}" for car in cars)
    return f"{name:50} {share:6.2f} {auroc:7.3f} {precision:6.3f} {largest:9.3f}   {each}"


def show(results: dict[tuple[str, str], dict[str, tuple[float, ...]]]) -> None:
    for warm in ("cold", "warm"):
        print(f"\n{warm:50} {'share':>6} {'AUROC':>7} {'AP':>6} {'largest':>9}   {'AUROC on ' + ', '.join(CARS)}")
        kinds = sorted({kind for state, kind in results if state == warm})
        for kind in kinds:
            print(row(kind, [results[warm, kind][car] for car in CARS]))
        every = [np.mean([results[warm, kind][car] for kind in kinds], axis=0) for car in CARS]
        print(row("macro", [tuple(car) for car in every]))
    print("\nreal recorded attacks, none learned from")


if __name__ == "__main__":
    main()
