"""The graph of a window as SVG: arbitration IDs in a ring, the most suspicious in the middle, and who followed whom.

matplotlib's picture (`plots.window_graph`) shows the same for one window. Here twenty share a page that has to follow
the reader's colours: SVG of our own is a twentieth of the bytes, and every node answers a pointer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from graphids.core.classifier import DEFAULT_TOP_K
from graphids.core.explanation import Explanation, IdEvidence
from graphids.core.incidents.terminal import shown_id
from graphids.report.incident_page.markup import Markup, element
from graphids.wording import counted

_SIZE = 440.0
_MIDDLE, _RING, _INNER = _SIZE / 2, 168.0, 62.0
_MARGIN = 36.0  # on each side, for names of 29 bits
_MOST_EDGES = 160
_ROOMY = 40  # of more, nodes are smaller
_MOST_UPRIGHT = 36  # of more, names stand along the radius of the ring
_MOST_NAMED = 100  # of more, even that has no room
_Place = tuple[float, float]


def window_graph(explanation: Explanation) -> Markup:
    """The graph of an explained window."""
    places = _places(explanation.ids)
    named = {i.arbitration_id for i in explanation.ids[:DEFAULT_TOP_K]}
    parts = [*_edges(explanation, places, named), *_nodes(explanation.ids, places, named)]
    label = f"Graph of window {explanation.window}"
    margin = 0.0 if _are_short(explanation.ids) else _MARGIN
    box = f"{-margin:.0f} {-margin:.0f} {_SIZE + 2 * margin:.0f} {_SIZE + 2 * margin:.0f}"
    return element("svg", *parts, viewBox=box, class_="graph", role="img", aria_label=label)


def _are_short(ids: Sequence[IdEvidence]) -> bool:
    """Whether no ID has 29 bits."""
    return max(len(i.arbitration_id) for i in ids) <= 3


def _places(ids: Sequence[IdEvidence]) -> dict[str, _Place]:
    places = {}
    for radius, group in ((_INNER, ids[:DEFAULT_TOP_K]), (_RING, ids[DEFAULT_TOP_K:])):
        for index, i in enumerate(group):
            angle = 2 * math.pi * index / len(group) - math.pi / 2
            places[i.arbitration_id] = (_MIDDLE + radius * math.cos(angle), _MIDDLE + radius * math.sin(angle))
    return places


def _edges(explanation: Explanation, places: Mapping[str, _Place], named: set[str]) -> Iterator[Markup]:
    """The edges of most attention, or of most frames where a network attends to none; there and back bend apart."""
    is_attended = any(edge.attention for edge in explanation.edges)
    weighed = [(edge.attention if is_attended else float(edge.frames), edge) for edge in explanation.edges]
    weighed = sorted(weighed, key=lambda pair: -pair[0])[:_MOST_EDGES]
    most = max((weight for weight, _ in weighed), default=1.0) or 1.0
    for weight, edge in reversed(weighed):
        (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
        bend_x, bend_y = (x1 + x2) / 2 + 0.1 * (y2 - y1), (y1 + y2) / 2 - 0.1 * (x2 - x1)
        is_named = bool({edge.source, edge.target} & named)
        share = weight / most
        yield element(
            "path",
            d=f"M{x1:.0f} {y1:.0f}Q{bend_x:.0f} {bend_y:.0f} {x2:.0f} {y2:.0f}",
            class_="edge named" if is_named else "edge",
            stroke_width=f"{0.5 + 2.5 * share:.1f}",
            stroke_opacity=f"{0.15 + (0.5 if is_named else 0.2) * share:.2f}",
        )


def _nodes(ids: Sequence[IdEvidence], places: Mapping[str, _Place], named: set[str]) -> Iterator[Markup]:
    most = max(i.frames for i in ids) or 1
    room = min(1.0, _ROOMY / len(ids))
    is_turned = len(ids) > (_MOST_UPRIGHT if _are_short(ids) else _MOST_UPRIGHT // 3)
    for i in reversed(ids):  # the most suspicious on top
        x, y = places[i.arbitration_id]
        radius = math.sqrt(room * (30 + 170 * i.frames / most))
        is_named = i.arbitration_id in named
        names = ["node", "named" if is_named else "", "" if i.is_known else "unknown", "" if i.frames else "absent"]
        circle = {"cx": f"{x:.0f}", "cy": f"{y:.0f}", "r": f"{radius:.1f}"}
        title = element("title", _words(i))
        yield element("circle", **circle, class_=" ".join(filter(None, names)))
        yield element("circle", title, **circle, class_="heat", fill_opacity=f"{i.suspicion:.2f}")
        if is_named or len(ids) <= _MOST_NAMED:
            yield _label(i.arbitration_id, (x, y), radius, is_named=is_named, is_turned=is_turned)


def _label(name: str, place: _Place, radius: float, *, is_named: bool, is_turned: bool) -> Markup:
    """The ID: below its node in the middle of the drawing, and outside the ring along the radius, or upright."""
    x, y = place
    if is_named:
        return element("text", name, x=f"{x:.0f}", y=f"{y + radius + 13:.0f}", text_anchor="middle", class_="strong")
    across, down = (x - _MIDDLE) / _RING, (y - _MIDDLE) / _RING
    reach = radius + 4
    if is_turned:
        angle, anchor = math.degrees(math.atan2(down, across)), "start"
        if abs(angle) > 90:  # else it would stand on its head
            angle, anchor = angle - 180, "end"
        at = f"translate({x + across * reach:.1f} {y + down * reach:.1f}) rotate({angle:.1f})"
        return element("text", name, transform=at, dy="4", text_anchor=anchor, class_="faint")
    anchor = "start" if across > 0.3 else "end" if across < -0.3 else "middle"
    at_x, at_y = x + across * reach, y + down * (reach + 5) + 4
    return element("text", name, x=f"{at_x:.0f}", y=f"{at_y:.0f}", text_anchor=anchor, class_="faint")


def _words(i: IdEvidence) -> str:
    known = "" if i.is_known else ", not known to the model"
    return f"{shown_id(i.arbitration_id)}: suspicion {i.suspicion:.2f}, {counted(i.frames, 'frame')}{known}"
