"""The MLflow flavor of graphids, also reachable as `mlflow.graphids`.

A saved model names this package as its loader module for ever, so its name and `_load_pyfunc` stay.
"""

from graphids._fs import IntegrityError
from mlflow_graphids.artifacts import IncompatibleModelError
from mlflow_graphids.examination import Examination, examine_model
from mlflow_graphids.loading import _load_pyfunc, load_model, sign_model, verify_model
from mlflow_graphids.manifest import FLAVOR_NAME
from mlflow_graphids.saving import get_default_conda_env, get_default_pip_requirements, log_model, save_model
from mlflow_graphids.scoring_app import ServerLimits
from mlflow_graphids.serving import serve

__all__ = [
    "FLAVOR_NAME",
    "Examination",
    "IncompatibleModelError",
    "IntegrityError",
    "ServerLimits",
    "_load_pyfunc",
    "examine_model",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_model",
    "log_model",
    "save_model",
    "serve",
    "sign_model",
    "verify_model",
]
