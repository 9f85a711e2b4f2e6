"""Times that each count from the frame before, found by their values where no header says so.

Taken for times since a start they go back at every other frame, and sorting the rows would make it worse.
"""

from pathlib import Path

import numpy as np

from graphids.core.captures.clock import are_gaps
from graphids.core.captures.formats.text_format import Recognised
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import LogFormatError


def require_absolute(path: Path, recognised: Recognised, head: bytes) -> None:
    """Refuse a file whose first times are gaps, where the format's tool can write them.

    Args:
        path: Named in the error.
        recognised: The format found in `head`.
        head: The first bytes of the file; a line that they cut off is a bad one, and left out.

    Raises:
        LogFormatError: Naming the option of the tool that writes times since a start.
    """
    if not recognised.format.absolute_times:
        return
    parts = TextParser(path, recognised, drop_bad_lines=True).parse(head[recognised.data_start :])
    times = np.concatenate([np.empty(0), *(part.timestamp for part in parts)])
    if not are_gaps(times):
        return
    steps = np.diff(times)
    raise LogFormatError(
        f"{path}: the times are relative, each counted from the frame before: the first {len(times)} start at "
        f"{times[0]:g}, and {np.count_nonzero(steps <= 0)} of their {len(steps)} steps do not advance. Expected times "
        f"that count from one start; {recognised.format.absolute_times}."
    )
