"""The notebook of the documentation runs from its first cell to its last, and shows what it says."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from support.paths import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[NotebookNode]:
    """Everything that the cells show, in order."""
    notebook = nbformat.read(TOUR, as_version=4)
    folder: Path = tmp_path_factory.mktemp("tour")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_notebook_trains_verifies_and_finds_the_attack(shown: list[NotebookNode]) -> None:
    printed = "".join(output.text for output in shown if output.get("name") == "stdout")
    windows, alerts = printed.split("\n")[-2].replace(" windows, ", " ").replace(" alerts", "").split()

    assert "rule AUROC" in printed
    assert "weights.safetensors" in printed
    assert 0 < int(alerts) < int(windows)


def test_the_notebook_shows_a_picture_of_the_run_and_one_of_an_alert(shown: list[NotebookNode]) -> None:
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = nbformat.read(TOUR, as_version=4).cells

    assert [cell.outputs for cell in cells if cell.cell_type == "code" and cell.outputs] == []
