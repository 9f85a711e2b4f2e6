"""Profiles for training on labelled captures: each part is measured against traffic that it is not in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from graphids.core.data.recordings import Part
from graphids.core.frames import NORMAL, Capture, DataError, Frames, num_attacked
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.wire import elapsing_times

# Training parts are measured against profiles of the others, in this many groups: a profile of their own each would
# take as many fits as there are parts.
FOLDS = 3
# Around an attacked frame, and fewest between two attacks: habits of a shorter stretch say little.
MARGIN_S, FEWEST_FRAMES = 1.0, 600


class Training(NamedTuple):
    """A vehicle's training parts and what they are measured against.

    Attributes:
        parts: The parts.
        profiles: For each, one that was fitted without it.
        whole: Fitted on all of them.
    """

    parts: list[Part]
    profiles: list[Profile]
    whole: Profile


def training_profiles(captures: Sequence[Capture], parts: Sequence[Part], vehicle: str) -> Training:
    """Profiles of a vehicle's training parts: of its attack-free captures, else of what lies between attacks.

    Parts of recordings that share frames (`Capture.source`), and the same block of time of them, stay together. A
    single part is cut into three.

    Args:
        captures: All labelled.
        parts: Of the vehicle.
        vehicle: Its name, for errors.

    Raises:
        DataError: If the parts without some of them hold no attack-free traffic.
    """
    folds = _folds(captures, parts)
    if len(set(folds)) == 1:
        parts = [third for part in parts for third in _thirds(part)]
        folds = [number % FOLDS for number in range(len(parts))]
    free = {name: _attack_free(captures, parts, folds, between=between) for name, between in _SOURCES.items()}
    by_fold = {fold: _fitted(free, vehicle, fold) for fold in sorted(set(folds))}
    return Training(list(parts), [by_fold[fold] for fold in folds], _fitted(free, vehicle, None))


_SOURCES = {"attack-free captures": False, "traffic between attacks": True}


def _folds(captures: Sequence[Capture], parts: Sequence[Part]) -> list[int]:
    """Group of each part: those of one source and one block of it have the same."""
    seen: dict[int, int] = {}
    units = []
    for index, _ in parts:
        units.append((captures[index].source, seen.get(index, 0)))
        seen[index] = seen.get(index, 0) + 1
    number = {unit: position % FOLDS for position, unit in enumerate(sorted(set(units)))}
    return [number[unit] for unit in units]


def _thirds(part: Part) -> list[Part]:
    index, rows = part
    cuts = np.linspace(rows.start, rows.stop, FOLDS + 1).astype(int).tolist()
    return [(index, slice(a, b)) for a, b in pairwise(cuts)]


def _attack_free(
    captures: Sequence[Capture], parts: Sequence[Part], folds: Sequence[int], *, between: bool
) -> list[tuple[int, Frames]]:
    """Group and frames of attack-free captures' parts, or of stretches between attacks."""
    found = []
    for (index, rows), fold in zip(parts, folds, strict=True):
        frames = captures[index].frames
        if not num_attacked(frames):
            found.append((fold, frames.take(rows)))
        elif between:
            found += [(fold, stretch) for stretch in _stretches(frames.take(rows))]
    return found


def _stretches(frames: Frames) -> list[Frames]:
    """What lies further than `MARGIN_S` from every attacked frame."""
    if frames.attack is None or frames.attack_kind is None:
        return [frames]
    times_s = elapsing_times(frames.timestamp)
    attacked_s = times_s[(frames.attack != 0) | (frames.attack_kind != 0)]
    if not len(attacked_s):
        return [frames]
    after = np.searchsorted(attacked_s, times_s)
    to_next = np.append(attacked_s, np.inf)[after] - times_s
    since_last = times_s - np.append(-np.inf, attacked_s)[after]
    free = np.concatenate(([False], (to_next > MARGIN_S) & (since_last > MARGIN_S), [False]))
    edges = np.flatnonzero(np.diff(free.astype(np.int8))).reshape(-1, 2).tolist()
    return [frames.take(slice(a, b)) for a, b in edges if b - a >= FEWEST_FRAMES]


def _fitted(free: Mapping[str, Sequence[tuple[int, Frames]]], vehicle: str, left_out: int | None) -> Profile:
    for stretches in free.values():
        if held := [_unlabelled(frames) for fold, frames in stretches if fold != left_out and len(frames) > 1]:
            return fit_profile(held)
    raise DataError(
        f"{vehicle}: deviations need a profile, and its training captures hold no attack-free traffic that is not "
        f"measured against it itself: no attack-free capture, and no {FEWEST_FRAMES} frames in a row {MARGIN_S:g} s "
        "away from every attack. Add an attack-free capture of the vehicle, or use data.features=raw."
    )


def _unlabelled(frames: Frames) -> Frames:
    """Stretches between attacks name the kinds of their capture."""
    return replace(frames, attack=None, attack_kind=None, kinds=(NORMAL,))
