"""What `import mlflow` and `mlflow run` do once graphids is installed."""

import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import mlflow
import pytest
from mlflow import MlflowClient, projects
from mlflow.exceptions import MlflowException

from graphids._mlflow_plugin import projects as project_patches
from graphids._mlflow_plugin import store as store_patches

MLFLOW = (sys.executable, "-m", "mlflow")
MARKER = "the command ran in"


def python(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is called graphids and prints which Python runs it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "MLproject").write_text(
        textwrap.dedent(f"""\
            name: graphids
            conda_env: conda.yaml
            entry_points:
              main:
                command: python -c "import sys; print('{MARKER}', sys.executable)"
            """)
    )
    (folder / "conda.yaml").write_text("name: graphids\ndependencies: [python, pip]\n")
    return folder


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all runs: MLflow takes seconds to create one."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def environment(tracking_uri: str) -> dict[str, str]:
    """Neither conda nor the activated environment on PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONDA", "MLFLOW"))}
    return {**kept, "PATH": "/usr/bin:/bin", "MLFLOW_TRACKING_URI": tracking_uri}


def run_project(project: Path, environment: dict[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*MLFLOW, "run", str(project), *options],
        env=environment,
        cwd=project.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def put_conda_on_path(folder: Path, environment: dict[str, str]) -> Path:
    """A stand-in for conda that writes down how it was called, and fails."""
    folder.mkdir()
    calls = folder / "calls"
    (folder / "conda").write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexit 1\n')
    (folder / "conda").chmod(stat.S_IRWXU)
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    return calls


def test_import_mlflow_alone_gives_the_flavor_without_loading_it_and_a_later_import_gives_the_same() -> None:
    done = python("""
        import sys
        import mlflow
        heavy = {"torch", "lightning", "torch_geometric", "mlflow_graphids", "numba"} & set(sys.modules)
        assert not heavy, heavy
        assert mlflow.graphids.load_model.__module__.startswith("mlflow_graphids")
        assert "torch" in sys.modules
        save_model = mlflow.graphids.save_model
        import mlflow.graphids
        assert mlflow.graphids.save_model is save_model
        import graphids
        assert graphids.__name__ == "graphids"
        """)

    assert done.returncode == 0, done.stderr


def test_every_way_to_import_the_flavor_gives_one_module_and_leaves_the_package_alone() -> None:
    done = python("""
        import sys
        import mlflow.graphids
        from mlflow.graphids import load_model
        import graphids
        import mlflow_graphids
        assert sys.modules["mlflow.graphids"] is mlflow_graphids
        assert load_model is mlflow_graphids.load_model is mlflow.graphids.load_model
        assert mlflow_graphids.__spec__.name == mlflow_graphids.__name__ == "mlflow_graphids"
        assert sys.modules["graphids"] is graphids and graphids.__name__ == "graphids"
        assert not hasattr(graphids, "load_model")
        """)

    assert done.returncode == 0, done.stderr


def test_the_run_context_adds_no_tags() -> None:
    from graphids._mlflow_plugin.plugin import GraphidsRunContext

    assert GraphidsRunContext().in_context() is False
    assert GraphidsRunContext().tags() == {}


def test_without_conda_the_project_runs_in_the_environment_of_mlflow_itself(
    project: Path, environment: dict[str, str]
) -> None:
    done = run_project(project, environment)

    assert done.returncode == 0, done.stderr
    assert f"{MARKER} {Path(sys.executable).parent}{os.sep}" in done.stdout
    assert "No conda found: the project runs in the environment of" in done.stderr


def test_with_conda_on_the_path_conda_is_used(project: Path, environment: dict[str, str], tmp_path: Path) -> None:
    calls = put_conda_on_path(tmp_path / "conda", environment)

    done = run_project(project, environment)

    assert done.returncode != 0
    assert calls.read_text().startswith("--help")
    assert MARKER not in done.stdout


def test_a_conda_home_that_is_set_is_a_choice_and_no_fallback_hides_that_it_is_empty(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    done = run_project(project, {**environment, "MLFLOW_CONDA_HOME": str(tmp_path / "nowhere")})

    assert done.returncode != 0
    assert "nowhere/bin/conda" in done.stderr


def test_an_environment_manager_that_was_given_is_obeyed(project: Path, environment: dict[str, str]) -> None:
    done = run_project(project, environment, "--env-manager", "conda")

    assert done.returncode != 0
    assert "No conda found: the project runs" not in done.stderr


def test_other_projects_are_left_to_mlflow(project: Path, environment: dict[str, str]) -> None:
    (project / "MLproject").write_text((project / "MLproject").read_text().replace("graphids", "other", 1))

    done = run_project(project, environment)

    assert done.returncode != 0
    assert MARKER not in done.stdout


def test_mlflow_run_leaves_a_run_killed_that_the_project_ended_so(project: Path, environment: dict[str, str]) -> None:
    (project / "end.py").write_text(
        "import os, sys\nfrom mlflow import MlflowClient\n"
        "MlflowClient().set_terminated(os.environ['MLFLOW_RUN_ID'], 'KILLED')\nprint(os.environ['MLFLOW_RUN_ID'])\n"
        "sys.exit(1)\n"
    )
    command = f"{sys.executable} end.py"
    (project / "MLproject").write_text(f"name: graphids\nentry_points:\n  main:\n    command: {command}\n")

    done = run_project(project, environment, "--env-manager", "local")

    assert done.returncode != 0
    run_id = done.stdout.split()[-1]
    assert MlflowClient(environment["MLFLOW_TRACKING_URI"]).get_run(run_id).info.status == "KILLED"


@pytest.mark.parametrize(
    ("ended_as", "status_of_the_command", "status"),
    [
        ("KILLED", "FINISHED", "KILLED"),
        ("KILLED", "FAILED", "KILLED"),
        ("FAILED", "FINISHED", "FAILED"),
        ("FINISHED", "FAILED", "FAILED"),
        (None, "FINISHED", "FINISHED"),
        (None, "FAILED", "FAILED"),
    ],
)
def test_the_status_that_mlflow_run_gives_a_run_yields_to_killed_and_failed(
    selected_store: MlflowClient, ended_as: str | None, status_of_the_command: str, status: str
) -> None:
    run = selected_store.create_run("0")
    if ended_as:
        selected_store.set_terminated(run.info.run_id, ended_as)

    projects._maybe_set_run_terminated(run, status_of_the_command)

    assert selected_store.get_run(run.info.run_id).info.status == status


@pytest.fixture
def selected_store(tracking_uri: str) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


def test_a_change_in_mlflow_disables_the_status_guard_and_neither_the_import_nor_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def with_one_parameter(everything: object) -> None:
        pytest.fail(f"called with {everything}")

    calls = []

    def with_the_known_parameters(active_run: object, status: str) -> None:
        calls.append((active_run, status))

    changed = ModuleType("changed")
    project_patches._patch_set_terminated(changed)
    changed._maybe_set_run_terminated = with_one_parameter  # type: ignore[attr-defined]
    project_patches._patch_set_terminated(changed)
    assert changed._maybe_set_run_terminated is with_one_parameter

    changed._maybe_set_run_terminated = with_the_known_parameters  # type: ignore[attr-defined]
    project_patches._patch_set_terminated(changed)
    changed._maybe_set_run_terminated("not a run", "FINISHED")

    assert calls == [("not a run", "FINISHED")]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 3
    assert all(line.startswith("graphids cannot patch this version of MLflow") for line in warnings)
    assert "`mlflow run` may show an interrupted run as FAILED or FINISHED" in warnings[0]


def test_a_change_in_mlflow_disables_the_fallback_and_not_the_import(caplog: pytest.LogCaptureFixture) -> None:
    class LocalBackend:
        def run(self, everything_else: object) -> None: ...

    original, changed = LocalBackend.run, ModuleType("changed")
    changed.LocalBackend = LocalBackend  # type: ignore[attr-defined]

    project_patches.patch_local_backend(changed)

    assert LocalBackend.run is original
    assert "graphids cannot patch this version of MLflow" in caplog.text


def test_processes_that_are_the_first_to_use_a_sqlite_store_at_once_all_succeed(tmp_path: Path) -> None:
    """Eight forks of one process in which MLflow is imported: they start within a millisecond of each other."""
    program = f"""
        import multiprocessing, os, sys, time
        import mlflow
        import mlflow.store.tracking.sqlalchemy_store
        from mlflow.tracking import MlflowClient
        def first_use(uri, at):
            time.sleep(max(0.0, at - time.time()))
            mlflow.set_tracking_uri(uri)
            MlflowClient().search_experiments()
            MlflowClient().search_registered_models()
        fork = multiprocessing.get_context("fork")
        for number in range(2):
            uri = "sqlite:///{tmp_path}/%d.db" % number
            processes = [fork.Process(target=first_use, args=(uri, time.time() + 0.2)) for _ in range(8)]
            for process in processes: process.start()
            for process in processes: process.join()
            assert [process.exitcode for process in processes] == [0] * 8
        """

    done = python(program)

    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in tmp_path.iterdir()} == {"0.db", "1.db"}


def test_a_change_in_mlflow_disables_the_lock_of_the_store_and_not_the_import(caplog: pytest.LogCaptureFixture) -> None:
    def initialize(engine: object, more: object) -> None: ...

    changed = ModuleType("changed")
    changed._all_tables_exist, changed._initialize_tables = lambda engine: bool(engine), initialize  # type: ignore[attr-defined]

    store_patches.patch_store(changed)

    assert changed._initialize_tables is initialize
    assert "graphids cannot patch this version of MLflow" in caplog.text


def test_mlflow_run_of_this_project_says_within_seconds_that_the_server_is_unreachable(
    project: Path, environment: dict[str, str]
) -> None:
    environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"

    done = run_project(project, environment, "--env-manager", "local")  # it fails after 120 s

    assert done.returncode != 0
    assert "Connection refused" in done.stderr
    assert MARKER not in done.stdout


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_server_that_went_away_ends_mlflow_run_of_this_project_with_a_line_instead_of_a_traceback(
    project: Path, is_ours: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Unreachable:
        def get_run(self, run_id: str) -> None:
            raise MlflowException("http://user:secret@server: connection refused")

    monkeypatch.setattr(projects, "tracking", SimpleNamespace(MlflowClient=Unreachable))
    source = project if is_ours else project.parent / "elsewhere"
    data = SimpleNamespace(tags={"mlflow.source.name": str(source)})
    run = SimpleNamespace(info=SimpleNamespace(run_id="abc"), data=data)

    with nullcontext() if is_ours else pytest.raises(MlflowException, match="connection refused"):
        projects._maybe_set_run_terminated(run, "FAILED")

    line = "could not tell MLflow how run abc ended (http://server: connection refused). `graphids sync` sends"
    assert (line in caplog.text) == is_ours
