"""The import directions that docs/architecture.md promises."""

import ast
import subprocess
import sys
from pathlib import Path

import graphids
import mlflow_graphids

GRAPHIDS = Path(graphids.__file__).parent
FLAVOR = Path(mlflow_graphids.__file__).parent

# Left to right: a module imports only from its left.
ORDER = [
    "graphids._fs.files",
    "graphids._fs.publish",
    "graphids._fs.sidecar",
    "graphids._fs.tensors",
    "graphids._fs",
    "graphids.options",
    "graphids.commands.parser",
    "graphids.failure",
    "graphids.wording",
    "graphids._mlflow_plugin.projects",
    "graphids._mlflow_plugin.store",
    "graphids.core.frames",
    "graphids.core.captures.formats.byte_parsers",
    "graphids.core.captures.formats.line_records",
    "graphids.core.captures.formats.csv_lines",
    "graphids.core.captures.formats.candump_lines",
    "graphids.core.captures.formats.log_lines",
    "graphids.core.captures.formats.line_parsers",
    "graphids.core.captures.formats.text_formats",
    "graphids.core.captures.formats.text_parser",
    "graphids.core.captures.formats.asc_lines",
    "graphids.core.captures.formats.blf_objects",
    "graphids.core.captures.formats.mf4_reader",
    "graphids.core.captures.formats.python_can",
    "graphids.core.captures.capture_file",
    "graphids.core.captures.clock",
    "graphids.core.captures.labels",
    "graphids.core.captures.read",
    "graphids.core.simulation.drive",
    "graphids.core.simulation.messages",
    "graphids.core.simulation.bus",
    "graphids.core.simulation.vehicle",
    "graphids.core.simulation.attacks",
    "graphids.core.simulation.text_writer",
    "graphids.core.simulation.simulate",
    "graphids.core.graphs.windows",
    "graphids.core.graphs.window_stream",
    "graphids.core.graphs.links",
    "graphids.core.graphs.features",
    "graphids.core.graphs.packed",
    "graphids.core.data.preprocessing",
    "graphids.core.data.splits",
    "graphids.core.data.rules",
    "graphids.core.data.batches",
    "graphids.core.data.dataset",
    "graphids.core.data.datamodule",
    "graphids.core.evaluation",
    "graphids.core.models.gat",
    "graphids.core.models.losses",
    "graphids.core.models.detector",
    "graphids.core.classifier",
    "graphids.core.explanation",
    "graphids.core.callbacks",
    "graphids.assessment.scored_split",
    "graphids.assessment.assess",
    "graphids.assessment.tau_sweep",
    "graphids.assessment.curves",
    "graphids.plots.style",
    "graphids.plots.detection",
    "graphids.plots.rates",
    "graphids.plots.calibration",
    "graphids.plots.tau",
    "graphids.plots.timeline",
    "graphids.plots.drift",
    "graphids.plots.window_graph",
    "graphids._mlflow.saved_view",
    "graphids.report.summary",
    "graphids.report.model_card",
    "graphids.assessment.tau_study",
    "graphids.plots.study",
    "graphids.outbox.journal",
    "graphids.outbox.sender",
    "graphids.logged_model",
    "graphids.outbox.delivery",
    "graphids.outbox.durable_queue",
    "graphids.outbox.outbox",
    "graphids.report.pictures",
    "graphids.commands.sync",
    "graphids._mlflow.system_metrics",
    "graphids._mlflow.tracked_run",
    "graphids._mlflow.dataset_profile",
    "graphids._mlflow",
    "graphids.commands.config",
    "graphids.commands.resume",
    "graphids.commands.publication",
    "graphids.commands.train",
    "graphids.commands.retau",
    "graphids.commands.evaluate",
    "graphids.commands.child_runs",
    "graphids.commands.sweep",
    "graphids.commands.predict",
    "graphids.commands.explain",
    "mlflow_graphids",
    "graphids.commands.cli",
    "graphids.__main__",
]


def _module_name(path: Path) -> str:
    root = GRAPHIDS.parent if path.is_relative_to(GRAPHIDS) else FLAVOR.parent
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _rank(module: str) -> int | None:
    names = [name for name in ORDER if module == name or module.startswith(name + ".")]
    return ORDER.index(max(names, key=len)) if names else None


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith(("graphids", "mlflow_graphids"))}


def _sources() -> list[Path]:
    return sorted([*GRAPHIDS.rglob("*.py"), *FLAVOR.rglob("*.py")])


def test_every_module_has_its_place_in_the_order() -> None:
    packages = {_module_name(p) for p in _sources() if p.name == "__init__.py"} | {"graphids._mlflow_plugin.plugin"}
    without = [_module_name(p) for p in _sources() if _rank(_module_name(p)) is None]

    assert set(without) <= packages, f"give these a place in ORDER: {sorted(set(without) - packages)}"


def test_a_module_imports_only_from_its_left() -> None:
    wrong = []
    for path in _sources():
        importer = _module_name(path)
        for imported in _imports(path):
            left, right = _rank(imported), _rank(importer)
            if left is not None and right is not None and left > right:
                wrong.append(f"{importer} imports {imported}")

    assert wrong == []


def test_what_has_to_answer_at_once_imports_nothing_of_ours() -> None:
    for name in ("_fs/files.py", "options.py", "failure.py"):
        assert _imports(GRAPHIDS / name) == set()


def test_the_flavor_is_imported_by_the_command_line_alone() -> None:
    importers = {
        _module_name(path)
        for path in GRAPHIDS.rglob("*.py")
        if any(name.startswith("mlflow_graphids") for name in _imports(path))
    }

    assert importers <= {"graphids.commands.cli", "graphids._mlflow_plugin.plugin"}


def test_the_light_doors_do_not_load_the_heavy_libraries() -> None:
    for statement in ("import graphids._fs", "import graphids.commands.cli; graphids.commands.cli.main(['--help'])"):
        program = (
            "import contextlib, sys\n"
            f"with contextlib.suppress(SystemExit): {statement}\n"
            "print(sorted({'torch', 'lightning', 'mlflow', 'pandas', 'numba'} & set(sys.modules)))"
        )
        answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert answer.stdout.splitlines()[-1] == "[]", statement
