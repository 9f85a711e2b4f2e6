"""How much of labelled captures a model knows: an evaluation on traffic that it does not know says nothing about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphids.core.data.coverage import MIN_COVERAGE, Coverage, coverage_of
from graphids.core.frames import Capture, Frames
from graphids.wording import counted

_NAMED = 3


@dataclass(frozen=True, slots=True)
class CapturesCovered:
    """Coverage of labelled captures, without the frames that attacks injected.

    Attributes:
        whole: Over all captures; an ID that two captures hold counts once.
        by_capture: Of each capture, by its name.
    """

    whole: Coverage
    by_capture: dict[str, Coverage]

    @property
    def not_covered(self) -> tuple[str, ...]:
        """Names of the captures that the model cannot judge."""
        return tuple(name for name, known in self.by_capture.items() if not known.is_enough)

    def to_dict(self) -> dict[str, Any]:
        """All shares, verdicts and counts, as fields of JSON."""
        captures = [{"capture": name, **known.to_dict()} for name, known in self.by_capture.items()]
        return {**self.whole.to_dict(), "is_covered": not self.not_covered, "captures": captures}

    def metrics(self) -> dict[str, float]:
        """Both shares, for the run."""
        return {"coverage": self.whole.share, "id_coverage": self.whole.id_share}

    def note(self) -> str:
        """One sentence where a capture is not covered, else nothing."""
        if not self.not_covered:
            return ""
        more = len(self.not_covered) - _NAMED
        names = ", ".join(self.not_covered[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        return (
            f"Not covered: {len(self.not_covered)} of {counted(len(self.by_capture), 'capture')} ({names}), where the "
            f"model knows less than {MIN_COVERAGE:.0%} of the frames that no attack injected; over all captures it "
            f"knows {self.whole.words()}, and on such traffic neither an alert nor its absence means anything."
        )


def captures_covered(captures: Sequence[Capture], known: NDArray[np.uint32]) -> CapturesCovered:
    """Count what a model, which knows these node keys, knows of labelled captures.

    The labels say which frames an attack injected, and those are left out: a flood of unknown IDs does not make the
    vehicle another one.
    """
    keys = {capture.name: _own_frames(capture).node_key() for capture in captures}
    return CapturesCovered(
        whole=coverage_of(np.concatenate(list(keys.values())), known),
        by_capture={name: coverage_of(own, known) for name, own in keys.items()},
    )


def _own_frames(capture: Capture) -> Frames:
    attack = capture.frames.attack
    return capture.frames if attack is None else capture.frames.take(np.equal(attack, 0))
