"""numba's cache looks at the source file of a kernel and at no other: what a kernel compiles in has to stand there."""

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

from graphids.core import data, graphs, injection, profile, simulation

MODULES = [
    importlib.import_module(name)
    for package in (graphs, data, injection, profile, simulation)
    for _, name, _ in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]


def cached_kernels(module: ModuleType) -> list[Dispatcher]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, Dispatcher)
        and isinstance(value._cache, FunctionCache)
        and value.py_func.__module__ == module.__name__
    ]


def foreign_names(module: ModuleType) -> set[str]:
    """Names that the module imports from graphids, or computes from those."""
    foreign: set[str] = set()
    for node in ast.parse(Path(str(module.__file__)).read_text()).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("graphids"):
            foreign |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names = [name for name in ast.walk(node) if isinstance(name, ast.Name)]
            if foreign & {name.id for name in names if isinstance(name.ctx, ast.Load)}:
                foreign |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    return foreign


@pytest.mark.parametrize("module", [m for m in MODULES if cached_kernels(m)], ids=lambda module: module.__name__)
def test_a_cached_kernel_compiles_in_nothing_of_another_module(module: ModuleType) -> None:
    foreign = foreign_names(module)

    for kernel in cached_kernels(module):
        assert foreign.intersection(kernel.py_func.__code__.co_names) == set(), kernel.py_func.__name__


def test_the_kernels_that_are_looked_at_are_there() -> None:
    names = {kernel.py_func.__name__ for module in MODULES for kernel in cached_kernels(module)}

    assert {
        "fill_graphs",
        "previous_occurrence",
        "_gather_rows",
        "_cuts",
        "_moments",
        "_serve",
        "_lag",
        "deviate",
    } <= names
