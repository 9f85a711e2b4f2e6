"""The command `explain`: one window of a capture as a picture, and the numbers behind it as text or JSON."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from graphids._fs import publish_bytes
from graphids.commands.incident_options import IncidentOptions
from graphids.commands.predict import capture_chunks, check_request
from graphids.core.captures.read import OnBadLine
from graphids.core.classifier import WindowClassifier
from graphids.core.explanation import Explanation, explain
from graphids.core.frames import DataError, Frames
from graphids.core.graphs.followers import WARM_UP_S
from graphids.core.incidents.detection import incidents_of
from graphids.core.vehicle_names import VehicleNames, read_vehicle_names
from graphids.plots.style import png
from graphids.plots.window_graph import draw_window
from graphids.wording import counted, name_text, printable

_IDS = 8
_FEATURES = 8
_NEVER_SEEN = "\nnothing is usual for an ID unknown to the model: its features are set to the mean over all IDs"


def explain_capture(
    classifier: WindowClassifier,
    capture: Path,
    window: int,
    *,
    output: Path | None = None,
    as_json: bool = False,
    threshold: float | None = None,
    warm_up_s: float = WARM_UP_S,
    on_bad_line: OnBadLine = "raise",
    reader: Callable[[Path], Frames] | None = None,
    dbc: Path | None = None,
) -> None:
    """Draw a window of a capture and tell what drove its score; the capture is read up to that window only.

    Args:
        classifier: A verified model.
        capture: One file, in any format that `read_captures` knows.
        window: Its number among all windows, from 0, as in the rows of `predict`.
        output: PNG to write; None stands for `<capture>-window-<window>.png` in the working directory.
        as_json: Print one JSON object: everything in `Explanation`, capture and picture. Else text.
        threshold: Lowest score that alerts; the model's own for None.
        warm_up_s: As in `WindowClassifier.score`.
        on_bad_line: As in `read_captures`.
        reader: Reads the capture instead, as a whole.
        dbc: Database whose names of messages the text has beside the IDs; the picture and JSON have the IDs alone.

    Raises:
        LogFormatError: If the capture cannot be read.
        DataError: If it has no such window, or an argument is invalid.
        ModuleNotFoundError: If there is a `dbc` and cantools is not installed.
        OSError: If a file cannot be read or written.
    """
    picture = default_picture(capture, window) if output is None else output
    check_request(capture, picture, threshold)
    if picture.suffix.lower() != ".png":
        raise DataError(f"{picture}: the picture is a PNG; name a file that ends in .png.")
    if not picture.absolute().parent.is_dir():
        raise DataError(f"{picture}: the folder {picture.parent} does not exist; create it, or name another file.")
    names = None if dbc is None else read_vehicle_names(dbc)
    chunks = capture_chunks(capture, on_bad_line, reader, {})
    explanation = explain(classifier, chunks, window, threshold=threshold, warm_up_s=warm_up_s, name=str(capture))
    publish_bytes(picture, png(draw_window(explanation, printable(capture.name))))
    if as_json:
        print(json.dumps({"capture": name_text(capture), "picture": name_text(picture), **explanation.to_dict()}))
    else:
        text = explanation_text(explanation, names)
        print(f"{printable(str(capture))}: {text}\n\npicture  {printable(str(picture))}")


def window_of_incident(
    classifier: WindowClassifier,
    capture: Path,
    number: int,
    *,
    threshold: float | None = None,
    warm_up_s: float = WARM_UP_S,
    on_bad_line: OnBadLine = "raise",
    reader: Callable[[Path], Frames] | None = None,
    reports_uncovered: bool = False,
) -> int:
    """The window with the highest score of an incident, by its number among the lines of `predict`, from 0.

    Args:
        classifier: A verified model.
        capture: One file.
        number: Of the incident, without any filter.
        threshold: As in `predict`.
        warm_up_s: As in `predict`.
        on_bad_line: As in `predict`.
        reader: As in `predict`.
        reports_uncovered: As in `IncidentOptions`.

    Raises:
        DataError: If there is no such incident, or it has no windows.
    """
    frames = capture_chunks(capture, on_bad_line, reader, {})
    chunks = classifier.score_chunks(frames, threshold=threshold, warm_up_s=warm_up_s)
    found = 0
    subject = IncidentOptions(reports_uncovered=reports_uncovered).subject(classifier)
    for incident in incidents_of(chunks, subject):
        if found == number:
            if incident.loudest_window < 0:
                raise DataError(
                    f"{capture}: incident {number} ({incident.event}) has no window that alerts, and so none to "
                    "explain. `graphids explain --window` takes any window."
                )
            return incident.loudest_window
        found += 1
    raise DataError(
        f"{capture}: there is no incident {number}. `graphids predict` finds {counted(found, 'incident')}, numbered "
        "from 0."
    )


def default_picture(capture: Path, window: int) -> Path:
    """Default of `output`: a file in the working directory.

    >>> default_picture(Path("drives/spoof-1.csv.gz"), 41)
    PosixPath('spoof-1-window-41.png')
    """
    return Path(f"{Path(capture.name.removesuffix('.gz')).stem}-window-{window}.png")


def explanation_text(explanation: Explanation, names: VehicleNames | None = None) -> str:
    """The verdict, the IDs and the features that drove it; undefined numbers are shown as `-`."""
    e = explanation
    verdict = printable(f"alert, {e.kind}" if e.alert else "no alert")
    bus = printable(f" on {e.channel}" if e.channel else "")
    unknown = sum(not i.is_known for i in e.ids)
    together = (
        ""
        if e.margin_without_unknown is None
        else f"; without them all the log-odds change by {e.margin_without_unknown - e.margin:+.2f}"
    )
    overdue = sum(not i.frames for i in e.ids)
    absent = f" and {overdue} that {'is' if overdue == 1 else 'are'} overdue" if overdue else ""
    ids = [
        (
            _label(i.arbitration_id, names) + ("" if i.is_known else "*"),
            str(i.frames),
            f"{i.suspicion:.3f}",
            "-" if i.score_without is None else f"{i.score_without:.4f}",
            "-" if i.margin_without is None else f"{i.margin_without - e.margin:+.2f}",
        )
        for i in e.ids[:_IDS]
    ]
    features = [
        (
            _label(f.arbitration_id, names),
            f.feature,
            f"{f.value:.4g}",
            "-" if f.usual is None else f"{f.usual:.4g}",
            "-" if f.unit == "1" else f.unit,
            "-" if f.spreads is None else f"{f.spreads:+.1f}",
            f"{-f.margin_change:+.2f}",
        )
        for f in e.features[:_FEATURES]
    ]
    never_seen = _NEVER_SEEN if any(f.usual is None for f in e.features[:_FEATURES]) else ""
    return f"""window {e.window}{bus}, {e.start_s:.6f} s to {e.end_s:.6f} s, {e.frames} frames
score {e.score:.4f}, threshold {e.threshold:.4f}: {verdict}; log-odds of an attack {e.margin:+.2f}

{_table(("ID", "frames", "suspicion", "score without it", "change of log-odds"), ids)}
{len(e.ids) - overdue} IDs in the window{absent}, {unknown} of them (*) unknown to the model{together}

{_table(("ID", "feature", "value", "usual", "unit", "spreads", "change of log-odds if usual"), features)}{never_seen}"""


def _label(arbitration_id: str, names: VehicleNames | None) -> str:
    return arbitration_id if names is None else names.label(arbitration_id)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, right-aligned but for the first."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 1 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    )
