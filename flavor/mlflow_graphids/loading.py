"""Load models: verify first, and only then parse.

`load_model`, `verify_model`, `sign_model` and `serve` are the doors to trust: they verify before anything in the
artifact is used. `mlflow.pyfunc` imports the loader module and the code that MLmodel names before it calls
`_load_pyfunc`, which is given a folder and no URI: it takes its anchor from the environment variable
GRAPHIDS_EXPECTED_DIGEST.
"""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError, publish_bytes
from graphids.core.frames import Frames
from graphids.options import OptionError
from mlflow_graphids.artifacts import from_payload
from mlflow_graphids.pyfunc_wrapper import ServedClassifier, VerifiedClassifier, own_settings, require_settings
from mlflow_graphids.reader import unpickle_reader
from mlflow_graphids.registration import digest_being_logged
from mlflow_graphids.verification.folder import verify_folder
from mlflow_graphids.verification.manifest import MANIFEST_FILE
from mlflow_graphids.verification.trust import (
    EXPECTED_DIGEST_VARIABLE,
    POLICY_VARIABLE,
    Policy,
    Trust,
    deployment_policy,
    require_digest,
)
from mlflow_graphids.verification.uri import require_verified
from mlflow_graphids.verification.verdict import Verified

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
            a signature names, or that the URI's LoggedModel is anchored to.
        dst_path: Folder, empty or yet to be made, for a copy of the verified files; by default nothing is kept.
        policy: "anchored", the default, refuses a model for which nothing outside the artifact names a digest;
            "signed" also one without a valid signature. "integrity-only" accepts both, with a warning: damage is still
            refused, tampering is not. GRAPHIDS_POLICY sets a minimum that an argument can only tighten.
        signature: Detached signature of the model; `<folder>.sig` by default where a signature is demanded.
        public_key: PEM of the key that it must have been made with; by default the one that GRAPHIDS_PUBLIC_KEY names.
        allow_code: Also load the capture reader that the model carries, which is code of the one who saved it.

    Raises:
        IntegrityError: If there is no anchor, a signature does not verify, or a file is changed, missing, resized or
            undeclared; all are listed.
        OptionError: If an argument is malformed; a ValueError.
        ValueError: If the model needs another version of graphids, or its reader another Python or cloudpickle.
        FileNotFoundError: If `model_uri` is a path and there is no such folder.
        MlflowException: If the run, model, version or alias does not exist.
    """
    trust = Trust.of(policy, expected_digest, signature, public_key)
    kept = None if dst_path is None else _empty_folder(Path(dst_path))
    verified, anchor = require_verified(model_uri, trust)
    anchored = anchor.digest is not None
    reader = unpickle_reader(verified, anchored=anchored) if allow_code else None
    classifier = _classifier(verified, anchored=anchored, model_id=anchor.model_id, reader=reader)
    if kept is not None:
        _keep(verified, kept)
    return classifier


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedClassifier:
    """Entry point of `mlflow.pyfunc`; the name and the arguments are MLflow's.

    Raises:
        IntegrityError: If the folder is damaged, not the model that GRAPHIDS_EXPECTED_DIGEST names, or GRAPHIDS_POLICY
            demands more than can be established here.
    """
    being_logged = digest_being_logged.get()
    expected = being_logged or _pinned_digest(path)
    # The interpreter has already run what is in code/, and written its bytecode there.
    verdict = verify_folder(Path(path), expected, EXPECTED_DIGEST_VARIABLE, tolerate_bytecode=True)
    verified = verdict.require_verified()
    return ServedClassifier(_classifier(verified, anchored=expected is not None, model_config=model_config))


def _pinned_digest(path: str) -> str | None:
    """The digest that the environment names, if it is enough for the policy of the deployment."""
    policy, given = deployment_policy(), os.environ.get(EXPECTED_DIGEST_VARIABLE)
    if given:
        require_digest(given, EXPECTED_DIGEST_VARIABLE)
    if policy == "signed" or (policy == "anchored" and not given):
        doors = "`graphids serve` or mlflow.graphids.load_model."
        if policy == "signed":
            demanded, remedy = "a signature", f"Use {doors}"
        else:
            demanded = "a digest from outside the artifact"
            remedy = f"Set {EXPECTED_DIGEST_VARIABLE} to the model's graphids.digest, or use {doors}"
        raise IntegrityError(
            f"{path}: {POLICY_VARIABLE}={policy} demands {demanded}, and mlflow.pyfunc hands over a folder and nothing "
            f"else. {remedy}"
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
    classifier = from_payload(verified.content, written_by=verified.manifest.graphids_version)
    own = own_settings(classifier)
    try:
        require_settings({k: v for k, v in verified.model_config.items() if v != own.get(k)}, "model_config")
    except ValueError as error:
        raise IntegrityError(f"{MANIFEST_FILE}: {error} Save the model again.") from error
    return VerifiedClassifier.of(
        classifier,
        digest=verified.digest,
        anchored=anchored,
        model_id=model_id,
        model_config={**verified.model_config, **(model_config or {})},
        capture_reader=reader,
    )


def _empty_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise OptionError(f"dst_path {folder}: expected an empty folder, found files in it. Name another.")
    return folder


def _keep(verified: Verified, folder: Path) -> None:
    for path, data in verified.content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        publish_bytes(folder / path, data)
