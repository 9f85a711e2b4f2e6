"""Whole, damaged and arbitrary lines for every text parser of captures, by hypothesis.

The properties are those of `tests/core/captures/formats/test_references.py`, here with more examples and the suite's
seed. A case is an example, a hit too; one property of one parser that fails is one undetected fault.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from faults.crew import Shard
from faults.table import Tally

_REPOSITORY = Path(__file__).resolve().parents[2]
PROPERTIES = "tests/core/captures/formats/test_references.py"


def parsers(shard: Shard) -> Tally:
    """Every property of every parser, `cases` examples each."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", PROPERTIES]
    answer = subprocess.run(
        [*command, f"--hypothesis-seed={shard.seed}"],
        cwd=_REPOSITORY,
        env={**os.environ, "GRAPHIDS_HYPOTHESIS_EXAMPLES": str(shard.cases)},
        capture_output=True,
        text=True,
        check=False,
    )
    passed, failed = (_count(word, answer.stdout) for word in ("passed", "failed"))
    tally = Tally(cases=(passed + failed) * shard.cases, hits=(passed + failed) * shard.cases)
    tally.notes.add(f"{passed + failed} properties of parsers, {shard.cases:,} examples each")
    for line in re.findall(r"^FAILED (.*)$", answer.stdout, re.MULTILINE):
        tally.find("undetected", line)
    if answer.returncode not in (0, 1) or not passed:
        tally.find("other_errors", f"pytest ended with {answer.returncode}: {answer.stdout[-300:]}{answer.stderr}")
    return tally


def _count(word: str, text: str) -> int:
    found = re.search(rf"(\d+) {word}", text)
    return int(found[1]) if found else 0
