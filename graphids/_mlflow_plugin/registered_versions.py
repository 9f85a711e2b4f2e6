"""Patch of the registry: a version that is registered from a model of graphids has its card, whoever registers it.

The button *Register model* of MLflow's pages, `mlflow.register_model` and `mlflow models` give a version neither
description nor tags. The patch is in the store, so that it is at work where the store is: in a server whose environment
has graphids, or in the process itself where the store is a file. Loaded by `import mlflow`, it stays light.
"""

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

DIGEST_KEY = "graphids.digest"
_NOTE = "mlflow.note.content"
# MLflow's databases keep 5,000 characters of a description.
_MAX_CHARACTERS = 5000
_MORE = "\n\nThe rest is in MODEL_CARD.md, one of the model's files."
_UNKNOWN = (
    "graphids cannot patch this version of MLflow (%s). A registered version has its model's card only where "
    "log_model(..., registered_model_name=..., model_card=...) made it."
)
_logger = logging.getLogger(__name__)


def patch_registry_store(module: ModuleType) -> None:
    """Let new versions have card and tags of their LoggedModel; leave MLflow as it is if it has changed.

    Args:
        module: `mlflow.store.model_registry.sqlalchemy_store`.
    """
    try:
        create = module.SqlAlchemyStore.create_model_version
        if missing := {"source", "tags", "description", "model_id"} - set(inspect.signature(create).parameters):
            raise TypeError(f"create_model_version has no parameter {', '.join(sorted(missing))}")
        if not hasattr(create, "__wrapped__"):
            module.SqlAlchemyStore.create_model_version = _describing(create)
    except Exception as error:
        _logger.warning(_UNKNOWN, error)


def _describing(create: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(create)

    @functools.wraps(create)
    def create_described(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        model_tags = _tags_of_model(given.get("model_id") or _model_id_in(given["source"]))
        if DIGEST_KEY in model_tags:
            given["description"] = given.get("description") or _shortened(model_tags.get(_NOTE, ""))
            given["tags"] = [*(given.get("tags") or []), *_new_tags(model_tags, given.get("tags") or [])]
        return create(*bound.args, **bound.kwargs)

    return create_described


def _model_id_in(source: str) -> str | None:
    name = source.removeprefix("models:/")
    return name if name != source and name.startswith("m-") else None


def _tags_of_model(model_id: str | None) -> dict[str, str]:
    """Tags of a LoggedModel; none where there is no such model, which is for MLflow to say."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    # A server has its store there, and need not be its own client's default.
    store = getattr(sys.modules.get("mlflow.server.handlers"), "_tracking_store", None) or MlflowClient()
    try:
        return dict(store.get_logged_model(model_id).tags) if model_id else {}
    except MlflowException as error:
        _logger.info("The version gets no card: %s", error)
        return {}


def _new_tags(model_tags: dict[str, str], given: list[Any]) -> list[Any]:
    from mlflow.entities.model_registry import ModelVersionTag

    known = {tag.key for tag in given}
    ours = {key: value for key, value in model_tags.items() if key.startswith("graphids.")}
    tag: Any = ModelVersionTag  # untyped
    return [tag(key, value) for key, value in ours.items() if key not in known]


def _shortened(card: str) -> str:
    """The card as far as its last whole line that fits."""
    if len(card) <= _MAX_CHARACTERS:
        return card
    return card[: _MAX_CHARACTERS - len(_MORE)].rpartition("\n")[0] + _MORE
