"""What `import mlflow` and `mlflow run` do once graphids is installed; in processes of their own."""

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from mlflow import MlflowClient

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


def test_import_mlflow_alone_gives_the_flavor_without_loading_it() -> None:
    done = python("""
        import sys
        import mlflow
        heavy = {"torch", "lightning", "torch_geometric", "mlflow_graphids", "numba"} & set(sys.modules)
        assert not heavy, heavy
        assert mlflow.graphids.load_model.__module__.startswith("mlflow_graphids")
        assert "torch" in sys.modules
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


def test_the_alias_used_first_and_imported_later_is_the_same_module() -> None:
    done = python("""
        import mlflow
        save_model = mlflow.graphids.save_model
        import mlflow.graphids
        assert mlflow.graphids.save_model is save_model
        import graphids
        assert graphids.__name__ == "graphids"
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


@pytest.mark.parametrize(
    ("ended_as", "exit_code", "status"),
    [
        ("KILLED", 0, "KILLED"),
        ("KILLED", 1, "KILLED"),
        ("FAILED", 0, "FAILED"),
        ("FINISHED", 1, "FAILED"),
        (None, 0, "FINISHED"),
        (None, 1, "FAILED"),
    ],
)
def test_mlflow_run_leaves_a_run_killed_or_failed_that_the_project_ended_so(
    project: Path, environment: dict[str, str], ended_as: str | None, exit_code: int, status: str
) -> None:
    end = f"MlflowClient().set_terminated(os.environ['MLFLOW_RUN_ID'], '{ended_as}')" if ended_as else "None"
    (project / "end.py").write_text(
        f"import os, sys\nfrom mlflow import MlflowClient\n{end}\nprint(os.environ['MLFLOW_RUN_ID'])\n"
        f"sys.exit({exit_code})\n"
    )
    command = f"{sys.executable} end.py"
    (project / "MLproject").write_text(f"name: graphids\nentry_points:\n  main:\n    command: {command}\n")

    done = run_project(project, environment, "--env-manager", "local")

    assert (done.returncode != 0) == (exit_code != 0), done.stderr
    run_id = done.stdout.split()[-1]
    assert MlflowClient(environment["MLFLOW_TRACKING_URI"]).get_run(run_id).info.status == status


def test_a_change_in_mlflow_costs_the_status_guard_and_neither_the_import_nor_the_run() -> None:
    done = python("""
        import types
        import mlflow.projects as projects
        from graphids._mlflow_plugin import projects as _mlflow_projects
        def set_terminated(everything):
            pass
        changed = types.ModuleType("changed")
        _mlflow_projects._install_status_guard(changed)
        changed._maybe_set_run_terminated = set_terminated
        _mlflow_projects._install_status_guard(changed)
        assert changed._maybe_set_run_terminated is set_terminated
        calls = []
        def set_terminated(active_run, status):
            calls.append(status)
        changed._maybe_set_run_terminated = set_terminated
        _mlflow_projects._install_status_guard(changed)
        changed._maybe_set_run_terminated(object(), "FINISHED")
        assert calls == ["FINISHED"]
        """)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("graphids cannot extend this version of MLflow") == 3
    assert "`mlflow run` may show an interrupted run as FAILED or FINISHED" in done.stderr


def test_a_change_in_mlflow_costs_the_fallback_and_not_the_import() -> None:
    done = python("""
        import mlflow.projects.backend.local as backend
        from graphids._mlflow_plugin.projects import mend_local_backend
        def run(self, everything_else):
            pass
        backend.LocalBackend.run = run
        mend_local_backend(backend)
        assert backend.LocalBackend.run is run
        """)

    assert done.returncode == 0, done.stderr
    assert "graphids cannot extend this version of MLflow" in done.stderr


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


def test_a_change_in_mlflow_costs_the_lock_of_the_store_and_not_the_import() -> None:
    done = python("""
        import types
        import mlflow
        from graphids._mlflow_plugin import store as _mlflow_store
        def initialize(engine, more):
            pass
        changed = types.ModuleType("changed")
        changed._all_tables_exist, changed._initialize_tables = lambda engine: True, initialize
        _mlflow_store.mend_store(changed)
        assert changed._initialize_tables is initialize
        """)

    assert done.returncode == 0, done.stderr
    assert "graphids cannot extend this version of MLflow" in done.stderr


def test_mlflow_run_of_this_project_says_within_seconds_that_the_server_is_away(
    project: Path, environment: dict[str, str]
) -> None:
    environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"

    done = run_project(project, environment, "--env-manager", "local")  # it fails after 120 s

    assert done.returncode != 0
    assert "Connection refused" in done.stderr
    assert MARKER not in done.stdout


@pytest.mark.parametrize(("source", "raises"), [("project", False), ("elsewhere", True)])
def test_a_server_that_went_away_ends_mlflow_run_of_this_project_by_a_line_instead_of_a_traceback(
    project: Path, source: str, raises: bool
) -> None:
    done = python(f"""
        from types import SimpleNamespace
        import mlflow.projects as projects
        class Away:
            def get_run(self, run_id):
                raise projects.MlflowException("http://user:secret@server: connection refused")
        projects.tracking = SimpleNamespace(MlflowClient=Away)
        source = {str(project.parent / source)!r}
        data = SimpleNamespace(tags={{"mlflow.source.name": source}})
        run = SimpleNamespace(info=SimpleNamespace(run_id="abc"), data=data)
        projects._maybe_set_run_terminated(run, "FAILED")
        """)

    assert ("Traceback" in done.stderr) == raises
    told = "not told by `mlflow run` how run abc ended (http://server: connection refused)" in done.stderr
    assert told != raises
    assert ("`graphids sync` sends" in done.stderr) != raises
