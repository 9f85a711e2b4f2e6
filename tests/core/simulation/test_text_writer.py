import numpy as np
import pytest

from graphids.core.frames import Frames
from graphids.core.simulation.text_writer import candump_text, csv_text, labels_text


def two_frames(**changes: object) -> Frames:
    columns: dict[str, object] = {
        "timestamp": np.array([0.000236, 12.5]),
        "arbitration_id": np.array([0x1E5, 0x0CF00C03], np.uint32),
        "dlc": np.array([2, 0], np.uint8),
        "payload": np.array([[0x44, 0x0A, 0, 0, 0, 0, 0, 0], [0] * 8], np.uint8),
        "is_extended": np.array([False, True]),
        "channel": np.zeros(2, np.uint8),
        "attack": np.array([0, 1], np.uint8),
        "attack_kind": np.array([0, 1], np.int16),
        "kinds": ("normal", "dos"),
    }
    return Frames(**{**columns, **changes})  # type: ignore[arg-type]


def test_csv_has_the_columns_of_can_train_and_test() -> None:
    assert csv_text(two_frames()) == (
        b"timestamp,arbitration_id,data_field,attack\n0.000236,1E5,440A,0\n12.500000,0CF00C03,,1\n"
    )


def test_candump_writes_what_candump_l_logs() -> None:
    assert candump_text(two_frames(), "vcan1") == (
        b"(0000000000.000236) vcan1 1E5#440A\n(0000000012.500000) vcan1 0CF00C03#\n"
    )


def test_labels_are_a_sidecar_of_their_own() -> None:
    assert labels_text(two_frames()) == b"frame_index,attack\n0,0\n1,1\n"


def test_every_row_has_its_own_number_of_digits() -> None:
    many = two_frames().take(np.zeros(101, np.int64))

    assert labels_text(many).splitlines()[1:] == [f"{i},0".encode() for i in range(101)]


def test_no_frames_are_a_header_alone() -> None:
    none = two_frames().take(slice(0))

    assert csv_text(none) == b"timestamp,arbitration_id,data_field,attack\n"
    assert candump_text(none) == b""


def test_frames_without_labels_are_refused_by_formats_that_have_them() -> None:
    with pytest.raises(ValueError, match="no labels"):
        csv_text(two_frames(attack=None, attack_kind=None))


def test_a_negative_timestamp_is_refused() -> None:
    with pytest.raises(ValueError, match=r"-1\.0 s.*none below 0"):
        candump_text(two_frames(timestamp=np.array([-1.0, 0.0])))
