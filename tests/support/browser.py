"""The MLflow UI as a person sees it: pages in the machine's own Chromium, headless, driven by playwright.

Tests expect what can be read on a page and what is under which heading, never a CSS class: the pages are MLflow's, and
change with it.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

CHROMIUM_VARIABLE = "GRAPHIDS_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WAIT_MS = 45_000  # the first page compiles megabytes of scripts, on machines that do other things too
# What the UI says where one of its parts has failed.
_BROKEN = re.compile(r"went wrong|unexpected error|error:? occurred|page not found|can't load|failed to|invalid", re.I)
_IS_STILL = """() => {
    const seen = document.body.innerText + document.querySelectorAll('*').length;
    const before = window.graphidsSeen;
    window.graphidsSeen = seen;
    return seen === before && [...document.images].every(image => image.complete);
}"""
_PIECES = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const pieces = [];
    while (walker.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(walker.currentNode);
        const box = range.getBoundingClientRect();
        const text = walker.currentNode.textContent.trim();
        if (text && box.width && box.height) pieces.push([text, box.left, box.top + box.height / 2]);
    }
    return pieces;
}"""
_SAME_LINE_PX = 8
_SAME_COLUMN_PX = 40


def missing() -> str:
    """What this machine lacks for a browser test; empty if nothing."""
    try:
        import playwright.sync_api  # noqa: F401
    except ModuleNotFoundError:
        return "needs playwright: pip install -c constraints.txt -e '.[dev]'"
    if find_chromium() is None:
        return f"needs Chromium: none of {', '.join(_NAMES)} on PATH, and {CHROMIUM_VARIABLE} does not name one"
    return ""


def find_chromium() -> str | None:
    """The browser's program: `$GRAPHIDS_CHROMIUM`, else the first of the usual names on PATH."""
    return next(filter(None, map(shutil.which, (os.environ.get(CHROMIUM_VARIABLE, ""), *_NAMES))), None)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text somewhere in the window: its left edge and the height of its middle, in pixels."""

    text: str
    left: float
    middle: float


class Window:
    """One browser window, and what went wrong in it.

    Attributes:
        page: playwright's.
        errors: Exceptions of the page's scripts and the server's answers of 500 and above, in order.
    """

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(f"script: {error}"))
        page.on("response", lambda answer: self._note(answer.status, answer.url))
        # On a first visit the UI opens a pane of greetings over a quarter of the window.
        page.add_init_script(
            "location.origin !== 'null' && "
            "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
        )
        page.set_default_timeout(_WAIT_MS)

    def open(self, url: str, *words: str | re.Pattern[str]) -> "Window":
        """Open a page, as a new document even where only the part after `#` differs, and wait for `words` on it."""
        self.page.goto("about:blank")
        self.errors.clear()
        self.page.goto(url)
        return self.expect(*words)

    def expect(self, *words: str | re.Pattern[str]) -> "Window":
        """Wait until each of `words` can be read; the error quotes what is there instead."""
        from playwright.sync_api import TimeoutError as TooLate

        for word in words:
            try:
                self.page.get_by_text(word).locator("visible=true").first.wait_for()
            except TooLate:
                raise AssertionError(f"{self.page.url}: expected to read {word!r}, found:\n{self.text()}") from None
        return self

    def click(self, words: str) -> "Window":
        """Click the first element that says exactly this."""
        self.page.get_by_text(words, exact=True).locator("visible=true").first.click()
        return self

    def scroll_to(self, words: str) -> "Window":
        """Scroll until the first element that says exactly this is at the top."""
        self.page.get_by_text(words, exact=True).first.evaluate("element => element.scrollIntoView()")
        return self

    def settle(self) -> "Window":
        """Wait until text, pictures and charts have stayed the same for a second: scripts draw after loading."""
        self.page.evaluate("() => { window.graphidsSeen = '' }")
        self.page.wait_for_function(_IS_STILL, polling=1000)
        return self

    def text(self) -> str:
        """All that can be read on the page."""
        return str(self.page.inner_text("body"))

    def num_pictures(self) -> int:
        """Images that are shown, have loaded, and are as large as a picture of ours; icons are smaller."""
        return int(
            self.page.evaluate(
                "() => [...document.images].filter(i => i.naturalWidth >= 300 && i.getClientRects().length).length"
            )
        )

    def table(self, *headings: str) -> list[dict[str, str]]:
        """What is below `headings`, line by line, by position; lines with nothing below one of them are left out.

        Raises:
            AssertionError: If the headings are not on one line.
        """
        pieces = [Piece(*piece) for piece in self.page.evaluate(_PIECES)]
        for first in (piece for piece in pieces if piece.text == headings[0]):
            head = {p.text: p for p in pieces if p.text in headings and abs(p.middle - first.middle) <= _SAME_LINE_PX}
            if len(head) == len(headings):
                below = [p for p in pieces if p.middle > first.middle + _SAME_LINE_PX]
                return _lines(head, below)
        raise AssertionError(f"{self.page.url}: expected the headings {headings} on one line, found:\n{self.text()}")

    def line(self, words: str) -> list[str]:
        """What follows exactly these words on the line that begins with them, from left to right.

        Raises:
            AssertionError: If no line does.
        """
        pieces = sorted((Piece(*piece) for piece in self.page.evaluate(_PIECES)), key=lambda piece: piece.left)
        for first in (piece for piece in pieces if piece.text == words):
            following = [
                p.text for p in pieces if p.left > first.left and abs(p.middle - first.middle) <= _SAME_LINE_PX
            ]
            if following:
                return following
        raise AssertionError(f"{self.page.url}: expected a line that begins with {words!r}, found:\n{self.text()}")

    def require_whole(self) -> None:
        """Raise AssertionError if the page says that a part of it failed, or if one failed without saying so."""
        broken = [line for line in self.text().splitlines() if _BROKEN.search(line)]
        if broken or self.errors:
            raise AssertionError(f"{self.page.url}: expected a whole page, found {broken + self.errors}")

    def _note(self, status: int, url: str) -> None:
        if status >= 500:
            self.errors.append(f"HTTP {status}: {url}")


def _lines(head: dict[str, Piece], below: list[Piece]) -> list[dict[str, str]]:
    lines: dict[int, dict[str, str]] = {}
    for heading, top in head.items():
        for piece in below:
            if abs(piece.left - top.left) <= _SAME_COLUMN_PX:
                height = next((m for m in lines if abs(m - piece.middle) <= _SAME_LINE_PX), round(piece.middle))
                lines.setdefault(height, {}).setdefault(heading, piece.text)
    return [line for _, line in sorted(lines.items()) if len(line) == len(head)]


@contextmanager
def browser_window(width: int = 1600, height: int = 1000) -> Iterator[Window]:
    """A window of a browser that is closed afterwards; start no fork meanwhile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # The sandbox needs rights that root in a container does not have; the pages are our own server's.
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        try:
            size = {"width": width, "height": height}
            context = browser.new_context(viewport=size, reduced_motion="reduce")
            yield Window(context.new_page())
        finally:
            browser.close()
