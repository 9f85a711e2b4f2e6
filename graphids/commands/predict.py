"""The command `predict`: alerts from a capture of any size, streamed as JSON lines or csv."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from graphids.commands.scored_rows import opened_rows, rows_of
from graphids.core.captures.clock import Clock
from graphids.core.captures.read import OnBadLine, stream_frames
from graphids.core.classifier import WindowClassifier, WindowScores
from graphids.core.data.coverage import MIN_COVERAGE, Coverage
from graphids.core.frames import DataError, Frames
from graphids.exit_codes import EXIT_ALERTS, EXIT_NOT_COVERED, EXIT_OK

# The frames of a chunk, some 100,000, come in parts whose graphs and activations stay well below 1 GiB.
_CHUNK_BYTES = 1 << 22
# What makes scores less certain, or drops frames.
_REMARKABLE = ("bad_lines", "error_frames", "unterminated_last_line", "backward_timestamps", "clock_jumps")


class Verdict(NamedTuple):
    """What `predict` has to say beside its rows.

    Attributes:
        alerts: Windows that alert.
        not_covered: Buses that the model cannot judge, as the warnings name them.
    """

    alerts: int = 0
    not_covered: tuple[str, ...] = ()

    def exit_code(self, *, allow_uncovered: bool, fail_on_alert: bool) -> int:
        """What the command says to the shell; an alert of a model that cannot judge the capture means nothing."""
        if self.not_covered and not allow_uncovered:
            return EXIT_NOT_COVERED
        return EXIT_ALERTS if self.alerts and fail_on_alert else EXIT_OK


def predict(
    classifier: WindowClassifier,
    capture: Path,
    *,
    output: Path | None,
    output_format: str,
    alerts_only: bool,
    threshold: float | None,
    on_bad_line: OnBadLine = "raise",
    reader: Callable[[Path], Frames] | None = None,
) -> Verdict:
    """Score a capture chunk by chunk; the last lines on standard error count windows, alerts and unknown IDs.

    A bus that the model does not cover (see `MIN_COVERAGE`) is scored all the same, and a warning names it. If standard
    output is closed early (`| head -1`), it ends without an error and without the last lines.

    Args:
        classifier: A verified model.
        capture: One file, in any format that `read_captures` knows.
        output: File, replaced as a whole once the last window is scored; until then, and after an error, it stays as
            it was. None for standard output.
        output_format: `jsonl` or `csv`, one row per window with the `FIELDS` of `scored_rows`.
        alerts_only: Omit windows without an alert.
        threshold: Lowest score that alerts; the model's own for None.
        on_bad_line: As in `read_captures`.
        reader: Reads the whole capture instead, for formats that `read_captures` does not know; its timestamps are
            checked like those of any other file.

    Raises:
        LogFormatError: If the capture cannot be read.
        DataError: If the capture has fewer frames than one window or is a folder, `output` is a folder or the capture
            itself, or the threshold is not between 0 and 1.
        OSError: If a file cannot be read or written.
    """
    check_request(capture, output, threshold)
    tally = _Tally()
    frames = capture_chunks(capture, on_bad_line, reader, tally.counts)
    try:
        with opened_rows(output, output_format) as write:
            for scores in classifier.score_stream(frames, threshold=threshold):
                for row in rows_of(scores, tally.windows, alerts_only=alerts_only):
                    write(row)
                tally.add(scores)
            if not tally.windows:
                raise DataError(
                    f"{capture}: {tally.waiting} frames make no window of {classifier.preprocessing.window_size}; "
                    "expected at least one window of frames on a bus."
                )
    except BrokenPipeError:
        if output is not None:
            raise
        return Verdict(tally.alerts)
    print(f"{capture}: {tally.sentence()}", file=sys.stderr)
    not_covered = {f"{capture}{_on(bus)}": known for bus, known in tally.coverage.items() if not known.is_enough}
    for name, known in not_covered.items():
        print(f"graphids predict: {name}: {_not_covered(known)}", file=sys.stderr)
    return Verdict(tally.alerts, tuple(not_covered))


def capture_chunks(
    capture: Path, on_bad_line: OnBadLine, reader: Callable[[Path], Frames] | None, counts: dict[str, int]
) -> Iterator[Frames]:
    """A capture's frames in the chunks that `predict` scores; they decide how the windows of several buses interleave.

    Args:
        capture: One file.
        on_bad_line: As in `read_captures`.
        reader: Reads the whole capture instead.
        counts: Filled with what the reader found besides frames, at the end of the iteration.
    """
    if reader is None:
        return stream_frames(capture, chunk_bytes=_CHUNK_BYTES, on_bad_line=on_bad_line, counts=counts)
    return _read_whole(reader, capture, counts)


def _read_whole(reader: Callable[[Path], Frames], capture: Path, counts: dict[str, int]) -> Iterator[Frames]:
    """A capture as another reader reads it, with its timestamps checked."""
    frames = reader(capture)
    clock = Clock(capture)
    clock.observe(frames)
    counts.update(clock.totals())
    yield frames


def check_request(capture: Path, output: Path | None, threshold: float | None) -> None:
    """Check, before anything is read, that capture and output are two files and the threshold is a possible score.

    Raises:
        DataError: If not; it names the path or the value.
    """
    if capture.is_dir():
        raise DataError(f"{capture} is a folder; name one capture file.")
    # `not` around it: NaN compares false with everything.
    if threshold is not None and not 0 <= threshold <= 1:
        raise DataError(f"threshold is {threshold}, expected a finite number >= 0 and <= 1, as scores are.")
    if output is None:
        return
    if output.is_dir():
        raise DataError(f"{output} is a folder; name the file to write.")
    if output.exists() and capture.exists() and output.samefile(capture):
        raise DataError(f"{output} is the capture itself, which the output would replace; name another file.")


@dataclass(slots=True)
class _Tally:
    """The counts of the last line, kept while chunks pass by."""

    windows: int = 0
    alerts: int = 0
    unscored: dict[str, int] = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # what the reader found besides frames

    @property
    def waiting(self) -> int:
        """Frames, over all buses, that still wait for the rest of their window, or waited when the clock jumped."""
        return sum(self.unscored.values())

    def add(self, scores: WindowScores) -> None:
        self.windows += len(scores)
        self.alerts += int(scores.alert.sum())
        self.unscored |= scores.unscored_frames
        self.coverage = scores.bus_coverage

    def sentence(self) -> str:
        unknown = ", ".join(
            f"{bus + ': ' if len(self.coverage) > 1 else ''}{known.ids - known.known_ids} of {known.ids} "
            f"arbitration IDs unknown to the model ({1 - known.share:.1%} of the frames)"
            for bus, known in self.coverage.items()
        )
        return (
            f"{self.windows} windows, {self.alerts} alerts; {self.waiting} frames made no window; "
            f"{unknown}{self._remarks()}"
        )

    def _remarks(self) -> str:
        remarks = [
            f"{number} {name.replace('_', ' ')}"
            for name, number in self.counts.items()
            if number and name in _REMARKABLE
        ]
        return f"; {', '.join(remarks)}" if remarks else ""


def _on(bus: str) -> str:
    return f" on {bus}" if bus else ""


def _not_covered(coverage: Coverage) -> str:
    return (
        f"not covered: the model knows {coverage.words()}, and has to know {MIN_COVERAGE:.0%} of the frames to judge "
        "them: they are another vehicle's, or unknown IDs flood the bus, and neither an alert nor its absence means "
        "anything; train a model on this vehicle, or pass --allow-uncovered for exit code 0."
    )
