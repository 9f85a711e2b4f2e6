"""How much of labelled captures a model knows: an evaluation on traffic that it does not know says nothing about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphids.core.data.coverage import MIN_COVERAGE, Coverage, coverage_of
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.frames import Capture, Frames
from graphids.wording import counted

_NAMED = 3


@dataclass(frozen=True, slots=True)
class CapturesCovered:
    """Coverage of labelled captures, without the frames that attacks injected.

    Attributes:
        whole: Over all captures; an ID that two captures hold counts once.
        not_covered: Names of the captures that the model cannot judge.
        captures: Number of captures.
    """

    whole: Coverage
    not_covered: tuple[str, ...]
    captures: int

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
            f"Not covered: {len(self.not_covered)} of {counted(self.captures, 'capture')} ({names}), where the model "
            f"knows less than {MIN_COVERAGE:.0%} of the frames that no attack injected; over all captures it knows "
            f"{self.whole.words()}, and on such traffic neither an alert nor its absence means anything."
        )


def captures_covered(captures: Sequence[Capture], preprocessing: Preprocessing) -> CapturesCovered:
    """Count what a model knows of labelled captures.

    The labels say which frames an attack injected, and those are left out: a flood of unknown IDs does not make the
    vehicle another one.
    """
    keys = [_own_frames(capture).node_key() for capture in captures]
    not_covered = [
        capture.name
        for capture, own in zip(captures, keys, strict=True)
        if not coverage_of(own, preprocessing.vocabulary).is_enough
    ]
    whole = coverage_of(np.concatenate(keys), preprocessing.vocabulary)
    return CapturesCovered(whole, tuple(not_covered), len(captures))


def _own_frames(capture: Capture) -> Frames:
    attack = capture.frames.attack
    return capture.frames if attack is None else capture.frames.take(np.equal(attack, 0))
