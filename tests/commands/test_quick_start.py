"""numba without the libraries that it can do without, and the process as it was."""

import subprocess
import sys


def in_a_process(*statements: str) -> str:
    program = "import gc, sys\nfrom graphids.commands.quick_start import load_numba\n" + "\n".join(statements)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_what_was_hidden_while_numba_loaded_can_be_imported_afterwards() -> None:
    shown = in_a_process(
        "load_numba()",
        "print('numba' in sys.modules, 'scipy.linalg' in sys.modules, 'cffi' in sys.modules, gc.isenabled())",
        "import scipy.linalg, cffi",
        "print(scipy.linalg.norm([3, 4]), cffi.FFI().sizeof('int32_t'))",
    )

    assert shown.splitlines() == ["True False False True", "5.0 4"]


def test_a_numba_that_is_loaded_already_keeps_its_matrix_products() -> None:
    shown = in_a_process(
        "import numba, numpy as np",
        "frozen = gc.get_freeze_count()",
        "load_numba()",
        "print(numba.njit(lambda a, b: a @ b)(np.eye(2), np.ones((2, 2))).sum(), gc.get_freeze_count() - frozen)",
    )

    assert shown.split() == ["4.0", "0"]


def test_a_collector_that_was_off_stays_off() -> None:
    assert in_a_process("gc.disable()", "load_numba()", "print(gc.isenabled())").split() == ["False"]
