"""Logging and registering: a saved model in the tracking store, with its anchor."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import mlflow
from mlflow.models import Model, ModelInputExample, ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.tracking import MlflowClient
from mlflow.tracking._model_registry import DEFAULT_AWAIT_MAX_SLEEP_SECONDS
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from graphids.core.classifier import WindowClassifier
from graphids.logged_model import DIGEST_KEY, set_anchor
from mlflow_graphids.reader import CaptureReader
from mlflow_graphids.saving import save_model
from mlflow_graphids.verification.manifest import LOADER_MODULE

# Digest of the model that `log_model` has just saved and MLflow now validates in this process.
digest_being_logged: ContextVar[str | None] = ContextVar("digest_being_logged", default=None)


def log_model(
    graphids_model: WindowClassifier,
    name: str = "model",
    *,
    registered_model_name: str | None = None,
    await_registration_for: int | None = DEFAULT_AWAIT_MAX_SLEEP_SECONDS,
    signature: ModelSignature | None = None,
    input_example: ModelInputExample | None = None,
    conda_env: Mapping[str, Any] | str | None = None,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    code_paths: list[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | None = None,
    capture_reader: CaptureReader | None = None,
    model_card: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    model_type: str | None = None,
    step: int = 0,
    model_id: str | None = None,
) -> ModelInfo:
    """Log a classifier to the active run, anchor its digest in the LoggedModel, then register it.

    Args:
        graphids_model: What to log.
        name: Name of the LoggedModel.
        registered_model_name: Also make a version of this registered model, once the anchor is set; the version gets
            the digest as a tag for display.
        await_registration_for: Seconds to wait for the version.
        signature: As in `save_model`.
        input_example: MLflow scores it before it logs the model, and warns if that fails.
        conda_env: As in `save_model`.
        pip_requirements: As in `save_model`.
        extra_pip_requirements: As in `save_model`.
        code_paths: As in `save_model`.
        metadata: As in `save_model`.
        model_config: As in `save_model`; MLflow also logs it as params of the run.
        capture_reader: As in `save_model`.
        model_card: As in `save_model`; it also becomes the description of the LoggedModel and of the version.
        params: Params of the LoggedModel, beside the run's.
        tags: Tags of the LoggedModel, and of the version.
        model_type: Type of the LoggedModel.
        step: Step of the run that the model belongs to.
        model_id: An existing LoggedModel to log to, instead of a new one.

    Returns:
        MLflow's description of the logged model; its `model_uri` is what `load_model` takes.

    Raises:
        IntegrityError: If the LoggedModel has another digest in its params; it is marked FAILED.
        ValueError: If `params` names `graphids.digest`, which only verification may set.
    """
    if DIGEST_KEY in (params or {}):
        raise ValueError(f"params holds {DIGEST_KEY!r}, which log_model sets itself; leave it out.")
    described = {} if model_card is None else {MLFLOW_RUN_NOTE: model_card}
    flavor = _Flavor()
    before = digest_being_logged.set(None)
    try:
        model_info: ModelInfo = Model.log(
            artifact_path=None,
            name=name,
            flavor=flavor,
            graphids_model=graphids_model,
            signature=signature,
            input_example=input_example,
            conda_env=conda_env,
            pip_requirements=pip_requirements,
            extra_pip_requirements=extra_pip_requirements,
            code_paths=code_paths,
            metadata=dict(metadata) if metadata else None,
            model_config=model_config,
            capture_reader=capture_reader,
            model_card=model_card,
            params=dict(params) if params else None,
            tags={**described, **(tags or {})} or None,
            model_type=model_type,
            step=step,
            model_id=model_id,
        )
    finally:
        digest_being_logged.reset(before)
    set_anchor(model_info.model_id, flavor.digest)
    if registered_model_name is not None:
        registered = mlflow.register_model(
            f"models:/{model_info.model_id}",
            registered_model_name,
            await_registration_for=await_registration_for,
            tags={**(tags or {}), DIGEST_KEY: flavor.digest},
        )
        model_info.registered_model_version = registered.version
        if model_card is not None:
            MlflowClient().update_model_version(registered_model_name, registered.version, model_card)
    return model_info


class _Flavor:
    """Stands in for the flavor module that `Model.log` wants; keeps the digest, which the artifact must not supply."""

    __name__ = LOADER_MODULE
    digest = ""

    def save_model(self, **arguments: Any) -> None:
        self.digest = save_model(**arguments)
        digest_being_logged.set(self.digest)
