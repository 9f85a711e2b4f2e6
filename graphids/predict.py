"""Alerts from a capture of any size, streamed: JSON lines or csv."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from graphids.core.classifier import WindowClassifier, WindowScores
from graphids.core.data.captures import stream_frames
from graphids.core.data.frames import DataError

FIELDS = ("channel", "start_s", "end_s", "score", "alert", "kind", "arbitration_ids")
# A chunk of text is about 600,000 frames; their graphs and activations stay well below 1 GiB.
_CHUNK_BYTES = 1 << 24


class _Writer(Protocol):
    def __call__(self, row: dict[str, object]) -> None: ...


def predict(
    classifier: WindowClassifier,
    capture: Path,
    *,
    output: Path | None,
    output_format: str,
    alerts_only: bool,
    threshold: float | None,
) -> None:
    """Score a capture chunk by chunk; a closing line on standard error counts windows and alerts.

    Args:
        classifier: A verified model.
        capture: Any format that `read_captures` knows.
        output: File to write, replaced if it exists; None for standard output.
        output_format: `jsonl` or `csv`, one row per window with `FIELDS`.
        alerts_only: Leave out windows without an alert.
        threshold: Score from which a window alerts; the model's own for None.

    Raises:
        LogFormatError: If the capture cannot be read.
        DataError: If the capture has fewer frames than one window.
    """
    windows = alerts = 0
    unscored: dict[str, int] = {}
    with _opened(output) as stream:
        write = _writer(stream, output_format)
        for scores in classifier.score_stream(stream_frames(capture, chunk_bytes=_CHUNK_BYTES), threshold=threshold):
            windows += len(scores)
            alerts += int(scores.alert.sum())
            unscored |= scores.unscored_frames
            for row in _rows(scores, alerts_only):
                write(row)
    if not windows:
        raise DataError(
            f"{capture}: {sum(unscored.values())} frames make no window of {classifier.preprocessing.window_size}; "
            "expected at least one window of frames on a bus."
        )
    print(
        f"{capture}: {windows} windows, {alerts} alerts; {sum(unscored.values())} frames at the end made no window",
        file=sys.stderr,
    )


def _rows(scores: WindowScores, alerts_only: bool) -> Iterator[dict[str, object]]:
    """Rows of the windows that are written; alerts are rare, so a row per window is no hot path."""
    for i in range(len(scores)):
        if scores.alert[i] or not alerts_only:
            yield {
                "channel": str(scores.channel[i]),
                "start_s": float(scores.start_s[i]),
                "end_s": float(scores.end_s[i]),
                "score": float(scores.score[i]),
                "alert": bool(scores.alert[i]),
                "kind": str(scores.kind[i]),
                "arbitration_ids": list(scores.arbitration_ids[i]),
            }


def _writer(stream: TextIO, output_format: str) -> _Writer:
    if output_format == "jsonl":
        return lambda row: print(json.dumps(row), file=stream)
    table = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    table.writeheader()
    return lambda row: table.writerow({**row, "arbitration_ids": " ".join(row["arbitration_ids"])})


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with output.open("w", encoding="utf-8", newline="") as stream:
        yield stream
