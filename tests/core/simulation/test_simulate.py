import hashlib
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.captures.read import find_captures, read_captures
from graphids.core.frames import Capture, Frames
from graphids.core.simulation.simulate import (
    ATTACK_KINDS,
    NORMAL_CAPTURES,
    simulate_vehicle,
    simulated_captures,
    write_dataset,
)
from graphids.core.wire import frame_bits

SHORT = {"duration_s": 2.0, "captures_per_kind": 1}


def digest(frames: Frames) -> str:
    sha256 = hashlib.sha256()
    for field in fields(frames):
        value = getattr(frames, field.name)
        sha256.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return sha256.hexdigest()


def assert_same_frames(found: Frames, expected: Frames) -> None:
    for field in fields(expected):
        value = getattr(expected, field.name)
        if isinstance(value, np.ndarray):
            assert_array_equal(getattr(found, field.name), value, field.name)


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    return simulated_captures(**SHORT)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, other = (simulate_vehicle(seed=4, duration_s=2.0, attack="fuzzy") for _ in range(2))

    assert digest(one) == digest(other)


def test_another_seed_gives_another_drive() -> None:
    one, other = (simulate_vehicle(seed=seed, duration_s=2.0) for seed in (4, 5))

    assert digest(one) != digest(other)


def test_the_bytes_are_the_same_on_every_platform() -> None:
    frames = simulate_vehicle(seed=1, duration_s=2.0, attack="masquerade")

    # Every published metric of the default data set depends on these bytes: a change here is a new data set, and
    # belongs in the changelog.
    assert digest(frames) == "6dde0ed57a31257835b2823e5a6c2b60402911149cb39b778481ef2afc36258a"


def test_frames_are_spaced_by_at_least_their_time_on_the_wire() -> None:
    frames = simulate_vehicle(seed=2, duration_s=5.0, attack="dos")

    end_us = np.rint(frames.timestamp * 1e6).astype(np.int64)
    assert (np.diff(end_us) >= 2 * frame_bits(frames.dlc, frames.is_extended)[1:]).all()


def test_normal_traffic_loads_the_bus_by_a_good_third() -> None:
    frames = simulate_vehicle(seed=2, duration_s=5.0)

    assert 0.35 < 2e-6 * frame_bits(frames.dlc, frames.is_extended).sum() / 5.0 < 0.5
    assert 1400 < len(frames) / 5.0 < 1900


def test_timestamps_are_whole_microseconds_in_rising_order() -> None:
    time_s = simulate_vehicle(seed=2, duration_s=2.0).timestamp

    assert_array_equal(time_s, np.rint(time_s * 1e6) / 1e6)
    assert (np.diff(time_s) > 0).all()


def test_normal_drives_are_labelled_normal() -> None:
    frames = simulate_vehicle(seed=2, duration_s=2.0)

    assert frames.kinds == ("normal",)
    assert frames.attack is not None
    assert frames.attack_kind is not None
    assert not frames.attack.any()
    assert not frames.attack_kind.any()


def test_a_target_is_the_only_victim() -> None:
    target = sorted({*_attacked_ids(simulate_vehicle(seed=2, duration_s=2.0, attack="spoof"))})[0]

    frames = simulate_vehicle(seed=3, duration_s=2.0, attack="spoof", target=target)

    assert _attacked_ids(frames) == {target}


def _attacked_ids(frames: Frames) -> set[int]:
    return set(frames.arbitration_id[frames.attack == 1].tolist())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration_s": 0.5}, r"duration_s is 0\.5\. Expected 1 to"),
        ({"duration_s": float("nan")}, "duration_s is nan"),
        ({"attack": "flood"}, "attack is 'flood'. Expected 'none' or one of dos, fuzzy"),
        ({"attack": "dos", "intensity": 0.0}, r"intensity is 0\.0\. Expected more than 0"),
        ({"attack": "spoof", "target": 0x7FF}, "target 0x7FF is not a message worth attacking"),
    ],
)
def test_an_argument_out_of_range_is_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"seed": 1, "duration_s": 2.0, **changes}

    with pytest.raises(ValueError, match=message):
        simulate_vehicle(**arguments)  # type: ignore[arg-type]


def test_the_default_data_set_has_five_captures_of_each_kind_each_its_own_drive() -> None:
    captures = simulated_captures(duration_s=1.0)

    names = [capture.name for capture in captures]
    assert names == [f"normal-{i + 1}" for i in range(NORMAL_CAPTURES)] + [
        f"{kind}-{i + 1}" for kind in ATTACK_KINDS for i in range(5)
    ]
    assert len({capture.source for capture in captures}) == len(captures)
    assert len({digest(capture.frames) for capture in captures}) == len(captures)


def test_another_seed_gives_another_data_set(captures: list[Capture]) -> None:
    other = simulated_captures(seed=1, **SHORT)

    assert {digest(c.frames) for c in captures}.isdisjoint(digest(c.frames) for c in other)


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("format", ["csv", "candump"])
def test_a_written_data_set_reads_back_as_it_was_simulated(
    format: str, gzip: bool, captures: list[Capture], tmp_path: Path
) -> None:
    paths = write_dataset(tmp_path / "data", format=format, gzip=gzip, **SHORT)  # type: ignore[arg-type]

    assert sorted(path for path, _ in find_captures(tmp_path / "data")) == sorted(paths)
    for path, expected in zip(paths, captures, strict=True):
        (found,) = read_captures(path)
        assert found.source == expected.source
        assert found.frames.kinds == expected.frames.kinds
        assert_same_frames(found.frames, expected.frames)


def test_the_index_tells_kind_intervals_and_counts(tmp_path: Path) -> None:
    write_dataset(tmp_path, **SHORT)
    index = {entry["source"]: entry for entry in json.loads((tmp_path / "index.json").read_text())}

    assert index["normal-1"]["kind"] == "none"
    assert "intervals" not in index["normal-1"]
    spoof = index["spoof-1"]
    rows = (tmp_path / spoof["file"]).read_text().splitlines()[1:]
    assert spoof["kind"] == "spoof"
    assert spoof["frames"] == len(rows)
    assert spoof["attack"] == sum(row.endswith(",1") for row in rows)
    assert len(spoof["intervals"]) == 2
    assert {row.split(",")[1] for row in rows if row.endswith(",1")} <= set(spoof["targets"])


def test_compressed_files_have_the_same_bytes_in_every_run(tmp_path: Path) -> None:
    runs = [write_dataset(tmp_path / run, gzip=True, **SHORT) for run in ("one", "other")]

    assert [path.read_bytes() for path in runs[0]] == [path.read_bytes() for path in runs[1]]


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "old.csv").touch()

    with pytest.raises(FileExistsError, match="is not empty"):
        write_dataset(tmp_path, **SHORT)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format is 'asc'"):
        write_dataset(tmp_path, format="asc")  # type: ignore[arg-type]
