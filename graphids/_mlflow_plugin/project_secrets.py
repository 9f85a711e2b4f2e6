"""What `mlflow run` itself records of this project: its parameters as typed, its URI and its git remote.

MLflow records them before the project's own process starts, so they reach no outbox. A clone of a private repository
has a token in its remote, and a model URI may have a password.
"""

import functools
import inspect
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

from graphids.secrets import all_without_secrets, without_secrets

_UNKNOWN = "graphids cannot patch this version of MLflow (%s). `mlflow run` records parameters as they are typed."
_PARAMETERS = ["run_id", "uri", "experiment_id", "work_dir", "version", "entry_point", "parameters"]
_logger = logging.getLogger(__name__)


def patch_recorded(backend: ModuleType, is_ours: Callable[[str], bool]) -> None:
    """Let `mlflow run` of this project record nothing secret; leave MLflow as it is if it has changed.

    Args:
        backend: `mlflow.projects.backend.local`.
        is_ours: Whether a folder holds this project.
    """
    try:
        create = backend.get_or_create_run
        if (parameters := list(inspect.signature(create).parameters)) != _PARAMETERS:
            raise TypeError(f"get_or_create_run has the parameters {parameters}")
        if not hasattr(create, "__wrapped__"):
            vars(backend)["get_or_create_run"] = _recording_no_secrets(create, is_ours)
    except Exception as error:
        _logger.warning(_UNKNOWN, error)


def _recording_no_secrets(create: Callable[..., Any], is_ours: Callable[[str], bool]) -> Callable[..., Any]:
    @functools.wraps(create)
    def create_run(
        run_id: Any, uri: str, experiment_id: Any, work_dir: Any, version: Any, entry_point: Any, parameters: Any
    ) -> Any:
        if not is_ours(str(work_dir)):
            return create(run_id, uri, experiment_id, work_dir, version, entry_point, parameters)
        # Only recorded: the project is fetched and its command made from the caller's own.
        recorded = all_without_secrets(parameters)
        run = create(run_id, without_secrets(uri), experiment_id, work_dir, version, entry_point, recorded)
        _clean_tags(run)
        return run

    return create_run


def _clean_tags(run: Any) -> None:
    """MLflow takes the git remote from the folder itself, as it is."""
    from mlflow.tracking import MlflowClient

    for key, value in run.data.tags.items():
        if (clean := without_secrets(value)) != value:
            MlflowClient().set_tag(run.info.run_id, key, clean)
