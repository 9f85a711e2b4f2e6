"""Context: the frames around the first evidence of an incident, as `candump -l` writes them."""

from dataclasses import replace

import numpy as np

from graphids.core.frames import Frames
from graphids.core.simulation.text_writer import candump_text

FRAMES = 10
_UNNAMED_BUS = "can0"  # candump has no line without a bus


def context_of(window: Frames | None, node_key: int, *, redacted: bool = False) -> tuple[str, ...]:
    """Up to ten lines around the first frame of an ID in a window, around its end where the ID is not in it.

    Args:
        window: Frames of one bus; None for no lines.
        node_key: Of the ID.
        redacted: Write the length of every payload in place of its bytes, `123#..8`.
    """
    if window is None:
        return ()
    rows = np.flatnonzero(window.node_key() == node_key)
    middle = int(rows[0]) if len(rows) else len(window) - 1
    first = max(min(middle - FRAMES // 2, len(window) - FRAMES), 0)
    shown = window.take(slice(first, first + FRAMES))
    # A name of a bus may hold what would break a line.
    shown = replace(
        shown, channels=tuple("".join(filter(str.isprintable, name)).replace(" ", "_") for name in shown.channels)
    )
    lines = candump_text(shown, _UNNAMED_BUS).decode().splitlines()
    return tuple(map(_without_payload, lines) if redacted else lines)


def _without_payload(line: str) -> str:
    """A line that says how many bytes there were.

    >>> _without_payload("(0000000001.000000) can0 1A4#0011")
    '(0000000001.000000) can0 1A4#..2'
    """
    head, _, payload = line.partition("#")
    return f"{head}#..{len(payload) // 2}"
