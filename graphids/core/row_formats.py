"""Rows as lines that programs read: JSON or csv."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from graphids.wording import csv_line

ROW_FORMATS = ("jsonl", "csv")


class RowFormat(NamedTuple):
    """How rows are written: each as one line, and the line before the first one, "" for none."""

    write: Callable[[Mapping[str, object]], str]
    head: str = ""


def row_format(name: str, columns: Sequence[str]) -> RowFormat:
    """The format of that name, one of `ROW_FORMATS`.

    Args:
        name: Of the format. JSON is ASCII only, so that no name in it can move a terminal's cursor.
        columns: Of csv; one that a row does not have is empty.

    >>> row_format("csv", ["capture", "windows"]).write({"windows": 3})
    ',3'
    """
    if name == "jsonl":
        return RowFormat(json.dumps)
    return RowFormat(lambda row: csv_line(row.get(column, "") for column in columns), csv_line(columns))
