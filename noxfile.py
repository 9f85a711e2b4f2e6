"""The tasks of this repository: `nox -l` lists them, `nox` does what CI does, `nox -s tests` does one.

They run in the environment that nox itself is started from, which README's install command makes: an environment for
each task would install torch as often. `audit` and `supply_chain` make small ones for their tools, `tests_on` one for
each Python, when it is asked for.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["ci"]
nox.options.error_on_external_run = False

# A worker more than CI has cores: some tests wait for servers.
TESTS = ("pytest", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
SITE = "docs/_build/html"
SBOM = "dist/sbom.json"
AUDIT = ("pip-audit", "--disable-pip", "--no-deps", "--progress-spinner", "off", "-r", "constraints.txt")
LOCK = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header")
NEEDED_BY_TORCH = ("filelock", "fsspec", "jinja2", "networkx", "setuptools", "sympy", "typing-extensions")
OFFLINE = "the advisory database cannot be reached"
COVERAGE = ("--cov", "--cov-report=term:skip-covered")


@nox.session(venv_backend="none")
def ci(session: nox.Session) -> None:
    """What CI does: lint, docs and audit, whose output comes last, beside the tests and then the faults.

    The tests begin once the kernels are compiled: each worker would compile them all, on the cores that lint and docs
    leave.
    """
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(
            [sys.executable, "-m", "nox", "-s", "lint", "docs", "audit"], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            session.run("python", "tests/support/compile_kernels.py")
            tests(session)
            faults(session)
        finally:
            failed = beside.wait()
            output.seek(0)
            print(output.read())
    if failed:
        session.error("lint, docs or audit failed; see above")


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
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of what constraints.txt pins, as warnings: an advisory is news, not a fault of a commit.

    Skipped without the package index, or without the advisories that it serves.
    """
    try:
        session.install("pip-audit>=2.9", silent=True)
    except nox.command.CommandFailed:
        session.skip(OFFLINE)
    report = Path(session.create_tmp(), "audit.json").absolute()
    report.unlink(missing_ok=True)
    # It exits with 1 for an advisory and for a failed request alike, but only the first comes with a report.
    session.run(*AUDIT, "-f", "json", "-o", os.fspath(report), success_codes=[0, 1], silent=True)
    if not report.exists():
        session.skip(OFFLINE)
    packages = json.loads(report.read_text())["dependencies"]
    for package in packages:
        for advisory in package.get("vulns", ()):
            fixed = ", ".join(advisory["fix_versions"]) or "none yet"
            session.warn(f"{package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}")
    session.log(f"{len(packages)} packages, {sum(bool(package.get('vulns')) for package in packages)} with advisories")


@nox.session
def lock(session: nox.Session) -> None:
    """requirements.lock: what graphids needs to run, at the versions of constraints.txt, each with its digests.

    Without torch: its builds for CPUs are not on the package index, which has no digests of them. What torch itself
    needs is there, so that `pip install --no-deps torch==...` completes it.
    """
    session.install("uv>=0.9")
    wanted = Path(session.create_tmp())
    needed = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    needed = [name for name in needed if not re.match(r"torch\b(?!-)", name)]
    (wanted / "requirements.in").write_text("\n".join([*needed, *NEEDED_BY_TORCH]))
    (wanted / "overrides.txt").write_text("torch; python_version < '3'")
    pinned = ("-c", "constraints.txt", "--override", str(wanted / "overrides.txt"), str(wanted / "requirements.in"))
    session.run("uv", "pip", "compile", *LOCK, *pinned, "-o", "requirements.lock", silent=True)


@nox.session
def supply_chain(session: nox.Session) -> None:
    """A bill of materials of constraints.txt (CycloneDX, dist/sbom.json), and its known vulnerabilities, as errors.

    For a release: it fails without the index.
    """
    session.install("cyclonedx-bom>=7", "pip-audit>=2.9")
    Path(SBOM).parent.mkdir(exist_ok=True)
    described = ("--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", SBOM)
    session.run("cyclonedx-py", "requirements", "constraints.txt", *described)
    session.log(f"Wrote {SBOM}")
    session.run(*AUDIT)
