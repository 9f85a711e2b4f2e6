"""Completion of commands and options, in a real shell where there is one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from graphids.commands.cli import main
from graphids.commands.completion import SHELLS, completion_script
from graphids.commands.parser import build_parser


def completed_by_bash(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f'. {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _graphids; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-uc", asked], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "graphids.bash"
    path.write_text(completion_script(build_parser(), "bash"))
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["graphids", "re"], ["resume", "retau", "retune", "report"]),
        (["graphids", "--v"], ["--version"]),
        (["graphids", "train", "--max"], ["--max_epochs"]),
        (["graphids", "verify", "--exp"], ["--expected-digest"]),
        (["graphids", "predict", "d.log", "--format", ""], ["text", "jsonl", "csv", "cef"]),
        (["graphids", "predict", "d.log", "--on-bad-line", "r"], ["raise"]),
        (["graphids", "completion", "f"], []),  # files, which bash offers by itself
        (["graphids", "nonsense", "--"], []),
    ],
)
def test_bash_offers(words: list[str], offered: list[str], bash_script: Path) -> None:
    assert completed_by_bash(bash_script, *words) == offered


def test_every_command_and_every_option_is_offered(bash_script: Path) -> None:
    (commands,) = (action for action in build_parser()._actions if action.dest == "command")
    assert isinstance(commands.choices, dict)
    assert set(commands.choices) < set(completed_by_bash(bash_script, "graphids", ""))
    for name in ("train", "predict", "inspect"):
        options = {f"--{option}" for option in commands.choices[name].get_default("command_options")}
        assert options == set(completed_by_bash(bash_script, "graphids", name, "--")) - {"--help"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_can_read_its_script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", shell])
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "predict" in script.read_text()

    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", script], check=True)
