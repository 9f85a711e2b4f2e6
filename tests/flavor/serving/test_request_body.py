"""Bodies of requests: the same frames in every format, and a sentence for whatever is not exactly that."""

import json
from typing import Any

import pytest

from graphids.core.frames import DataError
from mlflow_graphids.serving.request_body import parse_csv, parse_json

COLUMNS = ["timestamp", "arbitration_id", "data_field"]
ROWS = [[0.5, "1A4", "DEAD"], [1, "420", ""]]
SPLIT = {"columns": COLUMNS, "data": ROWS}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": SPLIT},
        {"dataframe_split": {**SPLIT, "index": [7, 8]}},
        {"dataframe_records": [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]},
        {"instances": [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]},
        {"inputs": {name: [row[i] for row in ROWS] for i, name in enumerate(COLUMNS)}},
    ],
)
def test_every_format_of_json_gives_the_same_table(body: dict[str, Any]) -> None:
    table, params = parse_json(as_json({**body, "params": {"stride": 2}}))

    assert table.columns.tolist() == COLUMNS
    assert table.to_numpy().tolist() == ROWS
    assert params == {"stride": 2}


def test_a_csv_body_gives_that_table_too_and_its_identifiers_stay_text() -> None:
    table, params = parse_csv(b"timestamp,arbitration_id,data_field\r\n0.5,1A4,DEAD\r\n1,420,\r\n")

    assert table.to_numpy().tolist() == ROWS
    assert params == {}


def test_labels_of_a_recorded_capture_are_left_out() -> None:
    table, _ = parse_csv(b"timestamp,arbitration_id,data_field,attack\n0.5,1A4,DEAD,1\n")

    assert table.columns.tolist() == COLUMNS


@pytest.mark.parametrize("parse", [parse_json, parse_csv])
def test_a_byte_order_mark_is_passed_over(parse: Any) -> None:
    body = as_json({"dataframe_split": SPLIT}) if parse is parse_json else ",".join(COLUMNS).encode() + b"\n1,1A4,\n"

    assert parse(b"\xef\xbb\xbf" + body)[0].columns.tolist() == COLUMNS


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty, expected frames"),
        (b"{", "The body is not JSON: .* line 1 column 2"),
        (b"\xff\xfe{\x00", "The body is not UTF-8: byte 0 is 0xff"),
        (as_json([1]), "The body is a JSON array, expected an object with one of"),
        (b"7", "The body is a JSON number, expected an object"),
        (b"null", "The body is a JSON null, expected an object"),
        (b"[" * 200_000, "The body nests too deeply"),
        (b'{"inputs":' * 100_000, "The body nests too deeply"),
        (b'{"a":' + b"9" * 5000 + b"}", "an integer of thousands of digits"),
        (b'{"inputs": {"timestamp": [NaN]}}', "The body holds NaN, which is not JSON"),
        (b'{"inputs": {"timestamp": [-Infinity]}}', "The body holds -Infinity, which is not JSON"),
        (b'{"inputs": {}, "inputs": {}}', "repeats the key 'inputs', expected every key once"),
        (b'{"instances": [{"timestamp": 1, "timestamp": 2}]}', "repeats the key 'timestamp'"),
        (as_json({}), r"The body holds \[\], expected exactly one of .*'dataframe_split'"),
        (as_json({"inputs": {}, "instances": []}), r"holds \['inputs', 'instances'\], expected exactly one of"),
        (as_json({"inputs": {}, "parms": {}}), r"holds \['inputs', 'parms'\], .* and nothing else"),
        (as_json({"inputs": {}, "params": [1]}), "'params' is a JSON array, expected an object"),
        (as_json({"dataframe_split": []}), r"'dataframe_split' is \[\], expected an object with 'columns' and 'data'"),
        (as_json({"dataframe_split": {"columns": COLUMNS}}), "expected an object with 'columns' and 'data'"),
        (as_json({"dataframe_split": {"columns": [1], "data": []}}), r"columns is \[1\], expected an array of strings"),
        (as_json({"dataframe_split": {**SPLIT, "data": 5}}), "data is a JSON number, expected an array of rows"),
        (as_json({"dataframe_split": {**SPLIT, "data": [*ROWS, [1, "1A4"]]}}), "Row 2 is .*expected an array of 3"),
        (as_json({"dataframe_split": {**SPLIT, "data": ["abc"]}}), "Row 0 is 'abc', expected an array of 3 values"),
        (as_json({"dataframe_records": {}}), "'dataframe_records' is a JSON object, expected an array of objects"),
        (as_json({"instances": [[0.5, "1A4", ""]]}), "Row 0 is .*, expected an object with the fields"),
        (
            as_json({"instances": [{"timestamp": 1}, {"timestamp": 1, "channel": "a"}]}),
            "Row 1 is .*, expected an object",
        ),
        (as_json({"inputs": [[1]]}), "'inputs' is .*, expected an object of arrays"),
        (as_json({"inputs": {"timestamp": 1}}), "'inputs' is .*, expected an object of arrays"),
        (
            as_json({"inputs": {"timestamp": [1, 2], "data_field": [""]}}),
            "columns of different lengths: .*'timestamp': 2",
        ),
        (
            as_json({"inputs": {"timestamp": [], "chanel": []}}),
            "has the column 'chanel', expected only some",
        ),
        (as_json({"dataframe_split": {"columns": [*COLUMNS, "timestamp"], "data": []}}), "'timestamp' more than once"),
    ],
)
def test_json_that_is_no_table_of_frames_is_refused_with_what_was_found(body: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_json(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is empty"),
        (b"timestamp,arbitration_id,data_field\n1,1A4\n", "csv line 2 has 2 fields, expected 3 as in the header"),
        (b"timestamp,arbitration_id,data_field\n1,1A4,,\n", "csv line 2 has 4 fields, expected 3"),
        (b"timestamp,arbitration_id,data_field\n\n", "csv line 2 has 0 fields, expected 3"),
        (b"\n" * 1000, "csv line 1 is empty, expected a header with some of"),
        (b"timestamp,timestamp\n1,2\n", "column 'timestamp' more than once"),
        (b"time,arbitration_id,data_field\n1,1A4,\n", "has the column 'time', expected only some of"),
        (b'timestamp\n"1', "csv line 2 cannot be read: unexpected end of data"),
        (b'timestamp\n"1"2\n', "csv line 2 cannot be read: ',' expected after '\"'"),
        (b"timestamp\n" + b"1" * 200_000, "csv line 2 cannot be read: field larger than field limit"),
        (b"timestamp\n\xe9", "The body is not UTF-8: byte 10 is 0xe9"),
    ],
)
def test_csv_that_is_no_table_of_frames_is_refused_with_its_line(body: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_csv(body)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(DataError) as refused:
        parse_json(as_json({"dataframe_split": {**SPLIT, "data": ["x" * 1_000_000]}}))

    assert len(str(refused.value)) < 300
