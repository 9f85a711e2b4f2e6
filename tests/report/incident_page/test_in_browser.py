"""The page in the machine's own Chromium: its policy lets its style through, and nothing else is asked for."""

from pathlib import Path

import pytest

from graphids.core.data.coverage import Coverage
from graphids.report.incident_page.facts import CaptureFacts, Judge
from graphids.report.incident_page.page import incident_page
from graphids.report.incident_page.score_bins import ScoreBins
from support.browser import find_chromium, missing
from support.incidents import FLOOD
from support.window_scores import window_scores


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 24, 29)")])
def test_a_browser_shows_the_page_in_the_readers_colours_and_asks_for_nothing(
    scheme: str, paper: str, tmp_path: Path
) -> None:
    if reason := missing():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    bins = ScoreBins()
    bins.add(window_scores([FLOOD.start_s + i for i in range(20)], [0.9] * 20))
    facts = CaptureFacts(
        name="drive.log",
        sha256="",
        vehicle="",
        judge=Judge("base", "", 0.5),
        windows=20,
        alerts=20,
        bins=bins,
        coverage={"can0": Coverage(100, 100, 3, 3)},
        unscored={},
        counts={},
        num_incidents=1,
        incidents=(FLOOD,),
        detailed=frozenset({FLOOD.id}),
    )
    page_file = tmp_path / "page.html"
    page_file.write_text(incident_page(facts))
    asked, said = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 900}).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(page_file.as_uri())
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        width = page.evaluate("document.documentElement.scrollWidth")
        band = page.locator("svg .band").bounding_box()
        browser.close()

    assert asked == [page_file.as_uri()]
    assert said == []
    assert colour == paper
    assert width == 1100
    assert band is not None
    assert band["width"] > 300
