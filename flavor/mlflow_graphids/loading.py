"""Loading: resolve the anchor, fetch, verify, and only then parse.

`load_model`, `verify_model`, `sign_model` and `serve` are the doors to trust: they verify before anything in the
artifact is used. `mlflow.pyfunc` imports the loader module and the code that MLmodel names before it calls
`_load_pyfunc`, which then sees a folder and no URI: it takes its anchor from the environment variable
GRAPHIDS_EXPECTED_DIGEST.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlparse

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

from graphids._fs import IntegrityError, publish_bytes
from graphids.core.frames import Frames
from graphids.options import OptionError
from mlflow_graphids.artifacts import from_payload
from mlflow_graphids.pyfunc_wrapper import ServedClassifier, VerifiedClassifier
from mlflow_graphids.reader import unpickle_reader
from mlflow_graphids.saving import digest_being_logged
from mlflow_graphids.verification.anchors import Anchor, resolve_anchor
from mlflow_graphids.verification.folder import Inspection, Verified, inspect_folder
from mlflow_graphids.verification.signing import write_signature
from mlflow_graphids.verification.trust import (
    EXPECTED_DIGEST_VARIABLE,
    POLICY_VARIABLE,
    SIGNATURE_SUFFIX,
    Policy,
    Trust,
    deployment_policy,
    find_anchor,
    require_digest,
)

_logger = logging.getLogger(__name__)


def load_model(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    dst_path: str | os.PathLike[str] | None = None,
    policy: Policy | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
    allow_code: bool = False,
) -> VerifiedClassifier:
    """Load a model whose every byte is the one that was saved.

    Args:
        model_uri: `models:/m-...`, `models:/name/version`, `models:/name@alias`, `runs:/<run_id>/name`, a folder, or
            any other URI that MLflow downloads.
        expected_digest: Root digest that the model must have, as `save_model` returned it. By default the one that
            a signature names, or that the LoggedModel behind the URI is anchored to.
        dst_path: Folder, empty or still to be made, that keeps the verified files; by default nothing is kept.
        policy: "anchored", by default, refuses a model for which nothing outside the artifact names a digest;
            "signed" also one without a valid signature. "integrity-only" accepts both, with a warning: damage is still
            refused, tampering is not. GRAPHIDS_POLICY sets what an argument can only tighten.
        signature: Detached signature of the model; `<folder>.sig` by default where a signature is demanded.
        public_key: PEM of the key that it must have been made with; by default the one that GRAPHIDS_PUBLIC_KEY names.
        allow_code: Also load the capture reader that the model carries, which is code of whoever saved it.

    Raises:
        IntegrityError: If there is no anchor, a signature does not verify, or a file is changed, missing, resized or
            undeclared; all are listed.
        OptionError: If an argument is malformed; a ValueError.
        ValueError: If the model needs another version of graphids, or its reader another Python or cloudpickle.
        FileNotFoundError: If `model_uri` is a path and no folder lies there.
        MlflowException: If the run, model, version or alias does not exist.
    """
    trust = Trust.of(policy, expected_digest, signature, public_key)
    kept = None if dst_path is None else _empty_folder(Path(dst_path))
    verified, anchor = _verified(model_uri, trust)
    anchored = anchor.digest is not None
    reader = unpickle_reader(verified, anchored=anchored) if allow_code else None
    classifier = _classifier(verified, anchored=anchored, model_id=anchor.model_id, reader=reader)
    if kept is not None:
        _keep(verified, kept)
    return classifier


def verify_model(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    policy: Policy | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
) -> str:
    """Check every file of a model, parse none of them, and return its root digest; arguments as in `load_model`."""
    verified, _ = _verified(model_uri, Trust.of(policy, expected_digest, signature, public_key))
    return verified.digest


def sign_model(
    model_uri: str | os.PathLike[str],
    private_key: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    expected_digest: str | None = None,
    policy: Policy | None = None,
) -> tuple[Path, str]:
    """Verify a model as `load_model` does, and sign the verified bytes; return where the signature is, and the digest.

    Args:
        model_uri: The model.
        private_key: PEM of an elliptic-curve key.
        output: File to write; by default `<folder>.sig` beside a model in a folder, else `model.sig` where we are.
        expected_digest: As in `load_model`.
        policy: As in `load_model`. "signed" would ask for the signature that is about to be made.

    Raises:
        OptionError: If the key cannot be used, or `output` lies in the model.
        IntegrityError: As in `load_model`, and so are its other errors.
    """
    if policy == "signed":
        raise OptionError("policy is 'signed', which a model that is still to be signed cannot meet.")
    trust = Trust.of_signer(policy, expected_digest)
    is_folder = not urlparse(os.fspath(model_uri)).scheme
    folder = Path(model_uri).absolute()
    beside = folder.with_name(f"{folder.name}{SIGNATURE_SUFFIX}") if is_folder else Path("model.sig")
    target = Path(output) if output is not None else beside
    if is_folder and target.resolve().is_relative_to(folder.resolve()):
        raise OptionError(f"{target}: lies in the model, where it would be an undeclared file; write it elsewhere.")
    verified, _ = _verified(model_uri, trust)
    write_signature(verified, Path(private_key), target)
    return target, verified.digest


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedClassifier:
    """Entry point of `mlflow.pyfunc`; the name and the arguments are MLflow's.

    Raises:
        IntegrityError: If the folder is damaged, not the model that GRAPHIDS_EXPECTED_DIGEST names, or GRAPHIDS_POLICY
            demands more than can be known here.
    """
    being_logged = digest_being_logged.get()
    expected = being_logged or _pinned_digest(path)
    # The interpreter has already run what lies in code/, and written its bytecode there.
    inspection = inspect_folder(Path(path), expected, EXPECTED_DIGEST_VARIABLE, tolerate_bytecode=True)
    verified = inspection.require_verified()
    return ServedClassifier(_classifier(verified, anchored=expected is not None, model_config=model_config))


def _pinned_digest(path: str) -> str | None:
    """The digest that the environment names, if the policy of the deployment can be met with it."""
    policy, given = deployment_policy(), os.environ.get(EXPECTED_DIGEST_VARIABLE)
    if given:
        require_digest(given, EXPECTED_DIGEST_VARIABLE)
    if policy == "signed" or (policy == "anchored" and not given):
        wanted = "a signature" if policy == "signed" else "a digest from outside the artifact"
        way = "" if policy == "signed" else f"Set {EXPECTED_DIGEST_VARIABLE} to the model's graphids.digest, or "
        raise IntegrityError(
            f"{path}: {POLICY_VARIABLE}={policy} demands {wanted}, and mlflow.pyfunc hands over a folder and nothing "
            f"else. {way}{'Use' if not way else 'use'} `graphids serve` or mlflow.graphids.load_model."
        )
    if not given:
        _logger.warning(
            "%s: files match their own manifest, which shows that nothing is damaged, not that nobody changed them. "
            "Set %s to the model's graphids.digest, or use `graphids serve` or mlflow.graphids.load_model.",
            path,
            EXPECTED_DIGEST_VARIABLE,
        )
    return given or None


def _classifier(
    verified: Verified,
    *,
    anchored: bool,
    model_config: Mapping[str, Any] | None = None,
    model_id: str | None = None,
    reader: Callable[[Path], Frames] | None = None,
) -> VerifiedClassifier:
    return VerifiedClassifier.of(
        from_payload(verified.content),
        digest=verified.digest,
        anchored=anchored,
        model_id=model_id,
        model_config={**verified.model_config, **(model_config or {})},
        capture_reader=reader,
    )


def _verified(model_uri: str | os.PathLike[str], trust: Trust) -> tuple[Verified, Anchor]:
    """Verified bytes of a model, and what they were held to."""
    inspection, anchor = inspect_model(model_uri, trust)
    return inspection.require_verified(), anchor


def inspect_model(model_uri: str | os.PathLike[str], trust: Trust) -> tuple[Inspection, Anchor]:
    """What lies behind a URI, whatever its state, and what it was held to; errors as in `find_anchor`."""
    _require_there(os.fspath(model_uri))
    anchor = find_anchor(os.fspath(model_uri), trust)
    with _fetched(anchor.uri) as folder:
        return inspect_folder(folder, anchor.digest, anchor.origin), anchor


@contextmanager
def _fetched(uri: str) -> Iterator[Path]:
    """The folder where the model lies, or a private download of it."""
    if urlparse(uri).scheme == "runs":  # held to a digest, so not followed yet; MLflow would copy even a local store
        uri = resolve_anchor(uri).uri
    if local := _local_folder(uri):
        yield local
        return
    with TemporaryDirectory(prefix="graphids-model-") as scratch:
        yield Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))


def _local_folder(uri: str) -> Path | None:
    """Where the model lies, if that is on this machine: there it is read in place.

    MLflow would copy it first, and with it whatever else was put there: wait for a pipe, follow a link, fill the disk
    with a sparse file.
    """
    if not urlparse(uri).scheme:
        return Path(uri)
    repository = get_artifact_repository(uri)
    while isinstance(repository, ModelsArtifactRepository):
        repository = repository.repo
    return Path(repository.artifact_dir) if isinstance(repository, LocalArtifactRepository) else None


def _empty_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise OptionError(f"dst_path {folder}: expected an empty folder, found files in it. Name another.")
    return folder


def _keep(verified: Verified, folder: Path) -> None:
    for path, data in verified.content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        publish_bytes(folder / path, data)


def _require_there(model_uri: str) -> None:
    # MLflow says it in four lines, after a progress bar, and only once the anchor has been missed.
    if not urlparse(model_uri).scheme and not Path(model_uri).is_dir():
        raise FileNotFoundError(
            f"{model_uri}: no folder lies there. Expected the folder of a saved model, or a URI: models:/m-..., "
            "models:/name/version, models:/name@alias or runs:/<run_id>/<name of the model>."
        )
