"""The command `report`: the incidents of a capture as one HTML page."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphids._fs import digest_file, publish_bytes
from graphids.commands.capture_tally import CaptureTally
from graphids.commands.incident_options import IncidentOptions
from graphids.commands.predict import capture_chunks, check_request
from graphids.core.captures.read import OnBadLine
from graphids.core.classifier import WindowClassifier
from graphids.core.explanation import explain_each
from graphids.core.frames import DataError, Frames
from graphids.core.graphs.followers import WARM_UP_S
from graphids.core.incidents.detection import Subject, incidents_of
from graphids.core.incidents.event_words import SEVERITIES
from graphids.core.incidents.incident import Incident
from graphids.core.vehicle_names import read_vehicle_names
from graphids.core.window_scores import ScoredChunk
from graphids.report.incident_page.facts import CaptureFacts, Evidence, Judge
from graphids.report.incident_page.page import incident_page, verdict
from graphids.report.incident_page.score_bins import ScoreBins
from graphids.wording import name_text, printable

# Bound the page: a row of the table is some 500 bytes, an incident in detail some 30,000.
MOST_LISTED = 200
MOST_DETAILED = 20


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What to report of, and how.

    Attributes:
        capture: One file, in any format that `read_captures` knows.
        output: HTML file, replaced as a whole; None for `<capture>-report.html` in the working directory.
        model: URI of the model, as the page names it.
        model_digest: Of the model.
        vehicle: Its name; empty for none.
        dbc: Database with the names of its messages.
        threshold: Lowest score that alerts; the model's own for None.
        warm_up_s: As in `WindowClassifier.score`.
        on_bad_line: As in `read_captures`.
        reader: Reads the capture instead, as a whole.
        reports_uncovered: As in `IncidentOptions`.
    """

    capture: Path
    output: Path | None
    model: str
    model_digest: str
    vehicle: str = ""
    dbc: Path | None = None
    threshold: float | None = None
    warm_up_s: float = WARM_UP_S
    on_bad_line: OnBadLine = "raise"
    reader: Callable[[Path], Frames] | None = None
    reports_uncovered: bool = False


def report_capture(classifier: WindowClassifier, request: ReportRequest) -> list[str]:
    """Judge a capture, write its page and print the verdict; the capture is read twice, in bounded memory.

    Returns:
        Warnings: a sentence for each bus that the model cannot judge.

    Raises:
        LogFormatError: If the capture cannot be read.
        DataError: If it makes no window, or an argument is invalid.
        ModuleNotFoundError: If there is a `dbc` and cantools is not installed.
        OSError: If a file cannot be read or written.
    """
    output = default_page(request.capture) if request.output is None else request.output
    check_request(request.capture, output, request.threshold)
    if not output.absolute().parent.is_dir():
        raise DataError(f"{output}: the folder {output.parent} does not exist; create it, or name another file.")
    tally = CaptureTally(name_text(request.capture))
    facts = _facts(classifier, request, tally)
    publish_bytes(output, incident_page(facts).encode())
    print(printable(f"{request.capture}: {verdict(facts)} Written to {output}"))
    return tally.warnings()


def default_page(capture: Path) -> Path:
    """Default of `output`: a file in the working directory.

    >>> default_page(Path("drives/spoof-1.csv.gz"))
    PosixPath('spoof-1-report.html')
    """
    return Path(f"{Path(capture.name.removesuffix('.gz')).stem}-report.html")


def _facts(classifier: WindowClassifier, request: ReportRequest, tally: CaptureTally) -> CaptureFacts:
    names = None if request.dbc is None else read_vehicle_names(request.dbc)
    options = IncidentOptions(
        vehicle=request.vehicle, model_digest=request.model_digest, reports_uncovered=request.reports_uncovered
    )
    bins, subject = ScoreBins(), options.subject(classifier)
    listed, number = _most_severe(incidents_of(_scored(classifier, request, tally, bins), subject))
    if not tally.windows:
        raise DataError(
            f"{request.capture}: {tally.left_over} frames make no window of {classifier.preprocessing.window_size}; "
            "expected at least one window of frames on a bus."
        )
    detailed = heapq.nlargest(MOST_DETAILED, listed, key=_rank)
    return CaptureFacts(
        name=name_text(request.capture.name),
        sha256=digest_file(request.capture) if request.capture.is_file() else "",
        vehicle=request.vehicle,
        judge=_judge(classifier, request, subject),
        windows=tally.windows,
        alerts=tally.alerts,
        bins=bins,
        coverage=tally.coverage,
        unscored=tally.unscored,
        counts=tally.counts,
        num_incidents=number,
        incidents=listed,
        detailed=frozenset(incident.id for incident in detailed),
        evidence=_evidence(classifier, request, detailed),
        vehicle_names=names,
    )


def _judge(classifier: WindowClassifier, request: ReportRequest, subject: Subject) -> Judge:
    return Judge(
        model=request.model,
        model_digest=request.model_digest,
        threshold=classifier.threshold if request.threshold is None else request.threshold,
        profile_digest=subject.profile_digest,
        profile_s=0.0 if subject.profile is None else subject.profile.seconds,
        names="" if request.dbc is None else name_text(request.dbc.name),
    )


def _scored(
    classifier: WindowClassifier, request: ReportRequest, tally: CaptureTally, bins: ScoreBins
) -> Iterator[ScoredChunk]:
    """The capture's scores, counted while they pass by."""
    frames = capture_chunks(request.capture, request.on_bad_line, request.reader, tally.counts)
    for chunk in classifier.score_chunks(frames, threshold=request.threshold, warm_up_s=request.warm_up_s):
        tally.add(chunk.scores)
        bins.add(chunk.scores)
        yield chunk


def _rank(incident: Incident) -> tuple[int, float, float]:
    severity = SEVERITIES.index(incident.severity) if incident.severity in SEVERITIES else len(SEVERITIES)
    return severity, incident.score, incident.end_s - incident.start_s


def _most_severe(incidents: Iterator[Incident]) -> tuple[tuple[Incident, ...], int]:
    """The incidents to list, in the order of their start, and how many there are."""
    number = 0

    def counting() -> Iterator[Incident]:
        nonlocal number
        for incident in incidents:
            number += 1
            yield incident

    listed = heapq.nlargest(MOST_LISTED, counting(), key=_rank)
    return tuple(sorted(listed, key=lambda incident: incident.start_s)), number


def _evidence(
    classifier: WindowClassifier, request: ReportRequest, incidents: Sequence[Incident]
) -> Mapping[str, Evidence]:
    """The most suspicious window of each incident, by a second pass over the capture up to the last of them."""
    windows = {incident.id: incident.loudest_window for incident in incidents if incident.loudest_window >= 0}
    chunks = capture_chunks(request.capture, request.on_bad_line, request.reader, {})
    explained = explain_each(
        classifier,
        chunks,
        set(windows.values()),
        threshold=request.threshold,
        warm_up_s=request.warm_up_s,
        name=str(request.capture),
    )
    by_window = {window.number: Evidence(explanation, window.frames) for window, explanation in explained}
    return {incident: by_window[window] for incident, window in windows.items()}
