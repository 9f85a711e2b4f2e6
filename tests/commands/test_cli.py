"""The command line as a whole: what is refused ends with one line, in the terminal and in the run."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

from graphids.commands.cli import main
from graphids.commands.parser import build_parser
from graphids.exit_codes import EXIT_REFUSED
from mlflow_graphids import ServerLimits, serve
from support.paths import ROOT


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    with pytest.raises(SystemExit) as left:
        main(arguments)

    assert left.value.code == EXIT_REFUSED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("graphids ")]
    return line


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--tau=abc", "graphids train: --tau: given 'abc'; allowed is a finite number >= 0"),
        ("--stride=0", "graphids train: --stride: given '0'; allowed is an integer >= 1"),
        (
            "--data=/no/such/capture.log",
            "graphids train: --data: given '/no/such/capture.log' (/no/such/capture.log does not exist)",
        ),
        ("--tua=1", "graphids train: --tua: no such option; did you mean --tau?"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line_before_there_is_a_run(
    argument: str, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphids.commands.train.train", lambda *_: pytest.fail("trained"))
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)

    assert refused(["train", argument], capsys).startswith(expected)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--model.haeds=8", "--model.haeds: no such key; did you mean --model.heads?"),
        ("--model.heads=many", "--model.heads: given 'many'; allowed is int | None."),
    ],
)
def test_what_the_configuration_refuses_fails_the_run_with_one_line(
    argument: str, expected: str, store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(["train", argument], capsys)

    (failed,) = store.search_runs(["0"])
    assert failed.info.status == "FAILED"
    assert expected in failed.data.tags["mlflow.note.content"]
    # The compare page fails on a run without an artifact.
    assert [file.path for file in store.list_artifacts(failed.info.run_id)] == ["error.txt"]


def test_every_entry_point_of_mlproject_is_a_command_with_those_options() -> None:
    entry_points = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    assert set(entry_points) == {"main", "sweep", "resume", "evaluate", "retau", "retune", "verify"}

    for name, entry_point in entry_points.items():
        values = {parameter: f"value-of-{parameter}" for parameter in entry_point["parameters"]}
        program, *arguments = entry_point["command"].format(**values).split()
        known, extra = build_parser().parse_known_args(arguments)

        assert (program, extra) == ("graphids", [])
        assert known.command == {"main": "train"}.get(name, name)
        assert set(values.values()) <= {value for value in vars(known).values() if isinstance(value, str)}


def test_serve_has_the_same_defaults_from_the_command_line_as_from_python() -> None:
    typed = build_parser().parse_args(["serve", "models:/m-0"])
    defaults = {name: parameter.default for name, parameter in inspect.signature(serve).parameters.items()}
    limits = ServerLimits()

    assert (typed.host, typed.port) == (defaults["host"], defaults["port"])
    assert typed.max_body_mib * 2**20 == limits.max_body_bytes
    assert (typed.max_waiting, typed.timeout_s) == (limits.max_waiting, limits.timeout_s)
