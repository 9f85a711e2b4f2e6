"""Makes `mlflow.graphids` available after `import mlflow`, and patches MLflow once its modules are imported.

`projects`, `store`, `run_models` and `registered_versions`, beside this module, say what is patched, and why.

MLflow loads the entry points of `mlflow.run_context_provider` while it is being imported; ours names this module.
Registering on import is therefore the module's whole purpose, and the one import-time effect of the package. It
stays light: it must not import torch, lightning or mlflow_graphids, which cost seconds in every `import mlflow`.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from graphids._mlflow_plugin.projects import patch_local_backend, patch_projects
from graphids._mlflow_plugin.registered_versions import patch_registry_store
from graphids._mlflow_plugin.run_models import patch_registration, patch_runs_repository
from graphids._mlflow_plugin.store import patch_store

ALIAS = "mlflow.graphids"
FLAVOR_MODULE = "mlflow_graphids"
LOCAL_BACKEND_MODULE = "mlflow.projects.backend.local"
PROJECTS_MODULE = "mlflow.projects"
STORE_MODULE = "mlflow.store.db.utils"
RUNS_MODULE = "mlflow.store.artifact.runs_artifact_repo"
REGISTRATION_MODULE = "mlflow.tracking._model_registry.fluent"
REGISTRY_STORE_MODULE = "mlflow.store.model_registry.sqlalchemy_store"


class GraphidsRunContext:
    """A run context provider that provides nothing: it only makes MLflow import this module."""

    def in_context(self) -> bool:
        """Never: a run's tags are set where it is trained."""
        return False

    def tags(self) -> dict[str, str]:
        """No tags."""
        return {}


class _AliasLoader(Loader):
    """Loads the flavor package under its second name, as the same module object."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(FLAVOR_MODULE)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # importlib has just replaced `__spec__` by the alias's; the package's own is needed to reload or find it.
        module.__spec__ = self._own_spec


class _PatchingLoader(Loader):
    """Runs a module's own loader, then a patch."""

    def __init__(self, loader: Loader, patch: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._patch = patch

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._patch(module)


class _Finder(MetaPathFinder):
    """Finds the alias, and the modules of MLflow that are patched once they are imported.

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
    """Install the lazy alias and the finder; runs once per process."""
    import mlflow
    from mlflow.utils.lazy_load import LazyLoader

    # The local name becomes a key of sys.modules on first use: "graphids" would replace our own package there.
    vars(mlflow)["graphids"] = LazyLoader(  # type: ignore[no-untyped-call]
        ALIAS, vars(mlflow), FLAVOR_MODULE
    )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, patch in _patches().items():
        if module := sys.modules.get(name):
            patch(module)


def _patches() -> dict[str, Callable[[ModuleType], None]]:
    return {
        LOCAL_BACKEND_MODULE: patch_local_backend,
        PROJECTS_MODULE: patch_projects,
        STORE_MODULE: patch_store,
        RUNS_MODULE: patch_runs_repository,
        REGISTRATION_MODULE: patch_registration,
        REGISTRY_STORE_MODULE: patch_registry_store,
    }


_register()
