"""Rows are what the published schema says."""

import json

import jsonschema  # type: ignore[import-untyped]
import pytest

from graphids.core.incidents.detection import Subject, incidents_of
from graphids.core.incidents.incident import EVENTS
from graphids.core.incidents.incident_rows import COLUMNS, row_of
from support.paths import ROOT
from support.scripted_drive import WINDOW, Says, drive

SCHEMA = json.loads((ROOT / "docs" / "incident.schema.json").read_text())


def test_the_schema_names_every_column_and_every_event_and_nothing_else() -> None:
    assert tuple(SCHEMA["properties"]) == ("capture", *COLUMNS)
    assert SCHEMA["properties"]["event"]["enum"] == list(EVENTS)


@pytest.mark.parametrize("begin_s", [0.0, 1.7e9])
@pytest.mark.parametrize("coverage", [1.0, 0.0])
def test_a_row_is_valid(begin_s: float, coverage: float) -> None:
    script = [Says("unknown_id", 0x700 + k, begin_s + 12, begin_s + 13) for k in range(20)]
    whole = drive(30.0, *script, Says("learned", 0x7FF, begin_s + 12, begin_s + 15), coverage=coverage, begin_s=begin_s)

    (row,) = map(row_of, incidents_of([whole], Subject(WINDOW, vehicle="Lab 1", model_digest="0" * 64)))

    jsonschema.validate(json.loads(json.dumps(row)), SCHEMA)
    assert ("start_utc" in row) == (begin_s > 0)
