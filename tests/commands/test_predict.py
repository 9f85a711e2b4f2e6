"""A capture file in, rows out: the tiny model's answers as `graphids predict` writes them."""

import csv
import errno
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm  # type: ignore[import-untyped]

from graphids.commands import line_output
from graphids.commands.cli import main
from graphids.commands.convert import convert
from graphids.commands.incident_options import IncidentOptions
from graphids.commands.predict import Verdict, predict
from graphids.commands.scored_rows import FIELDS
from graphids.core.captures.read import read_captures
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError, Frames, LogFormatError
from graphids.core.simulation.text_writer import candump_text
from graphids.core.vehicle_names import MessageNames, VehicleNames
from graphids.exit_codes import EXIT_ALERTS, EXIT_NOT_COVERED, EXIT_READER_GONE
from graphids.options import OptionError
from mlflow_graphids import save_model
from support.tiny_model import STRIDE, WINDOW, three_ids, tiny_classifier

NUM_FRAMES = 50
NUM_WINDOWS = (NUM_FRAMES - WINDOW) // STRIDE + 1
DEFAULTS: dict[str, Any] = {"output": None, "output_format": "jsonl", "every_window": True, "threshold": None}


@pytest.fixture(scope="module")
def classifier() -> WindowClassifier:
    return tiny_classifier()


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "drive.log"
    path.write_bytes(candump_text(three_ids(NUM_FRAMES, seed=1)))
    return path


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def run_in_a_shell(script: str, capture: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """`$PREDICT` writes a row per window of the capture to standard output."""
    program = tmp_path / "predict_all.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path\n"
        "from graphids.commands.console import watched_reader\n"
        "from graphids.commands.predict import predict\n"
        "from support.tiny_model import tiny_classifier\n"
        "with watched_reader():\n"
        f"    predict(tiny_classifier(), Path({str(capture)!r}), output=None, output_format='jsonl', every_window=True,"
        " threshold=None)\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", script],
        env={**buffered, "PREDICT": f"{sys.executable} {program}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_chunks_of_a_file_give_the_rows_of_the_whole_capture(
    classifier: WindowClassifier, capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("graphids.commands.predict._CHUNK_BYTES", 200)  # about four lines
    whole = classifier.score(read_captures(capture)[0].frames)

    predict(classifier, capture, **DEFAULTS)

    rows = rows_of(capsys.readouterr().out)
    assert [tuple(row) for row in rows] == [FIELDS] * NUM_WINDOWS
    np.testing.assert_allclose([row["score"] for row in rows], whole.score, rtol=1e-5)
    assert [row["start_s"] for row in rows] == whole.start_s.tolist()
    assert [row["alert"] for row in rows] == whole.alert.tolist()
    assert [tuple(row["arbitration_ids"]) for row in rows] == list(whole.arbitration_ids)


def test_a_chunk_is_scored_and_written_before_the_next_one_is_read(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = three_ids(30, seed=1)
    written = []

    def chunks(*_: Any, **__: Any) -> Iterator[Frames]:
        for first in range(0, 30, 10):
            written.append(len(rows_of(capsys.readouterr().out)))
            yield frames.take(slice(first, first + 10))

    monkeypatch.setattr("graphids.commands.predict.stream_frames", chunks)

    predict(classifier, tmp_path / "any.log", **DEFAULTS)

    assert written == [0, 4, 5]


def test_csv_holds_the_same_rows_as_json_lines(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(classifier, capture, **DEFAULTS)
    predict(classifier, capture, **{**DEFAULTS, "output": tmp_path / "rows.csv", "output_format": "csv"})

    captured = capsys.readouterr()
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [row["score"] for row in rows_of(captured.out)]
    assert [row["arbitration_ids"].split() for row in rows] == [row["arbitration_ids"] for row in rows_of(captured.out)]


@pytest.mark.parametrize(
    ("first_s", "start", "end"),
    [
        (1700000000, "2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:20.003000Z"),
        (86399, "", ""),  # a time of day
        (0, "", ""),
    ],
)
def test_times_since_1970_are_also_written_for_people(
    classifier: WindowClassifier,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first_s: int,
    start: str,
    end: str,
) -> None:
    frames = three_ids(WINDOW)
    capture = tmp_path / "drive.log"
    capture.write_bytes(candump_text(replace(frames, timestamp=frames.timestamp + first_s)))

    predict(classifier, capture, **DEFAULTS)
    predict(classifier, capture, **{**DEFAULTS, "output_format": "csv"})

    as_json, *as_csv = capsys.readouterr().out.splitlines()
    (row,) = csv.DictReader(as_csv)
    assert (row["start_utc"], row["end_utc"], float(row["start_s"])) == (start, end, first_s)
    assert [json.loads(as_json).get(name, "") for name in ("start_utc", "end_utc")] == [start, end]


def test_windows_that_alert_are_one_incident_by_default_and_told_the_same_in_csv(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = classifier.score(read_captures(capture)[0].frames).score
    settings = {**DEFAULTS, "every_window": False, "threshold": float(np.median(scores))}

    verdict = predict(classifier, capture, **settings, incidents=IncidentOptions(vehicle="Lab 1", model_digest="ab"))
    out, err = capsys.readouterr()
    predict(classifier, capture, **{**settings, "output": tmp_path / "rows.csv", "output_format": "csv"})

    (row,) = rows_of(out)
    alerts = np.count_nonzero(scores >= settings["threshold"])
    assert (row["windows"], row["event"], row["ongoing"], row["vehicle"]) == (alerts, "learned", True, "Lab 1")
    assert (row["model_digest"], row["profile_digest"]) == ("ab", "")
    assert len(row["arbitration_ids"]) == len(row["id_scores"]) == 3
    assert f"{NUM_WINDOWS} windows, {alerts} alerts, 1 incident; " in err
    assert verdict.incidents == 1
    (in_csv,) = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    assert (in_csv["id"], in_csv["reason"]) == (row["id"], row["reason"])
    assert in_csv["arbitration_ids"].split() == row["arbitration_ids"]
    assert in_csv["context"].split(" | ") == row["context"]


def test_an_incident_is_told_to_a_person_and_to_a_siem(
    classifier: WindowClassifier, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = VehicleNames({0x1A4: MessageNames("EngineSpeed", (), dict)}, {})
    settings = {**DEFAULTS, "every_window": False, "threshold": 0.0, "incidents": IncidentOptions(names=name)}

    predict(classifier, capture, **{**settings, "output_format": "text"})
    predict(classifier, capture, **{**settings, "output_format": "cef"})

    *told, cef = capsys.readouterr().out.splitlines()
    assert told[0].split()[0] in ("LOW", "MEDIUM", "HIGH")
    assert told[1].startswith("        ")
    assert "EngineSpeed (0x1A4)" in "".join(told)
    assert cef.startswith("CEF:")
    assert "EngineSpeed" not in cef


def test_a_terminal_gets_lines_for_a_person_and_a_pipe_gets_json(
    classifier: WindowClassifier, capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**DEFAULTS, "every_window": False, "threshold": 0.0, "output_format": None}

    predict(classifier, capture, **settings)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    predict(classifier, capture, **settings)

    piped, *shown = capsys.readouterr().out.splitlines()
    assert json.loads(piped)["event"] == "learned"
    assert "\x1b[" in shown[0]
    assert len(shown) == 3


def test_windows_are_not_written_in_a_format_of_incidents(classifier: WindowClassifier, capture: Path) -> None:
    with pytest.raises(OptionError, match=r"--format: cef is of incidents; expected jsonl or csv with --all"):
        predict(classifier, capture, **{**DEFAULTS, "output_format": "cef"})


def test_incidents_that_a_filter_keeps_back_are_counted(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = save_model(classifier, tmp_path / "model")
    words = ["predict", str(capture), "--model", str(tmp_path / "model"), "--expected-digest", digest, "--threshold=0"]

    main([*words, "--filter", "block=missing,learned", "--fail-on-alert", "--summary", str(tmp_path / "summary.json")])

    out, err = capsys.readouterr()
    assert out == ""
    assert f"{NUM_WINDOWS} windows, {NUM_WINDOWS} alerts, 0 incidents (1 more filtered); " in err
    (of_one,) = json.loads((tmp_path / "summary.json").read_text())["captures"]
    assert (of_one["incidents"], of_one["filtered_incidents"], of_one["muted_windows"]) == (0, 1, 0)
    for filter_, message in (
        ("thresold=3", "--filter: given 'thresold=3'; expected one of block=VALUE, every=VALUE, aggregate_s=VALUE"),
        ("rate=often", "--filter: given 'rate=often'; expected a number after rate="),
        ("block=mising", "block is 'mising', expected some of unknown_id, "),
    ):
        with pytest.raises(SystemExit):
            main([*words, "--filter", filter_])
        assert message in capsys.readouterr().err


def test_payloads_can_be_hidden(
    classifier: WindowClassifier, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**DEFAULTS, "every_window": False, "threshold": 0.0}

    predict(classifier, capture, **settings, incidents=IncidentOptions(redacts_payloads=True))

    (row,) = rows_of(capsys.readouterr().out)
    assert re.fullmatch(r"\(0000000000\.000000\) can0 [0-9A-F]+#\.\.8", row["context"][0])


def test_the_closing_line_says_how_much_of_the_capture_the_model_does_not_know(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two frames of 40 carry an ID of another vehicle, in two chunks, and one its 11-bit number with 29 bits."""
    frames = three_ids(40, seed=1)
    frames.arbitration_id[[3, 33]], frames.is_extended[[3, 33]] = 0x555, False
    frames.arbitration_id[20], frames.is_extended[20] = 0x1A4, True
    (tmp_path / "drive.log").write_bytes(candump_text(frames))
    monkeypatch.setattr("graphids.commands.predict._CHUNK_BYTES", 200)

    predict(classifier, tmp_path / "drive.log", **DEFAULTS)

    last = capsys.readouterr().err.splitlines()[-1]
    assert "19 windows" in last
    assert last.endswith("2 of 5 arbitration IDs unknown to the model (7.5% of the frames)")


def test_a_bus_of_another_vehicle_is_scored_with_a_warning_and_its_rows_say_so(
    classifier: WindowClassifier, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """can1 carries one known ID among three."""
    own = capture.read_bytes()
    other = own.replace(b"can0", b"can1").replace(b" 1A4#", b" 7A5#").replace(b" 2B0#", b" 7A6#")
    capture.write_bytes(own + other)

    verdict = predict(classifier, capture, **DEFAULTS)

    out, err = capsys.readouterr()
    shares = {bus: {row["coverage"] for row in rows_of(out) if row["channel"] == bus} for bus in ("can0", "can1")}
    assert shares["can0"] == {1.0}
    assert 0.0 in shares["can1"]
    assert verdict.not_covered == (f"{capture} on can1",)
    *_, closing, warning = err.splitlines()
    assert "can0: 0 of 3 arbitration IDs unknown to the model (0.0% of the frames), can1: 2 of 3 arbitration" in closing
    assert re.fullmatch(
        rf"graphids predict: {capture} on can1: not covered: the model knows \d\d\.\d% of the frames and 1 of 3 "
        r"arbitration IDs, and has to know 50% .*; train a model on this vehicle or give it the "
        r"vehicle's profile, or pass --allow-uncovered.*\.",
        warning,
    )


def test_a_share_per_window_is_that_of_its_own_frames(
    classifier: WindowClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = three_ids(8)
    frames.arbitration_id[:], frames.is_extended[:] = [0x1A4, 0x555, 0x1A4, 0x2B0, 0x555, 0x556, 0x555, 0x555], False
    (tmp_path / "drive.log").write_bytes(candump_text(frames))

    predict(classifier, tmp_path / "drive.log", **DEFAULTS)

    rows = rows_of(capsys.readouterr().out)
    assert [row["coverage"] for row in rows] == [0.75, 0.5, 0.0]
    assert [row["id_coverage"] for row in rows] == [2 / 3, 0.5, 0.0]


def test_a_summary_tells_a_clean_capture_from_one_that_the_model_cannot_judge(
    classifier: WindowClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drives, summary = tmp_path / "drives", tmp_path / "summary.json"
    drives.mkdir()
    text = candump_text(three_ids(NUM_FRAMES, seed=1))
    (drives / "a.log").write_bytes(text)
    (drives / "b.log").write_bytes(re.sub(rb" [0-9A-F]+#", b" 7A5#", text) + b"(9.0) can0 123#R\n")
    summary.write_text("of yesterday")

    predict(classifier, drives, **{**DEFAULTS, "every_window": False, "threshold": 1.0}, summary=summary)

    (row,) = rows_of(capsys.readouterr().out)  # neither has an alert
    assert (row["capture"], row["event"], row["windows"]) == (str(drives / "b.log"), "not_covered", 0)
    assert row["reason"].startswith("the model knows the IDs of 0.0% of the frames and cannot judge the bus")
    whole = json.loads(summary.read_text())
    own, other = whole["captures"]
    assert (whole["windows"], whole["alerts"], whole["is_covered"]) == (2 * NUM_WINDOWS, 0, False)
    assert (own["capture"], own["windows"], own["is_covered"]) == (str(drives / "a.log"), NUM_WINDOWS, True)
    assert own["buses"] == [
        {"channel": "can0", "coverage": 1.0, "id_coverage": 1.0, "is_covered": True}
        | {"frames": NUM_FRAMES, "known_frames": NUM_FRAMES, "ids": 3, "known_ids": 3}
    ]
    assert (other["frames_in_no_window"], other["is_covered"], other["counts"]["remote_frames"]) == (1, False, 1)
    assert [(bus["coverage"], bus["known_ids"], bus["ids"]) for bus in other["buses"]] == [(0.0, 0, 2)]


def test_a_summary_is_written_once_all_is_scored_and_refused_before_where_it_cannot_be(
    classifier: WindowClassifier, capture: Path, tmp_path: Path
) -> None:
    summary, rows = tmp_path / "summary.json", tmp_path / "rows.jsonl"
    summary.write_text("of yesterday")

    for place, words in ((capture, "is the capture itself"), (tmp_path, "is a folder"), (rows, "name two files")):
        with pytest.raises(DataError, match=words):
            predict(classifier, capture, **{**DEFAULTS, "output": rows}, summary=place)
    with pytest.raises(FileNotFoundError, match="does not exist; create it"):
        predict(classifier, capture, **DEFAULTS, summary=tmp_path / "none" / "summary.json")
    capture.write_bytes(capture.read_bytes() + b"no line\n")
    with pytest.raises(LogFormatError):
        predict(classifier, capture, **DEFAULTS, summary=summary)

    assert summary.read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.log", "summary.json"]


@pytest.mark.parametrize(
    ("incidents", "not_covered", "allowed", "failing", "code"),
    [
        (0, (), False, True, 0),
        (3, (), False, False, 0),
        (3, (), False, True, 5),
        (0, ("drive.log",), False, False, 4),
        (0, ("drive.log",), True, False, 0),
        # One of a model that cannot judge the capture means nothing.
        (3, ("drive.log",), False, True, 4),
        (3, ("drive.log",), True, True, 5),
    ],
)
def test_the_exit_code_says_what_a_script_has_to_know(
    incidents: int, not_covered: tuple[str, ...], allowed: bool, failing: bool, code: int
) -> None:
    assert Verdict(incidents, not_covered).exit_code(allow_uncovered=allowed, fail_on_alert=failing) == code


def test_the_command_exits_with_4_on_another_vehicle_unless_that_is_allowed(
    classifier: WindowClassifier, capture: Path, tmp_path: Path
) -> None:
    capture.write_bytes(re.sub(rb" [0-9A-F]+#", b" 7A5#", capture.read_bytes()))
    digest = save_model(classifier, tmp_path / "model")
    words = ["predict", str(capture), "--model", str(tmp_path / "model"), "--expected-digest", digest]

    with pytest.raises(SystemExit) as exit_:
        main(words)
    main([*words, "--allow-uncovered"])

    assert exit_.value.code == EXIT_NOT_COVERED == 4


def test_the_command_exits_with_5_on_an_incident_where_that_is_asked_for(
    classifier: WindowClassifier, capture: Path, tmp_path: Path
) -> None:
    digest = save_model(classifier, tmp_path / "model")
    words = ["predict", str(capture), "--model", str(tmp_path / "model"), "--expected-digest", digest]

    main([*words, "--threshold", "0"])
    with pytest.raises(SystemExit) as exit_:
        main([*words, "--threshold", "0", "--fail-on-alert"])
    main([*words, "--threshold", "1", "--fail-on-alert"])

    assert exit_.value.code == EXIT_ALERTS == 5


def test_output_takes_the_place_of_an_older_file_and_leaves_nothing_beside_it(
    classifier: WindowClassifier, capture: Path, tmp_path: Path
) -> None:
    output = tmp_path / "alerts.jsonl"
    output.write_text("older\n")
    output.chmod(0o640)
    (tmp_path / "link").symlink_to(output)

    predict(classifier, capture, **{**DEFAULTS, "output": tmp_path / "link"})

    assert len(rows_of(output.read_text())) == NUM_WINDOWS
    assert (tmp_path / "link").is_symlink()
    assert output.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alerts.jsonl", "drive.log", "link"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (candump_text(three_ids(NUM_FRAMES)) + b"(broken\n", r"drive.log:51: "),
        (candump_text(three_ids(WINDOW - 1)), "3 frames make no window of 4; expected at least one window"),
    ],
    ids=["a bad line at the end", "fewer frames than a window"],
)
def test_after_an_error_the_older_output_is_still_there(
    classifier: WindowClassifier,
    capture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: bytes,
    message: str,
) -> None:
    capture.write_bytes(text)
    output = tmp_path / "alerts.jsonl"
    output.write_text("older\n")
    monkeypatch.setattr("graphids.commands.predict._CHUNK_BYTES", 200)

    with pytest.raises(DataError, match=message):
        predict(classifier, capture, **{**DEFAULTS, "output": output})

    assert output.read_text() == "older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alerts.jsonl", "drive.log"]


def test_a_device_is_written_to_and_not_replaced(classifier: WindowClassifier, capture: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        predict(classifier, capture, **{**DEFAULTS, "output": pipe})
        text = reader.communicate(timeout=30)[0]

    assert len(rows_of(text)) == NUM_WINDOWS
    assert pipe.is_fifo()


def test_output_that_cannot_be_written_is_refused_before_anything_is_scored(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = capture.read_bytes()
    monkeypatch.setattr(WindowClassifier, "_score_bus", lambda *_: pytest.fail("scored"))

    with pytest.raises(DataError, match="is a folder; name the file to write"):
        predict(classifier, capture, **{**DEFAULTS, "output": tmp_path})
    with pytest.raises(DataError, match=r"drive.log is the capture itself, which the output would replace"):
        predict(classifier, capture, **{**DEFAULTS, "output": capture})
    with pytest.raises(FileNotFoundError, match=r"alerts.jsonl: the folder .*nowhere does not exist; create it"):
        predict(classifier, capture, **{**DEFAULTS, "output": tmp_path / "nowhere" / "alerts.jsonl"})
    assert capture.read_bytes() == before


def test_bad_lines_are_refused_by_default_and_dropped_on_request(
    classifier: WindowClassifier, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = capture.read_bytes().splitlines(keepends=True)
    capture.write_bytes(b"".join([*good[:10], b"(0.01) can0 XYZ#00\n", *good[10:]]))

    with pytest.raises(LogFormatError, match=r"drive.log:11: "):
        predict(classifier, capture, **DEFAULTS)
    capsys.readouterr()
    predict(classifier, capture, **DEFAULTS, on_bad_line="drop")

    assert len(rows_of(capsys.readouterr().out)) == NUM_WINDOWS


def test_the_closing_line_counts_what_was_dropped_and_what_the_clock_did(
    classifier: WindowClassifier, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture.write_bytes(capture.read_bytes() + b"(broken\n(0.000001) can0 123#00\n")

    predict(classifier, capture, **DEFAULTS, on_bad_line="drop")

    assert capsys.readouterr().err.splitlines()[-1].endswith("; 1 bad lines, 1 backward timestamps")


def test_a_named_pipe_is_refused_at_once(classifier: WindowClassifier, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "drive.log")

    with pytest.raises(DataError, match=r"drive.log: is a named pipe"):
        predict(classifier, tmp_path / "drive.log", **DEFAULTS)


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_output_that_a_full_disk_stops_is_named_and_not_left_behind(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((line_output, "print") if call == "write" else (os, "fsync")), full, raising=False)

    with pytest.raises(OSError, match=r"No space left on device: '.*alerts.jsonl'"):
        predict(classifier, capture, **{**DEFAULTS, "output": tmp_path / "alerts.jsonl"})

    assert [path.name for path in tmp_path.iterdir()] == ["drive.log"]


def test_a_folder_without_a_capture_is_refused(classifier: WindowClassifier, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("Drives of a car.")

    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: no capture there"):
        predict(classifier, tmp_path, **DEFAULTS)


@pytest.mark.parametrize("argument", ["drives", "drives/*.log", "drives/**/*.log"])
def test_rows_of_several_captures_name_their_own_and_number_its_windows(
    classifier: WindowClassifier,
    capture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argument: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drives").mkdir()
    Path("drives/a.log").write_bytes(capture.read_bytes())
    Path("drives/b.log").write_bytes(candump_text(three_ids(10, seed=2)))
    alone = [predict(classifier, Path(f"drives/{name}.log"), **DEFAULTS) for name in "ab"]
    expected = rows_of(capsys.readouterr().out)

    verdict = predict(classifier, Path(argument), **DEFAULTS)
    predict(classifier, Path(argument), **{**DEFAULTS, "output": Path("rows.csv"), "output_format": "csv"})

    out, err = capsys.readouterr()
    names = ["drives/a.log"] * NUM_WINDOWS + ["drives/b.log"] * 4
    assert rows_of(out) == [{"capture": name, **row} for name, row in zip(names, expected, strict=True)]
    assert [row["capture"] for row in csv.DictReader(Path("rows.csv").read_text().splitlines())] == names
    alerts = sum(row["alert"] for row in expected)
    assert verdict.incidents == sum(each.incidents for each in alone) == 2
    assert err.splitlines()[2] == f"2 captures: {NUM_WINDOWS + 4} windows, {alerts} alerts, 2 incidents"


@pytest.mark.parametrize("missing", ["nope.log", "nope/*.log"])
def test_captures_that_are_not_there_are_named_before_a_model_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["predict", str(tmp_path / missing), "--model", "models:/m-0"])

    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / missing} does not exist; expected a capture file, a folder or a glob of them, or -" in line


def test_an_output_that_is_one_of_several_captures_is_refused(
    classifier: WindowClassifier, capture: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.log").write_bytes(capture.read_bytes())

    with pytest.raises(DataError, match=r"other.log is the capture itself"):
        predict(classifier, tmp_path, **{**DEFAULTS, "output": tmp_path / "other.log"})


def test_a_capture_on_standard_input_gives_the_rows_of_the_file_and_its_copy_is_deleted(
    classifier: WindowClassifier,
    capture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    predict(classifier, capture, **DEFAULTS)
    expected = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(capture.read_bytes()))))

    predict(classifier, Path("-"), **DEFAULTS)

    out, err = capsys.readouterr()
    assert out == expected
    assert err.startswith(f"standard input: {NUM_WINDOWS} windows, ")
    assert [path.name for path in tmp_path.iterdir()] == ["drive.log"]


def test_standard_input_that_is_closed_is_refused(
    classifier: WindowClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)  # as Python has it after `<&-`

    with pytest.raises(DataError, match=r"standard input is closed\. Expected a capture from a pipe or a file"):
        predict(classifier, Path("-"), **DEFAULTS)


def test_a_bad_line_of_standard_input_is_named_as_such_and_leaves_no_copy(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(capture.read_bytes() + b"(broken\n")))

    with pytest.raises(LogFormatError, match=f"^standard input:{NUM_FRAMES + 1}: "):
        predict(classifier, Path("-"), **DEFAULTS)
    assert [path.name for path in tmp_path.iterdir()] == ["drive.log"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_shows_the_bytes_that_were_read(
    classifier: WindowClassifier,
    capture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,
) -> None:
    capture.write_bytes(gzip.compress(capture.read_bytes()))
    monkeypatch.setattr("graphids.commands.predict._CHUNK_BYTES", 200)
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    bars = []
    monkeypatch.setattr("graphids.commands.predict.tqdm", lambda **settings: bars.append(tqdm(**settings)) or bars[-1])
    monkeypatch.setattr("graphids.commands.predict.tqdm.external_write_mode", tqdm.external_write_mode, raising=False)

    predict(classifier, capture, **DEFAULTS)

    out, err = capsys.readouterr()
    assert len(rows_of(out)) == NUM_WINDOWS
    assert ("B/s" in err) == is_terminal
    assert (bars[0].n, bars[0].total) == ((capture.stat().st_size,) * 2 if is_terminal else (0, None))


@pytest.mark.parametrize("threshold", [-0.1, 1.0001, 2.0, float("nan"), float("inf"), float("-inf")])
def test_a_threshold_that_cannot_be_a_score_is_refused(
    classifier: WindowClassifier, capture: Path, threshold: float
) -> None:
    with pytest.raises(DataError, match=f"threshold is {threshold}, expected a finite number >= 0 and <= 1"):
        predict(classifier, capture, **{**DEFAULTS, "threshold": threshold})


def test_a_reader_that_has_seen_enough_ends_it_quietly(capture: Path, tmp_path: Path) -> None:
    capture.write_bytes(candump_text(three_ids(4000)))  # far more than a pipe holds

    done = run_in_a_shell("set -o pipefail; $PREDICT | head -1", capture, tmp_path)

    assert (done.returncode, done.stderr) == (EXIT_READER_GONE, "")
    assert len(rows_of(done.stdout)) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_os_error(capture: Path, tmp_path: Path) -> None:
    done = run_in_a_shell("$PREDICT > /dev/full", capture, tmp_path)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "OSError: [Errno 28] No space left on device: 'standard output'"
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("named", ["drive.parquet", "."], ids=["itself", "the folder around it"])
def test_a_folder_that_is_one_table_is_scored_as_the_capture_that_it_was_made_of(
    classifier: WindowClassifier, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    predict(classifier, capture, **DEFAULTS)
    expected = rows_of(capsys.readouterr().out)
    around = tmp_path / "around"
    (around / "drive.parquet").mkdir(parents=True)
    convert(capture, around / "drive.parquet" / "part-0.parquet")
    capsys.readouterr()

    predict(classifier, around / named, **DEFAULTS)

    rows = rows_of(capsys.readouterr().out)
    assert [row["score"] for row in rows] == [row["score"] for row in expected]
    assert len(rows) == NUM_WINDOWS


def test_a_part_of_the_table_is_not_the_file_to_write(
    classifier: WindowClassifier, capture: Path, tmp_path: Path
) -> None:
    table, part = tmp_path / "drive.parquet", tmp_path / "drive.parquet" / "part-0.parquet"
    table.mkdir()
    convert(capture, part)

    with pytest.raises(DataError, match="is the capture itself"):
        predict(classifier, table, **{**DEFAULTS, "output": part})
