"""Captures without any attack: attacks are laid over them, after the split."""

from collections import Counter
from collections.abc import Sequence

from graphids.core.data.dataset import require_long_enough
from graphids.core.data.injected import attack
from graphids.core.data.material import Material, Settings
from graphids.core.data.recordings import others, pieces_of, split_recordings
from graphids.core.data.splits import SPLITS, Split
from graphids.core.data.vehicles import held_out, vehicles_of
from graphids.core.frames import Capture, DataError
from graphids.core.injection.inject import KINDS
from graphids.core.profile.profile import fit_profile
from graphids.wording import counted


def injected_material(captures: Sequence[Capture], settings: Settings) -> Material:
    """Attacks laid over attack-free captures, after the split; training pieces against profiles of the others.

    Raises:
        DataError: If the captures of no vehicle are long enough, or the vehicle to hold out is unknown.
    """
    require_long_enough(captures, settings.windowing.window_size, settings.windowing.stride)
    vehicles = vehicles_of(captures)
    held = held_out(settings.hold_out, vehicles, automatic=settings.holds_out_one)
    splits = split_recordings(captures, vehicles, gap_s=settings.gap_s, seed=settings.split_seed)
    material = Material(Split({name: [] for name in SPLITS}, "", ""), held)
    for number, (vehicle, split) in enumerate(splits.items()):
        _add_vehicle(material, captures, vehicle, split, settings, number)
    if not material.parts["train"] or (held and held in material.left_out):
        short = "; ".join(f"{name} has {reason}" for name, reason in list(material.left_out.items())[:5])
        raise DataError(
            f"Attacks are laid over stretches of attack-free recordings, but {short}. Expected recordings of ten "
            "minutes of each vehicle, or a smaller data.window_size."
        )
    used = [name for name in vehicles if name not in material.left_out]
    modes = Counter(splits[name].mode for name in used)
    how = " and ".join(f"{counted(modes[mode], 'vehicle')} by {mode}" for mode in sorted(modes))
    parts = material.split.parts
    material.split = Split(
        parts,
        "capture" if len(modes) == 1 and "capture" in modes else "time",
        f"No capture has attack labels: all are taken for attack-free, and attacks were laid over them after the "
        f"split of {how}.",
    )
    return material


def _add_vehicle(
    material: Material, captures: Sequence[Capture], vehicle: str, split: Split, settings: Settings, number: int
) -> None:
    train = split.parts["train"]
    is_held = vehicle == material.held_out
    wanted = {"test": [*split.parts["val"], *split.parts["test"]]} if is_held else split.parts
    fewest = settings.fewest_frames
    # A single recording: its thirds, so that each can be measured against the others.
    pieces = {
        name: pieces_of(captures, parts, vehicle, fewest_frames=fewest, at_least=3 if name == "train" else 1)
        for name, parts in wanted.items()
    }
    if lacking := [name for name, found in pieces.items() if len(found) < (2 if name == "train" else 1)]:
        more = ", or but one," if "train" in lacking else ""
        material.left_out[vehicle] = f"{' and '.join(lacking)} recordings without a stretch of {fewest} frames{more}"
        return
    whole = fit_profile(others(captures, train, None)) if settings.features == "deviations" else None
    if whole is not None:
        material.profiles[vehicle] = whole
    for place, (name, found) in enumerate(pieces.items()):
        material.split.parts[name].extend(wanted[name])
        measured = [
            (piece, whole if whole is None or name != "train" else fit_profile(others(captures, train, piece)))
            for piece in found
        ]
        injections = attack(
            measured,
            settings.windowing,
            windows_per_kind=settings.windows_per_kind(name),
            most_normal=len(KINDS) * settings.injected_windows if name == "train" else None,
            seed=(settings.injection_seed, number, place),
        )
        material.add_injected(name, vehicle, injections)
