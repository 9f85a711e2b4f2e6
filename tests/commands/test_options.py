"""The project's parameters: one table, and errors of one line."""

import argparse
import math
from pathlib import Path

import pytest
import yaml

from graphids.commands.arguments import OneLineParser, add_options, project_parameters
from graphids.commands.cli import main
from graphids.options import OPTIONS, OptionError
from support.paths import ROOT


def _parse(*words: str) -> dict[str, object]:
    parser = OneLineParser(prog="graphids train")
    add_options(parser)
    return project_parameters(parser.parse_args(words))


def test_mlproject_declares_every_option_with_its_default() -> None:
    main = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]["main"]

    assert {name: str(p["default"]) for name, p in main["parameters"].items()} == {
        option.name: str(option.default) for option in OPTIONS
    }
    for option in OPTIONS:
        assert f"--{option.name}={{{option.name}}}" in main["command"]


def test_defaults_are_values_that_the_options_allow() -> None:
    for option in OPTIONS:
        assert option.parse(str(option.default)) == option.default


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tau", "abc"),
        ("tau", "Auto"),
        ("tau", "-0.1"),
        ("tau", "nan"),
        ("tau", "inf"),
        ("stride", "0"),
        ("window", "1"),
        ("batch_size", "2.5"),
        ("lr", "0"),
        ("lr", "1e30"),
        ("seed", "99999999999"),
        ("precision", "fp8"),
        ("devices", "0"),
        ("vram_threshold", "1"),
        ("data", ""),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, text: str) -> None:
    allowed = next(option.allowed for option in OPTIONS if option.name == name)

    with pytest.raises(OptionError) as caught:
        _parse(f"--{name}={text}")

    assert str(caught.value) == f"--{name}: given {text!r}; allowed is {allowed}."


def test_a_missing_path_is_shown_in_full(tmp_path: Path) -> None:
    missing = tmp_path / "drive.log"

    with pytest.raises(OptionError, match=f"--data: given .*{missing} does not exist"):
        _parse(f"--data={missing}")


def test_a_folder_a_file_and_a_glob_are_data(tmp_path: Path) -> None:
    (tmp_path / "drive one.log").touch()

    for data in (tmp_path, tmp_path / "drive one.log", tmp_path / "*.log"):
        assert _parse(f"--data={data}")["data"] == str(data)


def test_numbers_arrive_as_numbers() -> None:
    parameters = _parse("--tau=1e-1", "--window=64")

    assert math.isclose(float(str(parameters["tau"])), 0.1)
    assert parameters["window"] == 64
    assert isinstance(argparse.Namespace(**parameters).lr, float)


def test_tau_may_be_left_to_validation() -> None:
    assert _parse("--tau=auto")["tau"] == "auto"


def test_the_documentation_lists_every_option_with_its_default_and_what_is_allowed() -> None:
    page = (ROOT / "docs" / "parameters.md").read_text()

    for option in OPTIONS:
        assert f"| `{option.name}` | {option.default} | {option.allowed} |" in page


@pytest.mark.parametrize("words", [["--data", "drive-\udcff.log"], ["--trainer.default_root_dir=runs-\udcff"]])
def test_an_argument_that_is_not_utf8_is_refused_in_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("drive-\udcff.log").write_bytes(b"(1.0) can0 123#00\n")

    with pytest.raises(SystemExit) as caught:
        main(["train", *words])

    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not UTF-8" in line
