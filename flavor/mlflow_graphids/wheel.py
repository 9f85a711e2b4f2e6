"""The wheel of the graphids that saves a model, which the model carries.

No package index has graphids, so an environment that is built from a model has to find it in the model. The wheel is
for pip alone: nothing is ever imported from it, and loading only verifies it like every other file.
"""

import base64
import io
import logging
import zipfile
from functools import cache
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from pathlib import Path
from typing import NamedTuple

import graphids
import mlflow_graphids
from graphids._fs import digest_bytes
from mlflow_graphids.verification.manifest import wheel_file

_DISTRIBUTION = "mlflow-graphids"
# What the packages consist of. Anything else in their folders (bytecode, an editor's copies) stays out of models.
_SUFFIXES = frozenset({".py", ".jsonnet", ".libsonnet"})
_MARKER = "py.typed"
_BASE_MODEL = "base_model"  # a folder of data, all of which belongs to the package
_METADATA = ("METADATA", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
_WHEEL = "Wheel-Version: 1.0\nGenerator: mlflow_graphids.wheel\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive can hold
_REGULAR_FILE = 0o100644

_logger = logging.getLogger(__name__)


class Wheel(NamedTuple):
    """A wheel: its path in the model, and its content."""

    path: str
    data: bytes

    @property
    def requirement(self) -> str:
        """What pip (from 24.1) and uv install it by, in the model's folder; both compare the digest."""
        return f"{_DISTRIBUTION} @ file:{self.path}#sha256={digest_bytes(self.data)}"


class _NoWheelError(Exception):
    """Why no wheel can be built here."""


@cache
def own_wheel() -> Wheel | None:
    """The wheel of the graphids that runs here, built once per process; None, and a warning, where it cannot be.

    Equal sources and metadata give equal bytes: names are sorted, times fixed, and nothing is compressed, since the
    output of a compressor depends on its version.
    """
    try:
        files = {**_sources(), **_metadata()}
    except (_NoWheelError, OSError, PackageNotFoundError) as error:
        _logger.warning(
            "Models saved here carry no wheel of graphids, and an environment that MLflow builds from one will lack "
            "it: %s. Install graphids from a clone (pip install -e .) or from a wheel.",
            error,
        )
        return None
    return Wheel(wheel_file(graphids.__version__), _archive(files))


def _sources() -> dict[str, bytes]:
    files = {}
    for package in (graphids, mlflow_graphids):
        folder = Path(str(package.__file__)).parent
        if not folder.is_dir():
            raise _NoWheelError(f"{folder} is not a folder, so that graphids runs from an archive")
        for path in folder.rglob("*"):
            belongs = path.suffix in _SUFFIXES or path.name == _MARKER or path.parent.name == _BASE_MODEL
            if belongs and path.is_file():
                files[f"{folder.name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return files


def _installed() -> Distribution:
    """The installed distribution; an egg-info of the clone that a process runs in stands before it and has less."""
    for found in distributions(name=_DISTRIBUTION):
        if found.read_text("METADATA") is not None:
            return found
    raise PackageNotFoundError(_DISTRIBUTION)


def _metadata() -> dict[str, bytes]:
    installed = _installed()
    if installed.version != graphids.__version__:
        found = f"the installed metadata of {_DISTRIBUTION} is of version {installed.version}"
        raise _NoWheelError(f"{found}, the code of {graphids.__version__}")
    folder = f"mlflow_graphids-{graphids.__version__}.dist-info"
    files = {f"{folder}/{name}": text.encode() for name in _METADATA if (text := installed.read_text(name)) is not None}
    return {**files, f"{folder}/WHEEL": _WHEEL.encode()}


def _archive(files: dict[str, bytes]) -> bytes:
    """A zip archive of these files, and of RECORD, which lists them as the specification of wheels has it."""
    (folder,) = {name.partition("/")[0] for name in files if name.partition("/")[0].endswith(".dist-info")}
    record = f"{folder}/RECORD"
    rows = [f"{name},sha256={_urlsafe(data)},{len(data)}\n" for name, data in sorted(files.items())]
    written = {**dict(sorted(files.items())), record: f"{''.join(rows)}{record},,\n".encode()}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as wheel:
        for name, data in written.items():
            entry = zipfile.ZipInfo(name, _FIRST_TIME)
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = _REGULAR_FILE << 16
            wheel.writestr(entry, data)
    return archive.getvalue()


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
