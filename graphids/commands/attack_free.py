"""Attack-free captures of one vehicle's bus, as profiles are fitted on them."""

from collections.abc import Iterator, Sequence

from graphids.commands.one_bus import bus_of
from graphids.core.captures.read import OnBadLine, find_captures
from graphids.core.frames import Capture, DataError, num_attacked
from graphids.wording import counted


def attack_free_captures(captures: Sequence[str], bus: str | None, on_bad_line: OnBadLine) -> Iterator[Capture]:
    """The recordings of one bus in files, folders and globs.

    Args:
        captures: What to read.
        bus: Which of the buses of each file; None where each has one.
        on_bad_line: As in `read_captures`.

    Raises:
        DataError: If a capture is known to hold attacks, or several buses.
        LogFormatError: If one cannot be read.
    """
    for data in captures:
        for path, name in find_captures(data):
            capture = bus_of(path, bus, name=name, on_bad_line=on_bad_line)
            if attacked := num_attacked(capture.frames):
                raise DataError(
                    f"{path}: holds {counted(attacked, 'attacked frame')} of {len(capture.frames):,}. A profile is "
                    "fitted on attack-free captures alone; leave it out."
                )
            yield capture
