"""The command `predict`: incidents, or scored windows, from a capture of any size, for people or programs."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm  # type: ignore[import-untyped]

from graphids.commands.capture_sources import CaptureSource, capture_sources
from graphids.commands.capture_tally import CaptureTally, print_last_lines, summary_of
from graphids.commands.incident_options import IncidentOptions
from graphids.commands.line_output import LineWriter, opened_lines, opened_summary
from graphids.commands.scored_rows import COLUMNS, rows_of
from graphids.commands.termination import orderly_termination
from graphids.core.captures.clock import Clock
from graphids.core.captures.parts import files_of
from graphids.core.captures.read import OnBadLine, stream_frames
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError, Frames
from graphids.core.graphs.followers import WARM_UP_S
from graphids.core.incidents.detection import Detection, Subject
from graphids.core.incidents.filters import FilteredIncidents, Filters
from graphids.core.incidents.formats import IncidentFormat, format_for
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.joining import NOT_COVERED
from graphids.core.incidents.naming import named_incident
from graphids.core.row_formats import ROW_FORMATS, RowFormat, row_format
from graphids.core.vehicle_names import VehicleNames
from graphids.core.window_scores import WindowScores
from graphids.exit_codes import EXIT_ALERTS, EXIT_NOT_COVERED, EXIT_OK
from graphids.options import OptionError

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
    """How to score and what to write: windows, where they have a format, else incidents."""

    threshold: float | None
    warm_up_s: float
    windows: RowFormat | None
    incidents: IncidentFormat
    names: VehicleNames | None
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
    output_format: str | None,
    threshold: float | None,
    warm_up_s: float = WARM_UP_S,
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
        output_format: One of `incidents.formats`, in which each incident is written once it is over. None: lines for a
            person on a terminal, else JSON lines.
        threshold: Lowest score that alerts; the model's own for None.
        warm_up_s: As in `WindowClassifier.score`.
        every_window: One row per window instead, with the `FIELDS` of `scored_rows`, as JSON lines or csv.
        incidents: How they are told, and which are reported.
        on_bad_line: As in `read_captures`.
        reader: Reads whole captures instead, for formats that `read_captures` does not know; their timestamps are
            checked like those of any other file.
        summary: JSON file, replaced as `output` is: what the last lines say, with the coverage of every bus.

    Raises:
        LogFormatError: If a capture cannot be read.
        OptionError: If windows are to be written in a format of incidents.
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
        several = len(sources) > 1
        request = _Request(
            threshold,
            warm_up_s,
            _window_format(output_format, names_captures=several) if every_window else None,
            _incident_format(output_format, output),
            incidents.names if _is_for_people(output_format, output) else None,
            incidents.subject(classifier),
            incidents.filters,
            on_bad_line,
            reader,
            names_captures=several,
        )
        with (
            opened_summary(summary) as write_summary,
            opened_lines(output) as write,
            _bar(sources) as bar,
        ):
            if head := (request.windows or request.incidents).head:
                write(head)
            for source in sources:
                tallies.append(CaptureTally(source.name))
                _score(classifier, source, request, tallies[-1], write, bar)
            write_summary(summary_of(tallies))
    print_last_lines(tallies)
    return _verdict(tallies)


def _is_for_people(output_format: str | None, output: Path | None) -> bool:
    return output_format == "text" or (output_format is None and output is None and sys.stdout.isatty())


def _incident_format(output_format: str | None, output: Path | None) -> IncidentFormat:
    name = output_format or ("text" if _is_for_people(None, output) else "jsonl")
    return format_for(name, None if output is not None else sys.stdout)


def _window_format(output_format: str | None, *, names_captures: bool) -> RowFormat:
    name = output_format or "jsonl"
    if name not in ROW_FORMATS:
        raise OptionError(
            f"--format: {name} is of incidents; expected {' or '.join(ROW_FORMATS)} with --all, for windows."
        )
    return row_format(name, ("capture", *COLUMNS) if names_captures else COLUMNS)


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
    write: LineWriter,
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
    capture = source.name if request.names_captures else ""

    def told(over: list[Incident]) -> Iterator[str]:
        passed = list(filtered.passing(over))
        tally.incidents += sum(incident.event != NOT_COVERED for incident in passed)
        return (request.incidents.write(named_incident(incident, request.names), capture) for incident in passed)

    def put(lines: Iterable[str]) -> None:
        with tqdm.external_write_mode(file=sys.stdout):  # lines on the bar's own terminal would be written into it
            for line in lines:
                write(line)

    for chunk in classifier.score_chunks(frames, threshold=request.threshold, warm_up_s=request.warm_up_s):
        lines = told(detection.add(chunk))
        put(lines if request.windows is None else _window_lines(chunk.scores, request.windows, tally.windows, capture))
        tally.add(chunk.scores)
    lines = told(detection.finish())
    put(lines if request.windows is None else [])
    tally.filtered_incidents, tally.muted_windows = filtered.kept_back, detection.muted_windows
    if not tally.windows:
        raise DataError(
            f"{source.path}: {tally.left_over} frames make no window of {classifier.preprocessing.window_size}; "
            "expected at least one window of frames on a bus."
        )


def _window_lines(scores: WindowScores, form: RowFormat, windows_before: int, capture: str) -> Iterator[str]:
    for row in rows_of(scores, windows_before):
        yield form.write({"capture": capture, **row} if capture else row)


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
