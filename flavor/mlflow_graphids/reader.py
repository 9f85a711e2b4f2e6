"""The capture reader that a user may put into a model: the one part of a model that is code.

A reader is a function from the path of a capture to its frames, for a recorder whose format graphids does not know.
It is pickled, and unpickling runs whatever the pickle says; so four things are required: the caller allows code, a
digest from outside the artifact has been verified, MLflow's switch for pickle is on, and Python and cloudpickle are
the versions that wrote it.
"""

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pandas as pd
from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION

from graphids._fs import IntegrityError
from graphids.core.frames import DataError, Frames, require_valid
from graphids.options import OptionError
from mlflow_graphids.frames_schema import frames_from_table
from mlflow_graphids.verification.manifest import READER_FILE
from mlflow_graphids.verification.verdict import Verified

# From the path of a capture to its frames, or to a table of them as `load_model(...).predict` takes it.
CaptureReader = Callable[[Path], Frames | pd.DataFrame]


def reader_versions() -> dict[str, str]:
    """Versions that a reader pickled here needs: the bytecode is Python's, the format cloudpickle's."""
    major, minor, _ = platform.python_version_tuple()
    return {"python": f"{major}.{minor}", "cloudpickle": cloudpickle.__version__}


def pickle_reader(reader: CaptureReader) -> bytes:
    """The pickle of a reader, by value: the module that defines it need not exist where it is loaded.

    Other modules that it imports must. The bytes of one reader may differ between processes.

    Raises:
        TypeError: If it cannot be called.
    """
    if not callable(reader):
        raise TypeError(f"capture_reader is {reader!r:.200}, expected a function from a path to frames.")
    module = sys.modules.get(getattr(reader, "__module__", None) or "")
    by_reference = module is None or module.__name__ == "__main__" or module.__name__ in _by_value()
    if not by_reference:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(reader)
    finally:
        if not by_reference:
            cloudpickle.unregister_pickle_by_value(module)
    return data


def unpickle_reader(verified: Verified, *, anchored: bool) -> Callable[[Path], Frames]:
    """The model's reader, for a caller who allows code to run.

    Args:
        verified: Verified bytes of the model.
        anchored: Whether they were held to a digest from outside the artifact.

    Raises:
        IntegrityError: If they were not, or the pickle does not hold a function.
        OptionError: If MLflow's MLFLOW_ALLOW_PICKLE_DESERIALIZATION forbids it, or the model has no reader.
        ValueError: If it was pickled by another version of Python or cloudpickle.
    """
    needed = verified.manifest.reader
    if needed is None:
        raise OptionError("allow_code was given, but the model carries no capture reader; leave it out.")
    if not anchored:
        raise IntegrityError(
            f"{READER_FILE} is code, and nothing outside the artifact vouches for it (policy='integrity-only'). Give "
            "expected_digest or a signature, or leave allow_code out."
        )
    if not MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get():  # type: ignore[no-untyped-call]
        raise OptionError(
            f"{MLFLOW_ALLOW_PICKLE_DESERIALIZATION.name} forbids unpickling {READER_FILE}; leave allow_code out, or "
            "set it to true if this deployment may run the code of the models that it trusts."
        )
    if needed != (here := reader_versions()):
        raise IncompatibleReaderError(
            f"{READER_FILE} was pickled with {_spelled(needed)}, but this is {_spelled(here)}; a pickle of code needs "
            "the same versions. Load it in that environment, or save the model again from this one."
        )
    reader = cloudpickle.loads(verified.content[READER_FILE])
    if not callable(reader):
        raise IntegrityError(f"{READER_FILE} holds a {type(reader).__name__}, expected a function.")
    return _returning_frames(reader)


class IncompatibleReaderError(ValueError):
    """A reader that needs another environment than this one."""


def _returning_frames(reader: Callable[[Path], Any]) -> Callable[[Path], Frames]:
    def read(path: Path) -> Frames:
        where = f"{path}: the model's capture reader"
        try:
            found = reader(path)
            frames = frames_from_table(found) if isinstance(found, pd.DataFrame) else found
        except OSError:
            raise  # it names the file
        except Exception as error:  # the reader is the user's: whatever it raises
            raise DataError(
                f"{where} cannot read it ({type(error).__name__}: {error}). Expected a capture in the format that it "
                "was written for."
            ) from error
        if not isinstance(frames, Frames):
            raise DataError(f"{where} returned {type(frames).__name__}, expected Frames or a DataFrame.")
        require_valid(frames, where)
        return frames

    return read


def _by_value() -> set[str]:
    return set(cloudpickle.list_registry_pickle_by_value())


def _spelled(versions: Any) -> str:
    return " and ".join(f"{name} {version}" for name, version in sorted(versions.items()))
