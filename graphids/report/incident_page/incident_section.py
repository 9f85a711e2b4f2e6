"""One incident in detail: why, on which IDs and how sure, and the evidence of its most suspicious window."""

from collections.abc import Iterator

import numpy as np

from graphids.core.classifier import DEFAULT_TOP_K
from graphids.core.explanation import Explanation, FeatureEvidence
from graphids.core.frames import Frames, format_arbitration_id
from graphids.core.graphs.features import DEVIATIONS, NODE_FEATURES
from graphids.core.incidents.event_words import event_words
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.naming import named_incident
from graphids.core.incidents.terminal import as_sentence, bus_words, duration_words, shown_id, times_shown
from graphids.core.vehicle_names import VehicleNames
from graphids.report.incident_page.facts import Evidence
from graphids.report.incident_page.markup import Markup, element, joined, table
from graphids.report.incident_page.window_graph import window_graph
from graphids.wording import counted

_MOST_IDS, _MOST_FEATURES, _FRAMES_PER_ID = 6, 5, 4
_LINE_END = Markup("\n")
_MEANING = {column.name: column.meaning for column in (*DEVIATIONS, *NODE_FEATURES)}


def incident_section(incident: Incident, evidence: Evidence | None, names: VehicleNames | None) -> Markup:
    """A part of the page, with `incident-<id>` as its anchor.

    Args:
        incident: With plain arbitration IDs.
        evidence: Of its most suspicious window; None where none is at hand.
        names: Of messages; None for none.
    """
    shown = named_incident(incident, names)
    kind = f" ({shown.kind})" if shown.kind else ""
    parts = [
        element("h3", badge(shown.severity), " ", event_words(shown.event), kind),
        element("p", _when(shown), class_="note"),
        element("p", as_sentence(shown.reason), class_="reason") if shown.reason else "",
        element("p", _how_sure(shown), class_="note"),
        *(_evidence(evidence, names) if evidence else ()),
        *_context(incident.context, names),
    ]
    return element("section", *parts, class_="incident", id=f"incident-{incident.id}")


def badge(severity: str) -> Markup:
    """A severity as a coloured word."""
    return element("span", severity, class_=f"badge {severity}")


def _when(incident: Incident) -> str:
    lasted = duration_words(incident.end_s - incident.start_s)
    where = f" on {bus_words(incident.channel)}" if incident.channel else ""
    ongoing = "still going on after " if incident.ongoing else ""
    return f"{times_shown(incident.start_s, incident.end_s)}, {ongoing}{lasted}{where}"


def _how_sure(incident: Incident) -> str:
    ids = ", ".join(f"{shown_id(name)} {sure:.0%}" for name, sure in incident.arbitration_ids[:_MOST_IDS])
    suppressed = f", {incident.suppressed:,} of them not reported on their own" if incident.suppressed else ""
    windows = f"{counted(incident.windows, 'window')} alert{'s' if incident.windows == 1 else ''}{suppressed}"
    known = f"{incident.coverage:.0%} of their frames carry known IDs"
    return f"{f'On {ids}. ' if ids else ''}Highest score {incident.score:.4f}; {windows}; {known}."


def _evidence(evidence: Evidence, names: VehicleNames | None) -> Iterator[Markup]:
    e = evidence.explanation
    yield element(
        "h4", f"Its most suspicious window: number {e.window}, {times_shown(e.start_s, e.end_s)}, {e.frames} frames"
    )
    graph = element("figure", window_graph(e), element("figcaption", _legend(e), class_="legend"))
    tables = element("div", *_ids(e, names), *_features(e, names))
    yield element("div", graph, tables, class_="evidence")
    yield from _frames(evidence.frames, [i.arbitration_id for i in e.ids[:DEFAULT_TOP_K] if i.frames], names)


def _legend(e: Explanation) -> str:
    unknown, absent = sum(not i.is_known for i in e.ids), sum(not i.frames for i in e.ids)
    return (
        "Circle: an arbitration ID, larger with more frames, fuller with more suspicion; the most suspicious are in "
        "the middle. Line: to the ID of the next frame."
        + (f" Ringed: not known to the model ({unknown} of {len(e.ids)})." if unknown else "")
        + (f" Dashed: overdue, without a frame ({absent})." if absent else "")
    )


def _ids(e: Explanation, names: VehicleNames | None) -> Iterator[Markup]:
    yield element("h4", "How suspicious each ID is")
    rows = [
        (
            element("span", _label(i.arbitration_id, names), class_="id"),
            i.frames,
            joined([_bar(i.suspicion), element("span", f"{i.suspicion:.2f}", class_="num")]),
            "-" if i.score_without is None else f"{i.score_without:.4f}",
        )
        for i in e.ids[:_MOST_IDS]
    ]
    yield table(("ID", "frames", "suspicion", "score without it"), rows)


def _features(e: Explanation, names: VehicleNames | None) -> Iterator[Markup]:
    told = [feature for feature in e.features if feature.margin_change > 0][:_MOST_FEATURES]
    if not told:
        return
    yield element("h4", "What drove the score")
    is_deviation = all(f.usual == 0.0 for f in told)
    rows = [
        (
            element("span", _label(f.arbitration_id, names), class_="id"),
            joined([element("code", f.feature), element("br"), element("span", _meaning(f), class_="legend")]),
            element("span", _value(f, is_deviation=is_deviation), class_="num"),
            element("span", f"{f.margin_change:+.2f}", class_="num"),
        )
        for f in told
    ]
    yield table(("ID", "feature", "deviation" if is_deviation else "value (usual)", "log-odds"), rows)


def _meaning(f: FeatureEvidence) -> str:
    return _MEANING.get(f.feature, "")


def _value(f: FeatureEvidence, *, is_deviation: bool) -> str:
    value = f"{f.value:.4g}" if f.unit == "1" else f"{f.value:.4g} {f.unit}"
    usual = "-" if f.usual is None else f"{f.usual:.4g}"
    return value if is_deviation else f"{value} ({usual})"


def _frames(frames: Frames, suspects: list[str], names: VehicleNames | None) -> Iterator[Markup]:
    """The first frames of the most suspicious IDs, with what they say."""
    ids = list(map(format_arbitration_id, frames.node_key()))
    first = {name: [row for row, found in enumerate(ids) if found == name][:_FRAMES_PER_ID] for name in suspects}
    rows = sorted(row for own in first.values() for row in own)
    if not rows:
        return
    yield element("h4", "Their first frames in the window")
    cells = []
    for row in rows:
        payload = frames.payload[row, : int(frames.dlc[row])].tobytes()
        said = ", ".join(names.decoded(ids[row], payload)) if names else ""
        after = float(frames.timestamp[row] - frames.timestamp[0])
        cells.append(
            (
                element("span", f"{np.round(after, 6):.6f}", class_="num"),
                element("span", _label(ids[row], names), class_="id"),
                joined([element("code", payload.hex(" ").upper()), *([element("br"), said] if said else [])]),
            )
        )
    yield table(("s into it", "ID", "payload"), cells)


def _context(context: tuple[str, ...], names: VehicleNames | None) -> Iterator[Markup]:
    if not context:
        return
    yield element("h4", "Frames around the first evidence")
    yield element("pre", *(part for line in context for part in (_with_values(line, names), _LINE_END)))


def _with_values(line: str, names: VehicleNames | None) -> str:
    """A line of `candump -l` with the values of its payload beside it, where a database knows them."""
    arbitration_id, _, payload = line.rpartition(" ")[2].partition("#")
    try:
        content = bytes.fromhex(payload)
    except ValueError:  # a remote frame, or one whose bytes are hidden
        return line
    said = ", ".join(names.decoded(arbitration_id, content)) if names else ""
    return f"{line}  {said}" if said else line


def _bar(share: float) -> Markup:
    full = element("rect", width=f"{100 * share:.0f}", height="10", class_="full")
    room = element("rect", width="100", height="10", class_="room")
    shape = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none"}
    return element("svg", room, full, **shape, class_="bar", aria_hidden="true")


def _label(arbitration_id: str, names: VehicleNames | None) -> str:
    return shown_id(arbitration_id) if names is None else names.label(arbitration_id)
