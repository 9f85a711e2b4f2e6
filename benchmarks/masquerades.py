"""What affine relations between signals find of masquerades, beside the deviations of a profile.

    GRAPHIDS_TEST_DATA=... python benchmarks/masquerades.py

A masquerade keeps the times of a message and lies about one signal, so that only other signals can contradict it. A
relation is one signal as an affine function of another, of the same or another arbitration ID, on a grid of 50 ms. It
is kept if it holds in blocks of attack-free traffic that were left out one by one, within a tenth of the signal's
range in the worst of them; it is broken by as much as the residual exceeds that. A signal is as suspicious as the
median of its relations, so that one broken signal does not make its partners suspicious.

Attacks are laid over recordings of the vehicles in `vehicle_windows` without the cars that detectors are judged on.
Each recorded piece is held against the profile, and the relations, of the vehicle's other pieces. A target is covered
if a signal that the attack altered has a relation.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded, as `graphids` does it

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from vehicle_windows import CARS, attack_free, counting, cut, windows_of

from graphids.core.byte_roles import Role, Signal, signals_of
from graphids.core.frames import DataError, Frames
from graphids.core.graphs.features import DEVIATIONS, column_names
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.injection.inject import KINDS, Injection, inject
from graphids.core.profile.profile import Profile, fit_profile

LIES = tuple(kind for kind in KINDS if kind.startswith("masquerade"))
SIZE = 100
TICK_S = 0.05
FEWEST_BLOCKS, FEWEST_SIGNALS = 3, 4
CANDIDATES, KEPT = 20, 6  # relations of one signal that are tried, and that are kept
LEAST_CORRELATION = 0.8
SMALLEST_RANGE = 3.0
MOVES = 0.25  # share of its range that a signal passes in two blocks at least, to have relations
# Shares of a signal's range: a tolerance that tells nothing, and the least, because a left-out block is short.
WORST, LEAST = 0.1, 0.02
AS_BAD = 10.0  # decades that an excess of one tolerance stands for where it is joined to deviations
_SURPRISE = column_names(DEVIATIONS).index("surprise")
Columns = list[tuple[int, Signal]]  # node key and signal of each column of a grid
Floats = NDArray[np.float64]


class Relation(NamedTuple):
    """A signal is `slope` times another plus `offset`, within `tolerance`; columns of a grid, in its units."""

    other: int
    slope: float
    offset: float
    tolerance: float


class Result(NamedTuple):
    """AUROC over the windows of one attacked piece.

    Attributes:
        altered: Share of the forged frames that say something else than the true ones.
    """

    vehicle: str
    kind: str
    altered: float
    is_covered: bool
    deviations: float
    relations: float
    both: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--pieces", type=int, default=8, help="that a vehicle's recordings are cut into; 3 are attacked"
    )
    parser.add_argument("--attacks", type=int, default=5, help="of each kind on a piece")
    arguments = parser.parse_args()
    results, alarms = [], {}
    for vehicle, recordings in attack_free(Path(os.environ["GRAPHIDS_TEST_DATA"])).items():
        pieces = cut(recordings, arguments.pieces)
        found = [
            measured(vehicle, piece, [other for other in pieces if other is not piece], arguments.attacks)
            for piece in (pieces[:: max(1, len(pieces) // 3)][:3] if vehicle not in CARS and len(pieces) > 1 else [])
        ]
        of_vehicle = [result for of_piece, _ in found for result in of_piece]
        if of_vehicle:
            results += of_vehicle
            alarms[vehicle] = float(np.mean([share for _, share in found]))
    show(results, alarms)


def measured(vehicle: str, piece: Frames, others: list[Frames], num_attacks: int) -> tuple[list[Result], float]:
    """AUROC under each attack, and the share of the attack-free windows in which a relation is broken."""
    profile = fit_profile(others)
    columns: Columns = [
        (int(key), signal)
        for key, roles in zip(profile.node_key, profile.roles, strict=True)
        for signal in signals_of([Role(role) for role in roles])
    ]
    if len(columns) < FEWEST_SIGNALS:
        return [], 0.0  # a bus of requests on demand
    relations = fit_relations([held(part, columns)[1] for part in blocks(others)])
    results = []
    for kind, attacked, graphs, lied in attacks(profile, piece, num_attacks):
        rows = counting(graphs, attacked, lied)
        label = graphs.label[rows] > 0
        if not 3 <= label.sum() <= len(label) - 3:
            continue
        usual = largest(graphs)[rows]
        broken = broken_relations(attacked, graphs, columns, relations)[rows]
        altered, covered = altered_share(piece, attacked), is_covered(piece, attacked, columns, relations)
        of = [float(roc_auc_score(label, score)) for score in (usual, broken, np.maximum(usual, AS_BAD * broken))]
        results.append(Result(vehicle, kind, altered, covered, *of))
    clean = windows_of(profile, piece, SIZE)
    return results, float((broken_relations(piece, clean, columns, relations) > 0).mean())


def attacks(
    profile: Profile, piece: Frames, num_attacks: int
) -> Iterator[tuple[str, Frames, PackedGraphs, NDArray[np.bool_]]]:
    """Kind, frames, windows, and which frames lie within the attack."""
    rng, seconds = np.random.default_rng(len(piece)), float(np.ptp(piece.timestamp))
    for kind in [kind for kind in LIES for _ in range(num_attacks)]:
        first_s = seconds * rng.uniform(0.1, 0.5)
        last_s = min(first_s + seconds * rng.uniform(0.15, 0.3), seconds * 0.99)
        try:
            injected = inject(piece, [Injection(kind, first_s, last_s)], seed=int(rng.integers(2**30)))
        except DataError:
            continue  # nothing on this bus could be attacked so
        yield kind, injected.frames, windows_of(profile, injected.frames, SIZE), injected.is_within()


def blocks(recordings: list[Frames]) -> list[Frames]:
    """The recordings, cut where there are too few to leave one out."""
    parts = -(-FEWEST_BLOCKS // len(recordings))
    return [
        frames.take(slice(len(frames) * a // parts, len(frames) * b // parts))
        for frames in recordings
        for a, b in pairwise(range(parts + 1))
    ]


def held(frames: Frames, columns: Columns) -> tuple[Floats, Floats]:
    """Ends of the ticks, seconds, [T], and the last value of every signal at each, [T, S]; before its first, that."""
    times_s, keys = np.maximum.accumulate(frames.timestamp), frames.node_key()
    ticks = np.arange(times_s[0], times_s[-1], TICK_S) + TICK_S
    values = np.zeros((len(ticks), len(columns)))
    for column, (key, signal) in enumerate(columns):
        own = np.flatnonzero(keys == key)
        if len(own):
            latest = np.searchsorted(times_s[own], ticks, side="right") - 1
            values[:, column] = signal.read(frames.payload[own])[np.maximum(latest, 0)]
    return ticks, values


def fit_relations(grids: list[Floats]) -> list[list[Relation]]:
    """The relations of every signal that hold in each grid when it is left out, the narrowest first."""
    everything = np.concatenate(grids)
    spread = np.ptp(everything, axis=0)
    able = (spread >= SMALLEST_RANGE) & (sum(np.ptp(grid, axis=0) > MOVES * spread for grid in grids) >= 2)
    able_others = spread >= SMALLEST_RANGE
    slope, mean, correlation = moments(everything)
    left_out = [moments(np.concatenate([other for other in grids if other is not grid]))[:2] for grid in grids]
    relations: list[list[Relation]] = [[] for _ in spread]
    for y in np.flatnonzero(able):
        strength = np.where(able_others, np.abs(correlation[y]), 0.0)
        strength[y] = 0.0
        others = np.argsort(-strength)[:CANDIDATES]
        others = others[strength[others] > LEAST_CORRELATION]
        worst = np.zeros(len(others))
        for grid, (slopes, means) in zip(grids, left_out, strict=True):
            residual = grid[:, [y]] - means[y] - (grid[:, others] - means[others]) * slopes[y, others]
            worst = np.maximum(worst, np.abs(residual).max(axis=0))
        for k in [k for k in np.argsort(worst)[:KEPT] if worst[k] < WORST * spread[y]]:
            a = float(slope[y, others[k]])
            tolerance = max(float(worst[k]), LEAST * float(spread[y]))
            relations[y].append(Relation(int(others[k]), a, float(mean[y] - a * mean[others[k]]), tolerance))
    return relations


def moments(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Slope of each signal over each other [S, S], means [S], correlations [S, S]."""
    mean = values.mean(axis=0)
    centred = values - mean
    covariance = centred.T @ centred / len(values)
    variance = np.maximum(np.diag(covariance), 1e-9)
    return covariance / variance, mean, covariance / np.sqrt(np.outer(variance, variance))


def broken_relations(frames: Frames, graphs: PackedGraphs, columns: Columns, relations: list[list[Relation]]) -> Floats:
    """The most suspicious signal of each window [G], tolerances beyond the first; 0 where none is."""
    ticks, values = held(frames, columns)
    excess = np.zeros(len(ticks))
    for y, own in enumerate(relations):
        if own:
            residuals = [np.abs(values[:, y] - r.slope * values[:, r.other] - r.offset) / r.tolerance for r in own]
            excess = np.maximum(excess, np.median(residuals, axis=0) - 1.0)
    first, last = (np.minimum(np.searchsorted(ticks, s), len(ticks) - 1) for s in (graphs.start_s, graphs.end_s))
    return np.array([excess[max(a - 1, 0) : b + 1].max() for a, b in zip(first, last, strict=True)])


def altered_share(piece: Frames, attacked: Frames) -> float:
    """Share of the forged frames whose payload is not the true one."""
    own, true = attacked.node_key() == target(attacked), piece.node_key() == target(attacked)
    differs = (attacked.payload[own] != piece.payload[true]).any(axis=1)
    return float(differs[attacked.attack[own] == 1].mean())


def target(attacked: Frames) -> int:
    """Node key of the message that lies."""
    return int(attacked.node_key()[attacked.attack == 1][0])


def is_covered(piece: Frames, attacked: Frames, columns: Columns, relations: list[list[Relation]]) -> bool:
    """Whether a signal that the attack altered has a relation."""
    key = target(attacked)
    own, true = attacked.node_key() == key, piece.node_key() == key
    return any(
        bool(relations[column]) and bool((signal.read(attacked.payload[own]) != signal.read(piece.payload[true])).any())
        for column, (of, signal) in enumerate(columns)
        if of == key
    )


def largest(graphs: PackedGraphs) -> Floats:
    """The largest deviation of each window [G], without the order of IDs, which always surprises a little."""
    of_nodes = np.delete(graphs.x, _SURPRISE, axis=1).max(axis=1)
    return np.asarray(np.maximum.reduceat(of_nodes, graphs.node_ptr[:-1]), np.float64)


def show(results: list[Result], alarms: dict[str, float]) -> None:
    covered_by_vehicle: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        covered_by_vehicle[result.vehicle].append(result.is_covered)
    for name, chosen in (
        ("all targets", results),
        ("covered by a relation", [result for result in results if result.is_covered]),
        ("not covered", [result for result in results if not result.is_covered]),
    ):
        print(f"\n{name}: AUROC over {len(chosen)} attacks\n{'':22}  deviations   relations        both")
        for kind in LIES:
            own = [result for result in chosen if result.kind == kind]
            row = [np.mean([getattr(result, of) for result in own]) for of in ("deviations", "relations", "both")]
            print(f"{kind:22}" + "".join(f"{value:12.3f}" for value in row))
    print(f"\n{'':22}{'frames that lie':>16}{'attacks without':>16}")
    for kind in LIES:
        altered = np.array([result.altered for result in results if result.kind == kind])
        print(f"{kind:22}{altered.mean():16.2f}{(altered == 0).mean():16.2f}")
    print(f"\n{'':22}{'covered':>12}{'broken in attack-free windows':>32}")
    for vehicle, share in alarms.items():
        print(f"{vehicle:22}{np.mean(covered_by_vehicle[vehicle]):12.2f}{share:32.3f}")


if __name__ == "__main__":
    main()
