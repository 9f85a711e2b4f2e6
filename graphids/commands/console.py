"""What of the libraries below reaches the terminal of a command: nothing that its reader could do nothing about.

For the command line only: a program that imports graphids keeps every warning and every line of a log.
"""

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Lines of Lightning's logs, by their loggers.
_UNWANTED_LINES = re.compile(
    r"""
    💡\ Tip:                                       # advertisements of litlogger and litmodels
    |TPU\ available:                               # graphids trains on CPU and CUDA
    |Loading\ `train_dataloader`\ to\ estimate     # how Lightning counts the steps
    |You\ are\ using\ a\ CUDA\ device\ .*Tensor\ Cores  # advice to program; --precision is the option
    """,
    re.VERBOSE,
)
_LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")
# Beginnings of warnings, and the modules that they are issued for.
_UNWANTED_WARNINGS = (
    # torch renamed what Lightning 2.6 uses.
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", r"lightning\.pytorch\.utilities\._pytree"),
    # Our own parser has read the command line; Lightning warns that its own does not.
    (r"LightningCLI's args parameter", r"lightning\.pytorch\.cli"),
)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Leave out, within the block, what libraries say that no user of a command can act upon."""
    if not sys.stderr.isatty():  # MLflow's bars are drawn into files too
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        for message, module in _UNWANTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message, module=module)
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addFilter(_is_wanted)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    return _UNWANTED_LINES.match(record.getMessage()) is None
