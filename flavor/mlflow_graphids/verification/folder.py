"""Verification: whether a folder holds exactly the model that a root digest names, and the bytes if it does.

Every file is opened once, never through a link, compared in size before a byte of it is read, and hashed from the
private buffer that is parsed afterwards.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError, read_digested
from mlflow_graphids.verification.manifest import (
    CODE_FOLDER,
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    MLMODEL_FILE,
    Manifest,
    PayloadFile,
    parse_manifest,
)
from mlflow_graphids.verification.mlmodel import MLmodel, contradictions, parse_mlmodel
from mlflow_graphids.verification.strict import Buffer, shown

# Written by MLflow beside the payload, some of them after the model was saved. None is opened to load a model.
FILES_BESIDE = frozenset(
    {
        MLMODEL_FILE,
        "conda.yaml",
        "constraints.txt",
        "environment_variables.txt",
        "input_example.json",
        "python_env.yaml",
        "registered_model_meta",
        "requirements.txt",
        "serving_input_example.json",
    }
)
_UNDECLARED_BYTECODE = (
    "undeclared bytecode, written by Python when mlflow.pyfunc imported from code/, or planted. Delete __pycache__"
)
_MAX_MLMODEL_BYTES = 1 << 20
_MAX_ENTRIES = 10_000


class State(StrEnum):
    """What became of one file; everything but OK and NOT_USED keeps the model from loading."""

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
    """One file's state; `path` relative to the model, `detail` the sentence behind it."""

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
class Inspection:
    """What a look at a folder found.

    Attributes:
        folder: The model.
        files: Every file found or declared, problems first.
        digest: sha256 of the manifest that lies there; None where there is none to read.
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


def inspect_folder(
    folder: Path, expected_digest: str | None, origin: str, *, tolerate_bytecode: bool = False
) -> Inspection:
    """Read a saved model and check every byte of it.

    Args:
        folder: The model: MLmodel, manifest and payload.
        expected_digest: sha256 of the manifest, from outside the folder. None trusts the digest that MLmodel names,
            which shows accidental damage but not tampering.
        origin: Where `expected_digest` comes from, for the message.
        tolerate_bytecode: Pass over `code/**/__pycache__/*.pyc`, which the interpreter writes when `mlflow.pyfunc`
            imports from there. Anybody can plant such a file, and Python would run it.

    Raises:
        OSError: If the folder itself cannot be listed.
    """
    return _Reading(folder, tolerate_bytecode).inspect(expected_digest, origin)


class _Reading:
    """One pass over a folder; states and bytes gather here."""

    def __init__(self, folder: Path, tolerate_bytecode: bool) -> None:
        self.folder = folder
        self.content: dict[str, Buffer] = {}
        self.states: dict[str, FileState] = {}
        self.sizes: dict[str, int] = {}
        self._list()
        if tolerate_bytecode:
            self.sizes = {path: size for path, size in self.sizes.items() if not _is_bytecode(path)}

    def inspect(self, expected_digest: str | None, origin: str) -> Inspection:
        digest = self._read(MANIFEST_FILE, max_bytes=MAX_MANIFEST_BYTES)
        self._read(MLMODEL_FILE, max_bytes=_MAX_MLMODEL_BYTES)
        manifest = self._manifest(digest, expected_digest, origin)
        if digest is not None and manifest is not None:
            for file in manifest.files:
                self._compare(file)
            self._compare_mlmodel(manifest, digest)
        for path in self.sizes:
            beside = path in FILES_BESIDE
            unknown = State.NOT_USED if beside else State.UNDECLARED if manifest else State.NOT_COMPARED
            detail = _UNDECLARED_BYTECODE if unknown is State.UNDECLARED and _is_bytecode(path) else ""
            self.states.setdefault(path, FileState(path, unknown, detail))
        files = tuple(sorted(self.states.values(), key=lambda file: (not file.is_problem, file.path)))
        whole = manifest is not None and not any(file.is_problem for file in files)
        verified = Verified(digest, self.content, manifest) if whole and digest and manifest else None
        return Inspection(self.folder, files, digest, verified)

    def _note(self, path: str, state: State, detail: str = "") -> None:
        self.states[path] = FileState(path, state, detail)

    def _list(self) -> None:
        """Sizes of the regular files below the folder; a state for everything else. No link is followed."""
        waiting, count = [""], 0
        while waiting:
            prefix = waiting.pop()
            try:
                with os.scandir(self.folder / prefix) as entries:
                    for entry in entries:
                        count += 1
                        if count > _MAX_ENTRIES:
                            problem = f"holds more than {_MAX_ENTRIES} entries; no model does."
                            raise IntegrityError(f"{self.folder}: {problem}")
                        if self._is_folder(path := f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)):
                            waiting.append(f"{path}/")
            except OSError as error:
                if not prefix:
                    raise
                self._note(prefix, State.UNREADABLE, f"cannot be read ({error.strerror})")

    def _is_folder(self, path: str, status: os.stat_result) -> bool:
        """Whether it is one; else its size, or a state, is noted."""
        if stat.S_ISREG(status.st_mode):
            self.sizes[path] = status.st_size
        elif not stat.S_ISDIR(status.st_mode):
            self._note(path, State.IRREGULAR, "not a regular file (a link, a pipe or a device)")
        return stat.S_ISDIR(status.st_mode)

    def _read(self, path: str, *, max_bytes: int | None = None, expected_bytes: int | None = None) -> str | None:
        """Digest of a file whose bytes are now in `content`; None, with a state, where it cannot be had."""
        if path not in self.sizes:
            self.states.setdefault(path, FileState(path, State.MISSING))
            return None
        try:
            data, digest = read_digested(self.folder / path, max_bytes=max_bytes, expected_bytes=expected_bytes)
        except IntegrityError as error:  # too large, or exchanged since it was listed
            self._note(path, State.CHANGED, str(error))
        except OSError as error:
            self._note(path, State.UNREADABLE, f"cannot be read ({error.strerror})")
        else:
            self.content[path] = data
            self._note(path, State.OK)
            return digest
        return None

    def _manifest(self, digest: str | None, expected_digest: str | None, origin: str) -> Manifest | None:
        """The manifest, once its bytes are the expected ones: nothing in any other may be parsed or believed."""
        if digest is None:
            return None
        if expected_digest is None:
            expected_digest, origin = self._mlmodel.digest if self._mlmodel else "none", f"its own {MLMODEL_FILE}"
        if digest != expected_digest:
            detail = f"expected sha256 {expected_digest} (from {origin}), found {digest}"
            self._note(MANIFEST_FILE, State.CHANGED, f"{detail}; the files it lists were not compared")
            return None
        try:
            return parse_manifest(self.content[MANIFEST_FILE])
        except IntegrityError as error:
            self._note(MANIFEST_FILE, State.CHANGED, str(error).removeprefix(f"{MANIFEST_FILE}: "))
            return None

    def _compare(self, file: PayloadFile) -> None:
        found = self.sizes.get(file.path, file.size_bytes)
        if found != file.size_bytes:
            state = State.TRUNCATED if found < file.size_bytes else State.CHANGED
            self._note(file.path, state, f"expected {file.size_bytes} bytes, found {found}")
            return
        digest = self._read(file.path, expected_bytes=file.size_bytes)
        if digest is not None and digest != file.sha256:
            del self.content[file.path]
            self._note(file.path, State.CHANGED, f"expected sha256 {file.sha256}, found {digest}")

    @cached_property
    def _mlmodel(self) -> MLmodel | None:
        """What MLmodel says; None where it cannot be read, and its state says why."""
        if MLMODEL_FILE not in self.content:
            return None
        try:
            return parse_mlmodel(self.content[MLMODEL_FILE])
        except IntegrityError as error:
            self._note(MLMODEL_FILE, State.CHANGED, str(error).removeprefix(f"{MLMODEL_FILE}: "))
            return None

    def _compare_mlmodel(self, manifest: Manifest, digest: str) -> None:
        if self._mlmodel and (problems := contradictions(self._mlmodel, manifest, digest)):
            self._note(MLMODEL_FILE, State.CHANGED, "; ".join(problems))


def _is_bytecode(path: str) -> bool:
    parts = path.split("/")
    return len(parts) > 1 and parts[0] == CODE_FOLDER and parts[-2] == "__pycache__" and path.endswith(".pyc")
