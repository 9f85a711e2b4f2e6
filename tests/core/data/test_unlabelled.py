"""Training by injection: a small fleet without any attack, through the data module."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.data import datamodule as module
from graphids.core.data import unlabelled
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.injected import Injections
from graphids.core.frames import Capture, DataError, Frames, num_attacked
from graphids.core.injection.inject import KINDS
from graphids.core.profile.profile import fit_profile
from graphids.core.simulation.fleet import simulated_fleet
from graphids.core.simulation.text_writer import candump_text

SMALL: dict[str, Any] = {"data": "drives", "window_size": 64, "stride": 64, "injected_windows": 6}


@pytest.fixture(scope="module")
def fleet() -> list[Capture]:
    """Three drives each of three vehicles; nothing says that they are attack-free."""
    drives = [
        capture for capture in simulated_fleet(duration_s=4.0) if capture.name.startswith(("vehicle-1", "vehicle-2"))
    ]
    return [replace(c, frames=unlabelled_frames(c.frames)) for c in drives if not c.name.endswith(("4", "5"))]


def unlabelled_frames(frames: Frames) -> Frames:
    return replace(frames, attack=None, attack_kind=None, kinds=("normal",))


@pytest.fixture
def read_as(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(captures: list[Capture], **arguments: Any) -> CANDataModule:
        monkeypatch.setattr(module, "load_captures", lambda *_, **__: captures)
        return CANDataModule(**(SMALL | arguments))

    return put


@pytest.fixture(scope="module")
def prepared(fleet: list[Capture]) -> CANDataModule:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_captures", lambda *_, **__: fleet)
        data = CANDataModule(**SMALL, hold_out="vehicle-2")
        data.setup()
    return data


def test_captures_without_labels_train_on_deviations_with_every_kind_in_every_split(prepared: CANDataModule) -> None:
    assert prepared.preprocessing.features == "deviations"
    assert prepared.classes == ("normal", *sorted(KINDS))
    for graphs in prepared.graphs.values():
        assert set(graphs.label.tolist()) == set(range(1 + len(KINDS)))
        assert (graphs.node_attacked >= 0).all()


def test_every_kind_has_as_many_windows_as_any_other(prepared: CANDataModule) -> None:
    counts = prepared.summary["vehicles"]["vehicle-1"]

    assert {counts["train"][kind] for kind in KINDS} == {6}
    assert {counts["val"][kind] for kind in KINDS} == {counts["test"][kind] for kind in KINDS} == {2}


def test_the_vehicle_held_out_is_in_the_test_alone(prepared: CANDataModule) -> None:
    vehicles = {name: set(of_windows.tolist()) for name, of_windows in prepared.window_vehicles.items()}

    assert vehicles == {"train": {"vehicle-1"}, "val": {"vehicle-1"}, "test": {"vehicle-1", "vehicle-2"}}
    assert prepared.summary["held_out"] == "vehicle-2"
    assert {len(names) for names in prepared.window_vehicles.values()} == set(map(len, prepared.graphs.values()))


def test_no_recording_is_in_two_splits(prepared: CANDataModule) -> None:
    names = {
        split: {name.split(" ")[0] for name in np.array(graphs.capture_names)[np.unique(graphs.capture)]}
        for split, graphs in prepared.graphs.items()
    }

    assert not names["train"] & names["val"] | names["train"] & names["test"] | names["val"] & names["test"]


def test_a_profile_is_that_of_the_training_recordings_as_they_were_recorded(
    prepared: CANDataModule, fleet: list[Capture]
) -> None:
    trained = [name.split(" ")[0] for name in prepared.graphs["train"].capture_names]
    recorded = [capture.frames for capture in fleet if capture.name in trained]

    assert set(prepared.profiles) == {"vehicle-1", "vehicle-2"}
    assert_array_equal(prepared.profiles["vehicle-1"].vehicle.habits, fit_profile(recorded).vehicle.habits)


def test_no_profile_has_seen_an_injected_frame_nor_a_training_piece_that_is_measured_against_it(
    monkeypatch: pytest.MonkeyPatch, read_as: Any, fleet: list[Capture]
) -> None:
    fitted: list[list[Frames]] = []
    measured: list[tuple[Frames, int]] = []

    def fit(captures: list[Frames]) -> int:
        fitted.append(captures)
        return len(fitted) - 1

    def attack(pieces: Any, *_: Any, **__: Any) -> Any:
        measured.extend((piece.frames, profile) for piece, profile in pieces)
        return Injections()

    monkeypatch.setattr(unlabelled, "fit_profile", fit)
    monkeypatch.setattr(unlabelled, "attack", attack)
    with pytest.raises(DataError):
        read_as(fleet).setup()

    assert len(measured) > 6
    for frames, profile in measured:
        for seen in fitted[profile]:
            assert not num_attacked(seen)
            assert not np.shares_memory(frames.timestamp, seen.timestamp)


def test_the_digest_covers_recordings_and_the_seed_of_the_injection(read_as: Any, fleet: list[Capture]) -> None:
    def digest(captures: list[Capture], **arguments: Any) -> str:
        data = read_as(captures, injected_windows=1, **arguments)
        data.setup()
        return data.dataset_digest

    fewer = fleet[:3]
    digests = [digest(fewer), digest(fewer, data_seed=1), digest(fewer[:2])]
    assert len(set(digests)) == 3
    assert digest(fewer) == digests[0]


def test_a_resumed_run_gets_the_same_windows(read_as: Any, fleet: list[Capture], prepared: CANDataModule) -> None:
    again = read_as(fleet, hold_out="vehicle-2")
    again.setup()

    for name, graphs in prepared.graphs.items():
        for column in ("x", "node_key", "node_attacked", "label", "first_frame"):
            assert_array_equal(getattr(again.graphs[name], column), getattr(graphs, column))
    assert again.dataset_digest == prepared.dataset_digest
    assert [b.y.tolist() for b in again.train_dataloader()] == [b.y.tolist() for b in prepared.train_dataloader()]


def test_the_baseline_is_the_largest_deviation_and_says_so(prepared: CANDataModule) -> None:
    assert prepared.summary["baseline"] == "largest deviation"
    scores, graphs = prepared.rule_scores["test"], prepared.graphs["test"]
    flood = scores[graphs.label == graphs.classes.index("dos")]
    assert np.median(flood) > np.median(scores[graphs.label == 0])


def test_the_summary_is_json(prepared: CANDataModule) -> None:
    summary = json.loads(json.dumps(prepared.summary))

    assert summary["injected"] == "every split"
    assert summary["split_reason"].startswith("No capture has attack labels: all are taken for attack-free")


def test_one_recording_is_enough_for_a_vehicle(read_as: Any, fleet: list[Capture]) -> None:
    data = read_as(fleet[:1], injected_windows=2)
    data.setup()

    assert data.summary["split"] == "time"
    assert set(data.profiles) == {"vehicle-1"}


def test_captures_that_are_labelled_attack_free_train_by_injection_too(read_as: Any, fleet: list[Capture]) -> None:
    n = [len(capture.frames) for capture in fleet[:3]]
    labelled = [
        replace(
            capture,
            frames=replace(capture.frames, attack=np.zeros(length, np.uint8), attack_kind=np.zeros(length, np.int16)),
        )
        for capture, length in zip(fleet[:3], n, strict=True)
    ]
    data = read_as(labelled, injected_windows=1)
    data.setup()

    assert data.summary["injected"]


def test_raw_features_can_be_injected_into_as_well(read_as: Any, fleet: list[Capture]) -> None:
    data = read_as(fleet[:3], injected_windows=1, features="raw")
    data.setup()

    assert data.preprocessing.features == "raw"
    assert data.profiles == {}
    assert data.summary["baseline"] == "rules"


def test_a_vehicle_whose_recordings_are_too_short_is_left_out_and_told(read_as: Any, fleet: list[Capture]) -> None:
    short = replace(fleet[3], name="van/1.log", source="van/1.log", frames=fleet[3].frames.take(slice(0, 300)))
    data = read_as([*fleet[:3], short], injected_windows=1)
    data.setup()

    assert list(data.summary["left_out"]) == ["van"]
    assert "without a stretch of 256 frames" in data.summary["left_out"]["van"]
    assert list(data.profiles) == ["vehicle-1"]


def test_recordings_that_are_all_too_short_are_refused(read_as: Any, fleet: list[Capture]) -> None:
    short = replace(fleet[0], frames=fleet[0].frames.take(slice(0, 300)))

    with pytest.raises(
        DataError, match=r"but vehicle-1 has train .* without a stretch of 256 frames.*ten minutes.*a smaller"
    ):
        read_as([short]).setup()


def test_without_injection_they_are_refused_as_before(read_as: Any, fleet: list[Capture]) -> None:
    with pytest.raises(DataError, match=r"found none in 6 of 6 captures.*labels\.csv"):
        read_as(fleet, inject="never").setup()


def test_of_the_fleet_the_last_vehicle_is_held_out(monkeypatch: pytest.MonkeyPatch, fleet: list[Capture]) -> None:
    monkeypatch.setattr(module, "load_captures", lambda *_, **__: fleet)
    data = CANDataModule(**{**SMALL, "data": "fleet", "injected_windows": 1})
    data.setup()

    assert data.summary["held_out"] == "vehicle-2"


def test_files_of_a_folder_are_vehicles_by_their_folders(tmp_path: Path, fleet: list[Capture]) -> None:
    for capture in fleet:
        path = tmp_path / f"{capture.name}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(candump_text(capture.frames))

    data = CANDataModule(**{**SMALL, "data": str(tmp_path), "injected_windows": 1})
    data.setup()

    assert list(data.profiles) == ["vehicle-1", "vehicle-2"]
