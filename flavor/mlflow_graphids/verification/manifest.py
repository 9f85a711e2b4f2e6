"""The manifest: what a saved model consists of.

`manifest.json` lists path, size and sha256 of every payload file, the signature, the loader module and the version of
graphids that wrote it; its own sha256 is the model's root digest, `graphids.digest`. It is read as if an enemy had
written it: what it does not need to say, it must not say.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphids import __version__
from graphids._fs import IntegrityError, digest_bytes
from mlflow_graphids.verification.strict import Buffer, parse_json, render_json, shown

FORMAT_VERSION = 2
FLAVOR_NAME = "graphids"
PYFUNC_NAME = "python_function"
LOADER_MODULE = "mlflow_graphids"
MANIFEST_FILE = "manifest.json"
MLMODEL_FILE = "MLmodel"
WEIGHTS_FILE = "weights.safetensors"
MODEL_FILE = "model.json"
READER_FILE = "reader.pkl"
PROFILE_FILE = "vehicle.profile"
CARD_FILE = "MODEL_CARD.md"
CODE_FOLDER = "code"
WHEELS_FOLDER = "wheels"
MAX_MANIFEST_BYTES = 1 << 20
# A network of this kind takes megabytes. Without an anchor the manifest's word is all there is, and it could be huge.
MAX_MODEL_BYTES = 1 << 30

_KEYS = frozenset({"files", "format_version", "graphids_version", "loader_module", "model_config", "signature"})
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PayloadFile:
    """One file of the model: `path` relative to the model, with forward slashes; `sha256` as 64 hex digits."""

    path: str
    size_bytes: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """The manifest's entry."""
        return {"path": self.path, "size_bytes": self.size_bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says.

    Attributes:
        graphids_version: The version of graphids that wrote the model, and of the wheel in it.
        files: The payload.
        signature: MLflow's signature of the model, as a dict.
        model_config: Defaults of the params of `predict`.
        reader: Versions that the pickled capture reader needs; None if the model carries none.
    """

    graphids_version: str
    files: tuple[PayloadFile, ...]
    signature: Mapping[str, Any]
    model_config: Mapping[str, Any]
    reader: Mapping[str, str] | None = None

    @property
    def has_code(self) -> bool:
        """Whether files below code/ travel with the model."""
        return any(file.path.startswith(f"{CODE_FOLDER}/") for file in self.files)

    def flavor_section(self, digest: str) -> dict[str, Any]:
        """What MLmodel repeats of the manifest, whose digest is given, for people and the UI."""
        files = {file.path: file.sha256 for file in self.files}
        return {
            "format_version": FORMAT_VERSION,
            "graphids_version": self.graphids_version,
            "digest": digest,
            "files": files,
        }


def render_manifest(
    files: Mapping[str, bytes],
    *,
    signature: Mapping[str, Any],
    model_config: Mapping[str, Any],
    reader: Mapping[str, str] | None = None,
) -> bytes:
    """Manifest of these payload files. Equal models give equal bytes under one version of graphids: it holds no times.

    Raises:
        ValueError: If a manifest cannot list a file of that name.
    """
    payload = [PayloadFile(path, len(data), digest_bytes(data)) for path, data in sorted(files.items())]
    if problems := list(_path_problems([file.path for file in payload], __version__)):
        raise ValueError(f"These files cannot be part of a model: {'; '.join(problems)}. Rename them.")
    content = {
        "format_version": FORMAT_VERSION,
        "graphids_version": __version__,
        "loader_module": LOADER_MODULE,
        "signature": signature,
        "model_config": dict(model_config),
        "files": [file.as_dict() for file in payload],
    }
    return render_json(content if reader is None else {**content, "reader": dict(reader)})


def parse_manifest(data: Buffer) -> Manifest:
    """The manifest in these bytes.

    Raises:
        IntegrityError: If they are not a manifest of this format; the message lists what is wrong, one reason a line.
    """
    content = parse_json(data, MANIFEST_FILE)
    problems = list(_problems(content))
    if problems:
        raise IntegrityError("\n".join(f"{MANIFEST_FILE}: {problem}" for problem in problems))
    return Manifest(
        graphids_version=content["graphids_version"],
        files=tuple(PayloadFile(**entry) for entry in content["files"]),
        signature=content["signature"],
        model_config=content["model_config"],
        reader=content.get("reader"),
    )


def wheel_file(version: str) -> str:
    """Path, in a model, of the wheel of that version of graphids."""
    return f"{WHEELS_FOLDER}/mlflow_graphids-{version.replace('-', '_')}-py3-none-any.whl"


def is_digest(text: object) -> bool:
    """Whether `text` is a sha256: 64 hex digits in lower case."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def version_advice(written_by: object) -> str:
    """Which graphids wrote a model that does not load, which one is installed, and what to do.

    No command for pip: on the public index the name graphids belongs to another project.
    """
    if written_by == __version__:
        found, remedy = f"It was written by graphids {written_by}, the installed version", ""
    elif _is_version(written_by):
        found = f"It was written by graphids {written_by}, but {__version__} is installed"
        remedy = f"Install graphids {written_by} from its repository (tag v{written_by}), or "
    else:
        found, remedy = f"It does not say which graphids wrote it; {__version__} is installed", ""
    return f"{found}. {remedy or 'To use it here, '}log the model again from its run."


def _is_version(text: object) -> bool:
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def _problems(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"expected a JSON object, found {type(content).__name__}"
        return
    if content.get("format_version") != FORMAT_VERSION or content["format_version"] is True:
        found = f"format_version is {content.get('format_version')!r:.80}, expected {FORMAT_VERSION}"
        yield f"{found}. {version_advice(content.get('graphids_version'))}"
        return
    if missing := sorted(_KEYS - content.keys()):
        yield f"lacks {', '.join(missing)}"
    if unknown := sorted(content.keys() - _KEYS - {"reader"}):
        yield f"has unknown keys {', '.join(map(shown, unknown))}"
    if not _is_version(content.get("graphids_version")):
        found = f"{content.get('graphids_version')!r:.80}"
        yield f"graphids_version is {found}, expected a version such as {__version__!r}"
    if content.get("loader_module") != LOADER_MODULE:
        yield f"loader_module is {content.get('loader_module')!r}, expected {LOADER_MODULE!r}"
    for key in ("signature", "model_config"):
        if not isinstance(content.get(key), dict):
            yield f"{key} is not an object"
    yield from _file_problems(content.get("files"), content.get("graphids_version"))
    yield from _reader_problems(content)


def _file_problems(entries: Any, version: Any) -> Iterator[str]:
    if not isinstance(entries, list) or not entries:
        yield "lists no files"
        return
    for entry in entries:
        if not isinstance(entry, dict) or entry.keys() != {"path", "size_bytes", "sha256"}:
            yield f"expected path, size_bytes and sha256 of every file and no other digest, found {entry!r:.200}"
            return
        name, size = f"{entry['path']!r:.200}", entry["size_bytes"]
        if type(size) is not int or not 0 <= size <= MAX_MODEL_BYTES:
            yield f"{name}: size_bytes is {size!r:.40}, expected 0 to {MAX_MODEL_BYTES}"
        if not is_digest(entry["sha256"]):
            yield f"{name}: expected a sha256, 64 hex digits in lower case, found {entry['sha256']!r:.200}"
    sizes = [entry["size_bytes"] for entry in entries]
    if (total := sum(size for size in sizes if type(size) is int)) > MAX_MODEL_BYTES:
        yield f"lists files of {total} bytes in all, expected at most {MAX_MODEL_BYTES}"
    yield from _path_problems([entry["path"] for entry in entries], version)


def _path_problems(paths: list[Any], version: Any) -> Iterator[str]:
    """Names that lead elsewhere, are not a model's to declare, or are the same file on some filesystems.

    Of wheels a model may hold the one of the graphids that wrote it: pip would install any other as readily.
    """
    known = {WEIGHTS_FILE, MODEL_FILE, PROFILE_FILE, READER_FILE, CARD_FILE, wheel_file(str(version))}
    folded: dict[str, str] = {}
    count = Counter(path for path in paths if isinstance(path, str))
    for path in paths:
        if not _is_plain(path):
            yield f"{path!r:.200}: expected a relative path of plain names with forward slashes"
            continue
        if path not in known and not path.startswith(f"{CODE_FOLDER}/"):
            yield f"{path!r:.200}: is not one of the files that a model consists of"
        other = folded.setdefault(unicodedata.normalize("NFKC", path).casefold(), path)
        if other != path or count[path] > 1:
            yield f"{path!r:.200}: collides with {other!r:.200}"


def _is_plain(path: Any) -> bool:
    return (
        isinstance(path, str)
        and path.isprintable()
        and not set(path) & set('\\:*?"<>|')
        and all(part not in ("", ".", "..") for part in path.split("/"))
    )


def _reader_problems(content: Mapping[str, Any]) -> Iterator[str]:
    """The pickle and the versions it needs are declared together or not at all."""
    entries = content.get("files")
    declared = isinstance(entries, list) and any(
        isinstance(entry, dict) and entry.get("path") == READER_FILE for entry in entries
    )
    reader = content.get("reader")
    if declared != ("reader" in content):
        yield f"{READER_FILE} and the entry 'reader' must be there together or not at all"
    elif declared and not (
        isinstance(reader, dict)
        and reader.keys() == {"python", "cloudpickle"}
        and all(isinstance(version, str) for version in reader.values())
    ):
        yield f"reader is {reader!r:.200}, expected the versions of python and cloudpickle that {READER_FILE} needs"
