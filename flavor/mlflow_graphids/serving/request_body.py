"""The body of a scoring request: bytes in, a table of frames and the params of `predict` out.

MLflow's protocol, read strictly. MLflow's own parser lets a later key replace an earlier one, ignores what it does not
know (a misspelled threshold), reads NaN literals, and pads a csv line that is too short: each of these would score
frames that nobody sent.
"""

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from graphids.core.frames import DataError
from mlflow_graphids.frames_schema import OPTIONAL_COLUMNS, REQUIRED_COLUMNS, short_repr

# Labels in the csv files of public data sets, which a client may post unchanged; scoring never sees them.
LABEL_COLUMNS = ("attack", "attack_kind")
PARAMS_KEY = "params"

_COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, *LABEL_COLUMNS)
# No two parts of it match the same digits, or a long row of them would be tried in every division.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ROWS_AT_ONCE = 1 << 14

Request = tuple[pd.DataFrame, Mapping[str, Any]]


def parse_json(body: bytes) -> Request:
    """Table and params of a JSON body: one of `FORMATS`, and optionally `params`.

    Raises:
        DataError: If the body is not UTF-8 or not JSON (which has no NaN and repeats no key), or has another shape.
    """
    request = _decode_json(body)
    if not isinstance(request, dict):
        raise DataError(f"The body is a JSON {_json_type(request)}, expected an object with one of {list(FORMATS)}.")
    formats = [name for name in FORMATS if name in request]
    if len(formats) != 1 or set(request) - {*FORMATS, PARAMS_KEY}:
        raise DataError(
            f"The body holds {short_repr(list(request))}, expected exactly one of {list(FORMATS)}, optionally "
            f"{PARAMS_KEY!r}, and nothing else."
        )
    params = request.get(PARAMS_KEY)
    if not isinstance(params, dict | None):
        raise DataError(f"{PARAMS_KEY!r} is a JSON {_json_type(params)}, expected an object.")
    return _table(FORMATS[formats[0]](request[formats[0]], formats[0])), params or {}


def parse_csv(body: bytes) -> Request:
    """Table of a csv body with a header; a csv request has no params. Identifiers are hex: 420 is 0x420.

    Raises:
        DataError: If the body is not UTF-8, or a line has more or fewer fields than the header.
    """
    # `newline=""` and `strict`: line ends and quotes are csv's own business, and a stray quote is an error.
    lines = csv.reader(io.StringIO(_decode(body), newline=""), strict=True)
    try:
        header = next(lines, [])
        if not header:
            raise DataError(f"csv line 1 is empty, expected a header with some of {list(_COLUMNS)}.")
        _require_columns(header)
        columns: dict[str, list[Any]] = {name: [] for name in header}
        rows = _rows(lines, len(header))
        while some := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            for values, part in zip(columns.values(), zip(*some, strict=True), strict=True):
                values.extend(part)
    except csv.Error as error:
        raise DataError(f"csv line {lines.line_num} cannot be read: {error}.") from error
    if "timestamp" in columns:
        # What is not a number stays as it is; the check of the table names it.
        columns["timestamp"] = [float(text) if _NUMBER.fullmatch(text) else text for text in columns["timestamp"]]
    return _table(columns), {}


def _rows(lines: Any, width: int) -> Iterator[list[str]]:
    for row in lines:
        if len(row) != width:
            raise DataError(f"csv line {lines.line_num} has {len(row)} fields, expected {width} as in the header.")
        yield row


def _decode(body: bytes) -> str:
    if not body:
        raise DataError("The body is empty, expected frames.")
    try:
        return body.decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"The body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}.") from error


def _decode_json(body: bytes) -> Any:
    try:
        return json.loads(_decode(body), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DataError(f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise DataError("The body nests too deeply, expected a table of frames.") from error
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        # Python does not parse an integer of more than 4,300 digits: the time grows with the square of their number.
        raise DataError("The body holds an integer of thousands of digits, expected numbers of a capture.") from error


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        repeated = _first_repeated(key for key, _ in pairs)
        raise DataError(f"A JSON object repeats the key {short_repr(repeated)}, expected every key once.")
    return result


def _refuse_constant(name: str) -> Any:
    raise DataError(f"The body holds {name}, which is not JSON; expected finite numbers.")


def _json_type(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _from_split(table: Any, name: str) -> dict[str, list[Any]]:
    """`{"columns": [...], "data": [[...], ...]}`, with an optional `index`, which is ignored."""
    if not isinstance(table, dict) or set(table) - {"index"} != {"columns", "data"}:
        raise DataError(f"{name!r} is {short_repr(table)}, expected an object with 'columns' and 'data'.")
    header, rows = table["columns"], table["data"]
    if not isinstance(header, list) or not all(isinstance(column, str) for column in header):
        raise DataError(f"{name}.columns is {short_repr(header)}, expected an array of strings.")
    _require_columns(header)
    if not isinstance(rows, list):
        raise DataError(f"{name}.data is a JSON {_json_type(rows)}, expected an array of rows.")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(header):
            raise DataError(f"Row {number} is {short_repr(row)}, expected an array of {len(header)} values.")
    return {column: [row[index] for row in rows] for index, column in enumerate(header)}


def _from_records(table: Any, name: str) -> dict[str, list[Any]]:
    """`[{"timestamp": ..., ...}, ...]`, the same fields in every record."""
    if not isinstance(table, list):
        raise DataError(f"{name!r} is a JSON {_json_type(table)}, expected an array of objects.")
    header = list(table[0]) if table and isinstance(table[0], dict) else list(REQUIRED_COLUMNS)
    _require_columns(header)
    expected = set(header)
    for number, row in enumerate(table):
        if not isinstance(row, dict) or row.keys() != expected:
            raise DataError(
                f"Row {number} is {short_repr(row)}, expected an object with the fields {short_repr(header)}."
            )
    return {column: [row[column] for row in table] for column in header}


def _from_columns(table: Any, name: str) -> dict[str, list[Any]]:
    """`{"timestamp": [...], ...}`, arrays of one length."""
    if not isinstance(table, dict) or not all(isinstance(values, list) for values in table.values()):
        raise DataError(f"{name!r} is {short_repr(table)}, expected an object of arrays, one per column.")
    if len({len(values) for values in table.values()}) > 1:
        lengths = {column: len(values) for column, values in table.items()}
        raise DataError(f"{name!r} has columns of different lengths: {short_repr(lengths)}.")
    return table


# MLflow's names, and what each holds.
FORMATS: dict[str, Callable[[Any, str], dict[str, list[Any]]]] = {
    "dataframe_split": _from_split,
    "dataframe_records": _from_records,
    "instances": _from_records,
    "inputs": _from_columns,
}


def _require_columns(names: Iterable[str]) -> None:
    """Before a row is looked at: a header can name as many columns as a body has room for."""
    names = list(names)
    # A column that is ignored could be a misspelled `channel`: two buses would be scored as one.
    if (unknown := next((name for name in names if name not in _COLUMNS), None)) is not None:
        raise DataError(f"The table has the column {short_repr(unknown)}, expected only some of {list(_COLUMNS)}.")
    if (repeated := _first_repeated(names)) is not None:
        raise DataError(f"The table has column {short_repr(repeated)} more than once, expected one.")


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _table(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    _require_columns(columns)
    # As objects: pandas would turn a missing number into NaN, and true into 1.
    known = {name: values for name, values in columns.items() if name not in LABEL_COLUMNS}
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in known.items()})
