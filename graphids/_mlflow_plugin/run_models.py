"""Patch of `runs:/<run id>/model`: the model of a run of graphids, whatever it is called.

MLflow finds the model of such a URI by its name alone, and the name is all that its lists show of a model: one that
says which model it is would break the URI. Loaded by `import mlflow`, it stays light.
"""

import functools
import inspect
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

# As in `graphids.logged_model`, which is not light.
ANY_NAME = "model"
DIGEST_KEY = "graphids.digest"
_UNKNOWN = (
    "graphids cannot patch this version of MLflow (%s). Name a model by its own URI, models:/m-..., "
    "instead of runs:/<run id>/model."
)
_logger = logging.getLogger(__name__)


def patch_runs_repository(repository: ModuleType) -> None:
    """Let MLflow load, serve and download `runs:/<run id>/model`; leave it as it is if it has changed.

    Args:
        repository: `mlflow.store.artifact.runs_artifact_repo`.
    """
    _patch(repository.RunsArtifactRepository, "_get_logged_model_artifact_repo", ["self", "run_id", "name"])


def patch_registration(registration: ModuleType) -> None:
    """Let `mlflow.register_model` take `runs:/<run id>/model`; leave MLflow as it is if it has changed.

    Args:
        registration: `mlflow.tracking._model_registry.fluent`.
    """
    _patch(registration, "_get_logged_models_from_run", ["source_run", "model_name"])


def _patch(owner: Any, function: str, parameters: list[str]) -> None:
    try:
        find = getattr(owner, function)
        if (found := list(inspect.signature(find).parameters)) != parameters:
            raise TypeError(f"{function} has the parameters {found}")
        if not hasattr(find, "__wrapped__"):
            setattr(owner, function, _finding_any_name(find))
    except Exception as error:
        _logger.warning(_UNKNOWN, error)


def _finding_any_name(find: Callable[..., Any]) -> Callable[..., Any]:
    """`find(..., run, name)` returns something empty where there is no model of that name."""

    @functools.wraps(find)
    def find_by_name_or_run(*before: Any, **named: Any) -> Any:
        *others, run, name = inspect.signature(find).bind(*before, **named).args
        if (found := find(*others, run, name)) or name != ANY_NAME:
            return found
        own_name = _own_name(getattr(others[0], "tracking_uri", None) if others else None, run)
        return find(*others, run, own_name) if own_name else found

    return find_by_name_or_run


def _own_name(tracking_uri: str | None, run: Any) -> str | None:
    """What the model that a run logged last is called; None where graphids did not log it."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri)
    run = client.get_run(run) if isinstance(run, str) else run
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id) for output in sorted(outputs, key=lambda output: output.step)]
    names = [model.name for model in models if DIGEST_KEY in model.params]
    return names[-1] if names else None
