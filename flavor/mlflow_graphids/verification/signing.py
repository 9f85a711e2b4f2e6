"""Signatures: who vouches for a model, as an OpenSSF model signature that is kept apart from it.

A signature is a Sigstore bundle around an in-toto statement that lists path and sha256 of every signed file, made and
verified by the library `model-signing` with an elliptic-curve key: no network, no account. Signed are the manifest and
every payload file, as they were verified; not what MLflow writes beside them, which changes when a model is logged or
downloaded. To verify a model only the manifest's entry is needed, since the manifest names the rest; the other entries
let `model_signing verify key --ignore_unsigned_files` verify the folder without graphids.
"""

import contextlib
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from graphids._fs import IntegrityError, publish_new, read_digested
from graphids.options import OptionError
from mlflow_graphids.verification.manifest import MANIFEST_FILE, MLMODEL_FILE, is_digest
from mlflow_graphids.verification.verdict import Verified

LIBRARY = "model-signing>=1.1.1,<1.2"
PASSWORD_VARIABLE = "GRAPHIDS_SIGNING_PASSWORD"
_MAX_SIGNATURE_BYTES = 1 << 24
_MAX_KEY_BYTES = 1 << 16


def write_signature(verified: Verified, private_key: Path, output: Path) -> None:
    """Sign verified bytes and publish the signature at `output`.

    Args:
        verified: The model; its files are not opened again.
        private_key: PEM of a key on P-256, P-384 or P-521; GRAPHIDS_SIGNING_PASSWORD holds its password, if any.
        output: File outside the model's folder, where it would be undeclared.

    Raises:
        ModuleNotFoundError: If the extra `sign` is not installed.
        OptionError: If the key cannot be used.
        OSError: If the signature cannot be written, or something is at `output`: it is never replaced.
    """
    hashing, signing, _, _ = _library()
    _require_key(private_key)
    with TemporaryDirectory(prefix="graphids-sign-") as scratch:
        # The library takes a folder; the folder's name becomes the name of what was signed.
        folder = Path(scratch) / f"graphids-{verified.digest}"
        for path, data in verified.content.items():
            if path != MLMODEL_FILE:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
        password = os.environ.get(PASSWORD_VARIABLE)
        by_file = hashing.Config().use_file_serialization(hashing_algorithm="sha256")
        config = signing.Config().set_hashing_config(by_file)
        try:
            config.use_elliptic_key_signer(private_key=private_key, password=password.encode() if password else None)
        except (
            ValueError,
            TypeError,
            AttributeError,
        ) as error:  # from `cryptography`
            raise OptionError(
                f"{private_key}: expected the PEM of a private key on P-256, P-384 or P-521 and, if it is encrypted, "
                f"its password in {PASSWORD_VARIABLE} ({error})."
            ) from error
        config.sign(folder, Path(scratch) / "signature")
        with publish_new(output) as stream:
            stream.write((Path(scratch) / "signature").read_bytes())


def signed_digest(signature: Path, public_key: Path) -> str:
    """The root digest of the model that a signature was made for, once the signature is verified.

    Raises:
        IntegrityError: If there is no signature, it was not made with that key, or not for a graphids model.
        ModuleNotFoundError: If the extra `sign` is not installed.
        OptionError: If the key cannot be used.
    """
    _, _, ec_key, bundle = _library()
    _require_key(public_key)
    try:
        verifier = ec_key.Verifier(public_key)
    except (ValueError, TypeError, AttributeError) as error:
        raise OptionError(
            f"{public_key}: expected the PEM of a public key on P-256, P-384 or P-521 ({error})."
        ) from error
    try:
        read_digested(signature, max_bytes=_MAX_SIGNATURE_BYTES)  # refuses a pipe, which would block, and a huge file
    except FileNotFoundError:
        raise IntegrityError(f"{signature}: there is no such file; `graphids sign` makes a signature.") from None
    try:
        # The library warns of an old kind of signature on standard output, which callers of ours parse.
        with contextlib.redirect_stdout(sys.stderr):
            statement = verifier.verify(bundle.Signature.read(signature))
    except Exception as error:  # whatever it raises over a foreign file, the file is not a valid signature
        reason = " ".join(str(error).split()) or type(error).__name__
        raise IntegrityError(
            f"{signature}: is not a valid signature by the key {public_key} ({reason}). Get the signature and the key "
            "again from whoever signed the model; do not use the model."
        ) from error
    return _manifest_digest(signature, statement)


def _manifest_digest(signature: Path, statement: Any) -> str:
    for file in statement.resource_descriptors():
        if file.identifier == MANIFEST_FILE and file.digest.algorithm == "sha256" and is_digest(file.digest.digest_hex):
            return str(file.digest.digest_hex)
    raise IntegrityError(
        f"{signature}: is genuine, but names no sha256 of {MANIFEST_FILE}; it was not made for a graphids model."
    )


def _require_key(path: Path) -> None:
    try:
        read_digested(path.resolve(), max_bytes=_MAX_KEY_BYTES)  # keys are often mounted as links
    except (OSError, IntegrityError) as error:
        raise OptionError(f"{path}: expected the PEM file of a key ({error}).") from error


def _library() -> tuple[Any, Any, Any, Any]:
    """`hashing`, `signing`, the verifier for elliptic-curve keys, and the reader of its bundles.

    The library's public `verifying` opens the model's files itself, after we have read them, and could verify other
    bytes than those that we parse. The verifier below it only returns the signed statement.
    """
    try:
        from model_signing import hashing, signing
        from model_signing._signing import sign_ec_key, sign_sigstore_pb
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Signatures need the library model-signing ({error}). Run: pip install '{LIBRARY}' pyOpenSSL, "
            "which is what the extra `sign` installs.",
            name=error.name,
        ) from error
    return hashing, signing, sign_ec_key, sign_sigstore_pb
