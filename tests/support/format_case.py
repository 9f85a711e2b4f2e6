"""What the tests have to know of a text format, a module of `support/format_cases` each: `CASE`.

A case is found by the name of the format's module. `tests/core/captures/formats/test_registry.py` says what is missing.
"""

import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from graphids.core.captures.formats import text
from graphids.core.frames import Frames

HH, W, ID = rb"[0-9a-fA-F]{2}", rb"[ \t]", rb"[0-9a-fA-F]+"
TIME = rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
NAME = rb"[!-~]{1,32}"
SPACED = rb"(?P<data>(?:%s+%s)*)" % (W, HH)


class Frame(NamedTuple):
    """A frame as a reader understood it; `kind` is "" in a file without labels."""

    time: float
    identifier: int
    is_extended: bool
    payload: str
    bus: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Sample:
    """A file written by hand and the frames that it holds; `counts` of its other lines by their code."""

    text: bytes
    frames: list[Frame]
    counts: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Malformed:
    """A line that is not one of the format, and what the error says about it. Follows `head`, the case's by default."""

    line: bytes
    message: str
    head: bytes | None = None


@dataclass(frozen=True)
class Reference:
    """An independent slow reader: the line for a frame, and the frame of a line, by a regular expression.

    `remote` is the line for a remote frame, in a format that has them. `says_width` is whether a line says how many
    bits its ID has; where it does not, those beyond 7FF have 29.
    """

    write: Callable[[int, int, bool, bytes], bytes]  # microseconds, ID, 29 bits, payload
    pattern: bytes
    read: Callable[[re.Match[bytes]], Frame | None]
    remote: Callable[[int, int, bool], bytes] | None = None
    says_width: bool = True

    def frame(self, line: bytes) -> Frame | None:
        match = re.fullmatch(self.pattern, line.lstrip(b" \t").rstrip(b" \t\r"))
        return self.read(match) if match else None


@dataclass(frozen=True)
class Layout:
    """A way in which a tool writes files: its header lines, b"" where it writes none, and lines of frames.

    `start_s` is what the header adds to the times of the lines, `step_us` the resolution of these.
    """

    head: bytes
    reference: Reference
    start_s: float = 0.0
    step_us: int = 1


@dataclass(frozen=True)
class FormatCase:
    """A format in the tests; `head` is a header line, or a line by which the format is recognised.

    `layouts` are of every dialect, so that random frames are read in each, and under headers that were damaged.
    """

    head: bytes
    samples: Mapping[str, Sample]
    malformed: Mapping[str, Malformed]
    reference: Reference
    layouts: Mapping[str, Layout] = field(default_factory=dict)


def rows(frames: Frames) -> list[Frame]:
    """Columns as frames."""
    kinds = [""] * len(frames) if frames.attack_kind is None else [frames.kinds[kind] for kind in frames.attack_kind]
    payloads = [bytes(payload[:dlc]).hex() for payload, dlc in zip(frames.payload, frames.dlc, strict=True)]
    buses = [frames.channels[channel] for channel in frames.channel]
    columns = (frames.timestamp.tolist(), frames.arbitration_id.tolist(), frames.is_extended.tolist())
    return list(map(Frame, *columns, payloads, buses, kinds))


def text_modules() -> list[str]:
    """Modules of text formats."""
    return [module.name for module in pkgutil.iter_modules(text.__path__)]


def case_path(module: str) -> Path:
    return Path(__file__).parent / "format_cases" / f"{module}.py"


def case_of(module: str) -> FormatCase:
    case = import_module(f"support.format_cases.{module}").CASE
    assert isinstance(case, FormatCase)
    return case


def text_cases() -> dict[str, FormatCase]:
    """Cases by the name of the format's module, as far as they are there."""
    return {module: case_of(module) for module in text_modules() if case_path(module).exists()}


def layouts() -> dict[str, Layout]:
    """Layouts of all formats."""
    return {f"{module}: {title}": one for module, case in text_cases().items() for title, one in case.layouts.items()}


def possible(
    time: float, identifier: bytes, payload: bytes, *, extended: bool | None = None, bus: bytes = b"", kind: str = ""
) -> Frame | None:
    """A frame if its values are possible; no `extended` means that the value decides."""
    number = int(identifier, 16)
    digits = bytes(byte for byte in payload if byte not in b" \t,")
    is_possible = number <= 0x1FFF_FFFF and len(digits) <= 16 and abs(time) < 1e11
    if not is_possible or (extended is False and number > 0x7FF):
        return None
    is_extended = number > 0x7FF if extended is None else extended
    return Frame(time, number, is_extended, digits.decode().lower(), bus.decode(), kind)


def sized(match: re.Match[bytes], dlc: int, build: Callable[[bytes], Frame | None]) -> Frame | None:
    """The frame if it has as many bytes as DLC says."""
    data = match["data"] or b""
    return build(data) if len(re.findall(HH, data)) == dlc <= 8 else None


def spaced(data: bytes) -> bytes:
    return data.hex(" ").encode()


def seconds(microseconds: int) -> bytes:
    return b"%d.%06d" % divmod(microseconds, 1_000_000)


def short_or_long_id(identifier: int, extended: bool) -> bytes:
    """Three or eight digits."""
    return b"%08X" % identifier if extended else b"%03X" % identifier
