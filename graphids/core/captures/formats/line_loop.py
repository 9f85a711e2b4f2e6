"""The loop over the lines of a text for one line parser at a time and cached on disk.

It stops at the first bad line and says where and why, so that the caller, in Python, can raise with file and line or
count the line and go on.
"""

import ast
import hashlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import numba
import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from graphids.core.captures.formats.byte_parsers import BLANK, TAB, Bytes, skip_blanks
from graphids.core.captures.formats.line_records import (
    BLANK_LINE,
    FRAME,
    LINE_TOO_LONG,
    NUL_BYTE,
    REMOTE_FRAME,
    Row,
)
from graphids.core.captures.formats.names import Names, forget_names, num_names
from graphids.core.compiled import njit

_NEWLINE, _RETURN = 10, 13
# The longest line of any format in the field has some 200 bytes. A line without an end must not fill the memory.
MAX_LINE_BYTES = 1 << 12
ParseLines = Callable[..., tuple[int, int, int, int]]


@cache
def line_loop(parse_line: Callable[..., int]) -> ParseLines:
    """`parse_lines` around one line parser; or loaded from numba's cache, at its first call."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources_of(parse_line.__module__)))
    return _cached_loop(parse_line, digest.hexdigest())


def sources_of(module: str) -> list[Path]:
    """Files that a line parser in `module` may be compiled from: the module's, and those of all that it imports.

    That is, of its own package and of graphids; the loop itself is among them.
    """
    packages = {__name__.split(".")[0], module.split(".")[0]}
    found: dict[str, Path] = {}
    left = [__name__, module]
    while left:
        name = left.pop()
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is None or name in found or name.split(".")[0] not in packages:
            continue
        found[name] = Path(path)
        left += _imported_by(found[name])
    return [path for _, path in sorted(found.items())]


@cache
def _imported_by(path: Path) -> list[str]:
    """Names that may be modules: what the file imports, and from where."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _cached_loop(parse_line: Callable[..., int], sources: str) -> ParseLines:
    """The loop cached on disk under `sources`: a parser of yesterday must not read the frames of today."""

    def parse_lines(
        dialect: Any,
        names: Names,
        text: Bytes,
        at: int,
        has_nul: bool,
        rows: NDArray[np.void],
        counts: NDArray[np.int64],
    ) -> tuple[int, int, int, int]:
        """Parse lines of `text` from offset `at` into `rows`: to the end, until `rows` is full or after a bad line.

        Counts what it meets by its code. `has_nul` says that a NUL byte occurs somewhere, so that lines are searched
        for one.

        Returns:
            The number of rows filled, the offset after the last line read, the number of lines read, and the bad
            line's code or `FRAME`. The bad line's record lies in the next free row.
        """
        _ = sources  # a closure over it makes it part of the cache's key
        lines, row = 0, 0
        num_buses, num_kinds = num_names(names.buses), num_names(names.kinds)
        while at < text.size and row < rows.size:
            end = at
            while end < text.size and text[end] != _NEWLINE:
                end += 1
            next_line = end + 1
            is_too_long = end - at > MAX_LINE_BYTES
            while end > at and (text[end - 1] == BLANK or text[end - 1] == TAB or text[end - 1] == _RETURN):
                end -= 1
            at = skip_blanks(text, at, end)
            lines += 1
            record = rows[row]
            record.payload, record.kind, record.channel, record.attack = 0, 0, 0, 0
            if has_nul and _holds_nul(text, at, end):
                code = NUL_BYTE
            elif is_too_long:
                code = LINE_TOO_LONG
            else:
                code = _parse_line(record, text, at, end, dialect, names) if at < end else BLANK_LINE
            at = next_line
            if code < 0:
                forget_names(names.buses, num_buses)
                forget_names(names.kinds, num_kinds)
                return row, at, lines, code
            # An error frame names its bus too: it is on record, so that the bus' index is taken.
            num_buses, num_kinds = max(num_buses, record.channel + 1), max(num_kinds, record.kind + 1)
            counts[code] += 1
            row += code in (FRAME, REMOTE_FRAME)
        return row, at, lines, FRAME

    # numba's cache cannot key a closure over compiled code, which is another object in every process. As a global of
    # the loop it stays out of the key, where `sources` and the loop's name, which is the parser's, stand for it.
    scope = {**globals(), "_parse_line": numba.njit(parse_line)}
    loop = FunctionType(parse_lines.__code__, scope, None, None, parse_lines.__closure__)
    loop.__qualname__ = f"parse_lines.{parse_line.__module__}.{parse_line.__qualname__}"
    return cast("ParseLines", njit(cache=True, nogil=True)(loop))


def _parse_line(record: Row, text: Bytes, at: int, end: int, dialect: Any, names: Names) -> int:
    """Stands for the line parser of a format."""
    raise NotImplementedError


@register_jitable
def _holds_nul(text: Bytes, at: int, end: int) -> bool:
    return bool(np.any(text[at:end] == 0))
