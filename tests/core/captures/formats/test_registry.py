"""A format is complete: in the registry, in the documentation, and with a case for the tests."""

from importlib import import_module
from importlib.util import find_spec

import pytest

from graphids.core.captures.formats.registry import BRIDGED_FORMATS, FORMAT_NAMES, TABLE_FORMATS, TEXT_FORMATS
from graphids.core.captures.formats.text_format import TextFormat
from support.format_case import case_of, case_path, text_modules
from support.paths import ROOT

TEXT = "graphids.core.captures.formats.text"


def documented() -> list[str]:
    """First cells of the table of formats in docs/data.md."""
    section = (ROOT / "docs" / "data.md").read_text().split("## Formats")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [row[0].strip().strip("`") for row in rows[2:]]


def missing(module: str) -> list[str]:
    """What a text format lacks, each with the place where it belongs."""
    found = getattr(import_module(f"{TEXT}.{module}"), module, None) if find_spec(f"{TEXT}.{module}") else None
    case = case_of(module) if case_path(module).exists() else None
    in_case = f"tests/support/format_cases/{module}.py"
    pieces = {
        f"{TEXT}.{module}: a TextFormat named {module}": isinstance(found, TextFormat),
        f"formats/registry.py: {module} in TEXT_FORMATS": found in TEXT_FORMATS,
        f"docs/data.md: a row of the table of formats, named {getattr(found, 'name', '?')}": (
            isinstance(found, TextFormat) and found.name in documented()
        ),
        f"{in_case}: CASE, a FormatCase with a slow reader as its reference": case is not None,
        f"{in_case}: a sample": case is not None and bool(case.samples),
        f"{in_case}: a malformed line": case is not None and bool(case.malformed),
        f"{in_case}: a layout, with its header lines, for each dialect": case is not None and bool(case.layouts),
    }
    return [piece for piece, is_there in pieces.items() if not is_there]


@pytest.mark.parametrize("module", text_modules())
def test_nothing_of_a_text_format_is_missing(module: str) -> None:
    lacks = missing(module)

    assert not lacks, "\n".join([f"{module} lacks", *lacks])


def test_what_is_missing_of_a_format_is_named_with_its_place() -> None:
    assert [piece.split(":")[0] for piece in missing("no_such_format")] == [
        f"{TEXT}.no_such_format",
        "formats/registry.py",
        "docs/data.md",
        *["tests/support/format_cases/no_such_format.py"] * 4,
    ]


def test_the_documentation_names_every_format_once_and_no_other() -> None:
    assert sorted(documented()) == sorted(FORMAT_NAMES)


def test_no_two_formats_share_a_name_or_a_line_parser() -> None:
    assert len({*FORMAT_NAMES}) == len(TEXT_FORMATS) + len(BRIDGED_FORMATS) + len(TABLE_FORMATS)
    assert len({known.parse_line for known in TEXT_FORMATS}) == len(TEXT_FORMATS)


@pytest.mark.parametrize("known", TEXT_FORMATS, ids=lambda known: known.name)
def test_no_other_format_takes_a_head_or_an_example_of_this_one_for_its_own(known: TextFormat) -> None:
    """So that the order of the registry decides nothing."""
    head = case_of(known.parse_line.__name__).head.strip().splitlines()
    for other in TEXT_FORMATS:
        for line in (*head, known.example.encode()):
            pattern = other.header or other.line
            assert pattern is not None
            assert other is known or not pattern.fullmatch(line), other.name
