"""Random frames for the layouts of formats."""

import random
from typing import NamedTuple

from support.format_case import Layout, Reference

# Of a day, which is all that some formats have; later ones have more digits than a float64 of seconds resolves.
_START_US = 45_000_000_000


class Drawn(NamedTuple):
    """A frame to be written; of a remote one no payload is read back."""

    microseconds: int
    identifier: int
    is_extended: bool
    payload: bytes
    is_remote: bool

    def line(self, reference: Reference) -> bytes:
        if self.is_remote and reference.remote:
            return reference.remote(*self[:3])
        return reference.write(*self[:4])


def drawn(layout: Layout, number: int) -> list[Drawn]:
    """Frames that `layout` can hold, a millisecond apart on average or `step_us`."""
    reference = layout.reference
    draw, microseconds, frames = random.Random(10), _START_US, []
    for _ in range(number):
        microseconds += layout.step_us * draw.randrange(1, max(2, 2_000 // layout.step_us))
        is_extended = draw.random() < 0.5
        is_remote = reference.remote is not None and draw.random() < 0.1
        first = 0 if reference.says_width or not is_extended else 0x800
        identifier = draw.randrange(first, 1 << (29 if is_extended else 11))
        # Letters and digits alone are what some formats add as text.
        letters = draw.random() < 0.2
        payload = bytes(draw.choices(b"AZaz09" if letters else range(256), k=0 if is_remote else draw.randrange(9)))
        frames.append(Drawn(microseconds, identifier, is_extended, payload, is_remote))
    return frames
