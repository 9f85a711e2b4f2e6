"""Attack-free captures of one vehicle's bus, as profiles are fitted on them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from graphids.commands.one_bus import bus_of
from graphids.core.captures.read import OnBadLine, find_captures
from graphids.core.frames import NORMAL, Capture, DataError, Frames, num_attacked
from graphids.core.profile.blocks import BLOCKS
from graphids.wording import counted

# Every block that is left out costs a fit of all others; more recordings are left out several at a time.
_MOST_BLOCKS = 5


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


def labelled_or_attack_free(captures: Sequence[Capture]) -> Sequence[Capture]:
    """Captures of which none has labels with those of attack-free traffic; any others as they are."""
    if any(len(c.frames) and c.frames.attack_kind is not None for c in captures):
        return captures
    return [replace(capture, frames=_without_attack(capture.frames)) for capture in captures]


def _without_attack(frames: Frames) -> Frames:
    none = np.zeros(len(frames), np.uint8)
    return replace(frames, attack=none, attack_kind=none.astype(np.int16), kinds=(NORMAL,))


def left_out(recordings: list[Frames]) -> list[tuple[list[Frames], list[Frames]]]:
    """Blocks, each with all others: captures, or some at a time where there are many; parts of a single one."""
    if len(recordings) == 1:
        (whole,) = recordings
        cuts = [len(whole) * part // BLOCKS for part in range(BLOCKS + 1)]
        recordings = [whole.take(slice(first, last)) for first, last in pairwise(cuts)]
    groups = [recordings[first::_MOST_BLOCKS] for first in range(min(_MOST_BLOCKS, len(recordings)))]
    return [(group, [r for other in groups if other is not group for r in other]) for group in groups]
