"""Names of messages and signals, from databases written by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import cantools.database
import pytest

from graphids.core.frames import DataError
from graphids.core.incidents.naming import named_incident
from graphids.core.incidents.terminal import text_lines
from graphids.core.vehicle_names import VehicleNames, read_vehicle_names
from support.incidents import SILENCE
from support.vehicle_names import DBC, KCD, SYM


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> VehicleNames:
    return read(tmp_path_factory.mktemp("names"), DBC)


def read(folder: Path, text: str | bytes, name: str = "car.dbc") -> VehicleNames:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_vehicle_names(path)


def test_an_id_is_labelled_with_its_message_and_stays_an_id_where_it_has_none(names: VehicleNames) -> None:
    assert names.label("1A4") == "EngineData (0x1A4)"
    assert names.label("1A9") == "0x1A9"


def test_a_message_is_described_by_its_signals_their_units_and_their_bytes(names: VehicleNames) -> None:
    assert names.described("1A4") == (
        "EngineData: EngineSpeed rpm (bytes 0 to 1), Throttle % (byte 2), OilTemperature °C (bytes 3 to 4)"
    )
    assert names.described("7FF") == ""


def test_an_id_of_29_bits_is_another_than_that_of_11(names: VehicleNames) -> None:
    assert names.label("000001A4") == "0x000001A4"


def test_a_message_of_j1939_has_its_name_whoever_sends_it(names: VehicleNames) -> None:
    assert names.label("18FEF1FE") == "CruiseControl (0x18FEF1FE)"
    assert names.label("0CFEF117") == "CruiseControl (0x0CFEF117)"
    assert names.label("18FEF217") == "0x18FEF217"


def test_a_payload_is_decoded_in_units_and_words(names: VehicleNames) -> None:
    assert names.decoded("1A4", bytes([0xB0, 0x0C, 250, 0, 0, 0, 0, 0])) == (
        "EngineSpeed 812 rpm",
        "Throttle open",
        "OilTemperature -40 °C",
    )


def test_of_a_multiplexed_message_the_chosen_signals_are_decoded(names: VehicleNames) -> None:
    assert names.decoded("1A5", bytes([0, 7, 0, 0])) == ("Page 0", "Voltage 7 V")
    assert names.decoded("1A5", bytes([1, 7, 1, 0])) == ("Page 1", "Current 263 A")


@pytest.mark.parametrize("payload", [b"", b"\x09\x00", b"\xff" * 8])
def test_a_payload_without_a_meaning_has_no_values(names: VehicleNames, payload: bytes) -> None:
    assert names.decoded("1A5", payload) == ()
    assert names.decoded("7FF", payload) == ()


def test_the_bytes_of_a_signal_are_those_that_it_changes(names: VehicleNames) -> None:
    database = cantools.database.load_string(DBC, "dbc", strict=False)
    for message in (m for m in database.messages if m.name != "Overlapping"):
        key = message.frame_id | (1 << 31 if message.is_extended_frame else 0)
        for signal, found in zip(message.signals, names.by_node_key[key].signals, strict=True):
            if message.is_multiplexed():
                continue
            raw = -1 if signal.is_signed else (1 << signal.length) - 1
            others = {other.name: 0 for other in message.signals}
            payload = message.encode({**others, signal.name: raw}, scaling=False, strict=False)
            assert found.payload_bytes == tuple(i for i, byte in enumerate(payload) if byte)


def test_signals_that_overlap_or_do_not_fit_are_named_all_the_same(names: VehicleNames) -> None:
    assert names.signals_in("1A6", 1) == ("One", "Other", "BeyondTheEnd")
    assert names.decoded("1A6", bytes(2)) == ()


def test_a_text_gets_names_beside_ids_and_bytes(names: VehicleNames) -> None:
    text = "0x1A4 byte 2 frozen while byte 1 of 0x1A5 moved, 0x7FF and 0x1A4F not; 0x18FEF117 silent"

    assert names.in_text(text) == (
        "EngineData (0x1A4) byte 2 (Throttle) frozen while byte 1 (Voltage and Current) of Pages (0x1A5) moved, "
        "0x7FF and 0x1A4F not; CruiseControl (0x18FEF117) silent"
    )


def test_an_incident_for_people_has_names_and_otherwise_stays_as_it_is(names: VehicleNames) -> None:
    shown = named_incident(SILENCE, names)

    assert shown.arbitration_ids == (("EngineData (0x1A4)", 0.97),)
    assert shown.reason == "EngineData (0x1A4) silent for 0.90 s, expected every 0.02 s"
    assert replace(shown, arbitration_ids=SILENCE.arbitration_ids, reason=SILENCE.reason) == SILENCE
    assert named_incident(SILENCE, None) is SILENCE
    assert "        0x7FF 0.50;" in text_lines(named_incident(replace(SILENCE, arbitration_ids=(("7FF", 0.5),)), names))


@pytest.mark.parametrize(("text", "name"), [(KCD, "car.kcd"), (SYM, "car.SYM")])
def test_other_databases_give_the_same_names(text: str, name: str, tmp_path: Path) -> None:
    found = read(tmp_path, text, name)

    assert found.label("1A4") == "EngineData (0x1A4)"
    assert found.signals_in("1A4", 1) == ("EngineSpeed",)


def test_names_in_the_letters_of_windows_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, DBC.encode("cp1252"))

    assert found.decoded("1A4", bytes(8))[-1] == "OilTemperature -40 °C"


def test_what_a_file_hides_in_names_reaches_no_terminal(tmp_path: Path) -> None:
    found = read(tmp_path, DBC.replace('"rpm"', f'"\x1b[2J{"r" * 99}"'))

    (speed, *_) = found.decoded("1A4", bytes(8))
    assert speed.isprintable()
    assert len(speed) < 40


@pytest.mark.parametrize(
    ("text", "name", "problem"),
    [
        ("nonsense", "car.dbc", "car.dbc: cannot be read as DBC .*line 1.*Export it again"),
        ("", "car.arxml", "car.arxml: cannot be read as ARXML"),
        ("nonsense", "car.txt", "not a database of a bus. Expected a file that ends in .dbc, .sym, .kcd, .arxml"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><NetworkDefinition/>', "car.kcd", "declares a document type"),
        (b"\xff" * ((8 << 20) + 1), "car.dbc", "more than 8 MiB. Expected a database of one bus"),
        (DBC.replace("0|16@1+", "0|99999999999@1+"), "car.dbc", "cannot be read as DBC"),
    ],
    ids=["no dbc", "empty", "another suffix", "entities", "too large", "a signal of gigabytes"],
)
def test_what_is_no_database_is_refused(text: str | bytes, name: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=problem):
        read(tmp_path, text, name)


def test_without_cantools_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cantools.database", None)
    with pytest.raises(ModuleNotFoundError, match=r"car.dbc: names of messages need cantools.*\[dbc\]"):
        read(tmp_path, DBC)
