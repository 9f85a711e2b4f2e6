"""Patches of `mlflow run`.

The project runs without conda; a run that the project ended as KILLED or FAILED keeps that status; several runs may be
the first of an experiment; an unreachable server is given up on after seconds, not minutes, and without a traceback.

Loaded by `import mlflow`, it stays light.
"""

import functools
import inspect
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from graphids._mlflow_plugin.project_secrets import patch_recorded
from graphids.failure import impatient_requests
from graphids.secrets import without_secrets
from graphids.workspace import workspace_experiment

PROJECT_NAME = "graphids"

_UNKNOWN_BACKEND = (
    "graphids cannot patch this version of MLflow (%s). Without conda, give `mlflow run` --env-manager local."
)
_UNKNOWN_STATUS = (
    "graphids cannot patch this version of MLflow (%s). `mlflow run` may show an interrupted run as FAILED or FINISHED."
)
_UNKNOWN_EXPERIMENT = (
    "graphids cannot patch this version of MLflow (%s). "
    "If several `mlflow run` are the first of an experiment at once, some may fail."
)
_UNKNOWN_SERVER = (
    "graphids cannot patch this version of MLflow (%s). An unreachable server delays `mlflow run` by minutes."
)
_UNREACHABLE = (
    "`mlflow run` could not tell MLflow how run %s ended (%s). `graphids sync` sends what the run itself has kept."
)
_ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
# Not FINISHED: a command that fails after it ended its run has failed.
_FINAL_STATUSES = ("KILLED", "FAILED")
_logger = logging.getLogger(__name__)


def patch_projects(projects: ModuleType) -> None:
    """Patch `mlflow.projects`, each place by itself: a change in MLflow disables that patch only."""
    _patch_set_terminated(projects)
    _patch_resolve_experiment(projects)
    _patch_run(projects)


def _patch_resolve_experiment(projects: ModuleType) -> None:
    """Let several `mlflow run` be the first of an experiment, which all look up and all but one fail to create.

    In a workspace, which has no experiment 0, the one for runs that name none is its "Default".
    """
    try:
        resolve = projects._resolve_experiment_id
        exception = projects.MlflowException
        if hasattr(resolve, "__wrapped__"):
            return

        @functools.wraps(resolve)
        def resolve_or_retry(*args: Any, **kwargs: Any) -> Any:
            try:
                experiment_id = resolve(*args, **kwargs)
            except exception as error:
                if error.error_code != _ALREADY_EXISTS:
                    raise
                experiment_id = resolve(*args, **kwargs)
            return workspace_experiment(experiment_id)

        vars(projects)["_resolve_experiment_id"] = resolve_or_retry
    except Exception as error:
        _logger.warning(_UNKNOWN_EXPERIMENT, error)


def _patch_run(projects: ModuleType) -> None:
    """Let `mlflow run` of this project, from a folder, fail within seconds if the server is unreachable."""
    try:
        run = projects.run
        if "uri" not in (signature := inspect.signature(run)).parameters:
            raise TypeError("mlflow.projects.run has no parameter uri")
        if hasattr(run, "__wrapped__"):
            return

        @functools.wraps(run)
        def run_with_short_timeouts(*args: Any, **kwargs: Any) -> Any:
            uri = signature.bind(*args, **kwargs).arguments["uri"]
            with impatient_requests() if _is_ours(str(uri)) else nullcontext():
                return run(*args, **kwargs)

        vars(projects)["run"] = run_with_short_timeouts
    except Exception as error:
        _logger.warning(_UNKNOWN_SERVER, error)


def _is_ours(uri: str) -> bool:
    """Whether a local folder holds this project; remote URIs are not looked at."""
    try:
        return f"name: {PROJECT_NAME}" in Path(uri, "MLproject").read_text().splitlines()
    except (OSError, ValueError):
        return False


def _patch_set_terminated(projects: ModuleType) -> None:
    """Let `mlflow run` keep the status that the project gave its run; leave MLflow as it is if it has changed.

    MLflow means to keep it, but compares the stored name, such as "KILLED", with the numbers of `RunStatus`.
    """
    try:
        original = projects._maybe_set_run_terminated
        if not hasattr(original, "__wrapped__"):
            vars(projects)["_maybe_set_run_terminated"] = _with_status_guard(original, projects)
    except Exception as error:
        _logger.warning(_UNKNOWN_STATUS, error)


def _with_status_guard(set_terminated: Callable[..., Any], projects: ModuleType) -> Callable[..., Any]:
    if (parameters := list(inspect.signature(set_terminated).parameters)) != ["active_run", "status"]:
        raise TypeError(f"_maybe_set_run_terminated has the parameters {parameters}")

    @functools.wraps(set_terminated)
    def set_unless_ended(active_run: Any, status: str) -> Any:
        try:
            if active_run is None or not _has_final_status(active_run, projects):
                return set_terminated(active_run, status)
        except projects.MlflowException as error:
            # The project has said what to do; MLflow's traceback would push it off the screen.
            if not _is_ours(active_run.data.tags.get("mlflow.source.name", "")):
                raise
            _logger.warning(_UNREACHABLE, active_run.info.run_id, without_secrets(str(error)))
        return None

    return set_unless_ended


def _has_final_status(active_run: Any, projects: ModuleType) -> bool:
    """Whether the project has ended the run as KILLED or FAILED; False if this version of MLflow cannot tell."""
    try:
        now = projects.tracking.MlflowClient().get_run(active_run.info.run_id)
        return now.info.status in _FINAL_STATUSES
    except (AttributeError, TypeError) as error:
        _logger.warning(_UNKNOWN_STATUS, error)
        return False


def patch_local_backend(backend: ModuleType) -> None:
    """Let `LocalBackend.run` fall back to the running environment; leave MLflow as it is if it has changed."""
    patch_recorded(backend, _is_ours)
    try:
        original = backend.LocalBackend.run
        if not hasattr(original, "__wrapped__"):
            backend.LocalBackend.run = _with_environment_fallback(original, backend)
    except Exception as error:
        _logger.warning(_UNKNOWN_BACKEND, error)


def _with_environment_fallback(run: Callable[..., Any], backend: ModuleType) -> Callable[..., Any]:
    signature = inspect.signature(run)
    if missing := {"project_uri", "version", "entry_point", "params", "backend_config"} - set(signature.parameters):
        raise TypeError(f"LocalBackend.run has no parameter {', '.join(sorted(missing))}")

    @functools.wraps(run)
    def run_or_fall_back(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        if not _needs_fallback(bound.arguments, backend):
            return run(*args, **kwargs)
        _logger.warning(
            "No conda found: the project runs in the environment of %s. "
            "To build one from conda.yaml, install conda or pass --env-manager uv.",
            sys.executable,
        )
        bound.arguments["backend_config"] = {
            **bound.arguments["backend_config"],
            backend.PROJECT_ENV_MANAGER: backend._EnvManager.LOCAL,
        }
        with _own_python_first_on_path():
            return run(*bound.args, **bound.kwargs)

    return run_or_fall_back


def _needs_fallback(run_arguments: dict[str, Any], backend: ModuleType) -> bool:
    """Whether the caller chose no environment manager, MLflow would choose conda, and there is none."""
    try:
        if run_arguments["backend_config"].get(backend.PROJECT_ENV_MANAGER) is not None or _conda_is_found():
            return False
        # MLflow fetches the project again afterwards: a project at a git URI is cloned twice, as its name is not known
        # before.
        work_dir = backend.fetch_and_validate_project(
            run_arguments["project_uri"],
            run_arguments["version"],
            run_arguments["entry_point"],
            run_arguments["params"],
        )
        project = backend.load_project(work_dir)
        return bool(project.name == PROJECT_NAME and project.env_type == backend.env_type.CONDA)
    except (AttributeError, KeyError, TypeError) as error:
        _logger.warning(_UNKNOWN_BACKEND, error)
        return False
    except Exception as error:
        # With a wrong URI or parameter, MLflow's own run is about to fail, with MLflow's own message.
        _logger.info("graphids leaves the choice of the environment to MLflow (%s).", error)
        return False


def _conda_is_found() -> bool:
    """Whether MLflow would find conda; setting MLFLOW_CONDA_HOME is a choice of it, even if it does not exist."""
    from mlflow.utils.conda import get_conda_bin_executable

    conda = get_conda_bin_executable("conda")  # type: ignore[no-untyped-call]
    return bool(os.environ.get("MLFLOW_CONDA_HOME")) or shutil.which(conda) is not None


@contextmanager
def _own_python_first_on_path() -> Iterator[None]:
    """Let `python` in the project's command be this interpreter, even if its environment is not activated."""
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
