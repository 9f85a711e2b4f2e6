"""Variables of launchers that are not numbers."""

import os
import subprocess
import sys

import pytest

from graphids.commands.launcher import require_numbers
from graphids.options import OptionError


@pytest.mark.parametrize("command", [["train"], ["evaluate", "--model=m"], ["retau", "r"], ["resume", "r"], ["sweep"]])
def test_a_rank_that_is_not_a_number_is_one_line(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "graphids", *command],
        env={**os.environ, "RANK": "abc"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"graphids {command[0]}: RANK: given 'abc', expected the integer that a launcher")


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"])
@pytest.mark.parametrize("value", ["", "abc", "1.5", "0x1", "0,1"])
def test_each_variable_is_named_with_what_was_found(name: str, value: str) -> None:
    with pytest.raises(OptionError, match=f"^{name}: given '{value}'"):
        require_numbers({name: value})


def test_numbers_and_variables_that_are_not_set_pass() -> None:
    require_numbers({"RANK": "0", "SLURM_PROCID": "3", "MASTER_PORT": "tcp://10.0.0.1:80"})
