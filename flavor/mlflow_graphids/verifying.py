"""Verify, report on and sign models.

Nothing is parsed but the manifest and MLmodel, and, of a model that is whole, what model.json says of its features;
torch is not loaded.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from graphids._fs import IntegrityError
from graphids.options import OptionError
from mlflow_graphids.verification.manifest import MODEL_FILE, PROFILE_FILE
from mlflow_graphids.verification.signing import write_signature
from mlflow_graphids.verification.strict import parse_json, shown
from mlflow_graphids.verification.trust import SIGNATURE_SUFFIX, Policy, Trust
from mlflow_graphids.verification.uri import require_verified, verify_uri
from mlflow_graphids.verification.verdict import FileState, Verified


def verify_model(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    policy: Policy | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
) -> str:
    """Verify every file of a model and return its root digest; arguments and errors as in `load_model`."""
    verified, _ = require_verified(model_uri, Trust.of(policy, expected_digest, signature, public_key))
    return verified.digest


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was verified, what it was held to, and every file's state.

    Attributes:
        model: The URI as it was given.
        policy: The policy in force, from argument and environment.
        anchor: Where the expected digest comes from; None if only integrity was checked.
        expected_digest: The root digest that the model was held to; None if there is no anchor.
        digest: The one it has; None if there is no manifest to hash.
        verified: Whether it is the model.
        files: Every file found or declared, problems first.
        error: Why it is not the model, as `load_model` says it; None if it is.
        note: What a whole model still lacks to score, a profile of a vehicle; None if nothing.
    """

    model: str
    policy: Policy
    anchor: str | None
    expected_digest: str | None
    digest: str | None
    verified: bool
    files: tuple[FileState, ...]
    error: str | None
    note: str | None

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON; a file is an object of `path`, `state` and `detail`."""
        files = [{"path": file.path, "state": str(file.state), "detail": file.detail} for file in self.files]
        return {name: files if name == "files" else getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        """One line for the anchor, one per file, one for the verdict."""
        anchor = "none" if self.anchor is None else f"{self.expected_digest} from {self.anchor}"
        lines = [
            f"{file.state:<18} {shown(file.path)}{f' ({file.detail})' if file.detail else ''}" for file in self.files
        ]
        verdict = f"every file matches; graphids.digest {self.digest}" if self.verified else "NOT verified"
        notes = [] if self.note is None else [self.note]
        return "\n".join([f"anchor: {anchor}", *lines, f"{self.model}: {verdict}", *notes])


def verification_report(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    policy: Policy | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
) -> VerificationReport:
    """As `verify_model`, but a model that does not verify is reported instead of refused.

    If there is nothing to hold the files to (no anchor, a signature that does not verify), `files` is empty.

    Raises:
        OptionError: If an argument is malformed. The other errors are those of `verify_model`, without IntegrityError.
    """
    trust = Trust.of(policy, expected_digest, signature, public_key)
    anchor = verdict = error = note = None
    try:
        verdict, anchor = verify_uri(model_uri, trust)
        note = _note(verdict.require_verified())
    except IntegrityError as refused:
        error = str(refused)
    return VerificationReport(
        model=os.fspath(model_uri),
        policy=trust.policy,
        anchor=anchor.origin if anchor and anchor.digest else None,
        expected_digest=anchor.digest if anchor else None,
        digest=verdict.digest if verdict else None,
        verified=error is None,
        files=verdict.files if verdict else (),
        error=error,
        note=note,
    )


def _note(verified: Verified) -> str | None:
    if PROFILE_FILE in verified.content or MODEL_FILE not in verified.content:
        return None
    model = parse_json(verified.content[MODEL_FILE], MODEL_FILE)
    if not isinstance(model, dict) or model.get("features") != "deviations":
        return None
    return f"No {PROFILE_FILE}: the model scores once `graphids adapt` has given it the profile of a vehicle."


def sign_model(
    model_uri: str | os.PathLike[str],
    private_key: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    expected_digest: str | None = None,
    policy: Policy | None = None,
) -> tuple[Path, str]:
    """Verify a model, sign the verified bytes, and return the signature's path and the model's root digest.

    Args:
        model_uri: The model, as in `load_model`.
        private_key: PEM of an elliptic-curve key.
        output: File to write; by default `<folder>.sig` beside a model in a folder, else `model.sig` in the working
            directory.
        expected_digest: As in `load_model`.
        policy: As in `load_model`. "signed" would ask for the signature that is about to be made.

    Raises:
        OptionError: If the key cannot be used, or `output` exists or lies in the model.
        IntegrityError: If the model does not verify. All other errors are those of `load_model`.
    """
    if policy == "signed":
        raise OptionError("policy is 'signed', which a model that is yet to be signed cannot meet.")
    trust = Trust.of_signer(policy, expected_digest)
    is_folder = not urlparse(os.fspath(model_uri)).scheme
    folder = Path(model_uri).absolute()
    beside = folder.with_name(f"{folder.name}{SIGNATURE_SUFFIX}") if is_folder else Path("model.sig")
    target = Path(output) if output is not None else beside
    if is_folder and target.resolve().is_relative_to(folder.resolve()):
        raise OptionError(f"{target}: lies in the model, where it would be an undeclared file; write it elsewhere.")
    if os.path.lexists(target):
        raise OptionError(
            f"{target}: exists already, and a signature never replaces a file. Name another, or remove it."
        )
    verified, _ = require_verified(model_uri, trust)
    write_signature(verified, Path(private_key), target)
    return target, verified.digest
