"""The MLflow flavor of graphids, also reachable as `mlflow.graphids`.

A saved model names this package as its loader module for ever, so its name and `_load_pyfunc` stay.
"""

from graphids._fs import IntegrityError
from mlflow_graphids.loading import _load_pyfunc, load_model, serve, verify_model
from mlflow_graphids.manifest import FLAVOR_NAME
from mlflow_graphids.saving import get_default_conda_env, get_default_pip_requirements, log_model, save_model

__all__ = [
    "FLAVOR_NAME",
    "IntegrityError",
    "_load_pyfunc",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
    "serve",
    "verify_model",
]
