"""Makes the base model, the network that ships with the package and judges any vehicle that has a profile.

    GRAPHIDS_TEST_DATA=... python tools/make_base_model.py

It learns from attack-free traffic of many vehicles alone, over which attacks are laid: a simulated fleet, and the
recordings of `normal_drives`, each of which has a licence (MIT or CC0) that allows it; one with any other is refused.
Whole vehicles are held out, some to choose the threshold, others to measure. The model, with a card that names every
recording, replaces flavor/mlflow_graphids/base_model, and its digest the one in flavor/mlflow_graphids/base.py; commit
both. Run again on one machine it gives the same bytes.
"""

import hashlib
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lightning.pytorch import Trainer, seed_everything
from numpy.typing import NDArray

from graphids.assessment.scored_split import ScoredSplit, score_split
from graphids.core.callbacks import head_key
from graphids.core.captures.read import find_captures, read_captures
from graphids.core.classifier import WindowClassifier
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.evaluation import auroc, choose_threshold
from graphids.core.frames import NORMAL, DataError, Frames, unbroken_runs
from graphids.core.graphs.packed import PackedGraphs, build_graphs, concat_graphs
from graphids.core.injection.inject import KINDS, Injection, inject
from graphids.core.models.detector import Detector
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.simulation.simulate import simulate_vehicle
from mlflow_graphids import base, save_model

WINDOW = STRIDE = 100
SEED = 0
EPOCHS = 12
FALSE_ALARMS_PER_HOUR = 60.0
PIECES, PIECE_S, FEWEST_FRAMES = 4, 25.0, 600
MOST_WINDOWS = 30  # of one piece under one attack, with and without the attack each
LICENCES = ("MIT", "CC0")
FLEET, DRIVES = 8, 3
# Held out, by how the name begins: to choose the threshold, and to measure.
VALIDATION = ("simulated 6", "css 94C49784", "tesla chassis")
TEST = ("simulated 7", "isuzu", "mustang", "css 11111111 bus1")


class Recording(NamedTuple):
    """A recording that was learned from, and what the card says of it."""

    vehicle: str
    file: str
    source: str
    licence: str
    sha256: str


def main() -> None:
    seed_everything(SEED)
    vehicles: dict[str, list[Frames]] = defaultdict(list)
    for number in range(FLEET):
        for drive in range(DRIVES):
            frames = simulate_vehicle(seed=100 * number + drive, duration_s=PIECE_S, vehicle_seed=number)
            vehicles[f"simulated {number}"].append(unlabelled(frames))
    recordings = list(allowed_recordings(Path(os.environ["GRAPHIDS_TEST_DATA"], "normal_drives"), vehicles))
    split = {
        "train": windows_of(vehicles, lambda name: not name.startswith((*VALIDATION, *TEST))),
        "val": windows_of(vehicles, lambda name: name.startswith(VALIDATION)),
        "test": windows_of(vehicles, lambda name: name.startswith(TEST)),
    }
    fitted = Preprocessing.fit(split["train"], window_size=WINDOW, stride=STRIDE, features="deviations")
    gat = trained(split, fitted).gat
    scored = {name: score_split(gat, graphs, fitted) for name, graphs in split.items()}
    threshold = threshold_of(scored["val"])
    head = gat.state_dict()[head_key(gat.state_dict())].clone()
    record = {"tau": 0.0, "key": head_key(gat.state_dict()), "raw_head": head}
    card = card_of(recordings, measured(scored["test"], threshold))
    print(card)
    publish(WindowClassifier(gat, fitted, threshold, record), card)


def allowed_recordings(folder: Path, vehicles: dict[str, list[Frames]]) -> Iterator[Recording]:
    """The recordings that may be learned from, whose frames are added to the vehicles'."""
    for path, _ in find_captures(folder):
        provenance = (path.parent / "PROVENANCE.md").read_text()
        source, licence = re.search(r"Source: (.+?)\. Licence: (\w+)", provenance).groups()
        if licence not in LICENCES:
            raise DataError(f"{path}: has the licence {licence}, expected one of {', '.join(LICENCES)}. Leave it out.")
        vehicle = vehicle_of(path)
        for capture in read_captures(path):
            vehicles[vehicle].append(unlabelled(capture.frames))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield Recording(vehicle, path.relative_to(folder).as_posix(), source, licence, digest)


def vehicle_of(path: Path) -> str:
    """The vehicle, and the bus, of a recording."""
    name = path.name.split(".")[0]
    if path.parent.name == "tesla_model3":
        return "tesla chassis" if "chassis" in name else "tesla vehicle"
    if path.parent.name == "css_electronics":
        return f"css {name.split('_')[0]} {name.split('_')[-1]}"
    return name.removeprefix("log_").split("_")[0]


def unlabelled(frames: Frames) -> Frames:
    return replace(frames, attack=None, attack_kind=None, kinds=(NORMAL,))


def windows_of(vehicles: Mapping[str, list[Frames]], is_in: Callable[[str], bool]) -> PackedGraphs:
    """Windows of a split's vehicles, attack-free and under attack, each piece against the profile of the others."""
    parts = []
    for number, (vehicle, recordings) in enumerate(vehicles.items()):
        pieces = cut(recordings) if is_in(vehicle) else []
        for index, piece in enumerate(pieces):
            profile = fit_profile([other for other in pieces if other is not piece])
            parts.append(graphs_of(profile, piece, f"{vehicle} {index} {NORMAL}"))
            rng = np.random.default_rng([SEED, number, index])
            for kind in KINDS[index % 2 :: 2]:
                if (graphs := attacked(profile, piece, kind, rng, f"{vehicle} {index} {kind}")) is not None:
                    parts.append(graphs)
    return concat_graphs(parts, classes=(NORMAL, *KINDS))


def cut(recordings: Sequence[Frames]) -> list[Frames]:
    """Some pieces of some seconds, spread over the recordings, none across a jump of the clock."""
    pieces = []
    for frames in (whole.take(run) for whole in recordings for run in unbroken_runs(whole.timestamp)):
        since = frames.timestamp - frames.timestamp[0]
        ends = np.arange(1, max(int(since[-1] / PIECE_S), 1) + 1) * min(PIECE_S, float(since[-1]))
        rows = pairwise([0, *np.searchsorted(since, ends, side="right").tolist()])
        pieces += [frames.take(slice(first, last)) for first, last in rows if last - first >= FEWEST_FRAMES]
    chosen = np.linspace(0, len(pieces) - 1, min(PIECES, len(pieces))).astype(int)
    return [pieces[index] for index in chosen]


def graphs_of(profile: Profile, frames: Frames, name: str) -> PackedGraphs:
    follower = Follower(profile)
    follower.follow(frames)
    labelled = replace(frames, attack=np.zeros(len(frames), np.uint8), attack_kind=np.zeros(len(frames), np.int16))
    return build_graphs(labelled if frames.attack is None else frames, WINDOW, STRIDE, follower, capture_name=name)


def attacked(profile: Profile, piece: Frames, kind: str, rng: np.random.Generator, name: str) -> PackedGraphs | None:
    """Some windows with the attack and some without; None where nothing on this bus could be attacked so."""
    seconds = float(np.ptp(piece.timestamp))
    first_s = seconds * rng.uniform(0.1, 0.5)
    injection = Injection(kind, first_s, first_s + seconds * rng.uniform(0.15, 0.3), intensity=rng.uniform(0.3, 1.0))
    try:
        injected = inject(piece, [injection], seed=int(rng.integers(2**31)))
    except DataError:
        return None
    graphs, within = graphs_of(profile, injected.frames, name), injected.is_within()
    touched = np.array([within[first : first + WINDOW].any() for first in graphs.first_frame.tolist()], np.bool_)
    # Within an attack, a window without an attacked frame is neither.
    kinds = (np.flatnonzero(graphs.label > 0), np.flatnonzero((graphs.label == 0) & ~touched))
    return graphs.take(np.sort(np.concatenate([rng.permutation(rows)[:MOST_WINDOWS] for rows in kinds])))


def trained(split: dict[str, PackedGraphs], fitted: Preprocessing) -> Detector:
    datamodule = CANDataModule(window_size=WINDOW, stride=STRIDE, batch_size=128, seed=SEED)
    datamodule.graphs, datamodule.classes, datamodule.preprocessing = split, split["train"].classes, fitted
    detector = Detector(size="small")
    trainer = Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, deterministic=True
    )
    trainer.fit(detector, datamodule=datamodule)
    return detector


def is_attack_free(scored: ScoredSplit) -> NDArray[np.bool_]:
    """Windows of pieces that nothing was injected into, bool [G]."""
    free = np.array([name.endswith(f" {NORMAL}") for name in scored.graphs.capture_names])
    return free[scored.graphs.capture]


def vehicles_of(scored: ScoredSplit) -> NDArray[np.str_]:
    """The vehicle of each window, str [G]."""
    return np.array([name.rsplit(" ", 2)[0] for name in scored.graphs.capture_names])[scored.graphs.capture]


def hours_of(scored: ScoredSplit, rows: NDArray[np.bool_]) -> float:
    return float((scored.graphs.end_s - scored.graphs.start_s)[rows].clip(min=0).sum()) / 3600 * STRIDE / WINDOW


def threshold_of(scored: ScoredSplit) -> float:
    """The median of the vehicles' own thresholds: one bus with requests on demand must not silence all others."""
    free, vehicle = is_attack_free(scored), vehicles_of(scored)
    margins = []
    for rows in (free & (vehicle == name) for name in np.unique(vehicle)):
        hours = hours_of(scored, rows)
        margins.append(choose_threshold(scored.margin[rows], scored.label[rows], hours, FALSE_ALARMS_PER_HOUR))
    return float(1.0 / (1.0 + np.exp(-np.median(margins))))


def measured(scored: ScoredSplit, threshold: float) -> str:
    """AUROC and recall of each kind against the attack-free windows of the held-out vehicles, and false alarms."""
    free = is_attack_free(scored)
    lines = ["| kind | windows | AUROC | recall |", "|---|---:|---:|---:|"]
    values = []
    for number, kind in enumerate(KINDS, start=1):
        own = scored.label == number
        if own.any():
            values.append(auroc(scored.margin[own | free], own[own | free]))
            recall = (scored.score[own] >= threshold).mean()
            lines.append(f"| {kind} | {own.sum():,} | {values[-1]:.3f} | {recall:.2f} |")
    lines += [f"| macro | | {np.mean(values):.3f} | |", ""]
    vehicle = vehicles_of(scored)
    for name, rows in ((name, free & (vehicle == name)) for name in np.unique(vehicle)):
        alerts, minutes = int((scored.score[rows] >= threshold).sum()), 60 * hours_of(scored, rows)
        lines.append(f"- {name}: {alerts} false alarms in {rows.sum():,} attack-free windows, {minutes:.1f} minutes")
    return "\n".join(lines)


def card_of(recordings: Sequence[Recording], results: str) -> str:
    held = ", ".join(TEST)
    rows = "\n".join(f"| {r.vehicle} | {r.file} | {r.source} | {r.licence} | {r.sha256} |" for r in recordings)
    return f"""# Base model: intrusion detection on a CAN bus that has a profile

A graph attention network over deviations from a vehicle's profile. It belongs to no vehicle: give it a profile \
(`graphids predict --profile`, `graphids adapt base`). Windows of {WINDOW} frames, {STRIDE} apart.

## Learned from
Attack-free traffic with attacks laid over it ({", ".join(KINDS)}); **no recorded attack**. {FLEET} simulated makes of \
car, and the recordings below. Held out to choose the threshold, the median of what each would need for \
{FALSE_ALARMS_PER_HOUR:g} false alarms an hour: vehicles whose name begins with {", ".join(VALIDATION)}.

## Measured on vehicles that it never saw: {held}
Each piece of {PIECE_S:g} s against the profile of the vehicle's other pieces, from the first frame on; the attacks \
are laid over, not recorded.

{results}

## Recordings
| vehicle | file | source | licence | sha256 |
|---|---|---|---|---|
{rows}

## Limits
- Attacks that a recorded intruder makes may look different. What looks new is judged by the profile: from a short or
  one-sided recording much of normal driving looks new.
- The threshold is that of the vehicles above; `graphids adapt` says what it would have cost on yours.
"""


def publish(classifier: WindowClassifier, card: str) -> None:
    """Replace the package's base model and its digest."""
    shutil.rmtree(base.FOLDER, ignore_errors=True)
    digest = save_model(classifier, base.FOLDER, model_card=card, carry_wheel=False)
    for name in ("conda.yaml", "python_env.yaml", "requirements.txt"):
        (base.FOLDER / name).unlink()
    source = Path(base.__file__)
    source.write_text(re.sub(r'(?m)^DIGEST = ".*"$', f'DIGEST = "{digest}"', source.read_text()))
    size = sum(path.stat().st_size for path in base.FOLDER.iterdir())
    print(f"{base.FOLDER}: {size:,} bytes, graphids.digest {digest}")


if __name__ == "__main__":
    main()
