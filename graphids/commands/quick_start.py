"""A quick start of what reads captures, for a command that is to answer at once and loads nothing else."""

import gc
import sys
from typing import cast

# What numba looks for as it starts, and does without where it is missing: SciPy's BLAS, for matrix products in compiled
# code, and cffi, for calls from there. Code that reads captures does neither.
_NOT_NEEDED = ("scipy.linalg", "cffi")


def load_numba() -> None:
    """Load numba without the optional libraries that it looks for; nothing is done where it is loaded already.

    For a process that compiles nothing but readers. Of 1.75 s that `graphids inspect` took for a small candump log,
    SciPy and cffi took 0.3 s and the garbage collector, which finds nothing to free among modules, 0.25 s.
    """
    if "numba" in sys.modules:
        return
    hidden = dict.fromkeys(name for name in _NOT_NEEDED if name not in sys.modules)
    # None makes an import fail, as that of a library that is not installed does.
    cast("dict[str, None]", sys.modules).update(hidden)
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        import numba.core.typing.cffi_utils
        import numba.np.arraymath  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]
        gc.freeze()
        if is_collecting:
            gc.enable()
