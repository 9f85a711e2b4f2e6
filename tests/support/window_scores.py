"""Scores of windows as a classifier gives them, without one."""

from collections.abc import Sequence

import numpy as np

from graphids.core.profile.experts import no_evidence
from graphids.core.window_scores import WindowScores


def window_scores(
    start_s: Sequence[float], score: Sequence[float], *, channel: str | Sequence[str] = "can0", length_s: float = 0.1
) -> WindowScores:
    """Windows of `length_s` that alert from a score of .5; those that do name 1A4 and hold it for spoofed."""
    start, scores = np.asarray(start_s, np.float64), np.asarray(score, np.float64)
    alert = scores >= 0.5
    return WindowScores(
        start_s=start,
        end_s=start + length_s,
        score=scores,
        alert=alert,
        by_network=alert,
        kind=np.where(alert, "spoof", "normal"),
        arbitration_ids=tuple(("1A4",) if is_alert else () for is_alert in alert),
        suspicion=tuple((0.9,) if is_alert else () for is_alert in alert),
        channel=np.full(len(start), channel) if isinstance(channel, str) else np.asarray(channel),
        coverage=np.ones(len(start)),
        id_coverage=np.ones(len(start)),
        evidence=no_evidence(len(start)),
    )
