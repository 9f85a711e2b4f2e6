"""The timeline: the largest score of each bin of time, the threshold, and the incidents as bands, as SVG."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.incidents.event_words import event_words
from graphids.core.incidents.incident import Incident
from graphids.core.incidents.terminal import times_shown
from graphids.report.incident_page.markup import Markup, element
from graphids.report.incident_page.score_bins import BusBins

_WIDTH, _LEFT, _RIGHT = 960.0, 60.0, 8.0
_TOP, _HEIGHT, _BOTTOM = 6.0, 108.0, 30.0
# Nats of log-odds: P(attack) from 6e-6 to 1 - 6e-6, as the pictures of a run.
_LIMIT = 12.0
_PROBABILITIES = {1e-4: ".0001", 0.01: ".01", 0.5: ".5", 0.99: ".99", 0.9999: ".9999"}
_NARROWEST = 3.0  # of a band, so that it can be seen and met by a pointer
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_TICKS = 12


class _Scale(NamedTuple):
    """From elapsed seconds to the places of the drawing."""

    span_s: float

    def x(self, elapsed_s: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(elapsed_s / self.span_s, 0.0), 1.0)


def timeline(bus: BusBins, span_s: float, threshold: float, incidents: Sequence[Incident]) -> Markup:
    """One bus over the time of the capture.

    Args:
        bus: Its bins.
        span_s: Elapsed seconds at the right edge.
        threshold: Lowest score that alerts.
        incidents: Of this bus; each band is a link to `#incident-<id>`.
    """
    scale = _Scale(max(span_s, bus.width_s))
    parts = [
        *_probability_axis(),
        *_time_axis(scale),
        *_curves(bus, scale),
        *_marks(bus, scale),
        *(_band(bus, scale, incident) for incident in incidents),
    ]
    if 0 < threshold < 1:
        y = _y(threshold)
        line = element("line", x1=_n(_LEFT), x2=_n(_WIDTH - _RIGHT), y1=_n(y), y2=_n(y), class_="threshold")
        parts.append(line)
    box = f"0 0 {_n(_WIDTH)} {_n(_TOP + _HEIGHT + _BOTTOM)}"
    drawing = element("svg", *parts, viewBox=box, class_="strip", role="img", aria_label="Score over time")
    return element("div", drawing, class_="wide")


def _y(score: float) -> float:
    odds = _LIMIT if score >= 1 else -_LIMIT if score <= 0 else math.log(score) - math.log1p(-score)
    return _TOP + _HEIGHT * (0.5 - max(-_LIMIT, min(_LIMIT, odds)) / (2 * _LIMIT))


def _curves(bus: BusBins, scale: _Scale) -> Iterator[Markup]:
    """A step for each bin, one path for each run of bins that have windows."""
    filled = np.flatnonzero(bus.bins["window"] >= 0)
    base = _n(_TOP + _HEIGHT)
    for run in _runs(filled, _longest_gap(filled)):
        points = [f"M{_n(scale.x(float(run[0]) * bus.width_s))} {base}"]
        for index in map(int, run):
            y = _n(_y(float(bus.bins["score"][index])))
            points += [f"L{_n(scale.x((index + side) * bus.width_s))} {y}" for side in (0, 1)]
        points.append(f"L{_n(scale.x((int(run[-1]) + 1) * bus.width_s))} {base}Z")
        yield element("path", d="".join(points), class_="curve")


def _longest_gap(filled: NDArray[np.int64]) -> int:
    """Bins between two that have windows, where nothing is missing: of a slow bus a window spans several bins."""
    return int(3 * np.median(np.diff(filled))) if len(filled) > 1 else 1


def _runs(filled: NDArray[np.int64], longest_gap: int) -> list[NDArray[np.int64]]:
    return np.split(filled, np.flatnonzero(np.diff(filled) > longest_gap) + 1) if len(filled) else []


def _marks(bus: BusBins, scale: _Scale) -> Iterator[Markup]:
    """Below the curve a tick where a window alerts; dots down the drawing where the clock jumped."""
    base = _TOP + _HEIGHT
    alerts = "".join(
        f"M{_n(scale.x((index + 0.5) * bus.width_s))} {_n(base + 2)}v5" for index in np.flatnonzero(bus.bins["alerts"])
    )
    if alerts:
        yield element("path", element("title", "windows that alert"), d=alerts, class_="alert")
    jumps = "".join(
        f"M{_n(scale.x(index * bus.width_s))} {_n(_TOP)}V{_n(base)}" for index in np.flatnonzero(bus.bins["jumps"])
    )
    if jumps:
        yield element("path", element("title", "the recorder's clock jumped"), d=jumps, class_="jump")


def _band(bus: BusBins, scale: _Scale, incident: Incident) -> Markup:
    met = bus.bins_between(incident.start_s, incident.end_s)
    # A bus that paused is still in the incident; after a clock that was set back other windows lie between.
    place = np.searchsorted(np.flatnonzero(bus.bins["window"] >= 0), met)
    runs = np.split(met, np.flatnonzero(np.diff(place) > 1) + 1) if len(met) else []
    pieces = [(run[0] * bus.width_s, (run[-1] + 1) * bus.width_s) for run in runs]
    title = element("title", f"{event_words(incident.event)}, {times_shown(incident.start_s, incident.end_s)}")
    bands = [
        element(
            "rect",
            title,
            x=_n(scale.x(begin)),
            y=_n(_TOP),
            width=_n(max(scale.x(end) - scale.x(begin), _NARROWEST)),
            height=_n(_HEIGHT),
            class_=f"band {incident.severity}",
        )
        for begin, end in pieces
    ]
    return element("a", *bands, href=f"#incident-{incident.id}")


def _probability_axis() -> Iterator[Markup]:
    for probability, words in _PROBABILITIES.items():
        y = _y(probability)
        yield element("line", x1=_n(_LEFT), x2=_n(_WIDTH - _RIGHT), y1=_n(y), y2=_n(y), class_="axis")
        yield element("text", words, x=_n(_LEFT - 6), y=_n(y + 4), text_anchor="end", class_="faint")


def _time_axis(scale: _Scale) -> Iterator[Markup]:
    step = next((tick for tick in _TICKS_S if scale.span_s / tick <= _MOST_TICKS), scale.span_s / _MOST_TICKS)
    base = _TOP + _HEIGHT
    yield element("line", x1=_n(_LEFT), x2=_n(_WIDTH - _RIGHT), y1=_n(base), y2=_n(base), class_="axis")
    last = int(scale.span_s / step)
    for number in range(last + 1):
        x = scale.x(number * step)
        yield element("line", x1=_n(x), x2=_n(x), y1=_n(base), y2=_n(base + 4), class_="axis")
        is_cut = x > _WIDTH - _RIGHT - 20
        anchor = "end" if is_cut else "middle"
        yield element("text", clock(number * step, step), x=_n(x), y=_n(base + 20), text_anchor=anchor, class_="faint")


def clock(seconds: float, step_s: float = 1.0) -> str:
    """Elapsed time as a label.

    >>> clock(0.5, 0.5), clock(40), clock(90), clock(3725)
    ('0.5 s', '40 s', '1:30', '1:02:05')
    """
    if step_s < 1:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def _n(number: float) -> str:
    """A coordinate, short."""
    return f"{number:.1f}".removesuffix(".0")
