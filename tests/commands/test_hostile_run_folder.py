"""`resume` follows no tag out of the folder of runs, and takes from a run's folder only regular files of the user's."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from graphids._fs import IntegrityError
from graphids.commands.config import render_config
from graphids.commands.interrupted_run import InterruptedRun, interrupted_run
from graphids.commands.run_folder import FOLDER_TAG, resume_command
from graphids.options import OPTIONS, OptionError
from support.stores import empty_store

CONFIG = json.dumps(render_config({option.name: option.default for option in OPTIONS}))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def client(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MlflowClient]:
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    yield MlflowClient(store)
    mlflow.set_tracking_uri(before)


def interrupted(client: MlflowClient, root: Path, text: str = CONFIG) -> tuple[str, Path]:
    """A run that is not finished, and its folder in `root`, which its tag names."""
    run_id: str = client.create_run("0").info.run_id
    folder = root.absolute() / run_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text)
    client.set_tag(run_id, FOLDER_TAG, str(folder))
    return run_id, folder


def found(run_id: str, folder: Path | None = None) -> InterruptedRun:
    with interrupted_run(run_id, folder) as run:
        return run


def test_a_run_in_the_folder_of_runs_is_found(client: MlflowClient) -> None:
    run_id, folder = interrupted(client, Path("graphids_runs"))

    with pytest.warns(UserWarning, match="starts from the beginning"):
        assert found(run_id).folder == folder
    assert resume_command(folder) == f"graphids resume {run_id}"


@pytest.mark.parametrize("where", ["elsewhere", "graphids_runs/../elsewhere"])
def test_a_tag_that_leads_elsewhere_is_followed_only_if_the_folder_is_typed(client: MlflowClient, where: str) -> None:
    run_id, folder = interrupted(client, Path(where))

    with pytest.raises(OptionError, match=f"outside of .*graphids_runs; whoever .* --folder {folder.resolve()}"):
        found(run_id)

    with pytest.warns(UserWarning, match="starts from the beginning"):
        assert found(run_id, folder).folder == folder.resolve()
    assert resume_command(folder.resolve()) == f"graphids resume {run_id} --folder {folder.resolve()}"


def test_a_link_in_the_folder_of_runs_leads_elsewhere_too(client: MlflowClient, tmp_path: Path) -> None:
    run_id, folder = interrupted(client, tmp_path / "elsewhere")
    Path("graphids_runs").mkdir()
    Path("graphids_runs", run_id).symlink_to(folder)
    client.set_tag(run_id, FOLDER_TAG, str(Path("graphids_runs", run_id).absolute()))

    with pytest.raises((OptionError, IntegrityError), match=r"outside of|symbolic link"):
        found(run_id)


def test_a_folder_that_is_gone_is_made_anew_in_the_folder_of_runs(client: MlflowClient, tmp_path: Path) -> None:
    run_id: str = client.create_run("0").info.run_id
    client.set_tag(run_id, FOLDER_TAG, str(tmp_path / "elsewhere" / run_id))
    client.log_text(run_id, CONFIG, "config.json")

    with pytest.warns(UserWarning, match="starts from the beginning"):
        assert found(run_id).folder == tmp_path / "graphids_runs" / run_id


def test_a_configuration_that_names_code_is_not_run(client: MlflowClient) -> None:
    config = json.loads(CONFIG)
    config["trainer"]["callbacks"].append({"class_path": "evil.Callback"})
    run_id, folder = interrupted(client, Path("graphids_runs"), json.dumps(config))

    with pytest.raises(OptionError, match=r"config\.json: trainer\.callbacks\.7\.class_path is 'evil\.Callback'"):
        found(run_id)

    (folder / "config.json").unlink()
    client.log_text(run_id, json.dumps(config), "config.json")
    with pytest.raises(OptionError, match=r"trainer\.callbacks\.7\.class_path is 'evil\.Callback'"):
        found(run_id)


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [os.mkfifo, link, Path.mkdir])
@pytest.mark.parametrize("name", ["config.json", ".lock", "checkpoints"])
def test_a_fifo_or_a_link_in_the_folder_is_refused_and_not_waited_for(
    client: MlflowClient, name: str, make: Callable[[Path], None]
) -> None:
    run_id, folder = interrupted(client, Path("graphids_runs"))
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    if (name, make) == ("checkpoints", Path.mkdir):
        os.mkfifo(folder / name / "last.ckpt")
        with pytest.warns(UserWarning, match=r"last\.ckpt is skipped: .*found a FIFO"):
            found(run_id)
        return

    with pytest.raises(IntegrityError, match=f"{name}: expected a"):
        found(run_id)
