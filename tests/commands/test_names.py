r"""Names of files and buses are others': a terminal never obeys them, and bytes that are not UTF-8 are no traceback."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from graphids.commands.cli import main
from graphids.commands.explain import explain_capture
from graphids.commands.inspect import inspect_capture
from graphids.commands.predict import predict
from graphids.core.data.dataset import load_captures
from graphids.core.frames import DataError
from graphids.core.simulation.text_writer import candump_text
from support.tiny_model import three_ids, tiny_classifier

HOSTILE = "=cmd\x1b[2J\nforged: 0 alerts\r\x07\u202e"
NOT_UTF8 = os.fsdecode(b"drive\xff")
DEFAULTS = {"output": None, "output_format": "jsonl", "every_window": True, "threshold": None}


@pytest.fixture(params=[HOSTILE, NOT_UTF8], ids=["hostile", "not UTF-8"])
def capture(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A capture in the working directory, named by its bare name, in a folder of two."""
    monkeypatch.chdir(tmp_path)
    for name in (request.param, "other"):
        Path(f"{name}.log").write_bytes(candump_text(three_ids(40)))
    return Path(f"{request.param}.log")


def require_harmless(*texts: str) -> None:
    for text in texts:
        assert all(line.isprintable() for line in text.split("\n")), text
        assert not any(line.startswith("forged") for line in text.split("\n")), text
        text.encode()  # no surrogates


def test_inspect_shows_a_name_in_one_line(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect_capture(capture)
    inspect_capture(capture, as_json=True)

    out = capsys.readouterr().out
    require_harmless(out)
    name = json.loads(out.splitlines()[-1])["capture"]
    assert name.encode()
    assert out.splitlines()[0] in (r"=cmd\x1b[2J\nforged: 0 alerts\r\x07\u202e.log", r"drive\xff.log")


def test_explain_draws_and_shows_it(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain_capture(tiny_classifier(), capture, 1)
    explain_capture(tiny_classifier(), capture, 1, as_json=True)

    require_harmless(capsys.readouterr().out)
    assert Path(f"{capture.stem}-window-1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("output_format", ["csv", "jsonl"])
def test_predict_writes_it_in_its_rows(capture: Path, output_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert capture.exists()

    predict(tiny_classifier(), Path("*.log"), **{**DEFAULTS, "output_format": output_format})

    out, err = capsys.readouterr()
    require_harmless(out, err)
    rows = out.splitlines()
    if output_format == "csv":
        assert not any(row.startswith(("=", '"=')) for row in rows)
        assert rows[1].startswith((r"'=cmd\x1b[2J\nforged", r"drive\xff.log"))
    else:
        assert json.loads(rows[0])["capture"] in (f"{HOSTILE}.log", r"drive\xff.log")


def test_convert_names_it_in_its_line(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["convert", str(capture), f"{capture}.csv"])

    require_harmless(capsys.readouterr().out)
    assert Path(f"{capture}.csv").stat().st_size


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "missing{}"],
        ["predict", "missing{}", "--model=m"],
        ["verify", "missing{}"],
        ["sync", "missing{}"],
        ["train", "--data=missing{}"],
        ["adopt", "missing{}"],
        ["{}"],
        ["train", "--{}"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("name", [HOSTILE, NOT_UTF8], ids=["hostile", "not UTF-8"])
def test_an_error_names_it_in_one_line(
    words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as left:
        main([word.format(name) for word in words])

    out, err = capsys.readouterr()
    require_harmless(out, err)
    assert left.value.code in (2, 3)
    assert len(err.splitlines()) == 1


def test_training_data_with_a_name_that_is_not_utf8_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / f"{NOT_UTF8}.log").write_bytes(candump_text(three_ids(40)))

    with pytest.raises(DataError, match=r"drive\\xff\.log: its name is not UTF-8, .*; rename it\.$"):
        load_captures(str(tmp_path))


def test_a_command_reads_what_a_shell_hands_it(tmp_path: Path) -> None:
    (tmp_path / f"{NOT_UTF8}.log").write_bytes(candump_text(three_ids(40)))

    done = subprocess.run(
        ["graphids", "inspect", os.fsencode(tmp_path / f"{NOT_UTF8}.log")], capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(rb"drive\xff.log")
