"""The MLflow flavor of graphids, also reachable as `mlflow.graphids`.

A saved model names this package as its loader module for ever, so its name and `_load_pyfunc` stay. Public names are
imported on first use: verifying a model does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphids._fs import IntegrityError
    from graphids.commands.evaluate_model import Evaluation, evaluate, evaluation_windows
    from mlflow_graphids.artifacts import IncompatibleModelError
    from mlflow_graphids.base import load_base_model
    from mlflow_graphids.environment import get_default_conda_env, get_default_pip_requirements
    from mlflow_graphids.loading import _load_pyfunc, load_model
    from mlflow_graphids.pyfunc_wrapper import NotCoveredWarning
    from mlflow_graphids.registration import log_model
    from mlflow_graphids.saving import save_model
    from mlflow_graphids.serving.scoring_app import ServerLimits
    from mlflow_graphids.serving.server import serve
    from mlflow_graphids.verification.manifest import FLAVOR_NAME
    from mlflow_graphids.verifying import VerificationReport, sign_model, verification_report, verify_model

__all__ = [
    "FLAVOR_NAME",
    "Evaluation",
    "IncompatibleModelError",
    "IntegrityError",
    "NotCoveredWarning",
    "ServerLimits",
    "VerificationReport",
    "_load_pyfunc",
    "evaluate",
    "evaluation_windows",
    "get_default_conda_env",
    "get_default_pip_requirements",
    "load_base_model",
    "load_model",
    "log_model",
    "save_model",
    "serve",
    "sign_model",
    "verification_report",
    "verify_model",
]
_MODULES = {
    "graphids._fs": ("IntegrityError",),
    # They log a report, which stands on floors above this one: handed on here, as what a user of MLflow looks for.
    "graphids.commands.evaluate_model": ("Evaluation", "evaluate", "evaluation_windows"),
    "mlflow_graphids.artifacts": ("IncompatibleModelError",),
    "mlflow_graphids.base": ("load_base_model",),
    "mlflow_graphids.environment": ("get_default_conda_env", "get_default_pip_requirements"),
    "mlflow_graphids.loading": ("_load_pyfunc", "load_model"),
    "mlflow_graphids.pyfunc_wrapper": ("NotCoveredWarning",),
    "mlflow_graphids.registration": ("log_model",),
    "mlflow_graphids.saving": ("save_model",),
    "mlflow_graphids.serving.scoring_app": ("ServerLimits",),
    "mlflow_graphids.serving.server": ("serve",),
    "mlflow_graphids.verification.manifest": ("FLAVOR_NAME",),
    "mlflow_graphids.verifying": ("VerificationReport", "sign_model", "verification_report", "verify_model"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
