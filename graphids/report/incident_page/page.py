"""One self-contained HTML page about the incidents of a capture: no script, and no request leaves it."""

import base64
import hashlib
from collections.abc import Iterator

from graphids import __version__
from graphids.core.incidents.event_words import event_words
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.naming import named_incident
from graphids.core.incidents.terminal import bus_words, duration_words, shown_id, times_shown
from graphids.report.incident_page.facts import CaptureFacts
from graphids.report.incident_page.incident_section import badge, incident_section
from graphids.report.incident_page.markup import Markup, element, joined, table
from graphids.report.incident_page.not_judged import coverage_table, not_judged
from graphids.report.incident_page.style import STYLE
from graphids.report.incident_page.timeline import clock, timeline
from graphids.wording import counted, time_words, utc_text

_MOST_BUSES = 8


def incident_page(facts: CaptureFacts) -> str:
    """The page; the same facts give the same bytes.

    Its content security policy allows nothing but its own style sheet, so that not even markup that got into it could
    fetch or run anything.
    """
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"Incidents in {facts.name}"),
        element("style", Markup(STYLE)),
    )
    body = element("body", *_head(facts), *_timelines(facts), *_incidents(facts), *_rest(facts))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def verdict(facts: CaptureFacts) -> str:
    """The page in one sentence."""
    lasted = time_words(facts.bins.elapsed_s / 3600)
    uncovered = [bus for bus, known in facts.coverage.items() if not known.is_enough]
    if uncovered and len(uncovered) == len(facts.coverage):
        return "Not covered: the model cannot judge this vehicle. Neither an incident nor its absence means anything."
    rest = f" Not covered: {', '.join(map(bus_words, uncovered))}." if uncovered else ""
    return f"{_number(facts)} in {lasted}.{rest}"


def _number(facts: CaptureFacts) -> str:
    return counted(facts.num_incidents, "incident") if facts.num_incidents else "No incident"


def _head(facts: CaptureFacts) -> Iterator[Markup]:
    yield element("h1", f"Incidents in {facts.name}")
    is_covered = all(known.is_enough for known in facts.coverage.values())
    yield element("p", verdict(facts), class_="lead" if is_covered else "lead warning")
    yield element("dl", *(part for name, value in _described(facts) for part in _pair(name, value)))


def _pair(name: str, value: object) -> tuple[Markup, Markup]:
    return element("dt", name), element("dd", value)


def _described(facts: CaptureFacts) -> Iterator[tuple[str, object]]:
    if facts.vehicle:
        yield "vehicle", facts.vehicle
    if times := _times(facts):
        yield "recorded", times
    yield "length", f"{time_words(facts.bins.elapsed_s / 3600)} on {_buses(facts)}"
    if facts.sha256:
        yield "capture's sha256", element("code", facts.sha256)
    judge = facts.judge
    digest = joined([", digest ", element("code", judge.model_digest)]) if judge.model_digest else ""
    yield "model", joined([judge.model, digest])
    if judge.profile_digest:
        digest = element("code", judge.profile_digest)
        yield "profile", joined([f"of {time_words(judge.profile_s / 3600)} of attack-free traffic, sha256 ", digest])
    if judge.names:
        yield "names from", judge.names
    yield "threshold", f"the network alerts from a score of {judge.threshold:.6g}"
    yield "written by", f"graphids {__version__}"


def _times(facts: CaptureFacts) -> str:
    firsts = [bus.bins["first_s"][bus.bins["window"] >= 0] for bus in facts.bins.buses.values()]
    lasts = [bus.bins["last_s"][bus.bins["window"] >= 0] for bus in facts.bins.buses.values()]
    if not firsts:
        return ""
    start, end = float(min(part.min() for part in firsts)), float(max(part.max() for part in lasts))
    return times_shown(start, end) if utc_text(start) else ""


def _buses(facts: CaptureFacts) -> str:
    names = [bus_words(bus) for bus in facts.coverage if bus]
    number = "1 bus" if len(facts.coverage) == 1 else f"{len(facts.coverage)} buses"
    return f"{number} ({', '.join(names[:_MOST_BUSES])})" if names else number


def _timelines(facts: CaptureFacts) -> Iterator[Markup]:
    yield element("h2", "Timeline")
    # Buses with incidents first, each group in the order in which the buses appear.
    with_incidents = {incident.channel for incident in facts.incidents}
    buses = sorted(facts.bins.buses.items(), key=lambda item: item[0] not in with_incidents)
    for channel, bus in buses[:_MOST_BUSES]:
        if len(buses) > 1:
            yield element("h4", bus_words(channel) or "bus without a name")
        own = [incident for incident in facts.incidents if incident.channel == channel]
        yield timeline(bus, facts.bins.elapsed_s, facts.judge.threshold, own)
    if (more := len(buses) - _MOST_BUSES) > 0:
        yield element("p", f"Not drawn: {more} more of the buses.", class_="note")
    yield element(
        "p",
        "The largest score of each moment, 0 to 1 on a scale of log-odds, over the time since the capture began. "
        "Dashes: the threshold. Coloured bands: incidents. Ticks below: windows that alert.",
        class_="legend",
    )


def _incidents(facts: CaptureFacts) -> Iterator[Markup]:
    yield element("h2", "Incidents")
    if not facts.num_incidents:
        yield element("p", "None. That is no proof that nothing happened: see what was not judged, below.")
        return
    head = ("severity", "event", "after", "when", "for", "bus", "first ID", "score")
    yield table(head, [_row(incident, facts) for incident in facts.incidents])
    if more := facts.num_incidents - len(facts.incidents):
        text = f"{counted(more, 'further incident')}, less severe, not listed. `graphids predict` writes all of them."
        yield element("p", text, class_="note")
    for incident in facts.incidents:
        if incident.id in facts.detailed:
            yield incident_section(incident, facts.evidence.get(incident.id), facts.vehicle_names)
    if more := len(facts.incidents) - len(facts.detailed):
        text = f"{counted(more, 'less severe incident')} of the table without details, which would make a large page."
        yield element("p", text, class_="note")


def _row(incident: Incident, facts: CaptureFacts) -> tuple[object, ...]:
    shown = named_incident(incident, facts.vehicle_names)
    name = event_words(shown.event) + (f" ({shown.kind})" if shown.kind else "")
    return (
        badge(shown.severity),
        element("a", name, href=f"#incident-{shown.id}") if shown.id in facts.detailed else name,
        element("span", _after(incident, facts), class_="num"),
        element("span", times_shown(shown.start_s, shown.end_s), class_="num"),
        element("span", duration_words(shown.end_s - shown.start_s), class_="num"),
        bus_words(shown.channel) or "-",
        shown_id(shown.arbitration_ids[0][0]) if shown.arbitration_ids else "-",
        element("span", f"{shown.score:.4f}", class_="num"),
    )


def _after(incident: Incident, facts: CaptureFacts) -> str:
    """When it began, as on the timeline."""
    bus = facts.bins.buses.get(incident.channel)
    return clock(bus.place_s(incident.start_s, incident.end_s)) if bus else "-"


def _rest(facts: CaptureFacts) -> Iterator[Markup]:
    yield element("h2", "Coverage")
    yield from coverage_table(facts.coverage)
    yield element("h2", "What was not judged")
    yield element("ul", *(element("li", line) for line in not_judged(facts)))
