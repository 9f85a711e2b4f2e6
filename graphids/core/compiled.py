"""numba's compiler, which keeps what it compiled in a place that exists.

numba refuses to define a function with a cache where neither the package's folder, nor the home of the user, nor
NUMBA_CACHE_DIR can be written, as in a container that runs as `nobody`. Then a private folder below the temporary one
serves, and where there is none, functions are compiled in every process.
"""

import functools
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_logger = logging.getLogger(__name__)


def njit(*, cache: bool = True, nogil: bool = False, **options: Any) -> Callable[[F], F]:
    """As `numba.njit`; with a cache wherever there is room for one."""

    def compiled(function: F) -> F:
        try:
            return cast("F", numba.njit(cache=cache, nogil=nogil, **options)(function))
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
        kept = bool(_temporary_cache())
        return cast("F", numba.njit(cache=kept, nogil=nogil, **options)(function))

    return compiled


@functools.cache
def _temporary_cache() -> str:
    """The folder that numba was told to use; empty if there is none."""
    try:
        folder = Path(tempfile.gettempdir()) / f"graphids-numba-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        # What is read from there is unpickled, and anybody can make a folder of that name before we do.
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a folder of this user alone")
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        _logger.warning(
            "graphids: compiled code cannot be kept (%s), so every process compiles for some seconds. Set "
            "NUMBA_CACHE_DIR to a folder that can be written.",
            error,
        )
        return ""
    vars(numba.config)["CACHE_DIR"] = str(folder)  # the module fills itself from the environment, unseen by mypy
    return str(folder)
