"""Predictions in process and through `mlflow.pyfunc`: no value and no setting turns into a silent "normal"."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.types.schema import Array

from graphids.core.frames import DataError
from graphids.core.incidents.incident_rows import COLUMNS
from mlflow_graphids import NotCoveredWarning
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from support.scoring_client import ask, running, split_body


@pytest.fixture(scope="module")
def pyfunc(pristine: tuple[Path, str]) -> Any:
    return mlflow.pyfunc.load_model(str(pristine[0]))


def with_value(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    changed = table.assign(channel="can0").astype({column: object})
    changed.loc[5, column] = value
    return changed.astype({"timestamp": float}) if column == "timestamp" else changed


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("timestamp", None),
        ("timestamp", np.inf),
        ("arbitration_id", None),
        ("data_field", None),
        ("data_field", np.nan),
        ("channel", None),
    ],
)
def test_a_missing_or_infinite_value_is_refused_in_process_and_by_pyfunc(
    model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame, column: str, value: object
) -> None:
    changed = with_value(table, column, value)

    with pytest.raises(DataError, match=f"Row 5: {column} is "):
        model.predict(changed)
    with pytest.raises(ValueError, match=f"Row 5: {column} is "):
        pyfunc.predict(changed)


@pytest.mark.parametrize("milliseconds_since_1970", [1.7e12, -1e300])
def test_a_timestamp_beyond_any_recording_is_refused(
    model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame, milliseconds_since_1970: float
) -> None:
    changed = with_value(table, "timestamp", milliseconds_since_1970)

    for predict in (model.predict, pyfunc.predict):
        with pytest.raises(DataError, match=r"Row 5: timestamp is -?1\S+, expected a .* seconds, less than 1e\+11"):
            predict(changed)


@pytest.mark.parametrize(
    ("unit_s", "message"),
    [
        (1e6, r"The table: the median gap .* if these are microseconds, divide them by 1000000"),
        (-1.0, r"The table: time goes back at 119 of the first 120 frames\. Expected .* strip the sign"),
    ],
)
def test_times_that_cannot_be_seconds_in_recorded_order_are_refused(
    model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame, unit_s: float, message: str
) -> None:
    drive = pd.concat([table] * 10).assign(timestamp=np.arange(120) * 1e-3 * unit_s)

    for predict in (model.predict, pyfunc.predict):
        with pytest.raises(DataError, match=message):
            predict(drive)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1.5, 2, "0.5", True])
def test_a_threshold_that_no_score_could_be_compared_with_is_refused(
    model: VerifiedClassifier, table: pd.DataFrame, value: object
) -> None:
    with pytest.raises(DataError, match=r"threshold is .*, expected a finite number of at least 0"):
        model.predict(table, {"threshold": value})


@pytest.mark.parametrize(("name", "value"), [("stride", 2.5), ("stride", 0), ("top_k", -1), ("top_k", 1.0)])
def test_a_count_is_a_whole_number(model: VerifiedClassifier, table: pd.DataFrame, name: str, value: float) -> None:
    with pytest.raises(DataError, match=f"{name} is {value}, expected a whole number of at least "):
        model.predict(table, {name: value})


def test_settings_of_numpy_and_settings_left_open_are_taken(model: VerifiedClassifier, table: pd.DataFrame) -> None:
    plain = model.predict(table, {"threshold": 0.5, "stride": 2, "top_k": 3})
    numpy = {"threshold": np.float32(0.5), "stride": np.int32(2), "top_k": None}

    pd.testing.assert_frame_equal(model.predict(table, numpy), plain)


def test_more_ids_than_a_window_has_are_all_that_it_has(model: VerifiedClassifier, table: pd.DataFrame) -> None:
    everything = model.predict(table, {"top_k": 2**70, "threshold": 0.0})

    pd.testing.assert_frame_equal(everything, model.predict(table, {"top_k": 4, "threshold": 0.0}))


def test_a_bus_that_the_model_cannot_judge_is_marked_in_every_row_and_warned_of(
    model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame
) -> None:
    """Of can1 the model knows a third of the frames, and all of those of its first window."""
    other = table.assign(channel="can1")
    is_strange = np.arange(len(table)) >= len(table) // 3
    other["arbitration_id"] = other["arbitration_id"].mask(is_strange, "7A5")
    both = pd.concat([table.assign(channel="can0"), other])
    share = 1 - is_strange.mean()

    for predict in (model.predict, pyfunc.predict):
        with pytest.warns(NotCoveredWarning, match=r"Not covered, bus 'can1': the model knows \d\d\.\d% of the frames"):
            rows = predict(both)
        judged = rows.groupby("channel")[["is_covered", "bus_coverage"]].agg(["min", "max"])
        assert judged.to_numpy().tolist() == [[True, True, 1.0, 1.0], [False, False, *[pytest.approx(share)] * 2]]
        assert rows[rows["channel"] == "can1"]["coverage"].iloc[0] == 1.0


def test_rows_have_the_columns_and_types_of_the_signature(
    pyfunc: Any, table: pd.DataFrame, recwarn: pytest.WarningsRecorder
) -> None:
    rows = pyfunc.predict(table)

    types = {"double": "f", "boolean": "b", "string": "O", "long": "i"}
    schema = pyfunc.metadata.get_output_schema()
    assert {name: dtype.kind for name, dtype in rows.dtypes.items()} == {
        c.name: "O" if isinstance(c.type, Array) else types[c.type.name] for c in schema.inputs
    }
    assert not [warning for warning in recwarn if issubclass(warning.category, NotCoveredWarning)]


def test_rows_have_their_number_and_a_list_of_ids_at_every_door(
    model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame
) -> None:
    with running(model) as address:
        answer = json.loads(ask(address, split_body(table, threshold=0.0)).text)
    for rows in (model.predict(table, {"threshold": 0.0}), pyfunc.predict(table, params={"threshold": 0.0})):
        assert rows["window"].tolist() == list(range(len(rows)))
        assert all(isinstance(ids, list) and ids for ids in rows["arbitration_ids"])
        assert rows.to_dict(orient="records") == answer["predictions"]

    quiet = model.predict(table, {"threshold": 1.0})
    assert quiet["arbitration_ids"].tolist() == [[]] * len(quiet)


def test_incidents_are_the_same_at_every_door(model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame) -> None:
    asked = {"threshold": 0.0, "output": "incidents"}
    with running(model) as address:
        answer = json.loads(ask(address, split_body(table, **asked)).text)

    (served,) = answer["predictions"]
    assert (served["event"], served["windows"], served["model_digest"]) == ("learned", 5, model.digest)
    assert [bus["is_covered"] for bus in answer["coverage"]] == [True]
    for rows in (model.predict(table, asked), pyfunc.predict(table, params=asked)):
        assert tuple(rows.columns) == COLUMNS
        (row,) = rows.to_dict(orient="records")
        assert {name: value for name, value in row.items() if value is not None} == served
    none = model.predict(table, {**asked, "threshold": 1.0})
    assert (len(none), tuple(none.columns)) == (0, COLUMNS)


def test_an_output_that_there_is_not_is_refused(model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame) -> None:
    for refused in (
        lambda: model.predict(table, {"output": "incident"}),
        lambda: pyfunc.predict(table, params={"output": "incident"}),
    ):
        with pytest.raises(ValueError, match="output is 'incident', expected 'windows' or 'incidents'"):
            refused()
    with pytest.raises(ValueError, match="params holds \\['outputs'\\]"):
        model.predict(table, {"outputs": "incidents"})
    assert list(model.predict(table, {"output": None})) == list(model.predict(table, {"output": "windows"}))


@pytest.mark.parametrize("missing", [None, np.nan], ids=["None", "NaN"])
def test_a_channel_column_without_a_value_is_no_column_at_every_door(
    missing: Any, model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame
) -> None:
    expected = model.predict(table)
    empty = table.assign(channel=pd.Series([missing] * len(table), dtype=object))

    for predict in (model.predict, pyfunc.predict):
        pd.testing.assert_frame_equal(predict(empty), expected)
    with running(model) as address:
        answer = ask(address, split_body(table.assign(channel=None)))
    assert answer.status == 200, answer.text
    assert json.loads(answer.text)["predictions"] == expected.to_dict(orient="records")
