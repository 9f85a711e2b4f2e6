"""From entries of an outbox to requests to MLflow, each of which can be repeated without a second effect.

MLflow's sql stores ignore a metric that they have with the same timestamp, and refuse another value of a parameter.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.types import ColSpec, Schema
from sqlalchemy.exc import SQLAlchemyError

from graphids._fs import IntegrityError, digest_bytes
from graphids.logged_model import log_saved_model
from graphids.outbox.sender import Entry, UnreachableError
from graphids.outbox.spool import verified_copy
from graphids.secrets import without_secrets

PARAMS_PER_REQUEST = 100
# Experiment tag: sha256 of each tag that a run has set there, to tell them from tags that a person has changed.
# MLflow's pages show every tag but its own.
OWN_TAGS = "mlflow.graphids.ownTags"
# Operations that a run can do without: a refusal is reported in one line, and does not change the exit code.
OPTIONAL = frozenset({"experiment"})
_NO_TAG = ""
# Columns of every data set, as in docs/data.md; the labels may be missing.
_SCHEMA = json.dumps(
    {
        "mlflow_colspec": Schema(
            [
                ColSpec("double", "timestamp"),
                ColSpec("long", "arbitration_id"),
                ColSpec("integer", "dlc"),
                ColSpec("binary", "payload"),
                ColSpec("boolean", "is_extended"),
                ColSpec("string", "channel", required=False),
                ColSpec("boolean", "attack", required=False),
                ColSpec("string", "attack_kind", required=False),
            ]
        ).to_dict()
    }
)
_RETRY = (408, 429)  # request timeout, too many requests


@dataclass(frozen=True, slots=True)
class Destination:
    """One run in one store.

    Attributes:
        client: Of the store.
        run_id: The run.
        spool: Folder of the files to send.
        model_ids: LoggedModels that were created for the outbox's models, by digest.
    """

    client: MlflowClient
    run_id: str
    spool: Path
    model_ids: dict[str, str] = field(default_factory=dict)


def deliver(entry: Entry, destination: Destination) -> None:
    """Carry out one entry.

    Raises:
        UnreachableError: If the store does not answer, or only fails for now.
        MlflowException: If it refuses the entry as it is.
        IntegrityError: If the entry's files are not those that were kept, or a model's anchor has another digest.
    """
    try:
        _DELIVERIES[entry["op"]](entry, destination)
    except MlflowException as error:
        if _may_pass(error):
            raise UnreachableError(_reason(error)) from error
        raise
    # A full or missing disk of artifacts, a broken connection, a database that is locked while MLflow opens it.
    except (OSError, SQLAlchemyError) as error:
        raise UnreachableError(_reason(error)) from error


def _may_pass(error: MlflowException) -> bool:
    """Whether the same request may succeed in a while.

    MLflow raises a refusal of its own, "the logged model may have been deleted", from whatever a look-up met.
    """
    status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
    if status >= 500 or status in _RETRY:
        return True
    return isinstance(error.__cause__, MlflowException) and _may_pass(error.__cause__)


def _reason(error: Exception) -> str:
    return without_secrets(" ".join(str(error).split()))


def _params(entry: Entry, to: Destination) -> None:
    # `mlflow run` logs MLproject's parameters as raw strings before the program starts, and MLflow refuses another
    # spelling of the same value ("0.50", "0.5").
    known = to.client.get_run(to.run_id).data.params
    new = [Param(key, value) for key, value in entry["params"].items() if key not in known]
    for first in range(0, len(new), PARAMS_PER_REQUEST):
        to.client.log_batch(to.run_id, params=new[first : first + PARAMS_PER_REQUEST])


def _tags(entry: Entry, to: Destination) -> None:
    to.client.log_batch(to.run_id, tags=[RunTag(key, value) for key, value in entry["tags"].items()])


def _metrics(entry: Entry, to: Destination) -> None:
    model_id = entry["model_id"] or to.model_ids.get(entry["model"])
    if entry["model"] and model_id is None:
        raise IntegrityError(
            f"metrics of model {entry['model']}: expected the model to be logged before them, found it unsent."
        )
    dataset = entry["dataset"] or {}
    metrics = [
        Metric(
            key,
            value,
            entry["at_ms"],
            entry["step"],
            model_id=model_id,
            dataset_name=dataset.get("name"),
            dataset_digest=dataset.get("digest"),
        )
        for key, value in entry["metrics"].items()
    ]
    if entry["unless_logged"]:
        logged = _logged_steps(to, model_id)
        metrics = [metric for metric in metrics if not logged(metric.key, metric.step)]
    if metrics:
        to.client.log_batch(to.run_id, metrics=metrics)


def _logged_steps(to: Destination, model_id: str | None) -> Callable[[str, int], bool]:
    """Whether the store has a metric at a step; a model is asked if there is one, since its points are written last."""
    if model_id is not None:
        of_model = {(metric.key, metric.step) for metric in to.client.get_logged_model(model_id).metrics or []}
        return lambda key, step: (key, step) in of_model
    known = to.client.get_run(to.run_id).data.metrics

    def logged(key: str, step: int) -> bool:
        return key in known and any(point.step == step for point in to.client.get_metric_history(to.run_id, key))

    return logged


def _dataset(entry: Entry, to: Destination) -> None:
    tags = [InputTag(key="mlflow.data.context", value=entry["context"])]
    to.client.log_inputs(to.run_id, [DatasetInput(dataset=Dataset(**entry["dataset"]), tags=tags)])


def _model_input(entry: Entry, to: Destination) -> None:
    inputs = to.client.get_run(to.run_id).inputs
    if entry["model_id"] not in {known.model_id for known in (inputs.model_inputs if inputs else [])}:
        to.client.log_inputs(to.run_id, models=[LoggedModelInput(entry["model_id"])])


def _artifact(entry: Entry, to: Destination) -> None:
    with verified_copy(to.spool, {entry["name"]: entry["sha256"]}) as folder:
        to.client.log_artifacts(to.run_id, str(folder))


def _model(entry: Entry, to: Destination) -> None:
    with verified_copy(to.spool, entry["files"]) as folder:
        to.model_ids[entry["digest"]] = log_saved_model(
            to.client,
            to.run_id,
            folder,
            digest=entry["digest"],
            name=entry["name"],
            step=entry["step"],
            tags=entry["tags"],
        )


def _experiment(entry: Entry, to: Destination) -> None:
    """Tags of the experiment, each unless someone else has written, changed or removed it.

    Once the store has answered, a failure counts as a refusal and is not retried, whatever its reason: later entries do
    not wait for a convenience.
    """
    experiment_id = entry["experiment_id"]
    known = to.client.get_experiment(experiment_id).tags
    recorded = json.loads(known.get(OWN_TAGS, "{}"))
    # Also what is there already with the same value: a run may have ended before it could record its digest.
    ours = {
        key: value
        for key, value in entry["tags"].items()
        if known.get(key) == value or _tag_digest(known.get(key)) == recorded.get(key, _NO_TAG)
    }
    record = {**recorded, **{key: _tag_digest(value) for key, value in ours.items()}}
    new = {key: value for key, value in ours.items() if known.get(key) != value}
    if record == recorded:
        return
    try:
        for key, value in {**new, OWN_TAGS: json.dumps(record)}.items():
            to.client.set_experiment_tag(experiment_id, key, value)
    except (MlflowException, OSError, SQLAlchemyError) as error:
        raise ValueError(f"experiment {experiment_id}: {_reason(error)}") from error


def _tag_digest(value: str | None) -> str:
    return digest_bytes(value.encode()) if value else _NO_TAG


def _end(entry: Entry, to: Destination) -> None:
    to.client.set_terminated(to.run_id, entry["status"], end_time=entry["at_ms"])


def _start(entry: Entry, to: Destination) -> None:
    """Nothing to send: the run was created before its outbox."""


_DELIVERIES: dict[str, Callable[[Entry, Destination], None]] = {
    "run": _start,
    "params": _params,
    "tags": _tags,
    "experiment": _experiment,
    "metrics": _metrics,
    "dataset": _dataset,
    "model_input": _model_input,
    "artifact": _artifact,
    "model": _model,
    "end": _end,
}


def dataset_fields(name: str, digest: str, source: str, profile: Any) -> dict[str, str]:
    """The fields that MLflow stores of a data set."""
    return {
        "name": name,
        "digest": digest,
        "source_type": "local",
        "source": json.dumps({"uri": source}),
        "schema": _SCHEMA,
        "profile": json.dumps(profile),
    }
