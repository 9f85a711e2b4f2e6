"""The tasks of this repository: `nox -l` lists them, `nox` does what CI does, `nox -s tests` does one.

They run in the environment that nox itself is started from, which README's install command makes: an environment for
each task would install torch as often. Only `tests_on` makes one for each Python, and only when it is asked for.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "docs", "tests", "faults"]
nox.options.error_on_external_run = False

# A worker more than CI has cores: some tests wait for servers.
TESTS = ("pytest", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
SITE = "docs/_build/html"
SBOM = "dist/sbom.json"
COVERAGE = ("--cov", "--cov-report=term:skip-covered")


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Ruff and mypy, as pre-commit runs them."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The whole suite with branch coverage, which has a floor; `nox -s tests -- tests/core` a part, without one."""
    session.run(*TESTS, *(session.posargs or COVERAGE))


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """Faults injected into checkpoints and models (docs/faults.md); `nox -s faults -- --long` tries more."""
    session.run("python", "tests/faults", *session.posargs)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The site, from nothing, with every warning an error; it lies in docs/_build/html."""
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--fresh-env", "-q", "docs", SITE)
    session.log(f"Built {SITE}/index.html")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests_on(session: nox.Session) -> None:
    """The suite on one Python, in an environment of its own: `nox -s tests_on-3.13`."""
    session.install("-c", "constraints.txt", "-e", ".[dev]")
    session.run(*TESTS, *session.posargs)


@nox.session
def supply_chain(session: nox.Session) -> None:
    """A bill of materials of constraints.txt (CycloneDX, dist/sbom.json), and its known vulnerabilities (pip-audit).

    It asks the package index, so it runs only when it is asked for.
    """
    session.install("cyclonedx-bom>=7", "pip-audit>=2.9")
    Path(SBOM).parent.mkdir(exist_ok=True)
    described = ("--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", SBOM)
    session.run("cyclonedx-py", "requirements", "constraints.txt", *described)
    session.log(f"Wrote {SBOM}")
    session.run("pip-audit", "--disable-pip", "--no-deps", "-r", "constraints.txt")
