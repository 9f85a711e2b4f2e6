"""Rows of windows: what `predict --all` writes."""

from collections.abc import Iterator

from graphids.core.window_scores import WindowScores
from graphids.wording import utc_text

UTC_FIELDS = ("start_utc", "end_utc")
COLUMNS = (
    "window",
    "channel",
    "start_s",
    "end_s",
    *UTC_FIELDS,
    "score",
    "alert",
    "kind",
    "arbitration_ids",
    "coverage",
    "id_coverage",
)
# Fields of every row; one of a capture with absolute times has `UTC_FIELDS` too.
FIELDS = tuple(name for name in COLUMNS if name not in UTC_FIELDS)


def rows_of(scores: WindowScores, windows_before: int) -> Iterator[dict[str, object]]:
    """A row for every window.

    Args:
        scores: Of one chunk.
        windows_before: Windows of the capture in the chunks before.
    """
    for i in range(len(scores)):
        start_s, end_s = float(scores.start_s[i]), float(scores.end_s[i])
        yield {
            "window": windows_before + i,
            "channel": str(scores.channel[i]),
            "start_s": start_s,
            "end_s": end_s,
            **_utc(start_s, end_s),
            "score": float(scores.score[i]),
            "alert": bool(scores.alert[i]),
            "kind": str(scores.kind[i]),
            "arbitration_ids": list(scores.arbitration_ids[i]),
            "coverage": float(scores.coverage[i]),
            "id_coverage": float(scores.id_coverage[i]),
        }


def _utc(start_s: float, end_s: float) -> dict[str, object]:
    times = (utc_text(start_s), utc_text(end_s))
    return dict(zip(UTC_FIELDS, times, strict=True)) if all(times) else {}
