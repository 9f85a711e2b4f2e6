"""False-alarm incidents seen for those asked, and attacks found at that budget: `python benchmarks/false_alarms.py`.

Profile, alarms and test are on different recordings of a vehicle, or on different parts of the only one. Attacks are
laid over the test recording, a few seconds of each kind at a time. The cars of `semisynthetic` take no part.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.alarm_choice import HeldOut, choose_alarms
from graphids.core.captures.read import read_captures
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError, Frames
from graphids.core.injection.inject import KINDS, Injection, inject_into, recorded
from graphids.core.profile.alarms import num_incidents
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.window_scores import WindowScores
from mlflow_graphids.base import load_base_model

ASKED = (1.0, 6.0, 60.0)
DETECTORS = ("network", "experts", "both")
MOST_TEST_S = 900.0  # of a test recording that attacks are laid over
APART_S = 22.0
FEWEST_MESSAGES = 20  # of a cyclic ID within an attack on it
LOGGER, RECAN, TESLA = "normal_drives/css_electronics", "normal_drives/recan", "normal_drives/tesla_model3/20220317"
TRIPS = "normal_multi_vehicle"


class Split(NamedTuple):
    """Recordings of a vehicle's bus to fit the profile on, to choose alarms on, and to test on."""

    profile: list[Frames]
    held_out: list[Frames]
    test: list[Frames]


class Attack(NamedTuple):
    """One attack on a test recording: which detectors found it, after how long, and whether its target is cyclic."""

    kind: str
    found: NDArray[np.bool_]
    delay_s: float
    is_cyclic: bool


class Quiet(NamedTuple):
    """Attack-free test traffic: its hours, incidents of each detector, and seconds in alarm."""

    hours: float
    incidents: NDArray[np.int64]
    alarm_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of normal_drives and normal_multi_vehicle")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    quiet: dict[float, list[Quiet]] = defaultdict(list)
    attacks: dict[float, list[list[Attack]]] = defaultdict(list)
    held_hours = []
    base = load_base_model()
    splits = vehicles(arguments.data)
    for name, split_of in splits.items():
        split = split_of()
        profile = fit_profile(split.profile)
        laid = list(attacked(split.test[0], arguments.seed))
        for asked in ASKED:
            chosen = choose_alarms(base, profile, [HeldOut(profile, split.held_out)], asked)
            classifier = base.for_vehicle(chosen)
            quiet[asked].append(false_alarms(classifier, split.test))
            attacks[asked].append([a for kind, frames, done in laid for a in found(classifier, kind, frames, done)])
        held_hours.append(chosen.alarms.hours if chosen.alarms else 0.0)
        print(f"{name} done", flush=True)
    show_quiet(list(splits), held_hours, quiet)
    for asked in ASKED:
        show_attacks(asked, attacks[asked])


def vehicles(data: Path) -> dict[str, Callable[[], Split]]:
    """How each vehicle's recordings are split."""

    def read(name: str) -> Frames:
        return read_captures(data / name)[0].frames

    def parts(name: str) -> Callable[[], Split]:
        def split() -> Split:
            whole = read(name)
            return Split([part(whole, 0.0, 0.4)], [part(whole, 0.4, 0.7)], [part(whole, 0.7, 1.0)])

        return split

    def drives(first: str, second: str) -> Callable[[], Split]:
        def split() -> Split:
            whole = read(first)
            return Split([part(whole, 0.0, 0.5)], [part(whole, 0.5, 1.0)], [read(second)])

        return split

    def many(names: list[str], held: int) -> Callable[[], Split]:
        def split() -> Split:
            recordings = [read(name) for name in names]
            return Split(recordings[:held], recordings[held:-1], recordings[-1:])

        return split

    tesla_1 = ["-chassis", "-chassiscan-licht-app", "-chassiscan-schliessen", "-chassiscan-hupe-app"]
    tesla_2 = ["", "-licht-app", "-schliessen", "-schliessen-app", "-hupe-app", "-oeffnen"]
    boats = {
        f"boat bus {bus}{mark}": drives(*(f"{LOGGER}/3BA199E2_00000{n}_bus{bus}.csv.gz" for n in order))
        for bus in (1, 2)
        for mark, order in (("", (164, 165)), (", reversed", (165, 164)))
    }
    return {
        **boats,
        "isuzu": drives(f"{RECAN}/isuzu_m55_exp1.csv.gz", f"{RECAN}/isuzu_m55_exp2.csv.gz"),
        "isuzu, reversed": drives(f"{RECAN}/isuzu_m55_exp2.csv.gz", f"{RECAN}/isuzu_m55_exp1.csv.gz"),
        "alfa": drives(f"{RECAN}/alfa_giulia_exp2.csv.gz", f"{RECAN}/alfa_giulia_exp3.csv.gz"),
        "alfa, parts": parts(f"{RECAN}/alfa_giulia_exp2.csv.gz"),
        "piaggio, parts": parts(f"{RECAN}/piaggio_porter_exp2.csv.gz"),
        "asammdf, parts": parts(f"{LOGGER}/asammdf_basics_bus1.csv.gz"),
        "94C bus 1, parts": parts(f"{LOGGER}/94C49784_17_bus1.csv.gz"),
        "94C bus 2, parts": parts(f"{LOGGER}/94C49784_17_bus2.csv.gz"),
        "111 bus 1, parts": parts(f"{LOGGER}/11111111_12_bus1.csv.gz"),
        "mustang, parts": parts("normal_drives/ford_mustang_s550/log_mustang_s550.csv.gz"),
        "type r, parts": parts(f"{TRIPS}/civic_type_r_drive.log.gz"),
        "350z": drives(f"{TRIPS}/350z_a.log.gz", f"{TRIPS}/350z_b.log.gz"),
        "tesla chassis": many([f"{TESLA}{name}.csv.gz" for name in (*tesla_1, "-chassiscan-oeffnen")], 2),
        "tesla vehicle": many([f"{TESLA}-vehiclecan{name}.csv.gz" for name in tesla_2], 3),
    }


def part(frames: Frames, first: float, last: float) -> Frames:
    """The frames between two shares of a recording's time."""
    since = frames.timestamp - frames.timestamp[0]
    return frames.take(slice(*np.searchsorted(since, np.array([first, last]) * since[-1]).tolist()))


def attacked(frames: Frames, seed: int) -> Iterator[tuple[str, Frames, tuple[Injection, ...]]]:
    """A recording under some attacks of each kind, one after the other."""
    length_s = float(np.ptp(frames.timestamp))
    if length_s > MOST_TEST_S:
        frames = part(frames, 0.0, MOST_TEST_S / length_s)
        length_s = float(np.ptp(frames.timestamp))
    recording, rng = recorded(frames), np.random.default_rng(1)
    count = min(max(int(length_s / APART_S), 1), 8)
    begins = np.linspace(0.08, 0.92, count + 1)[:-1] * length_s
    for kind in KINDS:
        lasts = np.minimum(rng.uniform(3.0, 7.0, count), 0.42 * length_s / count)
        injections = [Injection(kind, float(a), float(a + d)) for a, d in zip(begins, lasts, strict=True)]
        try:
            injected = inject_into(recording, injections, seed=seed)
        except DataError:
            continue  # nothing on this bus could be attacked so
        yield kind, injected.frames, injected.injections


def alarms_of(classifier: WindowClassifier, frames: Frames) -> tuple[WindowScores, NDArray[np.bool_]]:
    """Scores, and which windows each detector alerts on, bool [3, G]."""
    scores = classifier.score(frames, top_k=0)
    network = scores.score >= classifier.threshold
    return scores, np.array([network, scores.evidence.alarms, scores.alert])


def false_alarms(classifier: WindowClassifier, recordings: list[Frames]) -> Quiet:
    hours, incidents, alarm_s = 0.0, np.zeros(len(DETECTORS), np.int64), 0.0
    for frames in recordings:
        scores, alerts = alarms_of(classifier, frames)
        hours += float(np.ptp(frames.timestamp)) / 3600.0
        incidents += [num_incidents(scores.end_s[alert]) for alert in alerts]
        alarm_s += float((scores.end_s - scores.start_s)[scores.alert].sum())
    return Quiet(hours, incidents, alarm_s)


def found(
    classifier: WindowClassifier, kind: str, frames: Frames, injections: tuple[Injection, ...]
) -> Iterator[Attack]:
    profile = classifier.required_profile()
    if profile is None:
        raise ValueError("The base model judges by a profile.")
    scores, alerts = alarms_of(classifier, frames)
    for injection in injections:
        first_s, last_s = (frames.timestamp[0] + s for s in (injection.first_s, injection.last_s))
        within = alerts & (scores.end_s >= first_s) & (scores.start_s <= last_s + 0.5)
        delay_s = float(scores.end_s[within[-1]].min(initial=np.inf)) - first_s
        yield Attack(kind, within.any(axis=1), delay_s, is_cyclic(profile, injection))


def is_cyclic(profile: Profile, injection: Injection) -> bool:
    """Whether an attack has no target, or one that is cyclic, known well and sent often enough meanwhile."""
    if injection.target is None:
        return True
    (place,) = np.flatnonzero(profile.node_key == injection.target)[:1].tolist() or [None]
    if place is None:
        return False
    habit = profile.vehicle.habits[place]
    seconds = injection.last_s - injection.first_s
    return bool(habit["is_cyclic"] and habit["frames"] >= 200 and habit["gap_s"] * FEWEST_MESSAGES <= seconds)


def show_quiet(names: list[str], held_hours: list[float], quiet: dict[float, list[Quiet]]) -> None:
    print(f"\nIncidents on attack-free traffic, for {', '.join(f'{a:g}' for a in ASKED)} an hour asked")
    print(f"{'':20} {'held out':>9} {'test min':>9} " + " ".join(f"{a:>6g}/h" for a in ASKED) + "   in alarm at 6")
    for row, name in enumerate(names):
        counts = " ".join(f"{quiet[asked][row].incidents[-1]:8d}" for asked in ASKED)
        six = quiet[6.0][row]
        print(
            f"{name:20} {held_hours[row] * 60:9.1f} {six.hours * 60:9.1f} {counts}"
            f"   {six.alarm_s / six.hours / 36:6.2f} %"
        )
    for asked in ASKED:
        hours, seconds = sum(q.hours for q in quiet[asked]), sum(q.alarm_s for q in quiet[asked])
        seen = np.sum([q.incidents for q in quiet[asked]], axis=0) / hours
        print(
            f"{asked:g} asked, seen in {hours:.2f} h: "
            + ", ".join(f"{name} {rate:.1f}/h" for name, rate in zip(DETECTORS, seen, strict=True))
            + f"; in alarm {seconds / hours / 36:.2f} % of the time"
        )


def show_attacks(asked: float, vehicles: list[list[Attack]]) -> None:
    """Recall of each kind: mean over vehicles, and of all attacks whose target is cyclic."""
    print(f"\nAttacks found at {asked:g} asked: mean over vehicles, and of attacks on cyclic IDs")
    print(f"{'':22} " + " ".join(f"{name:>8}" for name in DETECTORS) + "   delay |    n " + " ".join(DETECTORS))
    means = {}
    for kind in KINDS:
        own = [[a for a in vehicle if a.kind == kind] for vehicle in vehicles]
        own = [vehicle for vehicle in own if vehicle]
        means[kind] = np.mean([np.mean([a.found for a in vehicle], axis=0) for vehicle in own], axis=0)
        flat = [a for vehicle in own for a in vehicle]
        delays = [a.delay_s for a in flat if a.found[-1]]
        cyclic = [a.found for a in flat if a.is_cyclic]
        print(
            f"{kind:22} "
            + " ".join(f"{r:8.2f}" for r in means[kind])
            + f" {np.median(delays) if delays else np.nan:7.2f} | {len(cyclic):4d} "
            + " ".join(f"{r:7.2f}" for r in (np.mean(cyclic, axis=0) if cyclic else []))
        )
    lies = [kind for kind in KINDS if kind.startswith("masquerade")]
    for title, kinds in (("mean but masquerade", [k for k in KINDS if k not in lies]), ("masquerade", lies)):
        print(f"{title:22} " + " ".join(f"{r:8.2f}" for r in np.mean([means[k] for k in kinds], axis=0)))


if __name__ == "__main__":
    main()
