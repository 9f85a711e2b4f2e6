"""The recording of one bus out of a capture file."""

from pathlib import Path

from graphids.core.captures.read import OnBadLine, read_captures
from graphids.core.frames import Capture, DataError


def bus_of(path: Path, bus: str | None, *, name: str | None = None, on_bad_line: OnBadLine = "raise") -> Capture:
    """The recording of a bus.

    Args:
        path: The capture file.
        bus: Name of the bus; None where there is one alone.
        name: What to call the capture; None for the name of the file.
        on_bad_line: As in `read_captures`.

    Raises:
        DataError: If the file holds several buses and none was named, or not the one that was.
        LogFormatError: If it cannot be read.
    """
    captures = read_captures(path, name=name, on_bad_line=on_bad_line)
    if bus is None and len(captures) == 1:
        return captures[0]
    found = {capture.frames.channels[0]: capture for capture in captures}
    if bus in found:
        return found[bus]
    names = ", ".join(repr(name) for name in found)
    asked = f"bus {bus!r} was asked for" if bus is not None else "one is needed"
    raise DataError(f"{path}: holds the buses {names}, but {asked}. Name one of them with --bus.")
