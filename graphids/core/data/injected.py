"""Attacks laid over pieces of attack-free recordings, as labelled windows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from graphids.core.data.recordings import Piece
from graphids.core.frames import NORMAL, DataError, Frames
from graphids.core.graphs.packed import PackedGraphs, build_graphs
from graphids.core.injection.inject import KINDS, Injected, Injection, Recording, inject_into, recorded
from graphids.core.profile.follower import Follower, followed
from graphids.core.profile.profile import Profile

# Each copy of a piece has one attack, on a target of its own: a kind is better known from a few windows of many.
COPIES = 8
# An attack takes this share of its piece, which begins with a stretch that none of them reaches.
_FIRST, _LENGTH, _INTENSITY = (0.1, 0.65), (0.1, 0.3), (0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Windowing:
    """How windows are cut: frames per window, frames between their starts."""

    window_size: int
    stride: int


@dataclass(slots=True)
class Injections:
    """Windows of pieces, un-attacked and under attack.

    Attributes:
        graphs: In the order of vehicles and pieces.
        skipped: Kinds that nothing on a vehicle's bus could suffer, by vehicle.
        short: Windows of a kind that are missing, by vehicle and kind: its pieces were too short for as many.
    """

    graphs: list[PackedGraphs] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    short: dict[str, dict[str, int]] = field(default_factory=dict)


def attack(
    pieces: Sequence[tuple[Piece, Profile | None]],
    windowing: Windowing,
    *,
    windows_per_kind: int,
    most_normal: int | None,
    seed: Sequence[int],
) -> Injections:
    """Windows of one vehicle's pieces, un-attacked and with every kind laid over copies of them.

    Windows within an attack that hold no altered frame are left out. Suppression alters none: windows wholly within it
    are attacks, those partly within are left out, and the node of the message that vanished counts as attacked. Windows
    before an attack are those of the un-attacked copy; some after it are kept as normal ones.

    Args:
        pieces: Each with the profile that it is measured against; without one nodes carry raw features.
        windowing: How windows are cut.
        windows_per_kind: Attack windows of each kind.
        most_normal: Windows of the un-attacked copies at most; None for all.
        seed: Draws targets, places, durations, intensities and windows.
    """
    found = Injections()
    rng = np.random.default_rng([*seed, len(KINDS)])
    normal = [_normal(piece, profile, windowing) for piece, profile in pieces]
    share = None if most_normal is None else -(-most_normal // max(len(normal), 1))
    found.graphs += [graphs.take(_drawn(np.arange(len(graphs)), share, rng)) for graphs in normal]
    vehicle, recordings = pieces[0][0].vehicle, [recorded(piece.frames) for piece, _ in pieces]
    for number, kind in enumerate(KINDS):
        missing = windows_per_kind
        for copy in range(2 * COPIES):
            draw = np.random.default_rng([*seed, number, copy])
            place = (number + copy) % len(pieces)
            injected = _injected(recordings[place], kind, draw)
            if injected is None:
                continue
            graphs = _attacked(*pieces[place], windowing, injected, f"{kind} {copy + 1}")
            attacks, after = np.flatnonzero(graphs.label > 0), np.flatnonzero(graphs.label == 0)
            attacks = _drawn(attacks, min(-(-windows_per_kind // COPIES), missing), draw)
            after = _drawn(after, len(attacks) // 2, draw)
            found.graphs.append(graphs.take(np.sort(np.concatenate((attacks, after)))))
            missing -= len(attacks)
            if missing <= 0:
                break
        if missing == windows_per_kind:
            found.skipped.setdefault(vehicle, []).append(kind)
        elif missing > 0:
            found.short.setdefault(vehicle, {})[kind] = missing
    return found


def graphs_of(frames: Frames, rows: slice, windowing: Windowing, follower: Follower | None, name: str) -> PackedGraphs:
    """Graphs of some rows of frames, which the follower, if there is one, has followed from the first on."""
    size, stride = windowing.window_size, windowing.stride
    return build_graphs(frames.take(rows), size, stride, follower, capture_name=name, frame_offset=rows.start)


def _normal(piece: Piece, profile: Profile | None, windowing: Windowing) -> PackedGraphs:
    n = len(piece.frames)
    frames = replace(piece.frames, attack=np.zeros(n, np.uint8), attack_kind=np.zeros(n, np.int16), kinds=(NORMAL,))
    graphs = graphs_of(frames, slice(0, n), windowing, followed(profile, frames), piece.capture)
    return replace(graphs, first_frame=graphs.first_frame + piece.first)


def _injected(recording: Recording, kind: str, rng: np.random.Generator) -> Injected | None:
    """A recording under an attack; None where its bus cannot suffer one of this kind, or no frame lies within it."""
    length_s = float(recording.times_s[-1] - recording.times_s[0])
    first_s = length_s * rng.uniform(*_FIRST)
    last_s = first_s + length_s * rng.uniform(*_LENGTH)
    asked = Injection(kind, first_s, last_s, intensity=float(rng.uniform(*_INTENSITY)))
    try:
        injected = inject_into(recording, [asked], seed=int(rng.integers(2**31)))
    except DataError:
        return None
    return injected if injected.is_within().any() else None


def _attacked(
    piece: Piece, profile: Profile | None, windowing: Windowing, injected: Injected, name: str
) -> PackedGraphs:
    """Windows of a piece from the beginning of an attack on."""
    within = np.flatnonzero(injected.is_within())
    begin = max(int(within[0]) - windowing.window_size + 1, 0)
    end = min(int(within[-1]) + 1 + len(within) // 2 + windowing.window_size, len(injected.frames))
    frames = injected.frames.take(slice(0, end))
    graphs = graphs_of(
        frames, slice(begin, end), windowing, followed(profile, frames), f"{piece.capture} {piece.first} {name}"
    )
    return _labelled(graphs, injected, windowing.window_size)


def _labelled(graphs: PackedGraphs, injected: Injected, window_size: int) -> PackedGraphs:
    """The windows that count: attacks, and those after the attack."""
    inside = np.concatenate(([0], np.cumsum(injected.is_within())))
    inside = inside[graphs.first_frame + window_size] - inside[graphs.first_frame]
    begun = graphs.first_frame > np.argmax(injected.is_within())
    (injection,) = injected.injections
    is_attack = graphs.label > 0
    if injection.kind == "suppress":
        is_attack = inside == window_size
        graphs = replace(graphs, node_attacked=_with_absent(graphs, is_attack, injection.target or 0))
    return graphs.take(np.flatnonzero(is_attack | (begun & (inside == 0))))


def _with_absent(graphs: PackedGraphs, is_attack: NDArray[np.bool_], target: int) -> NDArray[np.int8]:
    """`node_attacked` with the nodes of a message that vanished, in the windows of the suppression."""
    absent = np.repeat(is_attack, graphs.num_nodes()) & (graphs.node_key == target)
    return np.where(absent, 1, graphs.node_attacked).astype(np.int8)


def _drawn(indices: NDArray[np.int64], most: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many of them, in order."""
    if most is None or len(indices) <= most:
        return indices
    return np.sort(rng.choice(indices, size=most, replace=False))
