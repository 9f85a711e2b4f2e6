"""Sphinx's configuration: `nox -s docs` builds the site into docs/_build/html.

The pages are Markdown and are read on the repository's host too, so they link as files do: what lies outside docs/
(`../tests/...`) becomes a file to download.
"""

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from graphids import __version__

ROOT = Path(__file__).resolve().parent.parent
# Continuous integration checks the pages and throws them away: nobody sees the notebook's pictures or the source pages.
IS_READ = "CI" not in os.environ

project = "graphids"
author = "the graphids authors"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    *(["sphinx.ext.viewcode"] if IS_READ else []),
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"graphids {version}"
html_copy_source = False
html_show_copyright = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force" if IS_READ else "off"  # tests/test_tour.py runs the notebook in any case
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars, and the migrations of a new MLflow database

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Docstrings give shapes and units with the type; the annotation beside them says less.
napoleon_attr_annotations = False
# Code blocks of contracts are Python as people write it on a board.
suppress_warnings = ["misc.highlighting_failure"]


def _markdown(*event: Any) -> None:
    """Docstrings mark code as Markdown does, `so`; reStructuredText would set it in italics, and read |x| as a name."""
    lines: list[str] = event[-1]
    for number, line in enumerate(lines):
        pieces = re.split(r"(?<![`:\\])(`[^`]+`)(?!`)", line)
        text = [f"`{piece}`" if index % 2 else piece.replace("|", "\\|") for index, piece in enumerate(pieces)]
        lines[number] = "".join(text)


def _is_field(*event: Any) -> bool | None:
    """Whether to leave a member out: a NamedTuple's fields are in its signature and under its attributes."""
    member = event[3]
    return str(getattr(member, "__doc__", "")).startswith("Alias for field number") or None


def _write_reference(app: Sphinx) -> None:
    """One page for each room, docs/api/<room>.rst: what its door says, then its modules."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    for root in (ROOT / "graphids", ROOT / "flavor" / "mlflow_graphids"):
        for door in sorted(root.rglob("__init__.py")):
            room = ".".join(door.parent.relative_to(root.parent).parts)
            modules = [path.stem for path in sorted(door.parent.glob("*.py")) if not path.stem.startswith("_")]
            parts = [_module(room, "="), *(_module(f"{room}.{name}", "-", ":members:") for name in modules)]
            (folder / f"{room}.rst").write_text("\n".join(parts))


def _module(name: str, underline: str, options: str = "") -> str:
    return f"{name}\n{underline * len(name)}\n\n.. automodule:: {name}\n   {options}\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("config-inited", lambda app, _: _write_reference(app))
    app.connect("autodoc-skip-member", _is_field)
    # Before napoleon, which takes arguments and returns apart.
    app.connect("autodoc-process-docstring", _markdown, priority=100)
