"""Fixtures that more than one test module uses."""

import os
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# Before anything loads torch. Some tests fork trainings from this process: once OpenMP has a second thread, its
# children wait for one that they do not have.
os.environ["OMP_NUM_THREADS"] = "1"
# What a run has of them depends on how long it took and on the packages here; tests that are about them switch them on.
os.environ["MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"] = "false"


def _stop_tracing() -> None:
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]


# Coverage never hears of what a forked child does, and its tracing would make the child half again as slow.
os.register_at_fork(after_in_child=_stop_tracing)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run tests marked slow")


# Minutes long, the longest first. Begun before the others (`--no-loadscope-reorder`), so that no worker is alone at the
# end.
LONGEST = (
    "test_main_job",
    "test_resume",
    "test_ui",
    "test_plugin",
    "test_faults",
    "test_outage",
    "test_sweep",
    "test_tour",
)

# What they cover they cover in servers and in children, of which coverage never hears.
UNTRACED = {*LONGEST, "test_container", "test_console", "test_refused_runs", "test_server", "test_server_limits"}
# Thousands of lines through parsers that the formats' own tests cover, where tracing costs more than parsing.
UNTRACED |= {"test_random_frames", "test_header_lines"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if item.path.stem not in UNTRACED:
        return (yield)
    tracer = sys.gettrace()
    _stop_tracing()
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
        threading.settrace(tracer)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    if config.getoption("--run-slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --run-slow"))


@pytest.fixture(autouse=True)
def no_experiment_is_left_chosen() -> Iterator[None]:
    """MLflow keeps the experiment that a test has chosen for the whole process, whatever store the next test has."""
    yield
    if "mlflow.tracking.fluent" in sys.modules:
        sys.modules["mlflow.tracking.fluent"]._active_experiment_id = None  # type: ignore[attr-defined]
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)


@pytest.fixture(scope="session")
def captures_dir() -> Path:
    """Folder of real captures, `$GRAPHIDS_TEST_DATA`; tests that need it skip without it."""
    folder = os.environ.get("GRAPHIDS_TEST_DATA")
    if not folder:
        pytest.skip("needs real captures: set GRAPHIDS_TEST_DATA to their folder")
    return Path(folder)
