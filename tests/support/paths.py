"""Where the checkout lies; a script of `support` runs with `TESTS` on its path."""

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent


def on_path() -> dict[str, str]:
    """The environment in which a child process finds `support`."""
    return {**os.environ, "PYTHONPATH": str(TESTS)}
