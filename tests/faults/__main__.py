"""`python tests/faults`: inject faults, print one table, exit 1 unless it is all zeros."""

import sys
from pathlib import Path

# Python puts this folder first, where a module's name could hide one of the standard library.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from faults.suite import main  # noqa: E402 -- only now is the package found

if __name__ == "__main__":
    sys.exit(main())
