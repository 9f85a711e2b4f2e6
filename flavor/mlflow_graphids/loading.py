"""Loading: resolve the anchor, fetch, verify, and only then parse.

`load_model`, `verify_model` and `serve` are the doors to trust: they verify before anything in the artifact is used.
`mlflow.pyfunc` imports the loader module and the code that MLmodel names before it calls `_load_pyfunc`, which then
sees a folder and no URI: it takes its anchor from the environment variable GRAPHIDS_EXPECTED_DIGEST.
"""

import errno
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args
from urllib.parse import urlparse

import mlflow

from graphids._fs import IntegrityError, publish_bytes
from graphids.options import OptionError
from mlflow_graphids.anchors import Anchor, resolve_anchor
from mlflow_graphids.artifacts import from_payload
from mlflow_graphids.manifest import Verified, verify_folder
from mlflow_graphids.pyfunc_wrapper import ServedClassifier, VerifiedClassifier
from mlflow_graphids.saving import digest_being_logged

Policy = Literal["anchored", "integrity-only"]
EXPECTED_DIGEST_VARIABLE = "GRAPHIDS_EXPECTED_DIGEST"

_MAX_PORT = 65535
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
        OptionError: If an argument is malformed; a ValueError.
        ValueError: If the model needs another version of graphids.
        FileNotFoundError: If `model_uri` is a path and no folder lies there.
        MlflowException: If the run, model, version or alias does not exist.
    """
    with _verified(model_uri, expected_digest, dst_path, policy) as (verified, anchor):
        return _classifier(verified, anchored=anchor.digest is not None, model_id=anchor.model_id)


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
        The server's exit code, once it has ended; not 0 where it could not start.

    Raises:
        IntegrityError: As in `load_model`, and so are its other errors; no server is started.
        OptionError: Also if nothing can listen on that host and port, or the port is not 1 to 65535.
    """
    _require_free(host, port)
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


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedClassifier:
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
    return ServedClassifier(_classifier(verified, anchored=expected is not None, model_config=model_config))


def _classifier(
    verified: Verified,
    *,
    anchored: bool,
    model_config: Mapping[str, Any] | None = None,
    model_id: str | None = None,
) -> VerifiedClassifier:
    return VerifiedClassifier.of(
        from_payload(verified.content),
        digest=verified.digest,
        anchored=anchored,
        model_id=model_id,
        model_config={**verified.model_config, **(model_config or {})},
    )


@contextmanager
def _verified(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None,
    dst_path: str | os.PathLike[str] | None,
    policy: Policy,
) -> Iterator[tuple[Verified, Anchor]]:
    """Verified bytes of a model, and what they were held to; a download to no `dst_path` is deleted."""
    _require_there(os.fspath(model_uri))
    anchor = _find_anchor(os.fspath(model_uri), expected_digest, policy)
    with TemporaryDirectory(prefix="graphids-model-") as scratch:
        if dst_path is None and Path(anchor.uri).is_dir():
            folder = Path(anchor.uri)
        else:
            folder = Path(mlflow.artifacts.download_artifacts(anchor.uri, dst_path=os.fspath(dst_path or scratch)))
        yield verify_folder(folder, anchor.digest, anchor.origin), anchor


def _find_anchor(model_uri: str, expected_digest: str | None, policy: Policy) -> Anchor:
    if policy not in get_args(Policy):
        raise OptionError(f"policy is {policy!r}, expected one of {get_args(Policy)}.")
    if expected_digest is not None:
        return Anchor(model_uri, _require_digest(expected_digest, "expected_digest"), "expected_digest")
    anchor = resolve_anchor(model_uri)
    if anchor.digest is not None:
        return anchor
    if policy == "anchored":
        raise IntegrityError(
            f"{model_uri}: nothing outside the artifact says what its digest should be ({anchor.origin}). Give the "
            "digest that saving it returned (--expected-digest, in Python expected_digest=), or name the model by the "
            "URI of its LoggedModel or version. Python alone also offers a check for mere damage: "
            "policy='integrity-only'."
        )
    _logger.warning(
        "%s: loaded without an anchor (%s). Its files match their own manifest, which shows that nothing is damaged, "
        "NOT that nobody changed them.",
        model_uri,
        anchor.origin,
    )
    return anchor


def _require_there(model_uri: str) -> None:
    # MLflow says it in four lines, after a progress bar, and only once the anchor has been missed.
    if not urlparse(model_uri).scheme and not Path(model_uri).is_dir():
        raise FileNotFoundError(
            f"{model_uri}: no folder lies there. Expected the folder of a saved model, or a URI: models:/m-..., "
            "models:/name/version, models:/name@alias or runs:/<run_id>/<name of the model>."
        )


def _require_free(host: str, port: int) -> None:
    """Refuse an address before the model is loaded; MLflow would say it in two tracebacks, after it."""
    if not 1 <= port <= _MAX_PORT:
        raise OptionError(f"port is {port}, expected 1 to {_MAX_PORT}.")
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        errors = [error for address in addresses if (error := _bind_error(*address))]
    except OSError as error:
        addresses, errors = [], [error]
    # `localhost` is also ::1, which a machine may not have; that alone is no reason.
    if len(errors) >= max(len(addresses), 1) or any(error.errno == errno.EADDRINUSE for error in errors):
        raise OptionError(
            f"host {host!r}, port {port}: no server can listen there ({errors[0].strerror}). "
            "Choose another host or port."
        )


def _bind_error(family: int, kind: int, protocol: int, _: str, address: Any) -> OSError | None:
    try:
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # elsewhere it would let two servers share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _require_digest(text: str, name: str) -> str:
    if not _SHA256.fullmatch(text):
        raise OptionError(f"{name} is {text!r}, expected a sha256: 64 hex digits in lower case.")
    return text
