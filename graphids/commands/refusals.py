"""What a command does with an error of its user's: one line, an exit code, and the reason in the MLflow run."""

import os
import sys

from graphids._fs import IntegrityError
from graphids.commands.arguments import ArgumentsRefused
from graphids.commands.console import ReaderGoneError
from graphids.exit_codes import EXIT_NOT_VERIFIED, EXIT_REFUSED
from graphids.failure import record_failure, refusal_name
from graphids.options import OptionError
from graphids.wording import printable


def refusal_code(error: Exception) -> int | None:
    """The exit code for an error that its user can act upon; None for a defect, which keeps its traceback."""
    if isinstance(error, ReaderGoneError):
        return None  # not an error of this command's, and ended where it was noticed
    if isinstance(error, IntegrityError):
        return EXIT_NOT_VERIFIED
    expected: tuple[type[Exception], ...] = (OptionError, OSError, ModuleNotFoundError, *_loaded_input_errors())
    return EXIT_REFUSED if isinstance(error, expected) else None


def report(command: str, error: Exception) -> None:
    """Print the error as one line on standard error, and record it in the MLflow run if there is one."""
    message = printable(f"graphids {command}: {' '.join(str(error).split())}{_queried_mlflow(error)}")
    print(message, file=sys.stderr)
    _record(message, refusal_name(message) if isinstance(error, OptionError) else f"refused: {command}")


def record_arguments(refused: ArgumentsRefused) -> None:
    """Record what the parser refused, and has printed, in the MLflow run if there is one."""
    _record(refused.message, refusal_name(refused.message))


def _record(message: str, name: str) -> None:
    run_id = os.environ.get("MLFLOW_RUN_ID")
    # Once tracked_run is loaded, the run records its own failure; a wrong option is found before that.
    if run_id and "graphids._mlflow.tracked_run" not in sys.modules:
        record_failure(run_id, message, name=name)


def _queried_mlflow(error: Exception) -> str:
    """Which MLflow gave this answer: without a server, each working directory has a store of its own."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None or not isinstance(error, mlflow.exceptions.MlflowException):
        return ""
    return f" Queried MLflow at {mlflow.get_tracking_uri()}; set MLFLOW_TRACKING_URI to query another."


def _loaded_input_errors() -> tuple[type[Exception], ...]:
    """Errors of bad input from modules too heavy to import just for them: only a loaded module can have raised."""
    known = (
        ("graphids.core.frames", "DataError"),
        ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
        ("mlflow_graphids.artifacts", "IncompatibleModelError"),
        ("mlflow_graphids.reader", "IncompatibleReaderError"),
        ("mlflow.exceptions", "MlflowException"),
    )
    return tuple(getattr(sys.modules[module], name) for module, name in known if module in sys.modules)
