"""Labelled captures: as deviations from profiles, with injected attacks in training, with a vehicle held out."""

from collections.abc import Mapping, Sequence

from graphids.core.data.dataset import require_labels, require_long_enough
from graphids.core.data.injected import Windowing, attack, graphs_of
from graphids.core.data.material import Material, Settings
from graphids.core.data.recordings import Part, pieces_of
from graphids.core.data.splits import SPLITS, Split, split_captures
from graphids.core.data.training_profiles import Training, training_profiles
from graphids.core.data.vehicles import held_out, vehicles_of
from graphids.core.frames import Capture, DataError, num_attacked
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.profile.follower import Follower, followed
from graphids.core.profile.profile import Profile


def labelled_material(captures: Sequence[Capture], settings: Settings) -> Material:
    """Windows of labelled captures; injected attacks are added to training alone: what is measured was labelled.

    Raises:
        DataError: If a capture has no labels, a vehicle has no attack-free traffic for the profile that it needs, or
            there is nothing to lay attacks over.
    """
    require_labels(captures)
    require_long_enough(captures, settings.windowing.window_size, settings.windowing.stride)
    vehicles = vehicles_of(captures)
    held = held_out(settings.hold_out, vehicles, automatic=False)
    split, held_free = _split(captures, vehicles, held, settings)
    material = Material(split, held)
    injected = 0
    for number, (vehicle, indices) in enumerate(vehicles.items()):
        parts = {name: [part for part in split.parts[name] if part[0] in indices] for name in SPLITS}
        training = None
        if settings.features == "deviations":
            training = _training(captures, held_free if vehicle == held else parts["train"], vehicle)
            material.profiles[vehicle] = training.whole
            parts["train"] = training.parts if vehicle != held else []
        for name in SPLITS:
            profiles = _profiles(training, name, len(parts[name]))
            graphs = measured(captures, list(zip(parts[name], profiles, strict=True)), settings.windowing)
            material.add(name, vehicle, graphs)
        if settings.injects and vehicle != held:
            profiles = _profiles(training, "train", len(parts["train"]))
            injected += _inject(material, captures, vehicle, parts["train"], profiles, settings, number)
    if settings.injects and not injected:
        raise DataError(
            "data.inject is 'always', but no training capture is free of attacks and long enough to lay some over it. "
            "Add an attack-free capture, or use data.inject=never."
        )
    return material


def _split(
    captures: Sequence[Capture], vehicles: Mapping[str, Sequence[int]], held: str, settings: Settings
) -> tuple[Split, list[Part]]:
    """The split, and the parts that give the held-out vehicle its profile and are in none."""
    kept = [index for name, indices in vehicles.items() if name != held for index in indices]
    split = split_captures(
        [captures[index] for index in kept],
        mode=settings.split,
        gap_s=settings.gap_s,
        window_size=settings.windowing.window_size,
        stride=settings.windowing.stride,
        seed=settings.split_seed,
    )
    parts = {name: [(kept[index], rows) for index, rows in split.parts[name]] for name in SPLITS}
    whole = [(index, slice(0, len(captures[index].frames))) for index in vehicles.get(held, [])]
    free = [part for part in whole if not num_attacked(captures[part[0]].frames)]
    if settings.features == "raw":
        free = []
    elif held and not free:
        raise DataError(
            f"{held} is held out, and its profile needs an attack-free capture of it, which is then not part of the "
            "test. Found none: add one, or use data.features=raw."
        )
    parts["test"] += [part for part in whole if part not in free]
    reason = f"{split.reason} {held} is held out for the test." if held else split.reason
    return Split(parts, split.mode, reason), free


def _training(captures: Sequence[Capture], parts: Sequence[Part], vehicle: str) -> Training:
    if not parts:
        raise DataError(
            f"{vehicle}: deviations need a profile of the vehicle, but none of its captures is in the training split. "
            "Use another data.split_seed or data.split=time, or add captures of it."
        )
    return training_profiles(captures, parts, vehicle)


def _profiles(training: Training | None, split: str, number: int) -> Sequence[Profile | None]:
    if training is None:
        return [None] * number
    return training.profiles[:number] if split == "train" else [training.whole] * number


def _inject(
    material: Material,
    captures: Sequence[Capture],
    vehicle: str,
    parts: Sequence[Part],
    profiles: Sequence[Profile | None],
    settings: Settings,
    number: int,
) -> int:
    """Lay attacks over the attack-free parts; returns how many pieces there were."""
    pieces = [
        (piece, profile)
        for part, profile in zip(parts, profiles, strict=True)
        if not num_attacked(captures[part[0]].frames)
        for piece in pieces_of(captures, [part], vehicle, fewest_frames=settings.fewest_frames)
    ]
    if pieces:
        # Their un-attacked windows are there already.
        found = attack(
            pieces,
            settings.windowing,
            windows_per_kind=settings.injected_windows,
            most_normal=0,
            seed=(settings.injection_seed, number),
        )
        material.add_injected("train", vehicle, found)
    return len(pieces)


def measured(
    captures: Sequence[Capture], parts: Sequence[tuple[Part, Profile | None]], windowing: Windowing
) -> list[PackedGraphs]:
    """Graphs of parts of captures, each capture followed from its beginning, as it is when it is scored.

    Args:
        captures: All labelled.
        parts: With the profile of each; None for raw features.
        windowing: How windows are cut.
    """
    followers: dict[tuple[int, int], Follower | None] = {}
    graphs = []
    for (index, rows), profile in sorted(parts, key=lambda part: (part[0][0], part[0][1].start)):
        capture = captures[index]
        key = (index, id(profile))
        if key not in followers:
            followers = {kept: follower for kept, follower in followers.items() if kept[0] == index}
            followers[key] = followed(profile, capture.frames)
        graphs.append(graphs_of(capture.frames, rows, windowing, followers[key], capture.name))
    return graphs
