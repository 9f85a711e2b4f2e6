"""Compiled code where numba finds no place for its cache: a package, a home and a temporary folder of another user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Numba asks by writing: for a user who may write everywhere, the same answer has to be made up.
PROGRAM = """

from numba.core import caching
class Nowhere:
    @classmethod
    def from_function(cls, *_): return None
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator, Nowhere]
import numpy as np
from graphids.core.graphs.links import link_frames
print(link_frames(np.array([7, 9, 7], np.uint32)).previous_of_id.tolist())
"""


def run(folder: Path, program: str = PROGRAM) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HOME": "/nonexistent", "TMPDIR": str(folder)}
    environment.pop("NUMBA_CACHE_DIR", None)
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_private_folder_below_the_temporary_one_keeps_the_code(tmp_path: Path) -> None:
    done = run(tmp_path)

    assert (done.stdout, done.stderr) == ("[-1, -1, 0]\n", "")
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*.nbc"))


@pytest.mark.parametrize("found", ["link", "open to others", "file"])
def test_a_folder_that_others_could_write_is_not_used(tmp_path: Path, found: str) -> None:
    """The cache is unpickled: its content is code."""
    place = tmp_path / f"graphids-numba-{os.getuid()}"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if found == "link":
        place.symlink_to(tmp_path / "elsewhere")
    elif found == "file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)

    done = run(tmp_path)

    assert done.stdout == "[-1, -1, 0]\n"
    assert done.stderr.count("\n") == 1
    assert "compiled code cannot be kept" in done.stderr
    assert "Set NUMBA_CACHE_DIR to a folder that can be written" in done.stderr
    assert not list(tmp_path.rglob("*.nb?"))
