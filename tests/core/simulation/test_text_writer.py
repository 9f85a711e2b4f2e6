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


def test_frames_without_labels_have_no_column_of_labels_and_no_sidecar() -> None:
    unlabelled = two_frames(attack=None, attack_kind=None)

    assert csv_text(unlabelled) == b"timestamp,arbitration_id,data_field\n0.000236,1E5,440A\n12.500000,0CF00C03,\n"
    for write in (labels_text, lambda frames: candump_text(frames, labels=True)):
        with pytest.raises(ValueError, match="no labels"):
            write(unlabelled)


def test_candump_may_have_labels_and_buses_as_recorded() -> None:
    frames = two_frames(channel=np.array([1, 0], np.uint8), channels=("", "vcan10"))

    assert candump_text(frames, labels=True) == (
        b"(0000000000.000236) vcan10 1E5#440A 0\n(0000000012.500000) can0 0CF00C03# 1\n"
    )


@pytest.mark.parametrize(
    ("seconds", "csv", "candump"),
    [
        (-1.5, b"-1.500000", b"-0000000001.500000"),
        (1e-9, b"0.000000001", b"0000000000.000000001"),
        (-1e-9, b"-0.000000001", b"-0000000000.000000001"),
        (1700000000.0000002, b"1700000000.0000002", b"1700000000.0000002"),
        (99999999999.0, b"99999999999.000000", b"99999999999.000000"),
        (0.1 + 0.2, b"0.30000000000000004", b"0000000000.30000000000000004"),
    ],
)
def test_a_time_has_the_digits_that_tell_it_from_every_other(seconds: float, csv: bytes, candump: bytes) -> None:
    frames = two_frames(timestamp=np.array([seconds, 0.25]))

    lines = csv_text(frames).splitlines()[1:]

    assert lines == [csv + b",1E5,440A,0", b"0.250000,0CF00C03,,1"]
    assert candump_text(frames).startswith(b"(" + candump + b") can0 ")
    assert float(csv) == seconds
