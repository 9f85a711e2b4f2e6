"""numba's cache of the compiled loop: a parser of yesterday must not read the frames of today."""

from pathlib import Path
from types import FunctionType

import pytest
from numba.core.registry import cpu_target

from graphids.core.captures.formats import line_loop
from graphids.core.captures.formats.registry import TEXT_FORMATS
from graphids.core.captures.formats.text.gvret import gvret
from graphids.core.captures.formats.text.peak_converter import peak_converter
from graphids.core.captures.formats.text_format import TextFormat


def cache_key(known: TextFormat) -> tuple[str, object]:
    """File of the cache's index, and the key within it."""
    line_loop.line_loop.cache_clear()
    cached = line_loop.line_loop(known.parse_line)._cache  # type: ignore[attr-defined]
    return cached._impl.filename_base, cached._index_key(None, cpu_target.target_context.codegen())


@pytest.mark.parametrize(
    "name", ["pcan_trace", "peak_converter", "line_loop", "line_records", "byte_parsers", "names", "frames"]
)
def test_a_change_of_any_file_that_is_compiled_in_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The parser of PEAK-Converter's csv is that of a PCAN trace, in another module."""
    files = line_loop.sources_of(peak_converter.parse_line.__module__)
    changed = {file: tmp_path / file.name if file.stem == name else file for file in files}
    (tmp_path / f"{name}.py").write_bytes(b"# changed")
    before, again = cache_key(peak_converter), cache_key(peak_converter)

    monkeypatch.setattr(line_loop, "sources_of", lambda _module: list(changed.values()))

    assert before == again != cache_key(peak_converter)


def test_a_change_of_another_format_is_none() -> None:
    assert "candump_log.py" not in {file.name for file in line_loop.sources_of(gvret.parse_line.__module__)}


@pytest.mark.parametrize("known", TEXT_FORMATS, ids=lambda known: known.name)
def test_every_compiled_function_that_a_line_parser_calls_is_from_a_file_of_the_key(known: TextFormat) -> None:
    files = {str(file) for file in line_loop.sources_of(known.parse_line.__module__)}

    called = functions_of(known.parse_line)

    assert len(called) > 3
    assert {function.__code__.co_filename for function in called} <= files


def functions_of(function: FunctionType) -> set[FunctionType]:
    """A function and those that it calls, and they."""
    found: set[FunctionType] = set()
    left = [function]
    while left:
        function = left.pop()
        found.add(function)
        named = [function.__globals__.get(name) for name in function.__code__.co_names]
        left += [value for value in named if isinstance(value, FunctionType) and value not in found]
    return found


def test_two_formats_do_not_share_a_file_of_the_cache() -> None:
    assert cache_key(peak_converter)[0] != cache_key(gvret)[0]
