"""Nothing asks a package index for a project that is not ours: there, `graphids` belongs to other people.

The distribution is mlflow-graphids, which is on no index either: it is installed from a clone or from a wheel's file.
"""

import re
import subprocess
import sys
from importlib.metadata import distribution, metadata
from pathlib import Path

import pytest

import graphids
from support.paths import ROOT

DISTRIBUTION = "mlflow-graphids"
SUFFIXES = {"", ".cfg", ".ipynb", ".jsonnet", ".libsonnet", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
_NAME = r"(?:mlflow[-_])?graphids"
# A name that pip would look up: not a path, a module's attribute or a wheel's file.
_BARE = rf"(?<![\w./-]){_NAME}(?![\w./-])"
PINNED = re.compile(rf"{_BARE}(?:\[[\w, ]+\])?\s*(?:[=~!><]=|===)\s*v?\d")
EXTRA = re.compile(rf"{_BARE}\[[a-z]+(?:,[a-z]+)*\](?!\s*@)")
INSTALLED = re.compile(rf"\b(?:pip|uv|pipx|conda)\s+(?:install|add)\b[^\n`|;&]*?{_BARE}(?!(?:\[[\w, ]+\])?\s*@)")


def asks_an_index(text: str) -> list[str]:
    return [found.group() for pattern in (PINNED, EXTRA, INSTALLED) for found in pattern.finditer(text)]


def texts() -> list[Path]:
    """Every text file of the checkout that git does not ignore: code with its messages, pages, recipes."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in names if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]


@pytest.mark.parametrize(
    "text",
    [
        "pip install {}",
        "pip install -c constraints.txt '{}[can]'",
        "RUN pip install --no-cache-dir {}",
        "uv add {}",
        "  - {}==0.1.0",
        "{}>=0.2",
        "extra: {}[can,sign]",
    ],
)
@pytest.mark.parametrize("name", ["graphids", "mlflow-graphids", "mlflow_graphids"])
def test_the_search_finds_a_bare_name(text: str, name: str) -> None:
    assert asks_an_index(text.format(name))


@pytest.mark.parametrize(
    "text",
    [
        "pip install -c constraints.txt -e '.[can]' && graphids train",
        "pip install /wheels/mlflow_graphids-0.2.0-py3-none-any.whl[sign]",
        "pip install 'mlflow-graphids[can] @ file:///wheels/mlflow_graphids-0.2.0-py3-none-any.whl'",
        "pip wheel --no-deps -w . path/to/graphids",
        "mlflow.graphids.load_model, graphids==the command",
    ],
)
def test_the_search_leaves_paths_and_commands_alone(text: str) -> None:
    assert asks_an_index(text) == []


def test_no_file_asks_an_index_for_graphids() -> None:
    files = texts()
    assert len(files) > 400
    allowed = {ROOT / "pyproject.toml": ["mlflow-graphids[can,dbc,docs,sign]"]}  # an extra of itself
    found = {path: asks for path in files if path != Path(__file__) and (asks := asks_an_index(path.read_text()))}

    assert found == allowed


def test_the_installed_distribution_has_the_name_and_the_version() -> None:
    installed = metadata(DISTRIBUTION)

    assert (installed["Name"], installed["Version"]) == (DISTRIBUTION, graphids.__version__)
    assert {entry.name for entry in distribution(DISTRIBUTION).entry_points} == {"graphids"}
    said = subprocess.run([sys.executable, "-m", "graphids", "--version"], capture_output=True, text=True)
    assert said.stdout == f"graphids {graphids.__version__}\n"
