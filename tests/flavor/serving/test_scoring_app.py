"""What the scoring server answers: the model's scores, or a sentence with the right status; never its own insides."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from mlflow_graphids import load_model, save_model
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from mlflow_graphids.serving.scoring_app import MAX_WINDOWS
from support.scoring_client import CSV, JSON, ask, running, split_body
from support.tiny_model import tiny_profile_classifier

COLUMNS = ["timestamp", "arbitration_id", "data_field", "channel"]


@pytest.fixture(scope="module")
def url(model: VerifiedClassifier) -> Iterator[str]:
    with running(model) as address:
        yield address


@pytest.fixture
def on_a_bus(table: pd.DataFrame) -> pd.DataFrame:
    """Every column of a request."""
    return table.assign(channel="can0")


def bodies(table: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The same table in every format that the server takes: content type and body."""
    records = json.loads(table.to_json(orient="records", double_precision=15))
    return {
        "dataframe_split": (JSON, split_body(table)),
        "dataframe_records": (JSON, json.dumps({"dataframe_records": records})),
        "instances": (JSON, json.dumps({"instances": records})),
        "inputs": (JSON, json.dumps({"inputs": table.to_dict(orient="list")})),
        "csv": (CSV, table.to_csv(index=False)),
    }


@pytest.mark.parametrize("name", ["dataframe_split", "dataframe_records", "instances", "inputs", "csv"])
def test_every_format_gets_the_scores_of_the_model_in_process(
    url: str, model: VerifiedClassifier, on_a_bus: pd.DataFrame, name: str
) -> None:
    content_type, body = bodies(on_a_bus)[name]

    answer = ask(url, body, content_type)

    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    pd.testing.assert_frame_equal(answer.scores, model.predict(on_a_bus), rtol=1e-12)


def test_with_a_profile_every_bus_of_every_request_begins_anew(table: pd.DataFrame, tmp_path: Path) -> None:
    digest = save_model(tiny_profile_classifier(), tmp_path / "m")
    model = load_model(tmp_path / "m", expected_digest=digest)
    both = pd.concat([table.assign(channel="can0"), table.assign(channel="can1")])

    with running(model) as url:
        first, second, of_both = (
            ask(url, split_body(asked)) for asked in (table, table, both.sort_values("timestamp"))
        )
    by_pyfunc = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(table)

    assert first.scores["score"].std() > 0
    assert first.scores["is_covered"].all()
    pd.testing.assert_frame_equal(second.scores, first.scores)
    pd.testing.assert_frame_equal(by_pyfunc, first.scores, rtol=1e-12)
    for bus in ("can0", "can1"):
        own = of_both.scores[of_both.scores["channel"] == bus]
        np.testing.assert_allclose(own["score"], first.scores["score"])


def test_params_count_and_every_answer_names_the_digest_of_the_model(
    url: str, model: VerifiedClassifier, table: pd.DataFrame
) -> None:
    settings = {"threshold": 0.65, "stride": 1, "top_k": 10**30}

    answer = ask(url, split_body(table, **settings))

    pd.testing.assert_frame_equal(answer.scores, model.predict(table, settings), rtol=1e-12)
    assert answer.headers["graphids-digest"] == model.digest


def test_an_answer_says_which_bus_the_model_cannot_judge_and_gives_its_scores_all_the_same(
    url: str, table: pd.DataFrame
) -> None:
    """The bus of another vehicle beside the model's own."""
    other = table.assign(arbitration_id="7A5")
    both = pd.concat([table.assign(channel="can0"), other.assign(channel="can1")])

    covered, mixed = ask(url, split_body(table)), ask(url, split_body(both))

    assert (covered.headers["graphids-covered"], mixed.headers["graphids-covered"]) == ("true", "false")
    ids = table["arbitration_id"].nunique()
    known, unknown = (
        {"coverage": share, "id_coverage": share, "is_covered": bool(share)}
        | {"frames": len(table), "known_frames": share * len(table), "ids": number, "known_ids": share * number}
        for share, number in ((1.0, ids), (0.0, 1))
    )
    assert json.loads(covered.text)["coverage"] == [{"channel": "", **known}]
    assert json.loads(mixed.text)["coverage"] == [{"channel": "can0", **known}, {"channel": "can1", **unknown}]
    for column in ("coverage", "bus_coverage", "bus_id_coverage", "is_covered"):
        assert mixed.scores.groupby("channel")[column].mean().to_dict() == {"can0": 1.0, "can1": 0.0}


def test_ping_health_and_version_are_those_of_mlflow(url: str) -> None:
    for path, text in (("/ping", "\n"), ("/health", "\n"), ("/version", mlflow.__version__)):
        answer = ask(url + path, method="GET", content_type=None)
        assert (answer.status, answer.text) == (200, text)


@pytest.mark.parametrize("orient", ["dataframe_split", "dataframe_records", "instances", "inputs"])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_value_is_refused_in_every_column_and_format(
    url: str, on_a_bus: pd.DataFrame, column: str, orient: str
) -> None:
    values = on_a_bus.astype(object)
    values.loc[3, column] = None
    records = [{k: None if v is None or v != v else v for k, v in row.items()} for row in values.to_dict("records")]
    content: dict[str, Any] = {
        "dataframe_split": {"columns": COLUMNS, "data": [list(row.values()) for row in records]},
        "inputs": {name: [row[name] for row in records] for name in COLUMNS},
    }

    answer = ask(url, json.dumps({orient: content.get(orient, records)}))

    assert answer.status == 400
    assert answer.message.startswith(f"Row 3: {column} is None, expected ")


# As a payload the empty text is a frame of no bytes: csv has no other way to write one.
@pytest.mark.parametrize("column", ["timestamp", "arbitration_id", "channel"])
def test_an_empty_field_of_csv_is_a_missing_value(url: str, on_a_bus: pd.DataFrame, column: str) -> None:
    values = on_a_bus.astype(str)
    values.loc[3, column] = ""

    answer = ask(url, values.to_csv(index=False), CSV)

    assert answer.status == 400
    assert answer.message.startswith(f"Row 3: {column} is '', expected ")


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "1e999", "1_000", "0x10", " 1", "1,5", "true"])
def test_a_timestamp_of_csv_that_is_no_finite_number_is_refused(url: str, table: pd.DataFrame, value: str) -> None:
    values = table.astype({"timestamp": str})
    values.loc[0, "timestamp"] = value

    answer = ask(url, values.to_csv(index=False), CSV)

    assert answer.status == 400
    assert answer.message.startswith("Row 0: timestamp is ")
    assert "expected a finite number of seconds" in answer.message


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1e300", "9" * 400, "true", '"0.5"', "[0.5]", "{}"])
def test_a_timestamp_of_json_that_is_no_finite_number_is_refused(url: str, table: pd.DataFrame, value: str) -> None:
    rows = json.loads(split_body(table))["dataframe_split"]
    rows["data"][0][0] = "@"

    answer = ask(url, json.dumps({"dataframe_split": rows}).replace('"@"', value))

    assert answer.status == 400
    assert answer.message.startswith("Row 0: timestamp is ")


def test_microseconds_are_not_scored_as_seconds(url: str, table: pd.DataFrame) -> None:
    drive = pd.concat([table] * 10).assign(timestamp=[1000.0 * row for row in range(120)])

    answer = ask(url, split_body(drive))

    assert answer.status == 400
    assert answer.message.startswith("The table: the median gap between 120 frames of 3 IDs is 1000")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"threshold": "0.5"}, "threshold is '0.5', expected a finite number of at least 0"),
        ({"threshold": True}, "threshold is True, expected a finite number"),
        ({"threshold": -0.1}, "threshold is -0.1, expected a finite number of at least 0"),
        ({"threshold": 10**400}, "threshold is 1000"),
        ({"threshold": [0.5]}, r"threshold is [0.5], expected a finite number"),
        ({"stride": 0}, "stride is 0, expected a whole number of at least 1"),
        ({"stride": -5}, "stride is -5, expected a whole number of at least 1"),
        ({"stride": 1.5}, "stride is 1.5, expected a whole number of at least 1"),
        ({"top_k": -1}, "top_k is -1, expected a whole number of at least 0"),
        ({"top_k": "3"}, "top_k is '3', expected a whole number"),
        ({"treshold": 0.5}, "params holds ['treshold'], expected some of ['threshold', 'stride', 'top_k']"),
    ],
)
def test_a_param_that_is_none_is_refused(url: str, table: pd.DataFrame, params: dict[str, Any], message: str) -> None:
    answer = ask(url, split_body(table, **params))

    assert answer.status == 400
    assert answer.message.startswith(message)


@pytest.mark.parametrize("threshold", ["NaN", "1e999", "-1e999"])
def test_a_threshold_that_is_not_finite_is_refused(url: str, table: pd.DataFrame, threshold: str) -> None:
    """No score reaches infinity, and none compares with NaN: every window would be benign."""
    answer = ask(url, split_body(table, threshold="@").replace('"@"', threshold))

    assert answer.status == 400
    assert "expected a finite number" in answer.message or "The body holds NaN" in answer.message


def test_a_stride_beyond_the_capture_scores_its_first_window(url: str, table: pd.DataFrame) -> None:
    assert ask(url, split_body(table, stride=2**70)).scores["start_s"].tolist() == [0.0]


def test_fewer_frames_than_a_window_are_refused_and_not_benign(url: str, table: pd.DataFrame) -> None:
    for rows in (0, 3):
        answer = ask(url, split_body(table.head(rows)))
        assert answer.status == 400
        assert answer.message.startswith("Too few frames for a score: found ")


def test_a_request_of_too_many_windows_is_refused(url: str, table: pd.DataFrame) -> None:
    frames = pd.concat([table] * (MAX_WINDOWS // len(table) + 2))

    answer = ask(url, split_body(frames, stride=1))

    assert answer.status == 400
    assert f"expected at most {MAX_WINDOWS} in one request: send fewer frames, or a larger stride" in answer.message


@pytest.mark.parametrize(
    ("content_type", "headers", "message"),
    [
        (None, {}, "Content-Type is '', expected one of ['application/json', 'text/csv']"),
        ("application/vnd.apache.parquet", {}, "Content-Type is 'application/vnd.apache.parquet', expected one of"),
        ("application/x-www-form-urlencoded", {}, "expected one of"),
        ("application/json; charset=latin-1", {}, "expected no parameter but charset=utf-8"),
        ("text/csv; header=absent", {}, "expected no parameter but charset=utf-8"),
        (JSON, {"Content_Encoding": "gzip"}, "Content-Encoding is 'gzip', expected none"),
    ],
)
def test_a_body_in_another_form_is_415(
    url: str, table: pd.DataFrame, content_type: str | None, headers: dict[str, str], message: str
) -> None:
    answer = ask(url, split_body(table), content_type, **headers)

    assert answer.status == 415
    assert message in answer.message


def test_an_explicit_utf_8_is_taken(url: str, table: pd.DataFrame) -> None:
    assert ask(url, split_body(table), 'Application/JSON; charset="UTF-8"').status == 200


def test_params_in_the_address_are_refused_instead_of_ignored(url: str, table: pd.DataFrame) -> None:
    answer = ask(f"{url}/invocations?threshold=0.9", split_body(table))

    assert (answer.status, answer.message[:23]) == (400, "The address has a query")


@pytest.mark.parametrize(
    ("method", "path", "status", "error_code"),
    [
        ("GET", "/invocations", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/invocations", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/ping", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/", 404, "ENDPOINT_NOT_FOUND"),
        ("POST", "/invocations/", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/../etc/passwd", 404, "ENDPOINT_NOT_FOUND"),
        ("GET", "/docs", 404, "ENDPOINT_NOT_FOUND"),
    ],
)
def test_another_method_or_address_is_told_what_there_is(
    url: str, method: str, path: str, status: int, error_code: str
) -> None:
    answer = ask(url + path, method=method)

    assert (answer.status, json.loads(answer.text)["error_code"]) == (status, error_code)
    assert "expected POST /invocations or GET /ping, /health, /version" in answer.message


def test_a_failure_of_the_server_stays_in_its_log(
    model: VerifiedClassifier, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("inside /srv/graphids")

    monkeypatch.setattr("mlflow_graphids.serving.scoring_app._score", fail)
    # uvicorn's own handler writes past caplog, which listens at the root.
    with running(model) as url, caplog.at_level(logging.ERROR):
        logging.getLogger("uvicorn").propagate = True
        answer = ask(url, split_body(table))

    assert answer.status == 500
    assert json.loads(answer.text) == {
        "error_code": "INTERNAL_ERROR",
        "message": "The server failed on this request; its log says why.",
    }
    assert "inside /srv/graphids" in caplog.text


def test_a_refusal_names_neither_files_nor_code(url: str, table: pd.DataFrame) -> None:
    for body in (b"{", split_body(table.drop(columns="data_field")), split_body(table.assign(data_field="XY"))):
        answer = ask(url, body)
        assert set(json.loads(answer.text)) == {"error_code", "message"}
        assert "Traceback" not in answer.text
        assert str(Path(__file__).parents[2]) not in answer.text
        assert "\n" not in answer.message
