"""Tables of frames: what is accepted, and what is refused by row and value."""

import numpy as np
import pandas as pd
import pytest

from graphids.core.frames import DataError
from mlflow_graphids.frames_schema import frames_from_table

ONE = {"timestamp": [0.5], "arbitration_id": ["1A4"], "data_field": ["DEAD"]}


def test_a_row_becomes_a_frame() -> None:
    frames = frames_from_table(pd.DataFrame(ONE))

    assert frames.timestamp.tolist() == [0.5]
    assert frames.arbitration_id.tolist() == [0x1A4]
    assert frames.dlc.tolist() == [2]
    assert frames.payload.tolist() == [[0xDE, 0xAD, 0, 0, 0, 0, 0, 0]]
    assert frames.is_extended.tolist() == [False]
    assert frames.channels == ("",)


@pytest.mark.parametrize(
    ("written", "number", "is_extended"),
    [
        ("1a4", 0x1A4, False),
        ("0x1A4", 0x1A4, False),
        ("1E5", 0x1E5, False),  # a number to pandas, an identifier to us
        ("000001A4", 0x1A4, True),
        ("0x18FEF100", 0x18FEF100, True),
        ("800", 0x800, True),
        (0x1A4, 0x1A4, False),
        (0x18FEF100, 0x18FEF100, True),
    ],
)
def test_an_identifier_has_29_bits_if_it_needs_them_or_is_written_with_eight_digits(
    written: str | int, number: int, is_extended: bool
) -> None:
    frames = frames_from_table(pd.DataFrame({**ONE, "arbitration_id": [written]}))

    assert (frames.arbitration_id[0], frames.is_extended[0]) == (number, is_extended)


@pytest.mark.parametrize("value", [420, 0x18FEF100])
def test_integers_are_refused_as_identifiers_where_only_strings_are_expected(value: int) -> None:
    table = pd.DataFrame({**ONE, "arbitration_id": pd.Series([value], dtype=object)})

    with pytest.raises(ValueError, match=rf"Row 0: arbitration_id is {value}, expected a string of hex such as '1A4'"):
        frames_from_table(table, integer_ids=False)
    assert frames_from_table(pd.DataFrame(ONE), integer_ids=False).arbitration_id.tolist() == [0x1A4]


def test_an_empty_payload_is_a_frame_of_zero_bytes() -> None:
    frames = frames_from_table(pd.DataFrame({**ONE, "data_field": [""]}))

    assert frames.dlc.tolist() == [0]
    assert not frames.payload.any()


def test_channels_are_numbered_in_order_of_appearance() -> None:
    table = pd.DataFrame({name: values * 3 for name, values in ONE.items()} | {"channel": ["can1", "can0", "can1"]})

    frames = frames_from_table(table)

    assert frames.channels == ("can1", "can0")
    assert frames.channel.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("arbitration_id", "XYZ"),
        ("arbitration_id", ""),
        ("arbitration_id", " 1A4"),
        ("arbitration_id", "20000000"),
        ("arbitration_id", "1A4h"),
        ("arbitration_id", -1),
        ("arbitration_id", 0x20000000),
        ("arbitration_id", 420.0),
        ("arbitration_id", True),
        ("arbitration_id", None),
        ("data_field", "DEA"),
        ("data_field", "DE AD"),
        ("data_field", "0xDE"),
        ("data_field", "GG"),
        ("data_field", "00" * 9),
        ("data_field", None),
        ("data_field", 12),
        ("channel", None),
        ("channel", 1),
        ("channel", ""),  # beside another name
        ("channel", "can\n0"),
        ("channel", "can0\0"),
        ("channel", "c" * 65),
    ],
)
def test_a_bad_value_is_refused_with_its_row_and_what_was_expected(column: str, value: object) -> None:
    table = pd.DataFrame({name: pd.Series(values * 2, dtype=object) for name, values in ONE.items()})
    table["timestamp"] = [0.0, 0.1]
    table["channel"] = pd.Series(["can0", "can0"], dtype=object)
    table.at[1, column] = value

    with pytest.raises(ValueError, match=rf"Row 1: {column} is .*, expected "):
        frames_from_table(table)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_timestamp_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"Row 0: timestamp is .*, expected a finite number of seconds"):
        frames_from_table(pd.DataFrame({**ONE, "timestamp": [value]}))


@pytest.mark.parametrize("value", ["0.5", pd.Timestamp("2020-01-01"), True])
def test_a_timestamp_column_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"Column 'timestamp' holds .*, expected numbers"):
        frames_from_table(pd.DataFrame({**ONE, "timestamp": [value]}))


@pytest.mark.parametrize("value", [None, True, "0.5", 10**400, [0.5], float("nan"), float("inf")])
def test_a_column_of_objects_holds_seconds_only_where_every_value_is_a_finite_number(value: object) -> None:
    table = pd.DataFrame({name: pd.Series(values * 2, dtype=object) for name, values in ONE.items()})
    table.at[1, "timestamp"] = value

    with pytest.raises(DataError, match=r"Row 1: timestamp is .*, expected a finite number of seconds"):
        frames_from_table(table)
    table.at[1, "timestamp"] = 1
    assert frames_from_table(table).timestamp.tolist() == [0.5, 1.0]


def test_a_channel_without_a_name_is_the_only_one() -> None:
    assert frames_from_table(pd.DataFrame({**ONE, "channel": [""]})).channels == ("",)


@pytest.mark.parametrize("column", ["timestamp", "arbitration_id", "data_field", "channel"])
def test_a_column_that_stands_twice_is_refused(column: str) -> None:
    table = pd.DataFrame({**ONE, "channel": ["can0"]})

    with pytest.raises(DataError, match=f"column '{column}' more than once, expected one"):
        frames_from_table(pd.concat([table, table[[column]]], axis=1))


def test_a_message_does_not_repeat_a_value_of_megabytes() -> None:
    with pytest.raises(DataError) as refused:
        frames_from_table(pd.DataFrame({**ONE, "data_field": ["F" * 1_000_000]}))

    assert "FFF...FFF" in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"no column 'data_field'; found \['timestamp', 'arbitration_id'\]"):
        frames_from_table(pd.DataFrame(ONE).drop(columns="data_field"))


def test_something_else_than_a_table_is_refused() -> None:
    with pytest.raises(TypeError, match="Expected a pandas DataFrame of frames, found dict"):
        frames_from_table(ONE)  # type: ignore[arg-type]


EPOCH_S = 1_700_000_000.0


def drive(start_s: float, dtype: str) -> pd.DataFrame:
    """600 frames a millisecond apart."""
    times = start_s + np.arange(600) * 1e-3
    return pd.DataFrame({"timestamp": times, "arbitration_id": "1A4", "data_field": "00"}).astype({"timestamp": dtype})


@pytest.mark.parametrize(
    ("start_s", "dtype", "step"),
    [
        (EPOCH_S, "float32", r"128 s"),
        (EPOCH_S, "Float32", r"128 s"),
        (EPOCH_S, "float[pyarrow]", r"128 s"),
        (90_000.0, "float32", r"0\.0078125 s"),  # of the day, or since the ignition of yesterday
        (2_000.0, "float32", r"0\.00012207 s"),
        (10.0, "float16", r"0\.0078125 s"),
    ],
)
def test_times_of_less_than_float64_are_refused_where_their_step_is_coarse(
    start_s: float, dtype: str, step: str
) -> None:
    with pytest.raises(DataError, match=rf"Column 'timestamp' is (float32|float16): at .* its step is {step}.*float64"):
        frames_from_table(drive(start_s, dtype))


@pytest.mark.parametrize("start_s", [EPOCH_S, 90_000.0, 2_000.0])
def test_float64_that_was_float32_before_is_refused(start_s: float) -> None:
    """As MLflow hands a table of float32 on."""
    once_float32 = drive(start_s, "float32").astype({"timestamp": "float64"})

    with pytest.raises(DataError, match=r"Column 'timestamp' is float64 that holds values of float32: at .* its step"):
        frames_from_table(once_float32)


@pytest.mark.parametrize(("start_s", "dtype"), [(0.0, "float32"), (500.0, "float32"), (EPOCH_S, "float64")])
def test_times_that_their_type_holds_finely_are_taken(start_s: float, dtype: str) -> None:
    assert len(frames_from_table(drive(start_s, dtype))) == 600


def test_times_that_are_exact_in_float32_are_not_taken_for_rounded_ones() -> None:
    eighths = drive(0.0, "float64").assign(timestamp=90_000.0 + np.arange(600) / 8)

    assert frames_from_table(eighths).timestamp.tolist() == eighths["timestamp"].tolist()
