"""What the documentation says of the code."""

import re
from importlib import import_module
from operator import attrgetter

from graphids.core.graphs.features import DEVIATIONS, EDGE_FEATURES, NODE_FEATURES
from graphids.exit_codes import EXIT_CODES
from support.paths import ROOT

DATA = (ROOT / "docs" / "data.md").read_text()


def test_every_feature_is_documented_with_its_unit() -> None:
    for column in (*NODE_FEATURES, *EDGE_FEATURES):
        if column.name.startswith("byte_"):
            statistic = column.name.split("_", 2)[2]
            assert f"| `byte_0_{statistic}` ... `byte_7_{statistic}` | {column.unit} |" in DATA
        else:
            assert f"| `{column.name}` | {column.unit} | {column.meaning} |" in DATA


def test_every_deviation_is_documented_with_its_unit() -> None:
    vehicles = (ROOT / "docs" / "vehicles.md").read_text()
    for column in DEVIATIONS:
        assert f"| `{column.name}` | {column.unit} | {column.meaning} |" in vehicles


def test_every_exit_code_is_documented_as_the_help_has_it() -> None:
    text = (ROOT / "docs" / "parameters.md").read_text().replace("`", "")
    table = text.partition("| exit code | |")[2]

    assert re.findall(r"^\| (\d+) \| (.*) \|$", table, re.MULTILINE) == [
        (str(code), meaning) for code, meaning in EXIT_CODES.items()
    ]


def test_every_function_that_the_walkthrough_names_exists() -> None:
    text = (ROOT / "docs" / "walkthrough.md").read_text()
    named = re.findall(r"`((?:mlflow_)?graphids[\w.]*):([\w.]+)`", text)

    assert len(named) > 20
    for module, name in named:
        attrgetter(name)(import_module(module))


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()

    for page in (ROOT / "docs").iterdir():
        if page.suffix in (".md", ".ipynb") and page.stem != "index":
            assert f"({page.name})" in index, page.name
