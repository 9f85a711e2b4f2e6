"""The page about a capture's incidents: whole, inert, and saying what it has to say."""

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from graphids.core.data.coverage import Coverage
from graphids.core.explanation import explain_each
from graphids.core.vehicle_names import read_vehicle_names
from graphids.report.incident_page.facts import CaptureFacts, Evidence, Judge
from graphids.report.incident_page.markup import element
from graphids.report.incident_page.page import incident_page, verdict
from graphids.report.incident_page.score_bins import ScoreBins
from support.incidents import FLOOD, HOSTILE, SILENCE, hostile_incident
from support.tiny_model import three_ids, tiny_classifier
from support.vehicle_names import DBC
from support.window_scores import window_scores


class _Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.style = ""
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
        else:
            self.text += f" {data}"

    def given(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    ((window, explanation),) = explain_each(tiny_classifier(), [three_ids(64)], [5])
    return Evidence(explanation, window.frames)


def _facts(given: Evidence, /, **changes: Any) -> CaptureFacts:
    bins = ScoreBins()
    first_s = FLOOD.start_s - 5
    bins.add(window_scores([first_s + i / 10 for i in range(300)], [0.9 if 50 <= i < 170 else 0.1 for i in range(300)]))
    facts = CaptureFacts(
        name="drive.log",
        sha256="ef" * 32,
        vehicle="red van",
        judge=Judge("models:/m-1", "ab" * 32, 0.5, "cd" * 32, 1200.0),
        windows=300,
        alerts=120,
        bins=bins,
        coverage={"can0": Coverage(frames=3000, known_frames=2900, ids=12, known_ids=11)},
        unscored={"can0": 7},
        counts={"bad_lines": 3, "clock_jumps": 1, "error_frames": 0},
        num_incidents=1,
        incidents=(FLOOD,),
        detailed=frozenset({FLOOD.id}),
        evidence={FLOOD.id: given},
    )
    return replace(facts, **changes)


def test_the_page_says_what_happened_by_what_it_was_judged_and_what_was_not_judged(evidence: Evidence) -> None:
    text = re.sub(r"\s+", " ", _Page(incident_page(_facts(evidence))).text)

    for words in (
        "1 incident in 29.9 seconds.",
        "2009-02-13 23:31:25.500 to 23:31:55.500 UTC",
        f"models:/m-1, digest {'ab' * 32}",
        f"of 20.0 minutes of attack-free traffic, sha256 {'cd' * 32}",
        "Message too frequent (dos)",
        FLOOD.reason,
        "On 0x000 98%, 0x1A4 41%. Highest score 0.9980; 188 windows alert, 2 of them not reported on their own",
        "(1234567890.500000) can0 000#00",
        "96.7%",
        "11 of 12",
        "7 frames of 3,000 in no window",
        "3 bad lines, dropped: what was in it is not known.",
        "1 clock jump, which no window crosses.",
    ):
        assert words in text, words
    assert "error frame" not in text


def test_nothing_on_the_page_runs_or_fetches_anything(evidence: Evidence) -> None:
    html = incident_page(_facts(evidence))
    page = _Page(html)
    (policy,) = (value for value in page.given("content") if "default-src" in value)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()

    assert not {"script", "img", "link", "iframe", "object", "form"} & set(page.tags)
    assert not page.given("src")
    assert not page.given("style")
    assert all(target.startswith("#") for target in page.given("href"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", html)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_every_link_leads_to_a_part_of_the_page(evidence: Evidence) -> None:
    page = _Page(incident_page(_facts(evidence)))

    assert page.given("id") == [f"incident-{FLOOD.id}"]
    assert set(page.given("href")) == {f"#incident-{FLOOD.id}"}


def test_hostile_names_add_no_element_and_no_attribute(evidence: Evidence) -> None:
    plain = _Page(incident_page(_facts(evidence)))
    attack = hostile_incident(id=FLOOD.id, severity="high", channel="can0")
    facts = _facts(
        evidence,
        name=HOSTILE,
        vehicle=HOSTILE,
        judge=Judge(HOSTILE, "ab" * 32, 0.5, "cd" * 32, 1200.0),
        incidents=(replace(attack, arbitration_ids=FLOOD.arbitration_ids, context=(HOSTILE, HOSTILE)),),
    )
    hostile = _Page(incident_page(facts))

    assert hostile.tags == plain.tags
    assert Counter(name for name, _ in hostile.attributes) == Counter(name for name, _ in plain.attributes)
    assert "\u202e" not in incident_page(facts)
    assert "\x1b" not in incident_page(facts)


def test_a_password_in_a_uri_does_not_reach_the_page(evidence: Evidence) -> None:
    judge = Judge("https://ann:hunter2@host/models", "", 0.5)

    assert "hunter2" not in incident_page(_facts(evidence, judge=judge))


def test_the_same_facts_give_the_same_bytes(evidence: Evidence) -> None:
    assert incident_page(_facts(evidence)) == incident_page(_facts(evidence))


def test_names_of_a_database_stand_beside_ids_and_values(evidence: Evidence, tmp_path: Path) -> None:
    (tmp_path / "car.dbc").write_text(DBC)
    names = read_vehicle_names(tmp_path / "car.dbc")
    incident = replace(SILENCE, id=FLOOD.id, channel="can0", context=("(1.0) can0 1A4#B00C00",))
    text = _Page(incident_page(_facts(evidence, incidents=(incident,), vehicle_names=names))).text

    assert "EngineData (0x1A4) silent for 0.90 s" in text
    assert "(1.0) can0 1A4#B00C00  EngineSpeed 812 rpm" in text
    assert "CruiseControl (0x18FEF100)" in text.partition("How suspicious each ID is")[2]


def test_more_incidents_than_the_page_shows_are_counted_in_sentences(evidence: Evidence) -> None:
    incidents = (FLOOD, replace(FLOOD, id="aa"), replace(FLOOD, id="bb"))
    page = _Page(incident_page(_facts(evidence, incidents=incidents, num_incidents=1203)))

    assert "1,200 further incidents, less severe, not listed." in page.text
    assert "2 less severe incidents of the table without details" in page.text
    assert page.given("id") == [f"incident-{FLOOD.id}"]


def test_an_incident_whose_window_is_not_at_hand_is_told_in_words(evidence: Evidence) -> None:
    page = _Page(incident_page(_facts(evidence, evidence={})))

    assert FLOOD.reason in page.text
    assert "most suspicious window" not in page.text


def test_a_page_without_an_incident_does_not_say_that_nothing_happened(evidence: Evidence) -> None:
    facts = _facts(evidence, incidents=(), num_incidents=0, detailed=frozenset(), evidence={})

    assert verdict(facts) == "No incident in 29.9 seconds."
    assert "no proof that nothing happened" in _Page(incident_page(facts)).text


def test_a_bus_that_the_model_cannot_judge_is_said_before_anything_else(evidence: Evidence) -> None:
    unknown = Coverage(frames=3000, known_frames=30, ids=12, known_ids=1)
    facts = _facts(evidence, coverage={"can0": unknown})

    assert verdict(facts).startswith("Not covered: the model cannot judge this vehicle.")
    assert unknown.problem() in _Page(incident_page(facts)).text
    both = replace(facts, coverage={"can0": unknown, "can1": Coverage(10, 10, 1, 1)})
    assert verdict(both) == "1 incident in 29.9 seconds. Not covered: can0."


def test_an_element_escapes_what_is_not_markup() -> None:
    cell = element("td", "<b>", element("br"), href='"><script>')

    assert cell == '<td href="&quot;&gt;&lt;script&gt;">&lt;b&gt;<br/></td>'
