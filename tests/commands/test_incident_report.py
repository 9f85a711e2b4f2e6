"""A capture in, one page out: `graphids report`, and the incidents that it is about."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from graphids.commands.cli import main
from graphids.commands.incident_report import ReportRequest, report_capture
from graphids.commands.predict import capture_chunks
from graphids.core.classifier import WindowClassifier
from graphids.core.explanation import explain
from graphids.core.frames import DataError
from graphids.core.simulation.text_writer import candump_text
from mlflow_graphids import save_model
from support.tiny_model import WINDOW, three_ids, tiny_classifier
from support.vehicle_names import DBC


@pytest.fixture(scope="module")
def classifier() -> WindowClassifier:
    """Every window alerts."""
    return replace(tiny_classifier(), threshold=0.0)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A recording of two buses, which take turns of seven frames."""
    lines = candump_text(three_ids(60, seed=1)).splitlines(keepends=True)
    text = b"".join(line.replace(b"can0", b"can1") if i // 7 % 2 else line for i, line in enumerate(lines))
    path = tmp_path / "drive.log"
    path.write_bytes(text)
    return path


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _request(capture: Path, **changes: object) -> ReportRequest:
    return replace(ReportRequest(capture, None, "models:/m-1", "ab" * 32), **changes)  # type: ignore[arg-type]


def test_the_page_lies_in_the_working_folder_and_a_line_says_what_it_found(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_capture(classifier, _request(capture)) == []

    page = (tmp_path / "drive-report.html").read_text()
    line = capsys.readouterr().out
    assert line == f"{capture}: 2 incidents in 0.1 seconds. Written to drive-report.html\n"
    assert "on can0" in page
    assert "on can1" in page


@pytest.mark.parametrize("chunk_bytes", [200, 1 << 22], ids=["in chunks of four lines", "in one chunk"])
def test_each_incident_has_the_evidence_of_its_most_suspicious_window(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphids.commands.predict._CHUNK_BYTES", chunk_bytes)
    report_capture(classifier, _request(capture))

    sections = (tmp_path / "drive-report.html").read_text().split("<section")[1:]
    assert len(sections) == 2
    for section in sections:
        (window,) = re.findall(r"most suspicious window: number (\d+)", section)
        (score,) = re.findall(r"Highest score ([\d.]+);", section)
        explained = explain(classifier, capture_chunks(capture, "raise", None, {}), int(window))
        assert f"{explained.score:.4f}" == score
        assert f"on {explained.channel}<" in section


@pytest.mark.parametrize(("reports_uncovered", "number"), [(False, 1), (True, 2)])
def test_a_bus_that_is_not_covered_has_the_incidents_that_predict_tells(
    classifier: WindowClassifier,
    tmp_path: Path,
    reports_uncovered: bool,
    number: int,
) -> None:
    frames = three_ids(60, seed=1)
    frames.arbitration_id[:], frames.is_extended[:] = 0x555, False
    capture = tmp_path / "other.log"
    capture.write_bytes(candump_text(frames))

    (warning,) = report_capture(classifier, _request(capture, reports_uncovered=reports_uncovered))

    assert "0.0%" in warning
    assert (tmp_path / "other-report.html").read_text().count("<section") == number


def test_a_database_names_messages_on_the_page(classifier: WindowClassifier, capture: Path, tmp_path: Path) -> None:
    (tmp_path / "car.dbc").write_text(DBC)
    report_capture(classifier, _request(capture, dbc=tmp_path / "car.dbc"))

    assert "EngineData (0x1A4)" in (tmp_path / "drive-report.html").read_text()


def test_the_command_reports_by_a_verified_model_and_by_no_other(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = save_model(classifier, tmp_path / "model")
    words = ["report", str(capture), "--model", str(tmp_path / "model"), "-o", "page.html", "--vehicle", "red van"]

    with pytest.raises(SystemExit, match="3"):
        main([*words, "--expected-digest", "0" * 64])
    assert not Path("page.html").exists()
    main([*words, "--expected-digest", digest])

    assert capsys.readouterr().out.endswith("Written to page.html\n")
    assert digest in Path("page.html").read_text()
    assert "red van" in Path("page.html").read_text()


def test_a_capture_of_another_vehicle_gets_its_page_a_warning_and_exit_code_4(
    classifier: WindowClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = save_model(classifier, tmp_path / "model")
    frames = three_ids(60)
    frames.arbitration_id[:], frames.is_extended[:] = 0x555, False
    (tmp_path / "other.log").write_bytes(candump_text(frames))
    words = ["report", "other.log", "--model", str(tmp_path / "model"), "--expected-digest", digest]

    with pytest.raises(SystemExit, match="4"):
        main(words)
    written = capsys.readouterr()
    main([*words, "--allow-uncovered"])

    assert "Not covered: the model cannot judge this vehicle." in written.out
    assert written.err.startswith("graphids report: other.log on can0: not covered")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nowhere/a.html", r"a\.html: the folder nowhere does not exist; create it"),
        ("drive.log", "is the capture itself, which the output would replace"),
    ],
)
def test_where_no_page_can_lie_nothing_is_written(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, output: str, message: str
) -> None:
    before = capture.read_bytes()

    with pytest.raises(DataError, match=message):
        report_capture(classifier, _request(capture, output=Path(output)))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"drive.log": before}


def test_a_capture_shorter_than_a_window_is_refused(classifier: WindowClassifier, tmp_path: Path) -> None:
    (tmp_path / "short.log").write_bytes(candump_text(three_ids(WINDOW - 1)))

    with pytest.raises(DataError, match=rf"short\.log: 3 frames make no window of {WINDOW}"):
        report_capture(classifier, _request(tmp_path / "short.log"))
    assert not (tmp_path / "short-report.html").exists()


def test_more_incidents_than_a_page_holds_are_counted_and_the_most_severe_kept(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphids.commands.incident_report.MOST_LISTED", 1)
    report_capture(classifier, _request(capture))

    page = (tmp_path / "drive-report.html").read_text()
    assert "1 further incident, less severe, not listed." in page
    assert page.count("<section") == 1
