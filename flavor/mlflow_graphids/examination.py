"""Examination: what verification found, file by file, for people and for programs."""

import os
from dataclasses import dataclass
from typing import Any

from graphids._fs import IntegrityError
from mlflow_graphids.loading import inspect_model
from mlflow_graphids.verification.folder import FileState
from mlflow_graphids.verification.strict import shown
from mlflow_graphids.verification.trust import Policy, Trust


@dataclass(frozen=True, slots=True)
class Examination:
    """What was looked at, what it was held to, and every file's state.

    Attributes:
        model: The URI as it was given.
        policy: The policy in force, from argument and environment.
        anchor: Where the expected digest stands; None where only integrity was checked.
        expected_digest: The root digest that the model was held to; None where there is no anchor.
        digest: The one it has; None where there is no manifest to hash.
        verified: Whether it is the model.
        files: Every file found or declared, problems first.
        error: Why it is not the model, as `load_model` says it; None where it is.
    """

    model: str
    policy: Policy
    anchor: str | None
    expected_digest: str | None
    digest: str | None
    verified: bool
    files: tuple[FileState, ...]
    error: str | None

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
        return "\n".join([f"anchor: {anchor}", *lines, f"{self.model}: {verdict}"])


def examine_model(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    policy: Policy | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
) -> Examination:
    """As `verify_model`, but a model that is not as saved is described instead of refused.

    Where nothing can be held against anything (no anchor, a signature that does not verify), `files` is empty.

    Raises:
        OptionError: If an argument is malformed, and so are the other errors of `verify_model` but IntegrityError.
    """
    trust = Trust.of(policy, expected_digest, signature, public_key)
    anchor = inspection = error = None
    try:
        inspection, anchor = inspect_model(model_uri, trust)
        inspection.require_verified()
    except IntegrityError as refused:
        error = str(refused)
    return Examination(
        model=os.fspath(model_uri),
        policy=trust.policy,
        anchor=anchor.origin if anchor and anchor.digest else None,
        expected_digest=anchor.digest if anchor else None,
        digest=inspection.digest if inspection else None,
        verified=error is None,
        files=inspection.files if inspection else (),
        error=error,
    )
