"""The workspace of an MLflow server that holds several: which one this process works in."""

import os


def active_workspace() -> str:
    """The workspace that requests to MLflow name; empty for the default one.

    `mlflow.set_workspace` sets the variable too, so that threads know it.
    """
    name = os.environ.get("MLFLOW_WORKSPACE", "").strip()
    return "" if name == "default" else name
