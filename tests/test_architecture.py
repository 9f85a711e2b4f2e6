"""The rooms and floors that docs/architecture.md promises."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT
from support.rooms import Imports, between, cycle, imports_of, room_of

# Lowest first. A module imports from its own room and from lower floors; a room within a room stands on a floor of
# that room's own.
FLOORS = (
    (
        "graphids._fs",
        "graphids.exit_codes",
        "graphids.options",
        "graphids.secrets",
        "graphids.signals",
        "graphids.wording",
        "graphids.workspace",
    ),
    ("graphids.failure",),
    ("graphids.core", "graphids.logged_model", "graphids._mlflow_plugin"),
    ("mlflow_graphids", "graphids.assessment", "graphids.outbox"),
    ("graphids._mlflow", "graphids.plots"),
    ("graphids.report",),
    ("graphids.commands",),
    ("graphids.__main__",),
)
CORE = (
    ("graphids.core.compiled", "graphids.core.row_formats"),
    ("graphids.core.frames", "graphids.core.evaluation"),
    ("graphids.core.byte_roles", "graphids.core.vehicle_names", "graphids.core.wire"),
    ("graphids.core.injection", "graphids.core.profile"),
    (
        "graphids.core.callbacks",
        "graphids.core.captures",
        "graphids.core.graphs",
        "graphids.core.models",
        "graphids.core.simulation",
    ),
    ("graphids.core.data",),
    ("graphids.core.inference", "graphids.core.window_scores"),
    ("graphids.core.classifier",),
    ("graphids.core.alarm_choice", "graphids.core.explanation", "graphids.core.incidents"),
)
FLAVOR = (
    ("mlflow_graphids.verification",),
    (
        "mlflow_graphids.artifacts",
        "mlflow_graphids.environment",
        "mlflow_graphids.frames_schema",
        "mlflow_graphids.verifying",
        "mlflow_graphids.wheel",
    ),
    ("mlflow_graphids.pyfunc_wrapper", "mlflow_graphids.reader"),
    ("mlflow_graphids.saving",),
    ("mlflow_graphids.registration",),
    ("mlflow_graphids.loading",),
    ("mlflow_graphids.base", "mlflow_graphids.serving"),
)
# Each hands on names of the room that it is the door of.
DOORS = {"graphids", "graphids.core", "mlflow_graphids"}


@functools.cache
def imports() -> Imports:
    """Who imports whom; the doors alone import downwards and upwards."""
    return {name: modules for name, modules in imports_of(ROOT).items() if name not in DOORS}


@pytest.mark.parametrize("floors", [FLOORS, CORE, FLAVOR], ids=["graphids", "core", "flavor"])
def test_no_room_imports_upwards_or_from_beside_it(floors: tuple[tuple[str, ...], ...]) -> None:
    floor_of = {room: number for number, rooms in enumerate(floors) for room in rooms}
    edges = between(imports(), floor_of)

    assert [f"{a} imports {b}" for a, b in edges if floor_of[a] <= floor_of[b]] == []


@pytest.mark.parametrize(
    ("floors", "house"), [(FLOORS, ""), (CORE, "graphids.core."), (FLAVOR, "mlflow_graphids.")], ids=lambda _: ""
)
def test_every_module_is_in_a_room_and_every_room_exists(floors: tuple[tuple[str, ...], ...], house: str) -> None:
    rooms = {room for names in floors for room in names}
    inside = [module for module in imports() if module.startswith(house)]

    assert [module for module in inside if room_of(module, rooms) is None] == [], "give these a room and a floor"
    assert {room_of(module, rooms) for module in inside} == rooms


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert cycle(imports()) == []


def test_what_has_to_answer_at_once_imports_nothing_of_ours() -> None:
    for name in ("_fs.files", "exit_codes", "options", "secrets", "wording"):
        assert imports()[f"graphids.{name}"] == frozenset()
    assert imports()["graphids.failure"] == {"graphids.secrets"}


def test_the_flavor_is_imported_by_the_doors_of_the_commands_alone() -> None:
    importers = {
        importer
        for importer, modules in imports_of(ROOT).items()
        if any(name.startswith("mlflow_graphids") for name in modules) and not importer.startswith("mlflow_graphids")
    }

    assert importers == {
        "graphids.commands.adapt",
        "graphids.commands.cli",
        "graphids.commands.evaluate_model",
        "graphids.commands.retune_vehicle",
        "graphids.commands.runless_commands",
        "graphids.commands.vehicle_model",
    }


@pytest.mark.parametrize(
    ("room", "heavy"),
    [
        ("graphids._fs", "torch, lightning, mlflow, pandas, numba"),
        ("graphids._mlflow_plugin", "torch, torch_geometric, lightning"),
        ("mlflow_graphids.verification", "torch, torch_geometric, lightning"),
    ],
)
def test_a_room_that_has_to_start_fast_loads_no_heavy_library(room: str, heavy: str) -> None:
    modules = [name for name in imports() if room_of(name, [room])]

    assert len(modules) > 1
    assert _loaded(f"import {', '.join(modules)}", heavy) == "set()"


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_heavy_library(option: str) -> None:
    statement = f"import graphids.commands.cli; graphids.commands.cli.main(['{option}'])"

    assert _loaded(statement, "torch, lightning, mlflow, pandas, numba") == "set()"


@pytest.mark.parametrize(
    "words",
    [
        "'inspect', 'drive.log'",
        "'convert', 'drive.log', 'out.csv'",
        "'profile', 'drive.log', '-o', 'car.profile'",
        "'inject', 'drive.log', 'out.csv', '--kind', 'dos'",
    ],
)
def test_to_look_at_a_capture_loads_no_heavy_library(words: str, tmp_path: Path) -> None:
    (tmp_path / "drive.log").write_bytes(b"(1.0) can0 123#00\n")
    statement = f"import graphids.commands.cli; graphids.commands.cli.main([{words}])"

    heavy = "torch, lightning, mlflow, pandas, pyarrow, scipy.linalg, cffi, can, asammdf"

    assert _loaded(statement, heavy, tmp_path) == "set()"


def _loaded(statement: str, libraries: str, folder: Path = ROOT) -> str:
    program = (
        "import contextlib, sys\n"
        f"with contextlib.suppress(SystemExit): {statement}\n"
        f"print(set({libraries.split(', ')}) & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=folder)
    return answer.stdout.splitlines()[-1]
