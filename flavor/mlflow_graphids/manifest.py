"""The manifest: what a saved model consists of, and the check that a folder consists of exactly that.

`manifest.json` lists path, size and sha256 of every payload file, the signature and the loader module; its own sha256
is the model's root digest, `graphids.digest`. MLmodel is MLflow's file, rewritten when a model is logged or
downloaded; it is not hashed, but what it says about us is compared with the manifest.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from graphids._fs import IntegrityError, digest_bytes

FORMAT_VERSION = 1
FLAVOR_NAME = "graphids"
PYFUNC_NAME = "python_function"
LOADER_MODULE = "mlflow_graphids"
MANIFEST_FILE = "manifest.json"
MLMODEL_FILE = "MLmodel"
DIGEST_KEY = "graphids.digest"
CODE_FOLDER = "code"
# Written by MLflow beside the payload, some of them after the model was saved. None is used to load a model.
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
# Keys that MLflow needs and that change nothing about how the verified bytes are used.
_FREE_KEYS = {FLAVOR_NAME: frozenset({"code"}), PYFUNC_NAME: frozenset({"env", "python_version"})}


@dataclass(frozen=True, slots=True)
class PayloadFile:
    """One file of the model: `path` relative to the model, with forward slashes; sha256 as 64 hex digits."""

    path: str
    size_bytes: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """The entry as it stands in the manifest."""
        return {"path": self.path, "size_bytes": self.size_bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Verified:
    """Bytes that matched their digests when they were read, by path; parse these, never the files again."""

    digest: str
    content: Mapping[str, bytes]
    model_config: Mapping[str, Any]


def render_manifest(
    files: Mapping[str, bytes], *, signature: Mapping[str, Any], model_config: Mapping[str, Any]
) -> bytes:
    """Manifest of these payload files. Equal models give equal bytes: no times, no order of creation."""
    payload = [PayloadFile(path, len(data), digest_bytes(data)) for path, data in sorted(files.items())]
    return render_json(
        {
            "format_version": FORMAT_VERSION,
            "loader_module": LOADER_MODULE,
            "signature": signature,
            "model_config": dict(model_config),
            "files": [file.as_dict() for file in payload],
        }
    )


def flavor_section(manifest: bytes) -> dict[str, Any]:
    """What MLmodel repeats of the manifest, for people and the UI."""
    return {
        "format_version": FORMAT_VERSION,
        "digest": digest_bytes(manifest),
        "files": {entry["path"]: entry["sha256"] for entry in parse_json(manifest, MANIFEST_FILE)["files"]},
    }


def verify_folder(folder: Path, expected_digest: str | None, origin: str) -> Verified:
    """Read a saved model and check every byte of it.

    Args:
        folder: The model: MLmodel, manifest and payload.
        expected_digest: sha256 of the manifest, from outside the folder. None trusts the digest that MLmodel names,
            which shows accidental damage but not tampering.
        origin: Where `expected_digest` comes from, for the message.

    Raises:
        IntegrityError: If a file is changed, resized, missing, undeclared or not a regular file, or MLmodel
            contradicts the manifest. The message lists all of them.
    """
    found, problems = _list_files(folder)
    content: dict[str, bytes] = {}
    for name in (MANIFEST_FILE, MLMODEL_FILE):
        if name not in found:
            problems.append(f"{name}: missing")
        else:
            content[name] = _read(folder / name)
    if len(content) < 2:
        raise _integrity_error(folder, problems)
    mlmodel = _parse_mlmodel(folder, content[MLMODEL_FILE])
    digest = digest_bytes(content[MANIFEST_FILE])
    if expected_digest is None:
        expected_digest, origin = str(_our_section(mlmodel).get("digest")), f"its own {MLMODEL_FILE}"
    if digest != expected_digest:
        # Nothing in a manifest that is not the expected one may be parsed or believed.
        problems.append(
            f"{MANIFEST_FILE}: expected sha256 {expected_digest} (from {origin}), found {digest}; "
            "the files it lists were not compared"
        )
        raise _integrity_error(folder, problems)
    manifest = parse_json(content[MANIFEST_FILE], MANIFEST_FILE)
    problems += _compare_payload(folder, manifest, found, content)
    problems += _compare_mlmodel(mlmodel, manifest, content[MANIFEST_FILE])
    if problems:
        raise _integrity_error(folder, problems)
    return Verified(digest, content, manifest["model_config"])


def render_json(value: Any) -> bytes:
    """JSON with one spelling per value: sorted keys, no NaN, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def parse_json(data: bytes, name: str) -> Any:
    """JSON in which no object repeats a key: readers disagree about which of two values counts.

    Raises:
        IntegrityError: If `data` is not such JSON.
    """

    def without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("an object repeats a key")
        return result

    try:
        return json.loads(data, object_pairs_hook=without_repeats)
    except ValueError as error:
        raise IntegrityError(f"{name}: expected JSON without repeated keys, found otherwise ({error}).") from error


def _list_files(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Size of every regular file below `folder` by relative path, and a problem for everything else."""
    sizes: dict[str, int] = {}
    problems: list[str] = []
    waiting = [folder]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            status, name = path.lstat(), path.relative_to(folder).as_posix()
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
            elif stat.S_ISREG(status.st_mode):
                sizes[name] = status.st_size
            else:
                problems.append(f"{name}: not a regular file (a link, a pipe or a device)")
    return sizes, problems


def _read(path: Path) -> bytes:
    # A link that took the file's place since it was listed is not followed.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor, not a path
        return file.read()


def _compare_payload(
    folder: Path, manifest: Mapping[str, Any], found: Mapping[str, int], content: dict[str, bytes]
) -> list[str]:
    """Problems of the payload; verified bytes are added to `content`."""
    problems = []
    declared = {file.path: file for file in (PayloadFile(**entry) for entry in manifest["files"])}
    for file in declared.values():
        if file.path not in found:
            problems.append(f"{file.path}: missing")
        elif found[file.path] != file.size_bytes:
            problems.append(f"{file.path}: expected {file.size_bytes} bytes, found {found[file.path]}")
        elif (digest := digest_bytes(data := _read(folder / file.path))) != file.sha256:
            problems.append(f"{file.path}: expected sha256 {file.sha256}, found {digest}")
        else:
            content[file.path] = data
    undeclared = set(found) - set(declared) - FILES_BESIDE - {MANIFEST_FILE}
    return problems + [f"{path}: undeclared" for path in sorted(undeclared) if not _is_bytecode(path)]


def _is_bytecode(path: str) -> bool:
    # `mlflow.pyfunc` puts code/ on sys.path before it calls us, so the interpreter has written there; nothing below
    # code/ is ever imported by `load_model`.
    parts = path.split("/")
    return parts[0] == CODE_FOLDER and parts[-2] == "__pycache__" and path.endswith(".pyc")


def _parse_mlmodel(folder: Path, data: bytes) -> Mapping[str, Any]:
    try:
        mlmodel = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _integrity_error(folder, [f"{MLMODEL_FILE}: expected YAML, found otherwise ({error})"]) from error
    if not isinstance(mlmodel, dict) or not isinstance(mlmodel.get("flavors"), dict):
        raise _integrity_error(folder, [f"{MLMODEL_FILE}: names no flavors"])
    return mlmodel


def _our_section(mlmodel: Mapping[str, Any]) -> Mapping[str, Any]:
    section = mlmodel["flavors"].get(FLAVOR_NAME)
    return section if isinstance(section, dict) else {}


def _compare_mlmodel(mlmodel: Mapping[str, Any], manifest: Mapping[str, Any], manifest_bytes: bytes) -> list[str]:
    """Problems with what MLmodel says about us: MLflow acts on it before it calls us."""
    has_code = any(entry["path"].startswith(f"{CODE_FOLDER}/") for entry in manifest["files"])
    expected = {
        "signature": manifest["signature"],
        "flavors": [FLAVOR_NAME, PYFUNC_NAME],
        **{f"flavors.{FLAVOR_NAME}.{key}": value for key, value in flavor_section(manifest_bytes).items()},
        f"flavors.{PYFUNC_NAME}.loader_module": manifest["loader_module"],
        f"flavors.{PYFUNC_NAME}.code": CODE_FOLDER if has_code else None,
        f"flavors.{PYFUNC_NAME}.config": manifest["model_config"],
    }
    flavors = {name: mlmodel["flavors"].get(name) for name in (FLAVOR_NAME, PYFUNC_NAME)}
    found: dict[str, Any] = {"signature": mlmodel.get("signature"), "flavors": sorted(mlmodel["flavors"])}
    for name, section in flavors.items():
        known = {key.rpartition(".")[2] for key in expected if key.startswith(f"flavors.{name}.")} | _FREE_KEYS[name]
        section = section if isinstance(section, dict) else {}
        found |= {f"flavors.{name}.{key}": value for key, value in section.items() if key not in _FREE_KEYS[name]}
        expected |= {f"flavors.{name}.{key}": None for key in section if key not in known}
    return [
        f"{MLMODEL_FILE}: {name} is {_short(found.get(name))}, expected {_short(value)}"
        for name, value in expected.items()
        if found.get(name) != value
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _integrity_error(folder: Path, problems: Sequence[str]) -> IntegrityError:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return IntegrityError(
        f"{folder} is not the model that was saved:\n{lines}\nDownload it again, or log the model again from its run."
    )
