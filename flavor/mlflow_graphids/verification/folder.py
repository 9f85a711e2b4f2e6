"""Verify a folder: does it hold exactly the model that a root digest names? If so, return the verified bytes.

Every file is opened once, never through a link, compared in size before a byte of it is read, and hashed from the
private buffer that is parsed afterwards.
"""

import os
import stat
from functools import cached_property
from pathlib import Path

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
from mlflow_graphids.verification.strict import Buffer
from mlflow_graphids.verification.verdict import FileState, State, Verdict, Verified

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


def verify_folder(
    folder: Path, expected_digest: str | None, origin: str, *, tolerate_bytecode: bool = False
) -> Verdict:
    """Read a saved model and verify every byte of it.

    Args:
        folder: The model: MLmodel, manifest and payload.
        expected_digest: sha256 of the manifest, from outside the folder. None trusts the digest that MLmodel names,
            which shows accidental damage but not tampering.
        origin: Where `expected_digest` comes from, for the message.
        tolerate_bytecode: Ignore `code/**/__pycache__/*.pyc`, which the interpreter writes when `mlflow.pyfunc`
            imports from there. Anybody can plant such a file, and Python would run it.

    Raises:
        OSError: If the folder itself cannot be listed.
    """
    return _Reading(folder, tolerate_bytecode).verdict(expected_digest, origin)


class _Reading:
    """One pass over a folder, which collects states and bytes."""

    def __init__(self, folder: Path, tolerate_bytecode: bool) -> None:
        self.folder = folder
        self.content: dict[str, Buffer] = {}
        self.states: dict[str, FileState] = {}
        self.sizes: dict[str, int] = {}
        self._list()
        if tolerate_bytecode:
            self.sizes = {path: size for path, size in self.sizes.items() if not _is_bytecode(path)}

    def verdict(self, expected_digest: str | None, origin: str) -> Verdict:
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
        return Verdict(self.folder, files, digest, verified)

    def _note(self, path: str, state: State, detail: str = "") -> None:
        self.states[path] = FileState(path, state, detail)

    def _list(self) -> None:
        """Note the sizes of the regular files below the folder and a state for everything else; follow no link."""
        pending, count = [""], 0
        while pending:
            prefix = pending.pop()
            try:
                with os.scandir(self.folder / prefix) as entries:
                    for entry in entries:
                        count += 1
                        if count > _MAX_ENTRIES:
                            problem = f"holds more than {_MAX_ENTRIES} entries; no model does."
                            raise IntegrityError(f"{self.folder}: {problem}")
                        if self._is_folder(path := f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)):
                            pending.append(f"{path}/")
            except OSError as error:
                if not prefix:
                    raise
                self._note(prefix, State.UNREADABLE, f"cannot be read ({error.strerror})")

    def _is_folder(self, path: str, status: os.stat_result) -> bool:
        """Whether it is a folder; if not, note its size or a state."""
        if stat.S_ISREG(status.st_mode):
            self.sizes[path] = status.st_size
        elif not stat.S_ISDIR(status.st_mode):
            self._note(path, State.IRREGULAR, "not a regular file (a link, a pipe or a device)")
        return stat.S_ISDIR(status.st_mode)

    def _read(self, path: str, *, max_bytes: int | None = None, expected_bytes: int | None = None) -> str | None:
        """Read a file into `content` and return its digest; None, and a state, if that fails."""
        if path not in self.sizes:
            self.states.setdefault(path, FileState(path, State.MISSING))
            return None
        try:
            data, digest = read_digested(self.folder / path, max_bytes=max_bytes, expected_bytes=expected_bytes)
        except IntegrityError as error:  # too large, or replaced since it was listed
            self._note(path, State.CHANGED, str(error))
        except OSError as error:
            self._note(path, State.UNREADABLE, f"cannot be read ({error.strerror})")
        else:
            self.content[path] = data
            self._note(path, State.OK)
            return digest
        return None

    def _manifest(self, digest: str | None, expected_digest: str | None, origin: str) -> Manifest | None:
        """The manifest, once its bytes are the expected ones; no other may be parsed or believed."""
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
        """What MLmodel says; None if it cannot be read, and its state says why."""
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
