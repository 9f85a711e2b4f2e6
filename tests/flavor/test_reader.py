"""The capture reader in a model: the only code in it that can run, and only under four conditions."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graphids.commands import cli
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError, Frames
from graphids.options import OptionError
from mlflow_graphids import IntegrityError, _load_pyfunc, load_model, save_model
from mlflow_graphids.reader import IncompatibleReaderError, reader_versions
from support.tampering import WHEEL, write_manifest
from support.tiny_model import three_ids

Saved = tuple[Path, str]


def read_semicolons(path: Path) -> pd.DataFrame:
    """A recorder that separates `seconds;id;payload` by semicolons."""
    table = pd.read_csv(path, sep=";", names=["timestamp", "arbitration_id", "data_field"], dtype=str)
    return table.assign(timestamp=table["timestamp"].astype(float))


@pytest.fixture
def with_reader(classifier: WindowClassifier, tmp_path: Path) -> Saved:
    return tmp_path / "m", save_model(classifier, tmp_path / "m", capture_reader=read_semicolons)


@pytest.fixture
def capture(table: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "drive.rec"
    table[["timestamp", "arbitration_id", "data_field"]].to_csv(path, sep=";", header=False, index=False)
    return path


def test_the_manifest_lists_the_reader_with_its_digest_and_what_it_needs(with_reader: Saved, saved: Saved) -> None:
    manifest = json.loads((with_reader[0] / "manifest.json").read_text())

    assert [entry["path"] for entry in manifest["files"]] == ["model.json", "reader.pkl", "weights.safetensors", WHEEL]
    assert manifest["reader"] == reader_versions()
    assert not (saved[0] / "reader.pkl").exists()
    assert "reader" not in json.loads((saved[0] / "manifest.json").read_text())


def test_a_reader_that_is_allowed_reads_a_format_that_graphids_does_not_know(
    with_reader: Saved, capture: Path, table: pd.DataFrame
) -> None:
    folder, digest = with_reader
    model = load_model(folder, expected_digest=digest, allow_code=True)

    frames = model.read(capture)

    assert len(frames) == len(table)
    assert model.score(frames).score.tolist() == model.predict(table)["score"].tolist()


def test_without_permission_nothing_is_unpickled(
    with_reader: Saved, capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, digest = with_reader
    monkeypatch.setattr("cloudpickle.loads", lambda _: pytest.fail("unpickled"))

    model = load_model(folder, expected_digest=digest)

    assert model.capture_reader is None
    with pytest.raises(
        DataError, match=r"loaded without a capture reader\. If it carries one, load it with allow_code"
    ):
        model.read(capture)
    assert _load_pyfunc(os.fspath(folder)).get_raw_model().capture_reader is None


def test_without_an_anchor_no_code_runs(with_reader: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudpickle.loads", lambda _: pytest.fail("unpickled"))

    with pytest.raises(IntegrityError, match=r"reader\.pkl is code, and nothing outside the artifact vouches for it"):
        load_model(with_reader[0], policy="integrity-only", allow_code=True)


def test_mlflows_switch_for_pickle_is_obeyed(with_reader: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setattr("cloudpickle.loads", lambda _: pytest.fail("unpickled"))

    with pytest.raises(OptionError, match=r"MLFLOW_ALLOW_PICKLE_DESERIALIZATION forbids unpickling reader\.pkl"):
        load_model(with_reader[0], expected_digest=with_reader[1], allow_code=True)


@pytest.mark.parametrize("versions", [{"python": "3.8"}, {"cloudpickle": "1.0.0"}])
def test_other_versions_than_those_that_pickled_it_are_refused(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[str, Any]
) -> None:
    monkeypatch.setattr("mlflow_graphids.saving.reader_versions", lambda: reader_versions() | versions)
    digest = save_model(classifier, tmp_path / "m", capture_reader=read_semicolons)

    with pytest.raises(IncompatibleReaderError, match=r"pickled with .* and python .*, but this is cloudpickle"):
        load_model(tmp_path / "m", expected_digest=digest, allow_code=True)
    assert load_model(tmp_path / "m", expected_digest=digest).anchored


def test_permission_for_a_model_that_has_no_reader_is_wrong_use(saved: Saved) -> None:
    with pytest.raises(OptionError, match="the model carries no capture reader"):
        load_model(saved[0], expected_digest=saved[1], allow_code=True)


def test_a_changed_reader_is_refused(with_reader: Saved) -> None:
    (with_reader[0] / "reader.pkl").write_bytes(b"x" * (with_reader[0] / "reader.pkl").stat().st_size)

    with pytest.raises(IntegrityError, match=r"reader\.pkl: expected sha256"):
        load_model(with_reader[0], expected_digest=with_reader[1], allow_code=True)


@pytest.mark.parametrize("reader", [None, {}, {"python": 3, "cloudpickle": "3"}, {"python": "3.11"}])
def test_a_manifest_whose_reader_names_no_versions_is_refused(with_reader: Saved, reader: Any) -> None:
    manifest = json.loads((with_reader[0] / "manifest.json").read_text())
    write_manifest(with_reader[0], json.dumps({**manifest, "reader": reader}).encode())

    with pytest.raises(IntegrityError, match=r"manifest\.json: reader is .*, expected the versions of python"):
        load_model(with_reader[0], policy="integrity-only")


def test_a_reader_has_to_be_callable_and_to_return_frames(
    classifier: WindowClassifier, tmp_path: Path, capture: Path
) -> None:
    with pytest.raises(TypeError, match="capture_reader is 'x', expected a function"):
        save_model(classifier, tmp_path / "bad", capture_reader="x")  # type: ignore[arg-type]
    digest = save_model(classifier, tmp_path / "m", capture_reader=lambda path: [path])  # type: ignore[arg-type, return-value]

    with pytest.raises(DataError, match=r"drive\.rec: the model's capture reader returned list, expected Frames"):
        load_model(tmp_path / "m", expected_digest=digest, allow_code=True).read(capture)


def unsorted(_: Path) -> Frames:
    frames = three_ids(120)
    return replace(frames, timestamp=frames.timestamp[::-1].copy())


def with_nan(_: Path) -> Frames:
    frames = three_ids(4)
    frames.timestamp[2] = np.nan
    return frames


def with_lists(_: Path) -> Frames:
    return replace(three_ids(4), dlc=[8, 8, 8, 8])  # type: ignore[arg-type]


def with_a_wide_id(_: Path) -> Frames:
    return replace(three_ids(4), arbitration_id=np.full(4, 0x2000_0000, np.uint32))


def failing(_: Path) -> Frames:
    raise KeyError("no such column")


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (unsorted, r"drive\.rec: time goes back at 119 of the first 120 frames"),
        (with_nan, r"drive\.rec: the model's capture reader: row 2: timestamp is nan, expected seconds"),
        (with_lists, r"drive\.rec: the model's capture reader: column 'dlc' is list, expected uint8 \[4\]"),
        (with_a_wide_id, r"drive\.rec: .*: row 0: arbitration_id is 536870912, expected at most 0x7FF"),
        (failing, r"drive\.rec: the model's capture reader cannot read it \(KeyError: 'no such column'\)"),
    ],
)
def test_what_a_reader_returns_is_held_to_the_policy_of_every_capture(
    classifier: WindowClassifier,
    tmp_path: Path,
    capture: Path,
    capsys: pytest.CaptureFixture[str],
    reader: Any,
    message: str,
) -> None:
    digest = save_model(classifier, tmp_path / "m", capture_reader=reader)

    with pytest.raises(DataError, match=message):
        load_model(tmp_path / "m", expected_digest=digest, allow_code=True).read(capture)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["predict", str(capture), "--model", str(tmp_path / "m"), "--expected-digest", digest, "--allow-code"])
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"graphids predict: .*{message}", line)


def test_predict_reads_by_the_models_reader_where_code_is_allowed(
    with_reader: Saved, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, digest = with_reader
    command = ["predict", str(capture), "--model", str(folder), "--expected-digest", digest, "--all"]

    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    capsys.readouterr()
    cli.main([*command, "--allow-code"])

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 5
    assert all(0 <= row["score"] <= 1 for row in rows)
