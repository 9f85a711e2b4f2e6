"""Makes `mlflow.graphids` exist after `import mlflow`, and mends `mlflow run` in two places.

It runs a project where there is no conda, and it leaves a run KILLED or FAILED that the project ended so.

MLflow loads the entry points of `mlflow.run_context_provider` while it is being imported; ours names this module.
Registering on import is therefore the module's whole purpose, and the one import-time effect of the package. It
stays light: it must not import torch, lightning or mlflow_graphids, which cost seconds in every `import mlflow`.
"""

import functools
import importlib
import inspect
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

ALIAS = "mlflow.graphids"
FLAVOR_MODULE = "mlflow_graphids"
PROJECT_NAME = "graphids"
LOCAL_BACKEND_MODULE = "mlflow.projects.backend.local"
PROJECTS_MODULE = "mlflow.projects"

_UNKNOWN_MLFLOW = (
    "graphids cannot extend this version of MLflow (%s). Without conda, give `mlflow run` --env-manager local."
)
_UNKNOWN_STATUS = (
    "graphids cannot extend this version of MLflow (%s). "
    "`mlflow run` may show an interrupted run as FAILED or FINISHED."
)
# FINISHED is not among them: a command that fails after it ended its run has failed.
_ENDS_THAT_STAND = ("KILLED", "FAILED")
_logger = logging.getLogger(__name__)


class GraphidsRunContext:
    """A run context provider without context: it only gives MLflow a reason to import this module."""

    def in_context(self) -> bool:
        """Never: the tags of a run are set where the run is trained."""
        return False

    def tags(self) -> dict[str, str]:
        """No tags."""
        return {}


class _AliasLoader(Loader):
    """Serves the flavor package under its second name, as the same module object."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(FLAVOR_MODULE)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # importlib has just replaced `__spec__` by the alias's; the package's own is needed to reload or find it.
        module.__spec__ = self._own_spec


class _PatchingLoader(Loader):
    """Runs the module's own loader, then a patch."""

    def __init__(self, loader: Loader, patch: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._patch = patch

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._patch(module)


class _Finder(MetaPathFinder):
    """Answers for the alias, and for the modules of MLflow that are patched once they are imported.

    They cannot be imported from here: MLflow is half imported when this module runs.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname == ALIAS:
            return ModuleSpec(ALIAS, _AliasLoader(), is_package=True)
        if patch := _patches().get(fullname):
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _PatchingLoader(spec.loader, patch)
            return spec
        return None


def _register() -> None:
    """Set the lazy alias and the finder; done once per process."""
    import mlflow
    from mlflow.utils.lazy_load import LazyLoader

    # The local name becomes a key of sys.modules on first use: "graphids" there would replace our own package.
    vars(mlflow)["graphids"] = LazyLoader(  # type: ignore[no-untyped-call]
        ALIAS, vars(mlflow), FLAVOR_MODULE
    )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, patch in _patches().items():
        if module := sys.modules.get(name):
            patch(module)


def _patches() -> dict[str, Callable[[ModuleType], None]]:
    return {LOCAL_BACKEND_MODULE: _install_environment_fallback, PROJECTS_MODULE: _install_status_guard}


def _install_status_guard(projects: ModuleType) -> None:
    """Let `mlflow run` keep the status that the project's own run ended with; on any surprise leave MLflow as it is.

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
        if active_run is None or not _end_stands(active_run, projects):
            return set_terminated(active_run, status)
        return None

    return set_unless_ended


def _end_stands(active_run: Any, projects: ModuleType) -> bool:
    """Whether the project itself has ended the run as KILLED or FAILED; a store that cannot say is asked by MLflow."""
    try:
        now = projects.tracking.MlflowClient().get_run(active_run.info.run_id)
        return now.info.status in _ENDS_THAT_STAND
    except (AttributeError, TypeError) as error:
        _logger.warning(_UNKNOWN_STATUS, error)
        return False


def _install_environment_fallback(backend: ModuleType) -> None:
    """Let `LocalBackend.run` fall back to the running environment; on any surprise leave MLflow as it is."""
    try:
        original = backend.LocalBackend.run
        if not hasattr(original, "__wrapped__"):
            backend.LocalBackend.run = _with_environment_fallback(original, backend)
    except Exception as error:
        _logger.warning(_UNKNOWN_MLFLOW, error)


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
    """True where the caller chose no environment, MLflow would choose conda, and there is none."""
    try:
        if run_arguments["backend_config"].get(backend.PROJECT_ENV_MANAGER) is not None or _conda_is_found():
            return False
        # MLflow fetches the project itself afterwards, so one named by a git URI is cloned twice: its name is not
        # known before.
        work_dir = backend.fetch_and_validate_project(
            run_arguments["project_uri"],
            run_arguments["version"],
            run_arguments["entry_point"],
            run_arguments["params"],
        )
        project = backend.load_project(work_dir)
        return bool(project.name == PROJECT_NAME and project.env_type == backend.env_type.CONDA)
    except (AttributeError, KeyError, TypeError) as error:
        _logger.warning(_UNKNOWN_MLFLOW, error)
        return False
    except Exception as error:
        # A wrong URI or parameter fails in MLflow's own run in a moment, with MLflow's own message.
        _logger.info("graphids leaves the choice of the environment to MLflow (%s).", error)
        return False


def _conda_is_found() -> bool:
    """Whether MLflow would find conda; a MLFLOW_CONDA_HOME that is set is a choice, even if it points nowhere."""
    from mlflow.utils.conda import get_conda_bin_executable

    conda = get_conda_bin_executable("conda")  # type: ignore[no-untyped-call]
    return bool(os.environ.get("MLFLOW_CONDA_HOME")) or shutil.which(conda) is not None


@contextmanager
def _own_python_first_on_path() -> Iterator[None]:
    """`python` in the project's command is this interpreter, also where the environment was not activated."""
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


_register()
