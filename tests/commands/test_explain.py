"""A window of a capture file in, a picture and numbers out: `graphids explain` and the rows of `graphids predict`."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphids.commands.cli import main
from graphids.commands.explain import explain_capture
from graphids.commands.predict import predict
from graphids.core.classifier import WindowClassifier
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.explanation import explain
from graphids.core.frames import DataError, Frames, format_arbitration_id
from graphids.core.graphs.features import DEVIATIONS, EDGE_FEATURES
from graphids.core.graphs.packed import build_graphs
from graphids.core.injection.inject import Injection, inject
from graphids.core.models.gat import GAT
from graphids.core.profile.profile import fit_profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.simulation.text_writer import candump_text
from mlflow_graphids import save_model
from support.tiny_model import WINDOW, three_ids, tiny_classifier
from support.vehicle_names import DBC

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def classifier() -> WindowClassifier:
    """Every window alerts, so that every row names its IDs."""
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


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at the numbers: a picture takes a second."""
    monkeypatch.setattr("graphids.commands.explain.draw_window", lambda *_: None)
    monkeypatch.setattr("graphids.commands.explain.png", lambda _: PNG)


@pytest.mark.parametrize("chunk_bytes", [200, 1 << 22], ids=["in chunks of four lines", "in one chunk"])
@pytest.mark.usefixtures("undrawn")
def test_window_k_is_the_row_k_of_predict_all(
    classifier: WindowClassifier,
    capture: Path,
    chunk_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("graphids.commands.predict._CHUNK_BYTES", chunk_bytes)
    predict(classifier, capture, output=None, output_format="jsonl", every_window=True, threshold=None)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["window"] for row in rows] == list(range(len(rows)))
    assert {row["channel"] for row in rows} == {"can0", "can1"}

    for row in rows:
        explain_capture(classifier, capture, row["window"], as_json=True)
        found = json.loads(capsys.readouterr().out)
        assert {name: found[name] for name in ("channel", "start_s", "end_s", "alert", "kind")} == {
            name: row[name] for name in ("channel", "start_s", "end_s", "alert", "kind")
        }
        assert found["score"] == pytest.approx(row["score"], rel=1e-6)
        assert [i["arbitration_id"] for i in found["ids"]][:3] == row["arbitration_ids"]


@pytest.mark.usefixtures("undrawn")
def test_the_command_explains_the_loudest_window_of_an_incident(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of the two buses has one."""
    digest = save_model(classifier, tmp_path / "model")
    trusted = ["--model", str(tmp_path / "model"), "--expected-digest", digest]
    main(["predict", str(capture), *trusted])
    incidents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    main(["explain", str(capture), "--incident", "1", "--json", *trusted])

    found = json.loads(capsys.readouterr().out)
    assert (len(incidents), incidents[1]["model_digest"]) == (2, digest)
    assert (found["window"], found["channel"]) == (incidents[1]["loudest_window"], "can1")
    assert found["score"] == pytest.approx(incidents[1]["score"])
    with pytest.raises(SystemExit):
        main(["explain", str(capture), "--incident", "2", *trusted])
    assert "there is no incident 2. `graphids predict` finds 2 incidents, numbered from 0." in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_incidents_of_a_bus_that_is_not_covered_are_numbered_as_predict_was_asked_to_tell_them(
    classifier: WindowClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = three_ids(60, seed=1)
    frames.arbitration_id[:], frames.is_extended[:] = 0x555, False
    capture = tmp_path / "other.log"
    capture.write_bytes(candump_text(frames))
    digest = save_model(classifier, tmp_path / "model")
    asked = ["--allow-uncovered", "--model", str(tmp_path / "model"), "--expected-digest", digest]
    main(["predict", str(capture), *asked])
    incidents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    main(["explain", str(capture), "--incident", "0", "--json", *asked])

    assert [incident["event"] for incident in incidents] == ["learned", "not_covered"]
    assert json.loads(capsys.readouterr().out)["window"] == incidents[0]["loudest_window"]
    with pytest.raises(SystemExit):
        main(["explain", str(capture), "--incident", "1", *asked])
    assert "incident 1 (not_covered) has no window that alerts, and so none to explain." in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_nothing_is_read_beyond_the_window(
    classifier: WindowClassifier, capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks(*_: Any, **__: Any) -> Iterator[Frames]:
        yield three_ids(WINDOW)
        pytest.fail("read on")

    monkeypatch.setattr("graphids.commands.predict.stream_frames", chunks)

    explain_capture(classifier, capture, 0)


def test_the_picture_lies_in_the_working_folder_and_the_text_names_it(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drives").mkdir()
    moved = Path(shutil.move(capture, tmp_path / "drives" / "drive.log"))

    explain_capture(classifier, moved, 2)

    text = capsys.readouterr().out
    assert (tmp_path / "drive-window-2.png").read_bytes().startswith(PNG)
    assert "window 2 on can0, " in text
    assert text.endswith("picture  drive-window-2.png\n")


@pytest.mark.usefixtures("undrawn")
def test_the_text_has_a_line_for_each_id_and_says_what_its_removal_does(
    classifier: WindowClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = three_ids(WINDOW)
    frames.arbitration_id[:], frames.is_extended[:] = [0x1A4, 0x555, 0x1A4, 0x1A4], False
    (tmp_path / "drive.log").write_bytes(candump_text(frames))
    explain_capture(classifier, tmp_path / "drive.log", 0, as_json=True)
    shown = json.loads(capsys.readouterr().out)

    explain_capture(classifier, tmp_path / "drive.log", 0)

    lines = capsys.readouterr().out.splitlines()
    unknown = next(i for i in shown["ids"] if i["arbitration_id"] == "555")
    (row,) = (line.split() for line in lines if line.startswith("555*") and len(line.split()) == 5)
    assert row[1:] == [
        "1",
        f"{unknown['suspicion']:.3f}",
        f"{unknown['score_without']:.4f}",
        f"{unknown['margin_without'] - shown['margin']:+.2f}",
    ]
    together = shown["margin_without_unknown"] - shown["margin"]
    assert (
        "2 IDs in the window, 1 of them (*) unknown to the model; without them all the log-odds change by "
        f"{together:+.2f}" in lines
    )
    assert any(line.endswith("score without it  change of log-odds") for line in lines)
    drivers = [line.split() for line in lines if line.split()[:1] in (["555"], ["1A4"]) and len(line.split()) == 7]
    assert drivers
    assert all((row[3] == "-") == (row[5] == "-") == (row[0] == "555") for row in drivers)
    never_seen = "nothing is usual for an ID unknown to the model: its features are set to the mean over all IDs"
    assert (never_seen in lines) == any(row[0] == "555" for row in drivers)
    assert any(line.endswith("change of log-odds if usual") for line in lines)


@pytest.mark.usefixtures("undrawn")
def test_the_text_has_the_names_of_a_database_beside_the_ids(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "car.dbc").write_text(DBC)

    explain_capture(classifier, capture, 2, dbc=tmp_path / "car.dbc")

    lines = capsys.readouterr().out.splitlines()
    assert {line.split("  ")[0] for line in lines[4:6]} == {"EngineData (0x1A4)", "CruiseControl (0x18FEF100)"}


@pytest.mark.usefixtures("undrawn")
def test_a_model_that_judges_by_deviations_follows_the_capture_and_names_what_is_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = fit_profile([simulate_vehicle(seed=seed, duration_s=4.0) for seed in range(2)])
    drive = inject(simulate_vehicle(seed=2, duration_s=4.0), [Injection("suppress", 1.0, 3.5)], seed=1)
    graphs = build_graphs(drive.frames, 100, 100)
    fitted = Preprocessing.fit(graphs, window_size=100, stride=100, features="deviations")
    torch.manual_seed(0)
    gat = GAT(1, len(DEVIATIONS), len(EDGE_FEATURES), len(fitted.classes), hidden=8, heads=2)
    classifier = WindowClassifier(gat, fitted, threshold=0.0, profile=profile)
    (tmp_path / "drive.log").write_bytes(candump_text(drive.frames))
    monkeypatch.setattr("graphids.commands.predict._CHUNK_BYTES", 20_000)
    window = int(np.flatnonzero(drive.frames.timestamp[99::100] > 3.0)[0])
    expected = explain(classifier, drive.frames, window)

    explain_capture(classifier, tmp_path / "drive.log", window)

    text = capsys.readouterr().out
    overdue = [i.arbitration_id for i in expected.ids if not i.frames]
    assert format_arbitration_id(drive.injections[0].target) in overdue
    assert f"score {expected.score:.4f}" in text
    assert f" IDs in the window and {len(overdue)} that " in text


@pytest.mark.usefixtures("undrawn")
def test_the_command_explains_by_the_base_model_and_a_vehicles_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = fit_profile([simulate_vehicle(seed=seed, duration_s=4.0) for seed in range(2)])
    (tmp_path / "car.profile").write_bytes(profile_bytes(profile))
    (tmp_path / "drive.log").write_bytes(candump_text(simulate_vehicle(seed=2, duration_s=4.0)))

    main(
        ["explain", str(tmp_path / "drive.log"), "--profile", str(tmp_path / "car.profile"), "--window", "3", "--json"]
    )

    found = json.loads(capsys.readouterr().out)
    assert {feature["feature"] for feature in found["features"]} == {column.name for column in DEVIATIONS}


@pytest.mark.parametrize(
    ("window", "output", "error", "message"),
    [
        (99, None, DataError, r"drive\.log: there is no window 99\. It has 28 windows, numbered from 0 to 27"),
        (-1, None, DataError, r"drive\.log: window is -1, expected at least 0"),
        (0, "drive.svg", DataError, r"drive\.svg: the picture is a PNG; name a file that ends in \.png"),
        (0, "nowhere/a.png", DataError, r"a\.png: the folder nowhere does not exist; create it"),
        (0, "drive.log", DataError, "is the capture itself, which the output would replace"),
    ],
)
def test_what_cannot_be_explained_is_refused_and_nothing_is_written(
    classifier: WindowClassifier,
    capture: Path,
    tmp_path: Path,
    window: int,
    output: str | None,
    error: type[Exception],
    message: str,
) -> None:
    before = capture.read_bytes()

    with pytest.raises(error, match=message):
        explain_capture(classifier, capture, window, output=None if output is None else Path(output))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"drive.log": before}


def test_a_folder_is_not_one_capture(classifier: WindowClassifier, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; name one capture file"):
        explain_capture(classifier, tmp_path, 0)


def test_a_capture_shorter_than_a_window_is_refused(classifier: WindowClassifier, tmp_path: Path) -> None:
    (tmp_path / "short.log").write_bytes(candump_text(three_ids(WINDOW - 1)))

    with pytest.raises(DataError, match=rf"short\.log: its frames make no window of {WINDOW}"):
        explain_capture(classifier, tmp_path / "short.log", 0)


def test_the_command_explains_by_a_verified_model_and_by_no_other(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = save_model(classifier, tmp_path / "model")
    words = ["explain", str(capture), "--window", "1", "--model", str(tmp_path / "model"), "--output", "alert.png"]

    main([*words, "--expected-digest", digest, "--json"])
    found = json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit, match="3"):
        main([*words, "--expected-digest", "0" * 64])

    assert (found["window"], found["capture"], found["picture"]) == (1, str(capture), "alert.png")
    assert Path("alert.png").read_bytes().startswith(PNG)
    assert "graphids explain: " in capsys.readouterr().err


def test_the_command_without_a_window_says_that_it_needs_one(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explain", str(capture), "--model", "models:/m-1"])

    assert "--window" in capsys.readouterr().err


def test_a_capture_that_is_not_there_is_named_before_a_model_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["explain", str(tmp_path / "nope.log"), "--window", "1", "--model", "models:/m-0"])

    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"but {tmp_path / 'nope.log'} does not exist; expected one capture file" in line


def test_a_model_that_is_not_there_is_reported_with_the_mlflow_that_was_queried(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")

    with pytest.raises(SystemExit, match="2"):
        main(["explain", str(capture), "--window", "0", "--model", "models:/m-0"])

    line = capsys.readouterr().err.splitlines()[-1]
    assert "Logged model with ID 'm-0' not found" in line
    assert f"Queried MLflow at sqlite:///{tmp_path}/elsewhere.db; set MLFLOW_TRACKING_URI to query another." in line
