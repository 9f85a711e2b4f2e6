"""What deviations from a vehicle's own profile tell of attacks on it.

    GRAPHIDS_TEST_DATA=... python benchmarks/unknown_vehicles.py [--splits cold,warm] [--seeds 1] [--window 100]

Detectors learn from the windows of vehicles over whose attack-free recordings attacks are laid, and judge labelled
captures of three cars (real recordings with attacks laid over them by another program) and recorded attacks. No judged
capture is learned from. A table for each of the splits:

- cold: an unknown vehicle. Detectors learn from all vehicles but the judged one, whose profile is of its attack-free
  recordings alone;
- warm: the same, with the first eight seconds of the drive in the profile, which are then no test windows;
- same: the same vehicle, another recording. Its attack-free recordings, with attacks laid over them, are learned from;
- kind: an unknown kind. As "same", but neither the judged kind nor its relatives (`RELATIVES`) are learned from;
- real: recorded attacks, none learned from.

The detectors:

- graphids: `GAT` under the loss of `Detector`, in a plain loop instead of a `Trainer`; and the same without edges;
- trees: boosted trees (scikit-learn) over the largest deviations of a window;
- largest: the largest deviation, which learns nothing;
- rules: `RuleBaseline` fitted on the same attack-free recordings of the car itself, raw features.

Windows within an attack that hold no attacked frame are left out. "share" is the prevalence. Recall and delay are of
attacks (two in a capture), at the threshold at which the car's windows before the first attack alarm once a minute: few
windows, so a point of each detector's curve rather than a threshold to use. "False alarms" is the share of all normal
windows beyond it, those in the wake of an attack included; "named" the share of detected attack windows whose first ID
is attacked. After the tables of each split: how many targets of masquerades have a check in the profile.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, as `graphids` does it

from vehicle_detectors import Detect, Settings, fitted
from vehicle_figures import Table, show
from vehicle_windows import CARS, Judged, attack_free, examples, judged, recorded_attacks

from graphids.core.graphs.packed import PackedGraphs

SPLITS = ("cold", "warm", "same", "kind", "real")
_SPOOFS = ("spoof_fast", "spoof_slow", "flam")
_MASQUERADES = tuple(f"masquerade_{how}" for how in ("constant", "drift", "replay", "noise"))
# The kinds that are judged, with those that must not be learned where they are to be unknown.
RELATIVES = {
    ("dos",): ("dos",),
    ("fuzzy",): ("fuzzy",),
    ("flam", "spoof_fast"): _SPOOFS,
    ("replay",): ("replay",),
    ("suppress",): ("suppress",),
    ("masq_const", "masq_replay"): _MASQUERADES,
}
Windows = dict[str, list[PackedGraphs]]
Captures = list[tuple[str, Judged]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", default=",".join(SPLITS), help="which tables; default %(default)s")
    parser.add_argument("--window", type=int, default=100, help="frames")
    parser.add_argument("--pieces", type=int, default=4, help="of each vehicle, to lay attacks over")
    parser.add_argument("--seed", type=int, default=0, help="of the attacks, and the first of the networks'")
    parser.add_argument("--seeds", type=int, default=1, help="networks to train for each car; figures are their mean")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--windows", type=int, default=20_000, help="to learn from, drawn from all")
    given = parser.parse_args()
    splits = given.splits.split(",")
    if unknown := set(splits) - set(SPLITS):
        parser.error(f"--splits: {', '.join(sorted(unknown))} unknown; expected some of {', '.join(SPLITS)}")
    data = Path(os.environ["GRAPHIDS_TEST_DATA"])
    settings = Settings(given.window, given.windows, given.epochs, given.seed, given.seeds)
    learned = {
        vehicle: list(examples(recordings, given.window, given.pieces, given.seed))
        for vehicle, recordings in attack_free(data).items()
    }
    unknown_vehicles(data, learned, settings, [state for state in ("cold", "warm") if state in splits])
    known = {car: captures_of(data, car, settings) for car in CARS} if {"same", "kind"} & set(splits) else {}
    if {"same", "real"} & set(splits):
        detectors = fitted(learned.values(), settings)
    if "same" in splits:
        known_vehicles(known, detectors)
    if "kind" in splits:
        unknown_kinds(known, learned, settings)
    if "real" in splits:
        recorded(data, detectors, settings)


def captures_of(data: Path, car: str, settings: Settings, *, warm: bool = False) -> Captures:
    return list(judged(data / "semisynthetic" / car, settings.window, warm=warm))


def unknown_vehicles(data: Path, learned: Windows, settings: Settings, states: list[str]) -> None:
    """Each car left out in turn."""
    tables = {state: Table() for state in states}
    for car in CARS if states else ():
        detectors = fitted([parts for vehicle, parts in learned.items() if vehicle != car], settings)
        for state, table in tables.items():
            table.add(detectors, captures_of(data, car, settings, warm=state == "warm"))
    for state, table in tables.items():
        show(f"unknown vehicle, {state}", table)


def known_vehicles(known: dict[str, Captures], detectors: dict[str, list[Detect]]) -> None:
    table = Table()
    for captures in known.values():
        table.add(detectors, captures)
    show("same vehicle, other recording", table)


def unknown_kinds(known: dict[str, Captures], learned: Windows, settings: Settings) -> None:
    table = Table()
    for kinds, relatives in RELATIVES.items():
        detectors = fitted(learned.values(), settings, without=relatives)
        for captures in known.values():
            table.add(detectors, captures, kinds)
    show("unknown kind", table)


def recorded(data: Path, detectors: dict[str, list[Detect]], settings: Settings) -> None:
    table = Table()
    for kind, capture in recorded_attacks(data, settings.window):
        table.add(detectors, [(kind, capture)])
    show("recorded attacks", table)


if __name__ == "__main__":
    main()
