"""The workspace of an MLflow server that holds several: which one this process works in."""

import os

_DEFAULT = "Default"


def active_workspace() -> str:
    """The workspace that requests to MLflow name; empty for the default one.

    `mlflow.set_workspace` sets the variable too, so that threads know it.
    """
    name = os.environ.get("MLFLOW_WORKSPACE", "").strip()
    return "" if name == "default" else name


def workspace_experiment(experiment_id: str | None) -> str | None:
    """`experiment_id`, or this workspace's experiment "Default" where that is 0, MLflow's choice if nobody chose one.

    Only the default workspace has an experiment 0; the others begin without any. "Default" is created if need be.
    """
    if experiment_id != "0" or not active_workspace():
        return experiment_id
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        if client.get_experiment_by_name(_DEFAULT) is None:
            return str(client.create_experiment(_DEFAULT))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by another process, in between
            raise
    experiment = client.get_experiment_by_name(_DEFAULT)
    return experiment_id if experiment is None else str(experiment.experiment_id)
