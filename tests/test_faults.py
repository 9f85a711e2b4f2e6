"""The fault suite finds nothing in the code as it is, and each protection that is taken away."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from faults.table import Tally, render
from faults.variants import INTACT, VARIANTS

SUITE = Path(__file__).parent / "faults"


@pytest.fixture(scope="module")
def findings() -> dict[str, list[int]]:
    """Undetected, lost and falsely refused cases and other errors, by "variant: fault".

    In a process of its own: it is forked, which takes one without other threads.
    """
    command = [sys.executable, os.fspath(SUITE), "--variants", "--workers", "1"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    rows = re.findall(r"^\| (.+?: .+?) +\|(.+)\|$", answer.stdout, re.MULTILINE)
    assert rows, answer.stdout + answer.stderr
    return {name: [int(cell.replace(",", "")) for cell in cells.split("|")[2:6]] for name, cells in rows}


@pytest.mark.parametrize(("variant", "fault"), [(v.name, fault) for v in VARIANTS for fault in v.probes])
def test_each_broken_variant_is_found(findings: dict[str, list[int]], variant: str, fault: str) -> None:
    undetected, lost, false_refusals, _ = findings[f"{variant}: {fault}"]

    assert undetected + lost + false_refusals > 0


@pytest.mark.parametrize("fault", INTACT.probes)
def test_the_same_faults_find_nothing_in_the_intact_code(findings: dict[str, list[int]], fault: str) -> None:
    assert findings[f"{INTACT.name}: {fault}"] == [0, 0, 0, 0]


def test_every_variant_that_was_asked_for_is_there() -> None:
    assert {variant.name for variant in VARIANTS} == {
        "no fsync",
        "hash, then reopen",
        "sidecar after rename",
        "mapped load",
        "digest only in the folder",
    }


def test_the_table_sums_its_rows_and_shows_what_went_wrong() -> None:
    tally = Tally()
    tally.add(hit=True)
    tally.add(hit=False, wrong="lost", example="case 2")

    lines = render({"kills": tally, "flips": tally}).splitlines()

    assert lines[0].split("|")[1:4] == [" fault ", " cases ", " hits "]
    assert lines[4].split() == ["|", "all", "|", "4", "|", "2", "|", "0", "|", "2", "|", "0", "|", "0", "|", "0", "|"]
    assert lines[6] == "kills: lost: case 2"
