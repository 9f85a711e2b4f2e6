"""Who logs is decided by the trainer's processes, not by what a launcher left in the environment."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.utilities import rank_zero_only

from graphids.commands.config import render_config
from graphids.commands.processes import settle_rank
from graphids.commands.wiring import wire
from graphids.options import OPTIONS, OptionError
from support.resumed_run import TinyRuns

ONE_PROCESS = render_config({**{option.name: option.default for option in OPTIONS}, "accelerator": "cpu"})
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "GROUP_RANK": "0"}
SLURM = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "0", "SLURM_JOB_ID": "1"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "GROUP_RANK"):
            monkeypatch.delenv(name)
    before, kept = rank_zero_only.rank, dict(os.environ)  # type: ignore[attr-defined]
    yield
    rank_zero_only.rank = before  # type: ignore[attr-defined]
    os.environ.clear()
    os.environ.update(kept)


def start_with(variables: dict[str, str]) -> None:
    """As a process that has these variables and imports Lightning."""
    os.environ.update(variables)
    rank_zero_only.rank = _get_rank() or 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "1"},
        {"LOCAL_RANK": "3"},
        {"SLURM_PROCID": "1"},
        {"SLURM_PROCID": "1", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},
        {"RANK": "1", "LOCAL_RANK": "1"},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("config", [ONE_PROCESS, None], ids=["a trainer of one process", "no trainer"])
def test_a_process_that_works_alone_is_the_first_and_says_what_it_ignores(
    config: dict[str, object] | None, variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    start_with(variables)
    assert rank_zero_only.rank > 0  # type: ignore[attr-defined]

    settle_rank(config)

    assert rank_zero_only.rank == 0  # type: ignore[attr-defined]
    first = next(iter(variables))
    assert f"graphids: {first}={variables[first]} is ignored" in capsys.readouterr().err


def test_nothing_is_said_where_nothing_contradicts_the_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    start_with({"RANK": "0", "LOCAL_RANK": "0"})

    settle_rank(ONE_PROCESS)

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "variables",
    [
        {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"},  # as Lightning's own launcher sets them
        {"RANK": "1", "LOCAL_RANK": "1", **TORCHRUN},
        {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", **SLURM},
    ],
    ids=["Lightning", "torchrun", "srun"],
)
def test_the_second_of_two_processes_is_the_second(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    start_with(variables)

    settle_rank(ONE_PROCESS, ["--trainer.devices=2"])

    assert rank_zero_only.rank == 1  # type: ignore[attr-defined]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"LOCAL_RANK": "0"}], ids=str)
def test_a_leftover_does_not_make_lightning_wait_for_processes_that_nobody_starts(
    variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    start_with(variables)

    settle_rank(ONE_PROCESS, ["--trainer.devices=2"])

    assert rank_zero_only.rank == 0  # type: ignore[attr-defined]
    assert "LOCAL_RANK" not in os.environ
    (name,) = variables
    assert f"{name}={variables[name]} is ignored" in capsys.readouterr().err


def test_a_process_that_the_trainer_does_not_have_is_refused() -> None:
    start_with({"NODE_RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2"})

    with pytest.raises(OptionError, match="number 2, but the trainer has 2, numbered from 0"):
        settle_rank(ONE_PROCESS, ["--trainer.devices=2"])


@pytest.mark.parametrize(
    ("variables", "overrides", "message"),
    [
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, [], "--ntasks=2"),
        ({"SLURM_PROCID": "1", "SLURM_LOCALID": "1", **SLURM}, [], "HINT: Set `devices=2`"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_NNODES": "2", "SLURM_NODEID": "0"}, [], "`--nodes=2`"),
        ({"SLURM_NTASKS": "many"}, [], "'many'"),
        ({"RANK": "1", "LOCAL_RANK": "1", **TORCHRUN}, [], "does not match the world size"),
        ({"RANK": "0", "LOCAL_RANK": "0", **TORCHRUN}, ["--trainer.devices=3"], "does not match the world size"),
        ({}, ["--trainer.strategy=ddp_spawn"], "cannot be copied; use auto or ddp"),
        ({}, ["--trainer.strategy=ddp_fork", "--trainer.devices=2"], "cannot be copied; use auto or ddp"),
    ],
)
def test_a_launcher_that_contradicts_the_trainer_is_refused_in_one_line_and_only_the_first_task_has_a_run(
    variables: dict[str, str], overrides: list[str], message: str, tmp_path: Path
) -> None:
    start_with(variables)
    imported_as = rank_zero_only.rank  # type: ignore[attr-defined]

    settle_rank(ONE_PROCESS, overrides)
    with pytest.raises(OptionError, match=re.escape(message)) as caught:
        wire(ONE_PROCESS, [*overrides, f"--trainer.default_root_dir={tmp_path}"], "run")

    assert "\n" not in str(caught.value)
    assert rank_zero_only.rank == imported_as  # type: ignore[attr-defined]


def test_a_training_with_a_rank_variable_left_over_is_logged(tmp_path: Path) -> None:
    start_with({"LOCAL_RANK": "1", "SLURM_PROCID": "1"})
    runs = TinyRuns(tmp_path, max_epochs=1)

    run_id, code = runs.train()

    assert code == 0, runs.log()
    assert "LOCAL_RANK=1 is ignored" in runs.log()
    assert runs.ask(lambda client: client.get_run(run_id).info.status) == "FINISHED"
    assert "other-ranks" not in runs.log()
