"""Verify a model by its URI: resolve the anchor, fetch, then verify the folder; nothing in it is parsed before that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlparse

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

from mlflow_graphids.verification.anchors import Anchor, resolve_anchor
from mlflow_graphids.verification.folder import verify_folder
from mlflow_graphids.verification.trust import Trust, find_anchor
from mlflow_graphids.verification.verdict import Verdict, Verified


def verify_uri(model_uri: str | os.PathLike[str], trust: Trust) -> tuple[Verdict, Anchor]:
    """The verdict on the model that a URI leads to, and the anchor it was held to; errors as in `find_anchor`.

    Raises:
        FileNotFoundError: If `model_uri` is a path and there is no such folder.
    """
    uri = os.fspath(model_uri)
    # MLflow says it in four lines, after a progress bar, and only once the missing anchor has been complained about.
    if not urlparse(uri).scheme and not Path(uri).is_dir():
        raise FileNotFoundError(
            f"{uri}: there is no such folder. Expected the folder of a saved model, or a URI: models:/m-..., "
            "models:/name/version, models:/name@alias or runs:/<run_id>/<name of the model>."
        )
    anchor = find_anchor(uri, trust)
    with _fetched(anchor.uri) as folder:
        return verify_folder(folder, anchor.digest, anchor.origin), anchor


def require_verified(model_uri: str | os.PathLike[str], trust: Trust) -> tuple[Verified, Anchor]:
    """Verified bytes of the model, and the anchor they were held to.

    Raises:
        IntegrityError: If a file is not as declared, or as in `verify_uri`.
    """
    verdict, anchor = verify_uri(model_uri, trust)
    return verdict.require_verified(), anchor


@contextmanager
def _fetched(uri: str) -> Iterator[Path]:
    """The folder that holds the model, or a private download of it."""
    # With an expected digest the run was not resolved yet. MLflow would copy even from a local store.
    if urlparse(uri).scheme == "runs":
        uri = resolve_anchor(uri).uri
    if local := _local_folder(uri):
        yield local
        return
    with TemporaryDirectory(prefix="graphids-model-") as scratch:
        yield Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))


def _local_folder(uri: str) -> Path | None:
    """The model's folder if it is on this machine: there it is read in place.

    MLflow would copy it first, and with it whatever else was put there: wait for a pipe, follow a link, fill the disk
    with a sparse file.
    """
    if not urlparse(uri).scheme:
        return Path(uri)
    repository = get_artifact_repository(uri)
    while isinstance(repository, ModelsArtifactRepository):
        repository = repository.repo
    return Path(repository.artifact_dir) if isinstance(repository, LocalArtifactRepository) else None
