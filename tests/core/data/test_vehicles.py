"""Which captures are of one vehicle, and which vehicle only the test has."""

import numpy as np
import pytest

from graphids.core.data.vehicles import held_out, vehicles_of
from graphids.core.frames import Capture, DataError, Frames


def capture(name: str, ids: range, *, bus: str = "", attacked: range = range(0)) -> Capture:
    """A frame of each ID; those of `attacked` are injected."""
    sent = [*ids, *attacked]
    n = len(sent)
    attack = np.array([identifier in attacked for identifier in sent], np.uint8)
    frames = Frames(
        timestamp=np.arange(n) / 100,
        arbitration_id=np.array(sent, np.uint32),
        dlc=np.full(n, 8, np.uint8),
        payload=np.zeros((n, 8), np.uint8),
        is_extended=np.zeros(n, np.bool_),
        channel=np.zeros(n, np.uint8),
        channels=(bus,),
        attack=attack,
        attack_kind=attack.astype(np.int16),
        kinds=("normal", "fuzzy"),
    )
    return Capture(name, frames, name)


def test_a_folder_is_a_vehicle() -> None:
    captures = [capture(name, range(20)) for name in ("a/1.log", "b/1.log", "a/2.log", "fleet/c/1.log")]

    assert vehicles_of(captures) == {"a": [0, 2], "b": [1], "fleet/c": [3]}


def test_captures_without_a_folder_are_of_one_vehicle() -> None:
    assert vehicles_of([capture("1.log", range(20)), capture("2.log", range(20))]) == {"vehicle": [0, 1]}


def test_a_name_has_only_characters_that_metrics_may_have() -> None:
    assert list(vehicles_of([capture("Käfer (1,3)/1.log", range(20))])) == ["K_fer _1_3_"]


def test_each_bus_of_a_file_is_a_vehicle_of_its_own() -> None:
    captures = [capture(f"a/drive.asc:{bus}", range(20), bus=bus) for bus in ("1", "2")]

    assert vehicles_of(captures) == {"a:1": [0], "a:2": [1]}


def test_captures_of_one_folder_that_share_few_ids_are_of_different_buses() -> None:
    captures = [
        capture("tesla/chassis-1.csv.gz", range(20)),
        capture("tesla/vehicle-1.csv.gz", range(100, 150)),
        capture("tesla/chassis-2.csv.gz", range(8, 28)),
        # Shares few IDs with the first, most with the third.
        capture("tesla/chassis-3.csv.gz", range(15, 35)),
    ]

    assert vehicles_of(captures) == {"tesla/chassis-1": [0, 2, 3], "tesla/vehicle-1": [1]}


def test_injected_ids_do_not_tell_two_captures_apart() -> None:
    captures = [capture("1.log", range(20)), capture("2.log", range(20), attacked=range(500, 600))]

    assert vehicles_of(captures) == {"vehicle": [0, 1]}


def test_a_capture_without_frames_is_of_no_vehicle() -> None:
    assert vehicles_of([capture("1.log", range(0))]) == {}


@pytest.mark.parametrize(("automatic", "expected"), [(True, "b"), (False, "")])
def test_one_is_held_out_by_itself_only_where_the_data_call_for_it(automatic: bool, expected: str) -> None:
    assert held_out("auto", {"b": [1], "a": [0]}, automatic=automatic) == expected


def test_an_unknown_vehicle_to_hold_out_is_named_with_those_that_there_are() -> None:
    with pytest.raises(DataError, match=r"data\.hold_out is 'c', but the vehicles are a, b\. Name one of them"):
        held_out("c", {"b": [1], "a": [0]}, automatic=False)


def test_the_only_vehicle_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match=r"data\.hold_out is 'a', the only vehicle.*add a folder"):
        held_out("a", {"a": [0]}, automatic=False)
