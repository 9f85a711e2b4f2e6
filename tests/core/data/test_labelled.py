"""Labelled captures as deviations, with injected attacks beside them, and with a vehicle held out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.data import datamodule as module
from graphids.core.data import labelled
from graphids.core.data.batches import GraphBatches
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.injected import Windowing
from graphids.core.data.labelled import measured
from graphids.core.data.training_profiles import training_profiles
from graphids.core.frames import Capture, DataError, Frames, num_attacked
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.injection.inject import KINDS
from graphids.core.profile.follower import window_deviations
from graphids.core.profile.profile import Profile
from graphids.core.simulation.simulate import simulate_vehicle

SMALL: dict[str, Any] = {"data": "drives", "window_size": 64, "stride": 64, "injected_windows": 1}


def drive(name: str, seed: int, attack: str = "none", seconds: float = 3.0, vehicle_seed: int = 0) -> Capture:
    frames = simulate_vehicle(seed=seed, duration_s=seconds, attack=attack, vehicle_seed=vehicle_seed)
    return Capture(name, frames, name)


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    """Three attack-free drives of a car and three of each of two attacks."""
    kinds = ("none", "dos", "suppress")
    return [drive(f"car/{kind}-{n}", 10 * n + place, kind) for place, kind in enumerate(kinds) for n in range(3)]


@pytest.fixture
def read_as(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(captures: list[Capture], **arguments: Any) -> CANDataModule:
        monkeypatch.setattr(module, "load_captures", lambda *_, **__: captures)
        data = CANDataModule(**(SMALL | arguments))
        data.setup()
        return data

    return put


def windows_of(graphs: PackedGraphs, name: str) -> PackedGraphs:
    return graphs.take(np.flatnonzero(np.array(graphs.capture_names)[graphs.capture] == name))


def test_labelled_captures_stay_raw_and_without_injection_by_themselves(read_as: Any, captures: list[Capture]) -> None:
    data = read_as(captures)

    assert data.preprocessing.features == "raw"
    assert not data.summary["injected"]
    assert "vehicles" not in data.summary


def test_as_deviations_they_have_the_split_and_the_windows_that_they_have_as_raw_ones(
    read_as: Any, captures: list[Capture]
) -> None:
    raw, data = read_as(captures), read_as(captures, features="deviations")

    assert data.preprocessing.features == "deviations"
    assert data.dataset_digest == raw.dataset_digest
    for name in ("val", "test"):
        assert_array_equal(data.graphs[name].label, raw.graphs[name].label)
        assert_array_equal(data.graphs[name].first_frame, raw.graphs[name].first_frame)


def test_validation_and_test_are_measured_against_the_attack_free_training_captures(
    read_as: Any, captures: list[Capture]
) -> None:
    data = read_as(captures, features="deviations")
    profile: Profile = data.profiles["car"]
    trained = [c for c in captures if c.name in data.graphs["train"].capture_names and not num_attacked(c.frames)]

    assert profile.frames == sum(len(capture.frames) for capture in trained)
    for capture in captures:
        own = windows_of(data.graphs["test"], capture.name)
        if len(own):
            expected = window_deviations(profile, capture.frames, own.first_frame, 64)
            assert_array_equal(own.x, expected.deviations.view(np.float32).reshape(len(own.x), -1))


def test_no_training_capture_is_measured_against_itself(captures: list[Capture]) -> None:
    parts = [(index, slice(0, len(capture.frames))) for index, capture in enumerate(captures)]

    training = training_profiles(captures, parts, "car")

    free = [index for index, capture in enumerate(captures) if not num_attacked(capture.frames)]
    frames = {index: len(captures[index].frames) for index in free}
    for (index, _), profile in zip(training.parts, training.profiles, strict=True):
        others = sum(count for other, count in frames.items() if other != index)
        assert profile.frames <= others
    assert training.whole.frames == sum(frames.values())


def test_captures_laid_over_one_drive_are_left_out_together(captures: list[Capture]) -> None:
    sources = ("a", "a", "b", "b", "c", "c")
    of_two = [replace(capture, source=source) for capture, source in zip(captures, sources, strict=False)]
    parts = [(index, slice(0, len(capture.frames))) for index, capture in enumerate(of_two)]

    profiles = training_profiles(of_two, parts, "car").profiles

    assert profiles[0] is profiles[1]
    assert profiles[2] is profiles[3]
    assert profiles[0] is not profiles[2]


def test_without_an_attack_free_capture_the_profile_is_of_the_traffic_between_attacks() -> None:
    capture = drive("car/dos", 1, "dos", seconds=12.0)
    whole = training_profiles([capture], [(0, slice(0, len(capture.frames)))], "car").whole

    assert capture.frames.attack is not None
    assert 2_000 < whole.frames < int((capture.frames.attack == 0).sum())


def test_traffic_that_is_attacked_throughout_is_refused_with_what_to_do(captures: list[Capture]) -> None:
    frames = captures[0].frames
    attacked = np.zeros(len(frames), np.uint8)
    attacked[::50] = 1
    always = replace(frames, attack=attacked, attack_kind=attacked.astype(np.int16), kinds=("normal", "spoof"))

    with pytest.raises(DataError, match=r"car: deviations need a profile.*no attack-free capture, and no 600 frames"):
        training_profiles([Capture("car/1", always, "car/1")], [(0, slice(0, len(frames)))], "car")


def test_which_absent_message_a_recorded_suppression_silenced_is_not_claimed_to_be_known(
    captures: list[Capture], read_as: Any
) -> None:
    read = read_as(captures, features="deviations")
    profile = read.profiles["car"]
    index = next(index for index, capture in enumerate(captures) if "suppress" in capture.name)

    (graphs,) = measured(captures, [((index, slice(0, len(captures[index].frames))), profile)], Windowing(64, 64))

    node_y = GraphBatches(graphs, read.preprocessing)[np.arange(len(graphs))].node_y.numpy()
    attacked = np.repeat(graphs.label > 0, graphs.num_nodes())
    assert (node_y[attacked & (graphs.node_frames == 0)] == -1).all()
    assert (node_y[~attacked] == 0).all()
    assert (attacked & (graphs.node_frames == 0)).any()


def test_injection_adds_kinds_to_training_and_leaves_what_is_measured_as_it_was(
    read_as: Any, captures: list[Capture]
) -> None:
    plain, data = read_as(captures, features="deviations"), read_as(captures, inject="always")

    assert data.preprocessing.features == "deviations"
    assert set(data.classes) == {"normal", *KINDS}
    assert set(data.graphs["train"].present_classes()) == {"normal", *KINDS}
    assert data.graphs["test"].present_classes() == ["normal", "dos", "suppress"]
    for name in ("val", "test"):
        assert_array_equal(data.graphs[name].x, plain.graphs[name].x)
    assert data.dataset_digest != plain.dataset_digest
    assert data.summary["injected"] == "training"


def test_injection_into_captures_that_are_all_attacked_is_refused(read_as: Any, captures: list[Capture]) -> None:
    with pytest.raises(DataError, match=r"inject is 'always', but no training capture is free of attacks"):
        read_as(captures[3:], inject="always", features="raw")


@pytest.mark.parametrize("features", ["raw", "deviations"])
def test_a_vehicle_held_out_is_in_the_test_alone(read_as: Any, captures: list[Capture], features: str) -> None:
    van = [drive("van/none", 90, vehicle_seed=1), drive("van/dos", 91, "dos", vehicle_seed=1)]

    data = read_as([*captures, *van], hold_out="van", features=features)

    assert "van" not in {*data.window_vehicles["train"], *data.window_vehicles["val"]}
    assert "van/dos" in data.graphs["test"].capture_names
    # The attack-free one gives its profile, and nothing is measured that a profile has seen.
    assert ("van/none" in data.graphs["test"].capture_names) == (features == "raw")
    assert data.summary["split_reason"].endswith("van is held out for the test.")


def test_a_vehicle_held_out_needs_an_attack_free_capture_for_its_profile(read_as: Any, captures: list[Capture]) -> None:
    van = drive("van/dos", 91, "dos", vehicle_seed=1)

    with pytest.raises(DataError, match=r"van is held out, and its profile needs an attack-free capture.*features=raw"):
        read_as([*captures, van], hold_out="van", features="deviations")


def test_a_vehicle_without_training_captures_is_refused_by_name(captures: list[Capture]) -> None:
    with pytest.raises(DataError, match=r"van: deviations need a profile.*none of its captures is in the training"):
        labelled._training(captures, [], "van")


def test_one_capture_without_labels_among_labelled_ones_is_refused(read_as: Any, captures: list[Capture]) -> None:
    frames: Frames = replace(captures[0].frames, attack=None, attack_kind=None)

    with pytest.raises(DataError, match="found none in 1 of 9 captures: car/none-0"):
        read_as([replace(captures[0], frames=frames), *captures[1:]], inject="always")
