"""Tables in and out of a model: frames, scored windows and incidents as DataFrames, and MLflow's signature.

Identifiers and payloads are strings of hex. MLflow has no union types, and a numeric column would turn the
identifier `1E5` into 100000; integers are accepted only without a signature in between. JSON lets them past the
signature, so `mlflow.pyfunc` refuses them: in csv 420 means 0x420, the integer 420 is 0x1A4.
"""

import contextlib
import re
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array
from numpy.typing import NDArray

from graphids.core.captures.rounded_times import require_fine_steps
from graphids.core.frames import (
    EXTENDED_BIT,
    MAX_EXTENDED_ID,
    MAX_PAYLOAD_BYTES,
    MAX_STANDARD_ID,
    MAX_TIMESTAMP_S,
    DataError,
    Frames,
    hex_node_key,
)
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.incident_rows import COLUMNS, row_of
from graphids.core.window_scores import WindowScores

REQUIRED_COLUMNS = ("timestamp", "arbitration_id", "data_field")
OPTIONAL_COLUMNS = ("channel",)
MAX_BUSES = 256  # Frames.channel is a byte
MAX_BUS_NAME = 64  # characters; every row of the answer repeats the name

_HEX_PAYLOAD = re.compile(r"(?:[0-9A-Fa-f]{2}){0,8}")
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80
_REPR.maxlist = 12
_EXPECTED_SECONDS = f"a finite number of seconds, less than {MAX_TIMESTAMP_S:g}"


def default_signature() -> ModelSignature:
    """MLflow signature of every graphids model; a param left at None takes the model's own value.

    The outputs are those of windows; with `output="incidents"` the columns are others, which MLflow does not compare.
    """
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.double, "timestamp"),
                ColSpec(DataType.string, "arbitration_id"),
                ColSpec(DataType.string, "data_field"),
                ColSpec(DataType.string, "channel", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(DataType.long, "window"),
                ColSpec(DataType.double, "start_s"),
                ColSpec(DataType.double, "end_s"),
                ColSpec(DataType.double, "score"),
                ColSpec(DataType.boolean, "alert"),
                ColSpec(DataType.string, "kind"),
                ColSpec(Array(DataType.string), "arbitration_ids"),
                ColSpec(DataType.string, "channel"),
                ColSpec(DataType.double, "coverage"),
                ColSpec(DataType.double, "id_coverage"),
                ColSpec(DataType.double, "bus_coverage"),
                ColSpec(DataType.double, "bus_id_coverage"),
                ColSpec(DataType.boolean, "is_covered"),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("threshold", DataType.double, None),
                ParamSpec("stride", DataType.long, None),
                ParamSpec("top_k", DataType.long, None),
                ParamSpec("output", DataType.string, None),
            ]
        ),
    )


def frames_from_table(table: pd.DataFrame, *, integer_ids: bool = True) -> Frames:
    """Frames of one capture, in the order of the rows.

    Args:
        table: `timestamp` (s), `arbitration_id` (hex such as "1A4" or "0x18FEF100", or integers), `data_field` (hex,
            two digits per byte, "" for no payload), optionally `channel` (str; missing in every row is no column). An
            identifier above 0x7FF, or written
            with eight digits, has 29 bits. Other columns are ignored.
        integer_ids: False refuses integers as identifiers.

    Raises:
        TypeError: If `table` is not a DataFrame.
        DataError: If a column is missing or repeated, or a value is missing, not finite or not what its column
            holds; the message names the row, counted from 0, and the value.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"Expected a pandas DataFrame of frames, found {type(table).__name__}.")
    if missing := [name for name in REQUIRED_COLUMNS if name not in table.columns]:
        raise DataError(
            f"The table has no column {', '.join(map(repr, missing))}; found {short_repr(list(table.columns))}, "
            f"expected {list(REQUIRED_COLUMNS)} and optionally 'channel'."
        )
    if repeated := [name for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS) if list(table.columns).count(name) > 1]:
        raise DataError(f"The table has column {repeated[0]!r} more than once, expected one.")
    arbitration_id, is_extended = _identifiers(table["arbitration_id"], integer_ids)
    payload, dlc = _payloads(table["data_field"].tolist())
    channel, channels = _channels(table)
    return Frames(
        timestamp=_timestamps(table["timestamp"]),
        arbitration_id=arbitration_id,
        dlc=dlc,
        payload=payload,
        is_extended=is_extended,
        channel=channel,
        channels=channels,
    )


def table_from_scores(scores: WindowScores) -> pd.DataFrame:
    """One row per window, with its number, as `explain` takes it, and the coverage of its frames and of its bus.

    `arbitration_ids` is a list of strings, empty where there is no alert.
    """
    buses = [scores.bus_coverage[bus] for bus in scores.channel.tolist()]
    return pd.DataFrame(
        {
            "window": np.arange(len(scores)),
            "start_s": scores.start_s,
            "end_s": scores.end_s,
            "score": scores.score,
            "alert": scores.alert,
            "kind": scores.kind.astype(object),
            "arbitration_ids": pd.Series([list(ids) for ids in scores.arbitration_ids], dtype=object),
            "channel": scores.channel.astype(object),
            "coverage": scores.coverage,
            "id_coverage": scores.id_coverage,
            "bus_coverage": np.array([bus.share for bus in buses], np.float64),
            "bus_id_coverage": np.array([bus.id_share for bus in buses], np.float64),
            "is_covered": np.array([bus.is_enough for bus in buses], np.bool_),
        }
    )


def table_from_incidents(incidents: Sequence[Incident]) -> pd.DataFrame:
    """One row per incident with the columns of `incident_rows`, None where a row has no such field."""
    rows = [row_of(incident) for incident in incidents]
    columns = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in COLUMNS}
    numbers = {"start_s": float, "end_s": float, "score": float, "coverage": float, "windows": int, "suppressed": int}
    return pd.DataFrame(columns).astype({**numbers, "loudest_window": int, "ongoing": bool})


def _timestamps(column: "pd.Series[Any]") -> NDArray[np.float64]:
    if column.dtype == object:
        seconds = np.array([_seconds(row, value) for row, value in enumerate(column.tolist())], np.float64)
    elif pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind in "iuf":
        seconds = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        raise DataError(f"Column 'timestamp' holds {column.dtype}, expected numbers: seconds as float64.")
    # `not` around it: NaN compares false with everything.
    if (bad := np.flatnonzero(~(np.abs(seconds) < MAX_TIMESTAMP_S))).size:
        raise _value_error(int(bad[0]), "timestamp", column.iloc[bad[:1]].tolist()[0], _EXPECTED_SECONDS)
    # pandas' own Float32, and Arrow's float, name the type of numpy that they stand for.
    dtype: Any = column.dtype
    require_fine_steps("Column 'timestamp'", getattr(dtype, "numpy_dtype", dtype), seconds)
    return seconds


def _seconds(row: int, value: object) -> float:
    """A number as float; to Python a bool is an int, and an int can exceed every float."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    raise _value_error(row, "timestamp", value, _EXPECTED_SECONDS)


def _identifiers(column: "pd.Series[Any]", integer_ids: bool) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    expected = "hex such as '1A4' or '0x18FEF100', or an integer, from 0 to 0x1FFFFFFF"
    if not integer_ids:
        expected = (
            "a string of hex such as '1A4' or '0x18FEF100', from 0 to 0x1FFFFFFF: a bare number does not say whether "
            "it is hex, as in csv. Only the model that mlflow.graphids.load_model returns takes integers"
        )
    values = column.tolist()
    keys = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        key = -1
        if isinstance(value, str):
            key = hex_node_key(value)
        elif integer_ids and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_EXTENDED_ID:
            key = value | (int(EXTENDED_BIT) if value > MAX_STANDARD_ID else 0)
        if key < 0:
            raise _value_error(row, "arbitration_id", value, expected)
        keys[row] = key
    return (keys & MAX_EXTENDED_ID).astype(np.uint32), keys >= int(EXTENDED_BIT)


def _payloads(values: Sequence[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    # The regular expression first: bytes.fromhex alone would skip blanks.
    for row, value in enumerate(values):
        if not (isinstance(value, str) and _HEX_PAYLOAD.fullmatch(value)):
            raise _value_error(
                row,
                "data_field",
                value,
                f"hex with two digits per byte, at most {MAX_PAYLOAD_BYTES} bytes, '' for none "
                "(pandas reads '' as NaN unless read_csv gets keep_default_na=False)",
            )
    packed = bytes.fromhex("".join(value.ljust(2 * MAX_PAYLOAD_BYTES, "0") for value in values))
    payload = np.frombuffer(packed, np.uint8).reshape(-1, MAX_PAYLOAD_BYTES)
    return payload, np.array([len(value) // 2 for value in values], np.uint8)


def _channels(table: pd.DataFrame) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    if "channel" not in table.columns:
        return np.zeros(len(table), np.uint8), ("",)
    # A client that always sends the column has nothing to say in it where the recording names no bus.
    values = [""] * len(table) if table["channel"].isna().all() else table["channel"].tolist()
    # Among other names an empty one is a missing value, as csv writes it.
    nameless = all(value == "" for value in values)
    for row, value in enumerate(values):
        if not (isinstance(value, str) and (value or nameless) and value.isprintable() and len(value) <= MAX_BUS_NAME):
            raise _value_error(
                row,
                "channel",
                value,
                f"the bus's name, at most {MAX_BUS_NAME} printable characters, in every row or in none",
            )
    names = list(dict.fromkeys(values))
    if len(names) > MAX_BUSES:
        raise DataError(f"Column 'channel' names {len(names)} buses, expected at most {MAX_BUSES}.")
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[value] for value in values], np.uint8), tuple(names) or ("",)


def _value_error(row: int, column: str, value: object, expected: str) -> DataError:
    return DataError(f"Row {row}: {column} is {short_repr(value)}, expected {expected}.")


def short_repr(value: object) -> str:
    """`repr`, cut to a length that a message can hold; a value from outside can be megabytes long."""
    try:
        return _REPR.repr(value)
    except ValueError:  # an integer with more digits than Python prints
        return f"a number of type {type(value).__name__} too long to print"
