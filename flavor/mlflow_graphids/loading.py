"""Loading: resolve the anchor, fetch, verify, and only then parse.

`load_model`, `verify_model` and `serve` are the doors to trust: they verify before anything in the artifact is used.
`mlflow.pyfunc` imports the loader module and the code that MLmodel names before it calls `_load_pyfunc`, which then
sees a folder and no URI: it takes its anchor from the environment variable GRAPHIDS_EXPECTED_DIGEST.
"""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import mlflow

from graphids._fs import IntegrityError, publish_bytes
from mlflow_graphids.anchors import Anchor, resolve_anchor
from mlflow_graphids.artifacts import from_payload
from mlflow_graphids.manifest import Verified, verify_folder
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from mlflow_graphids.saving import digest_being_logged

Policy = Literal["anchored", "integrity-only"]
EXPECTED_DIGEST_VARIABLE = "GRAPHIDS_EXPECTED_DIGEST"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_logger = logging.getLogger(__name__)


def load_model(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    dst_path: str | os.PathLike[str] | None = None,
    policy: Policy = "anchored",
) -> VerifiedClassifier:
    """Load a model whose every byte is the one that was saved.

    Args:
        model_uri: `models:/m-...`, `models:/name/version`, `models:/name@alias`, `runs:/<run_id>/name`, a folder, or
            any other URI that MLflow downloads.
        expected_digest: Root digest that the model must have, as `save_model` returned it. By default the one that
            the LoggedModel behind the URI is anchored to.
        dst_path: Empty folder that keeps the download; by default nothing is kept.
        policy: "integrity-only" also accepts a URI that leads to no anchor, with a warning: damage is still refused,
            tampering is not.

    Raises:
        IntegrityError: If there is no anchor, or a file is changed, missing, resized or undeclared; all are listed.
        ValueError: If an argument is malformed, or the model needs another version of graphids.
    """
    with _verified(model_uri, expected_digest, dst_path, policy) as (verified, anchored):
        return _classifier(verified, anchored=anchored)


def verify_model(
    model_uri: str | os.PathLike[str], expected_digest: str | None = None, policy: Policy = "anchored"
) -> str:
    """Check every file of a model, parse none of them, and return its root digest; errors as in `load_model`."""
    with _verified(model_uri, expected_digest, None, policy) as (verified, _):
        return verified.digest


def serve(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    host: str = "127.0.0.1",
    port: int = 5000,
    policy: Policy = "anchored",
) -> int:
    """Verify a model, then run MLflow's scoring server in this environment on a private copy of the verified bytes.

    Returns:
        The server's exit code, once it has ended.

    Raises:
        IntegrityError: As in `load_model`; no server is started.
    """
    with (
        _verified(model_uri, expected_digest, None, policy) as (verified, _),
        TemporaryDirectory(prefix="graphids-serve-") as folder,
    ):
        for name, data in verified.content.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            publish_bytes(Path(folder) / name, data)
        command = ["mlflow", "models", "serve", "--model-uri", folder, "--env-manager", "local"]
        # MLflow finds uvicorn by PATH, where an environment that was not activated does not stand.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return subprocess.run(
            [sys.executable, "-m", *command, "--host", host, "--port", str(port)],
            env={**os.environ, "PATH": path, EXPECTED_DIGEST_VARIABLE: verified.digest},
            check=False,
        ).returncode


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> VerifiedClassifier:
    """Entry point of `mlflow.pyfunc`; the name and the arguments are MLflow's.

    Raises:
        IntegrityError: If the folder is damaged, or not the model that GRAPHIDS_EXPECTED_DIGEST names.
    """
    given, origin = os.environ.get(EXPECTED_DIGEST_VARIABLE), EXPECTED_DIGEST_VARIABLE
    if given:
        _require_digest(given, origin)
    expected = digest_being_logged.get() or given or None
    if expected is None:
        _logger.warning(
            "%s: files match their own manifest, which shows that nothing is damaged, not that nobody changed them. "
            "Set %s to the model's graphids.digest, or use `graphids serve` or mlflow.graphids.load_model.",
            path,
            EXPECTED_DIGEST_VARIABLE,
        )
    verified = verify_folder(Path(path), expected, origin)
    return _classifier(verified, anchored=expected is not None, model_config=model_config)


def _classifier(
    verified: Verified, *, anchored: bool, model_config: Mapping[str, Any] | None = None
) -> VerifiedClassifier:
    return VerifiedClassifier.of(
        from_payload(verified.content),
        digest=verified.digest,
        anchored=anchored,
        model_config={**verified.model_config, **(model_config or {})},
    )


@contextmanager
def _verified(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None,
    dst_path: str | os.PathLike[str] | None,
    policy: Policy,
) -> Iterator[tuple[Verified, bool]]:
    """Verified bytes of a model, and whether their digest was anchored; a download to no `dst_path` is deleted."""
    anchor = _find_anchor(os.fspath(model_uri), expected_digest, policy)
    with TemporaryDirectory(prefix="graphids-model-") as scratch:
        if dst_path is None and Path(anchor.uri).is_dir():
            folder = Path(anchor.uri)
        else:
            folder = Path(mlflow.artifacts.download_artifacts(anchor.uri, dst_path=os.fspath(dst_path or scratch)))
        yield verify_folder(folder, anchor.digest, anchor.origin), anchor.digest is not None


def _find_anchor(model_uri: str, expected_digest: str | None, policy: Policy) -> Anchor:
    if policy not in get_args(Policy):
        raise ValueError(f"policy is {policy!r}, expected one of {get_args(Policy)}.")
    if expected_digest is not None:
        return Anchor(model_uri, _require_digest(expected_digest, "expected_digest"), "expected_digest")
    anchor = resolve_anchor(model_uri)
    if anchor.digest is not None:
        return anchor
    if policy == "anchored":
        raise IntegrityError(
            f"{model_uri}: nothing outside the artifact says what its digest should be ({anchor.origin}). Pass the "
            "expected_digest that save_model returned, load it by the URI of its LoggedModel or version, or accept "
            "a check for mere damage with policy='integrity-only'."
        )
    _logger.warning(
        "%s: loaded without an anchor (%s). Its files match their own manifest, which shows that nothing is damaged, "
        "NOT that nobody changed them.",
        model_uri,
        anchor.origin,
    )
    return anchor


def _require_digest(text: str, name: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError(f"{name} is {text!r}, expected a sha256: 64 hex digits in lower case.")
    return text
