"""Predictions in process and through `mlflow.pyfunc`: no value and no setting turns into a silent "normal"."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from graphids.core.classifier import WindowClassifier
from graphids.core.data.frames import DataError
from mlflow_graphids import load_model, save_model
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, classifier: WindowClassifier) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("model") / "saved"
    return path, save_model(classifier, path)


@pytest.fixture(scope="module")
def model(folder: tuple[Path, str]) -> VerifiedClassifier:
    return load_model(folder[0], expected_digest=folder[1])


@pytest.fixture(scope="module")
def pyfunc(folder: tuple[Path, str]) -> Any:
    return mlflow.pyfunc.load_model(str(folder[0]))


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


def test_frames_without_a_finite_score_are_refused_and_counted(
    model: VerifiedClassifier, pyfunc: Any, table: pd.DataFrame
) -> None:
    """Gaps of 1e300 s overflow in the network; NaN would compare below the threshold."""
    far_apart = table.assign(timestamp=np.arange(len(table)) * 1e300)

    for predict in (model.predict, pyfunc.predict):
        with pytest.raises(DataError, match=r"5 of 5 windows have no finite score, the first from 0\.0 s to 3e\+300 s"):
            predict(far_apart)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, "0.5", True])
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
