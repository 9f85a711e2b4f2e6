"""Incidents as people, programs and SIEMs read them."""

import csv
import io
import json
import re
from dataclasses import replace

import jsonschema
import pytest

from graphids.core.incidents.event_words import EVENT_WORDS, SEVERITIES
from graphids.core.incidents.formats import COLUMNS, FORMATS, format_for
from graphids.core.incidents.incident import EVENTS, Incident
from support.incidents import FLOOD, HOSTILE, SILENCE, hostile_incident
from support.paths import ROOT

SCHEMA = json.loads((ROOT / "docs" / "incident.schema.json").read_text())


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _cef(line: str) -> tuple[list[str], dict[str, str]]:
    """A line of CEF read by the standard's rules: a regular expression that knows nothing of the writer."""
    fields = re.fullmatch(r"((?:(?:\\.|[^\\|])*\|){7})(.*)", line)
    assert fields, line
    header, extension = re.findall(r"((?:\\.|[^\\|])*)\|", fields[1]), fields[2]
    pairs = re.findall(r"(\w+)=((?:\\.|[^\\=])*?)(?= \w+=|$)", extension)
    decoded = {"n": "\n", "r": "\r"}
    return (
        [re.sub(r"\\(.)", r"\1", field) for field in header],
        {key: re.sub(r"\\(.)", lambda m: decoded.get(m[1], m[1]), value) for key, value in pairs},
    )


def test_a_person_reads_when_what_where_how_sure_and_why() -> None:
    assert FORMATS["text"].write(FLOOD, "").splitlines() == [
        "HIGH    Message too frequent (dos)  2009-02-13 23:31:30.500 to 23:31:42.900 UTC, 12.40 s, on can0 of red van",
        "        0x000 0.98, 0x1A4 0.41; score 0.998 in 188 windows; 2 not reported on their own; only 62% of the "
        "frames known",
        "        0x000 sent 1,824 times a second, at most 0 in 34 minutes of profile",
    ]


def test_seconds_stand_where_a_clock_does_not_count_from_1970_and_empty_names_leave_no_trace() -> None:
    assert FORMATS["text"].write(SILENCE, "drive.log").splitlines()[0] == (
        "MEDIUM  Message missing  12.500 s to 13.400 s, still going on after 0.90 s, in drive.log"
    )


def test_colour_is_for_terminals_and_never_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = format_for("text", _Terminal()).write(FLOOD, "")

    assert coloured.startswith("\x1b[1;31mHIGH   \x1b[0m ")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == FORMATS["text"].write(FLOOD, "")
    assert format_for("text", io.StringIO()) is FORMATS["text"]
    assert format_for("csv", _Terminal()) is FORMATS["csv"]
    monkeypatch.setenv("NO_COLOR", "1")
    assert format_for("text", _Terminal()) is FORMATS["text"]


@pytest.mark.parametrize(
    "incident",
    [
        FLOOD,
        SILENCE,
        hostile_incident(
            event="learned", severity="low", id=FLOOD.id, arbitration_ids=FLOOD.arbitration_ids, model_digest=""
        ),
    ],
)
def test_a_json_line_fits_the_published_schema(incident: Incident) -> None:
    line = FORMATS["jsonl"].write(incident, "drive.log")

    jsonschema.validate(json.loads(line), SCHEMA)
    assert "\n" not in line
    assert line.isascii()


def test_the_schema_has_the_columns_events_and_severities_of_the_code_and_no_others() -> None:
    properties = SCHEMA["properties"]

    assert list(properties) == list(COLUMNS)
    assert properties["event"]["enum"] == list(EVENTS)
    assert properties["severity"]["enum"] == list(SEVERITIES)
    assert set(COLUMNS) - set(SCHEMA["required"]) == {"capture", "start_utc", "end_utc"}
    assert SCHEMA["additionalProperties"] is False


def test_every_event_has_words_for_people() -> None:
    assert set(EVENT_WORDS) == set(EVENTS)


def test_a_json_line_holds_utc_beside_seconds_and_how_sure_each_id_is() -> None:
    record = json.loads(FORMATS["jsonl"].write(FLOOD, ""))

    assert record["start_s"] == FLOOD.start_s
    assert record["start_utc"] == "2009-02-13T23:31:30.500000Z"
    assert dict(zip(record["arbitration_ids"], record["id_scores"], strict=True)) == dict(FLOOD.arbitration_ids)
    assert "capture" not in record
    assert "start_utc" not in json.loads(FORMATS["jsonl"].write(SILENCE, ""))


def test_a_row_of_csv_is_read_back_under_its_columns() -> None:
    text = "\n".join([FORMATS["csv"].head, FORMATS["csv"].write(FLOOD, "a,b.log"), FORMATS["csv"].write(SILENCE, "")])
    first, second = csv.DictReader(io.StringIO(text))

    assert (first["capture"], first["arbitration_ids"], first["id_scores"]) == ("a,b.log", "000 1A4", "0.98 0.41")
    assert float(first["start_s"]) == FLOOD.start_s
    assert first["context"].split(" | ") == list(FLOOD.context)
    assert (second["start_utc"], second["ongoing"]) == ("", "True")


def test_cef_has_the_fields_that_a_siem_knows() -> None:
    header, fields = _cef(FORMATS["cef"].write(FLOOD, "drive.log"))

    assert header[:3] == ["CEF:0", "graphids", "graphids"]
    assert header[4:] == ["too_frequent", "Message too frequent", "8"]
    assert fields["start"] == "1234567890500"
    assert fields["end"] == fields["rt"] == "1234567902900"
    assert fields["msg"] == FLOOD.reason
    assert (fields["cs1Label"], fields["cs1"]) == ("arbitrationIds", "000:0.980 1A4:0.410")
    assert (fields["deviceInboundInterface"], fields["cnt"], fields["fname"]) == ("can0", "188", "drive.log")


def test_cef_gives_seconds_under_a_label_where_a_clock_does_not_count_from_1970() -> None:
    _, fields = _cef(FORMATS["cef"].write(SILENCE, ""))

    assert not {"rt", "start", "end", "fname", "deviceInboundInterface"} & fields.keys()
    assert (fields["cfp3Label"], fields["cfp3"]) == ("startSeconds", "12.5")


@pytest.mark.parametrize(("severity", "number"), [("low", "3"), ("medium", "6"), ("high", "8"), ("odd", "5")])
def test_cef_ranks_severity_as_the_standard_does(severity: str, number: str) -> None:
    assert _cef(FORMATS["cef"].write(replace(FLOOD, severity=severity), ""))[0][6] == number


def test_hostile_text_adds_neither_a_field_nor_a_line_to_cef() -> None:
    line = FORMATS["cef"].write(hostile_incident(), HOSTILE)
    expected = _cef(FORMATS["cef"].write(FLOOD, "drive.log"))
    header, fields = _cef(line)

    assert line.isprintable()
    assert len(header) == 7
    assert fields.keys() == expected[1].keys()
    assert fields["msg"] == HOSTILE.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e").replace("\u2028", r"\u2028")


def test_values_of_cef_are_no_longer_than_the_standard_allows() -> None:
    _, fields = _cef(FORMATS["cef"].write(replace(FLOOD, reason="=" * 2000, id="a" * 99), ""))

    assert len(fields["msg"]) == 1023
    assert len(fields["externalId"]) == 40


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_text_starts_no_line_and_moves_no_cursor(name: str) -> None:
    lines = FORMATS[name].write(hostile_incident(), HOSTILE)

    assert len(lines.splitlines()) == (3 if name == "text" else 1)
    assert lines.replace("\n", "").isprintable()


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20")
def test_no_cell_of_csv_is_a_formula_where_semicolons_separate_cells_either(sign: str, separator: str) -> None:
    line = FORMATS["csv"].write(replace(SILENCE, vehicle=f"{sign}1+1", channel=f"can0; {sign}1;{sign}2"), "")

    (row,) = csv.reader([line], delimiter=separator)

    assert not [cell for cell in row if cell.lstrip().startswith(sign) and cell != "-1"]


def test_no_cell_of_csv_is_a_formula() -> None:
    (row,) = csv.reader([FORMATS["csv"].write(hostile_incident(), HOSTILE)])

    texts = [cell for name, cell in zip(COLUMNS, row, strict=True) if name != "loudest_window"]  # -1 for none

    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@"))]
    assert len(row) == len(COLUMNS)
