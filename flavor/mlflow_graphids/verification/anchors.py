"""Anchors: the root digest, kept out of reach of anyone who can write the artifact.

A digest beside the bytes shows damage, not tampering. The anchor is the LoggedModel's param `graphids.digest`, which
the tracking store lets nobody overwrite (a tag could be). It is looked up from the URI that the caller gave, never from
an id found inside the artifact.
"""

import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import get_model_name_and_version

from graphids._fs import IntegrityError
from graphids.logged_model import DIGEST_KEY, models_named

_MAX_COPIES = 16  # a version may be a copy of a copy

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a URI resolves to.

    Attributes:
        uri: Where to download the model; an alias, stage or run is replaced by what it meant when it was looked up.
        digest: The anchored root digest; None if the URI resolves to no LoggedModel, or to one without a digest.
        origin: Where the digest comes from, or why there is none; for messages.
        model_id: The LoggedModel that the URI resolves to, if there is one.
    """

    uri: str
    digest: str | None
    origin: str
    model_id: str | None = None


def resolve_anchor(model_uri: str) -> Anchor:
    """Resolve a model URI to its LoggedModel.

    Args:
        model_uri: `models:/m-...`, `models:/name/version`, `models:/name@alias`, `runs:/<run_id>/name`; any other
            URI, and a folder, has no anchor.

    Raises:
        MlflowException: If the run, model, version or alias does not exist.
        IntegrityError: If the run logged several models of that name at one step.
    """
    # A client opens the tracking store, and MLflow creates one if there is none: not for a mere folder.
    scheme = urlparse(model_uri).scheme
    if scheme == "models":
        return _from_models_uri(MlflowClient(), model_uri)
    if scheme == "runs":
        return _from_logged_model(_of_run(MlflowClient(), model_uri))
    return Anchor(model_uri, None, f"{model_uri} is neither a models:/ nor a runs:/ URI")


def _from_models_uri(client: MlflowClient, model_uri: str) -> Anchor:
    found = get_model_name_and_version(client, model_uri)  # type: ignore[no-untyped-call]
    if len(found) == 1:
        return _from_logged_model(client.get_logged_model(found[0]))
    name, version = found
    uri = f"models:/{name}/{version}"
    model = _of_version(client, name, version)
    if model is None:
        return Anchor(uri, None, f"version {version} of {name} resolves to no LoggedModel")
    # The version's own bytes are downloaded: a copy may be elsewhere than the LoggedModel that it was made from.
    return _anchored(uri, model)


def _from_logged_model(model: LoggedModel) -> Anchor:
    return _anchored(f"models:/{model.model_id}", model)


def _anchored(uri: str, model: LoggedModel) -> Anchor:
    if model.status == LoggedModelStatus.FAILED:
        # `set_anchor` marks it so when it finds another digest in the param; that digest must not count.
        origin = f"LoggedModel {model.model_id} is FAILED: logging it failed, or its {DIGEST_KEY} is not its own"
        return Anchor(uri, None, origin, model.model_id)
    return Anchor(
        uri, model.params.get(DIGEST_KEY), f"param {DIGEST_KEY} of LoggedModel {model.model_id}", model.model_id
    )


def _of_version(client: MlflowClient, name: str, version: Any) -> LoggedModel | None:
    """LoggedModel that a registered version was made from; if its `model_id` is None, its source says which."""
    for _ in range(_MAX_COPIES):
        registered = client.get_model_version(name, str(version))
        if registered.model_id:
            return client.get_logged_model(registered.model_id)
        source = registered.source or ""
        if source.startswith("runs:/"):
            return _of_run(client, source)
        if not source.startswith("models:/"):
            return _of_location(client, source)
        found = get_model_name_and_version(client, source)  # type: ignore[no-untyped-call]
        if len(found) == 1:
            return client.get_logged_model(found[0])
        name, version = found
    return None


def _of_location(client: MlflowClient, source: str) -> LoggedModel | None:
    """LoggedModel whose artifacts are at `source`. The path only suggests an id; the store has to confirm it."""
    location = source.rstrip("/")
    for part in reversed(location.split("/")):
        if part.startswith("m-"):
            try:
                model = client.get_logged_model(part)
            except MlflowException as error:
                _logger.debug("%s does not name a LoggedModel: %s", source, error)
                return None
            return model if model.artifact_location.rstrip("/") == location else None
    return None


def _of_run(client: MlflowClient, runs_uri: str) -> LoggedModel:
    """The model of that name with the highest step in its run."""
    run_id, _, name = urlparse(runs_uri).path.lstrip("/").partition("/")
    outputs = client.get_run(run_id).outputs
    steps = {output.model_id: output.step for output in outputs.model_outputs} if outputs else {}
    named = models_named(map(client.get_logged_model, steps), name)
    last = [model for model in named if steps[model.model_id] == max(steps[m.model_id] for m in named)]
    if len(last) == 1:
        return last[0]
    if last:
        ids = ", ".join(f"models:/{model.model_id}" for model in last)
        raise IntegrityError(f"{runs_uri} means {len(last)} models ({ids}), expected one. Name the one you want.")
    raise IntegrityError(
        f"Run {run_id} logged no model named {name!r}; expected runs:/<run_id>/<name of the model>, "
        "or the model's own URI, models:/m-..."
    )
