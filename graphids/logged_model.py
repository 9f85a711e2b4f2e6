"""Log a model folder as a LoggedModel of its run, once, however often that is tried.

`mlflow.models.Model.log` creates a second LoggedModel if the answer to its first try was lost, and marks the first
FAILED.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Run
from mlflow.models import Model

from graphids._fs import IntegrityError

DIGEST_KEY = "graphids.digest"
# `runs:/<run id>/model` means the model of a run, whatever it is called.
ANY_NAME = "model"
_MAX_DATA_CHARACTERS = 40


def model_name(tau: float, seed: object, data: str) -> str:
    """What a LoggedModel is, in the characters that MLflow has in its name: neither a dot nor a slash.

    >>> model_name(0.25, 0, "day 1.log")
    'gat-tau0_25-seed0-day_1_log'
    """
    return re.sub(r"[^A-Za-z0-9-]", "_", f"gat-tau{tau:g}-seed{seed}-{data[:_MAX_DATA_CHARACTERS]}")


def models_named(models: Iterable[LoggedModel], name: str) -> list[LoggedModel]:
    """The models of a run that are called so; `model` is any that graphids logged, unless one is really called so."""
    all_models = list(models)
    named = [model for model in all_models if model.name == name]
    if named or name != ANY_NAME:
        return named
    return [model for model in all_models if DIGEST_KEY in model.params]


def log_saved_model(
    client: MlflowClient, run_id: str, folder: Path, *, digest: str, name: str, step: int, tags: Mapping[str, str]
) -> str:
    """Log a folder that `save_model` wrote, and anchor its digest; what an earlier try began is found and completed.

    Args:
        client: Of the store that has the run.
        run_id: The run that the model comes from; its params become the model's.
        folder: May be changed: the ids are written into its MLmodel.
        digest: Root digest of the folder; becomes the LoggedModel's param `graphids.digest`.
        name: Name of the LoggedModel.
        step: Step of the run that the model belongs to; the run's metrics of that step are linked to it.
        tags: Of the LoggedModel.

    Returns:
        The id of the LoggedModel.

    Raises:
        IntegrityError: If the LoggedModel has another digest in its params; it is marked FAILED.
    """
    run = client.get_run(run_id)
    model = _model_of(client, run, digest)
    if model is None:
        client.create_logged_model(
            run.info.experiment_id,
            name=name,
            source_run_id=run_id,
            tags={**tags, DIGEST_KEY: digest},
            params=dict(run.data.params),
        )
        # Looked up again: an earlier try that seemed lost may have arrived in the meantime.
        model = _model_of(client, run, digest)
    if model is None:
        raise IntegrityError(f"The LoggedModel {name!r} that run {run_id} just created was not found; log it again.")
    model_id: str = model.model_id
    if model.status != "READY" or model.params.get(DIGEST_KEY) != digest:
        _fill(client, run, model, folder, step)
        set_anchor(model_id, digest, client=client)
        client.finalize_logged_model(model_id, "READY")
    return model_id


def set_anchor(model_id: str, digest: str, *, client: MlflowClient | None = None) -> None:
    """Write the digest to the LoggedModel once, and read it back.

    Raises:
        IntegrityError: If the param already has another value; the LoggedModel is marked FAILED.
    """
    client = client or MlflowClient()
    found = client.get_logged_model(model_id).params.get(DIGEST_KEY)
    if found is None:
        client.log_model_params(model_id, {DIGEST_KEY: digest})
        found = client.get_logged_model(model_id).params.get(DIGEST_KEY)
    if found != digest:
        client.finalize_logged_model(model_id, "FAILED")
        raise IntegrityError(
            f"LoggedModel {model_id}: expected its param {DIGEST_KEY} to be {digest}, found {found}. It was written by "
            f"something else, or copied by MLflow from a param of the run. Log the model again from a run "
            f"without such a param; {model_id} is marked FAILED."
        )


def _model_of(client: MlflowClient, run: Run, digest: str) -> LoggedModel | None:
    """The run's LoggedModel of that digest: the finished one, else the oldest; others, left by lost tries, are deleted.

    The server may still carry out a request that timed out, so there can be several.
    """
    made = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
    same = [model for model in made if model.tags.get(DIGEST_KEY) == digest]
    same.sort(key=lambda model: (model.status != "READY", model.creation_timestamp, model.model_id))
    for left_over in same[1:]:
        if left_over.status == "PENDING":
            client.delete_logged_model(left_over.model_id)
    return same[0] if same else None


def _fill(client: MlflowClient, run: Run, model: LoggedModel, folder: Path, step: int) -> None:
    """Link the model to its run and to the metrics of its step, and upload its files."""
    run_id = run.info.run_id
    if model.model_id not in {output.model_id for output in (run.outputs.model_outputs if run.outputs else [])}:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=step)])
    linked = [
        Metric(metric.key, metric.value, metric.timestamp, metric.step, model_id=model.model_id, run_id=run_id)
        for name in run.data.metrics
        for metric in client.get_metric_history(run_id, name)
        if metric.step == step and metric.model_id is None
    ]
    if linked:
        client.log_batch(run_id, metrics=linked)
    description = Model.load(str(folder))
    description.artifact_path = model.artifact_location
    description.run_id = run_id
    description.model_id = description.model_uuid = model.model_id
    description.save(str(folder / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(folder))
