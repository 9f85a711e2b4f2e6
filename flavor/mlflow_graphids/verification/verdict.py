"""The verdict on a folder: every file's state, and the verified bytes where nothing speaks against it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError
from mlflow_graphids.verification.manifest import Manifest
from mlflow_graphids.verification.strict import Buffer, shown


class State(StrEnum):
    """The state of one file; any but OK, NOT_USED and NOT_COMPARED keeps the model from loading."""

    OK = "ok"
    NOT_USED = "not used"  # MLflow's, beside the payload, never opened
    CHANGED = "changed"
    TRUNCATED = "truncated"
    MISSING = "missing"
    UNDECLARED = "undeclared"
    IRREGULAR = "not a regular file"
    UNREADABLE = "unreadable"
    NOT_COMPARED = "not compared"  # the manifest that would name its digest is not the expected one


@dataclass(frozen=True, slots=True)
class FileState:
    """One file's state; `path` relative to the model, `detail` what was found and what was expected."""

    path: str
    state: State
    detail: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether this file speaks against the model."""
        return self.state not in (State.OK, State.NOT_USED, State.NOT_COMPARED)

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.detail or self.state}"


@dataclass(frozen=True, slots=True)
class Verified:
    """Bytes that matched their digests when they were read, by path; parse these, never the files again."""

    digest: str
    content: Mapping[str, Buffer]
    manifest: Manifest

    @property
    def model_config(self) -> Mapping[str, Any]:
        """Defaults of the params of `predict`."""
        return self.manifest.model_config


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a folder came to.

    Attributes:
        folder: The model.
        files: Every file found or declared, problems first.
        digest: sha256 of the manifest in the folder; None if there is none to read.
        verified: The bytes; None unless every file is as declared.
    """

    folder: Path
    files: tuple[FileState, ...]
    digest: str | None
    verified: Verified | None

    def require_verified(self) -> Verified:
        """The bytes.

        Raises:
            IntegrityError: If a file is not as declared; the message lists all of them.
        """
        if self.verified is not None:
            return self.verified
        lines = "\n".join(f"  {file}" for file in self.files if file.is_problem)
        raise IntegrityError(
            f"{self.folder} is not the model that was saved:\n{lines}\n"
            "Download it again, or log the model again from its run."
        )
