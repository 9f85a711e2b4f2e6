"""How much of a recording a model knows, compared with plain counting."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import read_captures
from graphids.core.data.coverage import MIN_COVERAGE, Coverage, CoverageCount, coverage_of, window_coverage
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.frames import Frames
from graphids.core.graphs.packed import build_graphs

WINDOW, STRIDE = 4, 3
KNOWN = (0x1A4, 0x2B0)


def frames_of(ids: list[int], *, extended: tuple[int, ...] = (), channel: list[int] | None = None) -> Frames:
    """A frame per ID, a millisecond apart; `extended` are the rows with 29-bit identifiers."""
    is_extended = np.zeros(len(ids), np.bool_)
    is_extended[list(extended)] = True
    return Frames(
        timestamp=np.arange(len(ids)) * 1e-3,
        arbitration_id=np.array(ids, np.uint32),
        dlc=np.zeros(len(ids), np.uint8),
        payload=np.zeros((len(ids), 8), np.uint8),
        is_extended=is_extended,
        channel=np.array(channel or [0] * len(ids), np.uint8),
        channels=("can0", "can1") if channel else ("",),
    )


def fitted_to(frames: Frames, window_size: int = WINDOW) -> Preprocessing:
    graphs = build_graphs(frames, window_size, window_size)
    return Preprocessing.fit(graphs, window_size=window_size, stride=window_size)


@pytest.fixture(scope="module")
def preprocessing() -> Preprocessing:
    return fitted_to(frames_of([*KNOWN] * 40))


def test_an_id_is_known_only_with_the_length_that_it_had_in_training(preprocessing: Preprocessing) -> None:
    count = CoverageCount(preprocessing.vocabulary)
    count.observe(frames_of([0x1A4, 0x1A4, 0x2B0, 0x555], extended=(1,)))

    assert count.by_bus() == {"": Coverage(frames=4, known_frames=2, ids=4, known_ids=2)}


def test_a_vocabulary_knows_ids_and_their_frames() -> None:
    keys, no_key = np.array([1, 1, 1, 2] * 2, np.uint32), np.array([], np.uint32)

    assert coverage_of(keys, np.array([1, 7], np.uint32)) == Coverage(frames=8, known_frames=6, ids=2, known_ids=1)
    assert coverage_of(keys, no_key) == Coverage(frames=8, known_frames=0, ids=2, known_ids=0)
    assert coverage_of(no_key, np.array([1], np.uint32)) == Coverage(frames=0, known_frames=0, ids=0, known_ids=0)


def test_chunks_count_as_the_whole_and_each_bus_for_itself(preprocessing: Preprocessing) -> None:
    generator = np.random.default_rng(1)
    ids, channel = generator.choice([*KNOWN, 0x555, 0x666], 60).tolist(), generator.integers(0, 2, 60).tolist()
    frames, count = frames_of(ids, channel=channel), CoverageCount(preprocessing.vocabulary)

    passed = list(count.passing(frames.take(slice(first, first + 7)) for first in range(0, 60, 7)))

    assert sum(map(len, passed)) == 60
    for index, bus in enumerate(frames.channels):
        by_id = Counter(i for i, c in zip(ids, channel, strict=True) if c == index)
        known = [i for i in by_id if i in KNOWN]
        expected = Coverage(by_id.total(), sum(by_id[i] for i in known), len(by_id), len(known))
        assert count.by_bus()[bus] == expected


def test_the_shares_of_a_window_are_those_of_its_own_frames(preprocessing: Preprocessing) -> None:
    ids = np.random.default_rng(2).choice([*KNOWN, 0x555], 50, p=(0.2, 0.2, 0.6)).tolist()
    graphs = build_graphs(frames_of(ids), WINDOW, STRIDE)

    share, id_share = window_coverage(graphs, preprocessing.vocabulary)

    windows = [ids[first : first + WINDOW] for first in range(0, len(ids) - WINDOW + 1, STRIDE)]
    assert share.tolist() == [sum(i in KNOWN for i in window) / WINDOW for window in windows]
    assert id_share.tolist() == [sum(i in KNOWN for i in set(window)) / len(set(window)) for window in windows]
    assert 0.0 in share


def test_no_window_has_no_shares(preprocessing: Preprocessing) -> None:
    share, id_share = window_coverage(build_graphs(frames_of([1]), WINDOW, STRIDE), preprocessing.vocabulary)

    assert (len(share), len(id_share)) == (0, 0)


@pytest.mark.parametrize(("known", "is_enough"), [(0, False), (49, False), (50, True), (100, True)])
def test_half_of_the_frames_are_enough_whatever_the_number_of_ids(known: int, is_enough: bool) -> None:
    """Fuzzing brings thousands of IDs that no model knows, with a minority of the frames."""
    assert Coverage(frames=100, known_frames=known, ids=1000, known_ids=1).is_enough == is_enough


@pytest.mark.skipif("GRAPHIDS_TEST_DATA" not in os.environ, reason="needs real captures: set GRAPHIDS_TEST_DATA")
def test_other_recordings_of_a_vehicle_are_covered_attacked_or_not_and_other_vehicles_are_not() -> None:
    data = Path(os.environ["GRAPHIDS_TEST_DATA"])

    def share(name: str, fitted: Preprocessing) -> float:
        count = CoverageCount(fitted.vocabulary)
        count.observe(read_captures(data / name)[0].frames)
        return next(iter(count.by_bus().values())).share

    camaro = fitted_to(read_captures(data / "normal_multi_vehicle" / "camaro_a.trc.gz")[0].frames, 256)

    assert share("normal_multi_vehicle/camaro_b.log.gz", camaro) > 0.99
    assert share("semisynthetic/camaro/fuzzy-1.csv.gz", camaro) > MIN_COVERAGE
    assert share("semisynthetic/camaro/dos-1.csv.gz", camaro) > MIN_COVERAGE
    assert share("normal_multi_vehicle/gt350_b.log.gz", camaro) == 0.0
    assert share("normal_multi_vehicle/corvette_c6_with_one_rtr.log.gz", camaro) < MIN_COVERAGE  # of the same maker
