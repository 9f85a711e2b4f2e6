"""The command `predict`: incidents, or scored windows, from a capture of any size, as JSON lines or csv."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm  # type: ignore[import-untyped]

from graphids.commands.capture_sources import CaptureSource, capture_sources
from graphids.commands.capture_tally import CaptureTally, print_last_lines, summary_of
from graphids.commands.incident_options import IncidentOptions
from graphids.commands.scored_rows import COLUMNS as WINDOW_COLUMNS
from graphids.commands.scored_rows import RowWriter, opened_rows, opened_summary, rows_of
from graphids.commands.termination import orderly_termination
from graphids.core.captures.clock import Clock
from graphids.core.captures.parts import files_of
from graphids.core.captures.read import OnBadLine, stream_frames
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError, Frames
from graphids.core.incidents.detection import Detection, Subject
from graphids.core.incidents.filters import FilteredIncidents, Filters
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.incident_rows import COLUMNS as INCIDENT_COLUMNS
from graphids.core.incidents.incident_rows import row_of
from graphids.core.incidents.joining import NOT_COVERED
from graphids.exit_codes import EXIT_ALERTS, EXIT_NOT_COVERED, EXIT_OK

# The frames of a chunk, some 100,000, come in parts whose graphs and activations stay well below 1 GiB.
_CHUNK_BYTES = 1 << 22
_PLAIN = IncidentOptions()


class Verdict(NamedTuple):
    """What a script has to know beside the rows.

    Attributes:
        incidents: That were reported, but for those that say that a bus is not covered.
        not_covered: Buses that the model cannot judge, as the warnings name them.
    """

    incidents: int = 0
    not_covered: tuple[str, ...] = ()

    def exit_code(self, *, allow_uncovered: bool, fail_on_alert: bool) -> int:
        """What the command says to the shell; one of a model that cannot judge the capture means nothing."""
        if self.not_covered and not allow_uncovered:
            return EXIT_NOT_COVERED
        return EXIT_ALERTS if self.incidents and fail_on_alert else EXIT_OK


@dataclass(frozen=True, slots=True)
class _Request:
    """How to score and what to write."""

    threshold: float | None
    every_window: bool
    subject: Subject
    filters: Filters
    on_bad_line: OnBadLine
    reader: Callable[[Path], Frames] | None
    names_captures: bool


def predict(
    classifier: WindowClassifier,
    capture: Path,
    *,
    output: Path | None,
    output_format: str,
    threshold: float | None,
    every_window: bool = False,
    incidents: IncidentOptions = _PLAIN,
    on_bad_line: OnBadLine = "raise",
    reader: Callable[[Path], Frames] | None = None,
    summary: Path | None = None,
) -> Verdict:
    """Score captures chunk by chunk; the last lines on standard error count windows, alerts, incidents, unknown IDs.

    A bus that the model does not cover (see `MIN_COVERAGE` in `coverage`) is scored all the same, and a warning names
    it. Where standard error is a terminal, a bar shows the bytes read.

    Args:
        classifier: A verified model.
        capture: A file in any format that `read_captures` knows, a folder, a glob, or `-` for standard input. Of more
            than one file, each row names its own; windows are numbered, and incidents begin anew, within each file.
        output: File, replaced as a whole once the last window is scored; until then, and after an error, it stays as
            it was. None for standard output.
        output_format: `jsonl` or `csv`; one row per incident with the `COLUMNS` of `incident_rows`, once it is over.
        threshold: Lowest score that alerts; the model's own for None.
        every_window: One row per window instead, with the `FIELDS` of `scored_rows`.
        incidents: How they are told, and which are reported.
        on_bad_line: As in `read_captures`.
        reader: Reads whole captures instead, for formats that `read_captures` does not know; their timestamps are
            checked like those of any other file.
        summary: JSON file, replaced as `output` is: what the last lines say, with the coverage of every bus.

    Raises:
        LogFormatError: If a capture cannot be read.
        DataError: If a capture has fewer frames than one window, `output` or `summary` is a folder, a capture itself or
            the other, or the threshold is not between 0 and 1.
        OSError: If a file cannot be read or written.
    """
    tallies: list[CaptureTally] = []
    with orderly_termination(), capture_sources(capture) as sources:
        for source in sources:
            check_request(source.path, output, threshold)
            check_request(source.path, summary, threshold)
        if summary is not None and output is not None and summary.resolve() == output.resolve():
            raise DataError(f"{summary}: is to hold the rows and the summary; name two files.")
        request = _Request(
            threshold,
            every_window,
            incidents.subject(classifier),
            incidents.filters,
            on_bad_line,
            reader,
            names_captures=len(sources) > 1,
        )
        columns = WINDOW_COLUMNS if every_window else INCIDENT_COLUMNS
        with (
            opened_summary(summary) as write_summary,
            opened_rows(output, output_format, columns, names_captures=request.names_captures) as write,
            _bar(sources) as bar,
        ):
            for source in sources:
                tallies.append(CaptureTally(source.name))
                _score(classifier, source, request, tallies[-1], write, bar)
            write_summary(summary_of(tallies))
    print_last_lines(tallies)
    return _verdict(tallies)


def _verdict(tallies: Sequence[CaptureTally]) -> Verdict:
    return Verdict(
        incidents=sum(tally.incidents for tally in tallies),
        not_covered=tuple(name for tally in tallies for name in tally.not_covered()),
    )


def _score(
    classifier: WindowClassifier,
    source: CaptureSource,
    request: _Request,
    tally: CaptureTally,
    write: RowWriter,
    bar: tqdm,
) -> None:
    before = bar.n
    frames = capture_chunks(
        source.path,
        request.on_bad_line,
        request.reader,
        tally.counts,
        on_position=lambda position: bar.update(before + position - bar.n),
    )
    detection, filtered = Detection(request.subject), FilteredIncidents(request.filters)

    def report(over: list[Incident]) -> Iterator[dict[str, object]]:
        for incident in filtered.passing(over):
            tally.incidents += incident.event != NOT_COVERED
            yield row_of(incident)

    def put(rows: Iterable[dict[str, object]]) -> None:
        with tqdm.external_write_mode(file=sys.stdout):  # rows on the bar's own terminal would be written into it
            for row in rows:
                write({"capture": source.name, **row} if request.names_captures else row)

    for chunk in classifier.score_chunks(frames, threshold=request.threshold):
        told = list(report(detection.add(chunk)))
        put(rows_of(chunk.scores, tally.windows) if request.every_window else told)
        tally.add(chunk.scores)
    told = list(report(detection.finish()))
    put([] if request.every_window else told)
    tally.filtered_incidents, tally.muted_windows = filtered.kept_back, detection.muted_windows
    if not tally.windows:
        raise DataError(
            f"{source.path}: {tally.left_over} frames make no window of {classifier.preprocessing.window_size}; "
            "expected at least one window of frames on a bus."
        )


def _bar(sources: Sequence[CaptureSource]) -> tqdm:
    """Progress over the bytes of all files, as they lie on the disk."""
    is_shown = sys.stderr.isatty()
    return tqdm(
        total=sum(file.stat().st_size for source in sources for file in files_of(source.path)) if is_shown else None,
        disable=not is_shown,
        file=sys.stderr,
        unit="B",
        unit_scale=True,
        leave=False,
    )


def capture_chunks(
    capture: Path,
    on_bad_line: OnBadLine,
    reader: Callable[[Path], Frames] | None,
    counts: dict[str, int],
    on_position: Callable[[int], object] | None = None,
) -> Iterator[Frames]:
    """A capture's frames in the chunks that `predict` scores; they decide how the windows of several buses interleave.

    Args:
        capture: One file.
        on_bad_line: As in `read_captures`.
        reader: Reads the whole capture instead.
        counts: Filled with what the reader found besides frames, at the end of the iteration.
        on_position: As in `stream_frames`; not called where `reader` reads.
    """
    if reader is None:
        return stream_frames(
            capture, chunk_bytes=_CHUNK_BYTES, on_bad_line=on_bad_line, counts=counts, on_position=on_position
        )
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
    files = files_of(capture)
    if capture.is_dir() and files == [capture]:
        raise DataError(f"{capture} is a folder; name one capture file.")
    # `not` around it: NaN compares false with everything.
    if threshold is not None and not 0 <= threshold <= 1:
        raise DataError(f"threshold is {threshold}, expected a finite number >= 0 and <= 1, as scores are.")
    if output is None:
        return
    if output.is_dir():
        raise DataError(f"{output} is a folder; name the file to write.")
    if output.exists() and any(file.exists() and output.samefile(file) for file in files):
        raise DataError(f"{output} is the capture itself, which the output would replace; name another file.")
