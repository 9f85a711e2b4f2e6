from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from graphids.core.data.splits import SPLITS, Rounds, Split, plan_rounds, split_captures, time_blocks
from graphids.core.frames import Capture, Frames
from graphids.core.graphs.packed import build_graphs

FRACTIONS = (0.6, 0.2, 0.2)


def capture(
    name: str,
    *,
    kind: str = "normal",
    source: str | None = None,
    n: int = 1000,
    hz: float = 100.0,
    start_s: float = 0.0,
) -> Capture:
    """`n` frames at `hz`; with a kind, the middle tenth is attacked. The payload numbers the frames."""
    attack_kind = np.zeros(n, np.int16)
    if kind != "normal":
        attack_kind[n * 45 // 100 : n * 55 // 100] = 1
    frames = Frames(
        timestamp=start_s + np.arange(n) / hz,
        arbitration_id=np.full(n, 0x10, np.uint32),
        dlc=np.full(n, 8, np.uint8),
        payload=np.arange(n, dtype=np.uint64).view(np.uint8).reshape(n, 8).copy(),
        is_extended=np.zeros(n, bool),
        channel=np.zeros(n, np.uint8),
        attack=(attack_kind > 0).astype(np.uint8),
        attack_kind=attack_kind,
        kinds=("normal",) if kind == "normal" else ("normal", kind),
    )
    return Capture(name=name, frames=frames, source=source or name)


def frames_in(split: Split) -> dict[str, set[tuple[int, int]]]:
    return {
        name: {(index, frame) for index, rows in split.parts[name] for frame in range(rows.start, rows.stop)}
        for name in SPLITS
    }


def assert_disjoint(split: Split) -> None:
    train, val, test = (frames_in(split)[name] for name in SPLITS)
    assert len(train | val | test) == len(train) + len(val) + len(test)


@pytest.mark.parametrize("mode", ["capture", "time"])
def test_no_frame_of_an_overlapping_window_is_in_two_splits(mode: str) -> None:
    captures = [capture(f"c{i}", kind="dos" if i % 2 else "normal") for i in range(8)]
    split = split_captures(captures, mode=mode, gap_s=0.05, window_size=16, stride=4)
    used: dict[tuple[int, int], set[str]] = defaultdict(set)

    for name in SPLITS:
        for index, rows in split.parts[name]:
            graphs = build_graphs(captures[index].frames.take(rows), 16, 4, frame_offset=rows.start)
            for first in graphs.first_frame.tolist():
                assert captures[index].frames.payload[first, :2].view("<u2")[0] == first
                for frame in range(first, first + 16):
                    used[index, frame].add(name)

    assert {name for names in used.values() for name in names} == set(SPLITS)
    assert all(len(names) == 1 for names in used.values())


def test_captures_of_one_source_stay_together() -> None:
    captures = [
        capture(f"{drive}-{kind}", kind=kind, source=drive) for drive in "abcdef" for kind in ("normal", "dos", "spoof")
    ]

    split = split_captures(captures, mode="auto")

    assert split.mode == "capture"
    split_of = {captures[index].source: set() for index in range(len(captures))}
    for name in SPLITS:
        for index, _ in split.parts[name]:
            split_of[captures[index].source].add(name)
    assert all(len(names) == 1 for names in split_of.values())
    assert set().union(*split_of.values()) == set(SPLITS)


@pytest.mark.parametrize("seed", range(5))
def test_each_split_gets_a_capture_of_each_kind_with_three_recordings(seed: int) -> None:
    kinds = ["normal"] * 5 + ["dos"] * 3 + ["spoof"] * 4
    captures = [capture(f"{kind}-{i}", kind=kind) for i, kind in enumerate(kinds)]

    split = split_captures(captures, mode="capture", seed=seed)

    for name in SPLITS:
        assert {"dos", "spoof"} <= {kinds[index] for index, _ in split.parts[name]}
    assert len(frames_in(split)["train"]) == max(len(frames) for frames in frames_in(split).values())


def test_normal_recordings_make_up_for_what_the_attacks_took() -> None:
    kinds = ["dos", "fuzzy", "replay", "spoof"] + ["normal"] * 6  # the four attacks go to train, having one recording

    split = split_captures([capture(f"{kind}-{i}", kind=kind) for i, kind in enumerate(kinds)], mode="capture")

    assert {name: len(split.parts[name]) for name in SPLITS} == {"train": 6, "val": 2, "test": 2}


@pytest.mark.parametrize("seed", range(4))
def test_the_normal_traffic_of_every_vehicle_is_seen_in_training(seed: int) -> None:
    vehicles = ("camaro", "civic", "gt350")
    captures = [
        capture(f"{vehicle}/{name}", kind=kind, source=f"{vehicle}/{source}")
        for vehicle in vehicles
        for name, kind, source in (
            ("attack-free-1", "normal", "idle"),
            ("attack-free-2", "normal", "drive"),
            ("dos-1", "dos", "attacked"),
            ("fuzzy-1", "fuzzy", "attacked"),
        )
    ]

    split = split_captures(captures, mode="capture", seed=seed)

    trained = {captures[index].name for index, _ in split.parts["train"]}
    assert {name.split("/")[0] for name in trained if "attack-free" in name} == set(vehicles)


def test_the_same_seed_gives_the_same_split_whatever_the_order_of_captures() -> None:
    captures = [capture(f"c{i}", kind="dos") for i in range(9)]

    def names(captures: list[Capture], seed: int) -> list[set[str]]:
        split = split_captures(captures, mode="capture", seed=seed)
        return [{captures[index].name for index, _ in split.parts[name]} for name in SPLITS]

    assert names(captures, seed=3) == names(captures[::-1], seed=3)
    assert names(captures, seed=3) != names(captures, seed=4)


def test_auto_splits_by_time_where_a_kind_has_too_few_recordings_and_says_so() -> None:
    captures = [capture(f"n{i}") for i in range(4)] + [capture("d", kind="dos")]

    split = split_captures(captures)

    assert split.mode == "time"
    assert "found dos in 1" in split.reason
    assert_disjoint(split)


def test_neighbouring_blocks_lie_the_gap_apart() -> None:
    captures = [capture("long", n=60_000, hz=1000.0)]

    split = split_captures(captures, mode="time", gap_s=0.5, window_size=100, stride=100)

    pieces = sorted((rows.start, rows.stop) for name in SPLITS for _, rows in split.parts[name])
    time = captures[0].frames.timestamp
    assert len(pieces) > len(SPLITS)
    for (_, stop), (start, _) in pairwise(pieces):
        assert time[start] - time[stop - 1] >= 0.5


def test_one_moment_of_a_drive_is_in_one_split_for_all_captures_laid_over_it() -> None:
    captures = [
        capture("plain", source="drive", n=60_000, hz=1000.0, start_s=1e9),
        capture("flooded", source="drive", n=90_000, hz=2000.0, start_s=1e9 + 7, kind="dos"),
    ]

    split = split_captures(captures, mode="time", gap_s=1.0, window_size=100, stride=100)

    spans = [
        (name, *captures[index].frames.timestamp[[rows.start, rows.stop - 1]])
        for name in SPLITS
        for index, rows in split.parts[name]
    ]
    for name, first, last in spans:
        for other, other_first, other_last in spans:
            assert name == other or last + 1.0 <= other_first + 1e-6 or other_last + 1.0 <= first + 1e-6


def test_captures_of_a_source_on_different_clocks_are_cut_at_the_same_time_from_their_start() -> None:
    captures = [capture("absolute", source="drive", start_s=1.6e9), capture("from zero", source="drive", kind="dos")]

    split = split_captures(captures, mode="time", gap_s=0.1)

    for name in SPLITS:
        first, second = ([rows for index, rows in split.parts[name] if index == i] for i in (0, 1))
        for a, b in zip(first, second, strict=True):
            assert (a.start, a.stop) == pytest.approx((b.start, b.stop), abs=1)


def test_a_clock_that_steps_back_still_gives_disjoint_splits() -> None:
    stepping = capture("stepping", n=3000)
    time = stepping.frames.timestamp.copy()
    time[1000:] -= 5.0

    split = split_captures([replace(stepping, frames=replace(stepping.frames, timestamp=time))], mode="time", gap_s=0.1)

    assert all(split.parts[name] for name in SPLITS)
    assert_disjoint(split)


@pytest.mark.parametrize("period_s", [1.0, 60.0])
def test_a_clock_that_wraps_is_cut_as_one_that_does_not(period_s: float) -> None:
    steady = capture("drive", n=12_000)
    wrapping = replace(steady, frames=replace(steady.frames, timestamp=steady.frames.timestamp % period_s))

    cut, expected = (split_captures([c], mode="time", gap_s=0.5) for c in (wrapping, steady))

    # A step across the wrap takes no time: 0.01 s a lap.
    laps = 120 / period_s
    for name in SPLITS:
        for (_, found), (_, wanted) in zip(cut.parts[name], expected.parts[name], strict=True):
            assert (found.start, found.stop) == pytest.approx((wanted.start, wanted.stop), abs=2 * laps)


def test_where_an_attack_lies_does_not_move_a_cut() -> None:
    early, late = capture("c", kind="dos"), capture("c", kind="dos")
    early.frames.attack_kind[:], late.frames.attack_kind[:] = 0, 0  # type: ignore[index]
    early.frames.attack_kind[:10], late.frames.attack_kind[-10:] = 1, 1  # type: ignore[index]

    assert split_captures([early], mode="time").parts == split_captures([late], mode="time").parts


def test_rounds_fill_the_recording_and_keep_the_fractions() -> None:
    blocks = time_blocks(100.0, Rounds(10, gap_s=0.0), FRACTIONS, np.random.default_rng(0))
    lengths: dict[str, float] = defaultdict(float)
    for name, begin, end in blocks:
        lengths[name] += end - begin

    assert [name for name, _, _ in blocks[:3]] == list(SPLITS)
    assert len(blocks) == 30
    assert dict(lengths) == pytest.approx({"train": 60.0, "val": 20.0, "test": 20.0})


def test_blocks_hold_ten_windows_and_the_gap_is_a_second_where_the_recording_is_long_enough() -> None:
    assert plan_rounds(20.0, 0.001, None, window_size=200, stride=200) == Rounds(6, 1.0)


def test_a_short_recording_gets_shorter_gaps_and_blocks_to_have_five_rounds() -> None:
    assert plan_rounds(6.0, 0.001, None, window_size=400, stride=200) == Rounds(5, 0.4, is_short=True)


def test_a_gap_that_is_asked_for_is_kept_and_takes_at_most_half_a_block() -> None:
    assert plan_rounds(6.0, 0.001, 1.0, window_size=400, stride=200) == Rounds(3, 1.0, is_short=True)


def test_a_recording_too_short_for_two_windows_a_block_is_cut_once() -> None:
    assert plan_rounds(0.5, 0.001, None, window_size=400, stride=200) == Rounds(1, 0.4, is_short=True)


@pytest.mark.parametrize("begin_s", np.linspace(0.0, 24.0, 9))
def test_an_attack_of_nearly_a_quarter_of_a_short_recording_is_in_all_splits_wherever_it_lies(begin_s: float) -> None:
    """One attack of 7 s within 30 s: no cut depends on it, and each split has a block in any such stretch."""
    blocks = time_blocks(30.0, Rounds(5, 0.4, is_short=True), FRACTIONS, np.random.default_rng(0))

    met = {split for split, begin, end in blocks if begin < begin_s + 7.0 and end > begin_s}

    assert met == set(SPLITS)


def test_a_capture_without_frames_goes_nowhere() -> None:
    captures = [capture("empty", n=0), *(capture(f"c{i}") for i in range(3))]

    for mode in ("capture", "time"):
        split = split_captures(captures, mode=mode)
        assert all(index != 0 for name in SPLITS for index, _ in split.parts[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "window"}, "split is 'window', expected one of auto, capture, time"),
        ({"fractions": (0.5, 0.5, 0.5)}, "sum 1"),
        ({"gap_s": -1.0}, "gap_s is -1.0"),
        ({"gap_s": float("nan")}, "gap_s is nan"),
        ({"mode": "capture"}, "needs at least 3 recordings, found 2; test would be empty"),
    ],
)
def test_impossible_splits_are_refused_by_name(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_captures([capture("a"), capture("b")], **arguments)  # type: ignore[arg-type]
