"""The picture says what the explanation says, and nothing of it is cut off."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from graphids.core.explanation import EdgeEvidence, Explanation, FeatureEvidence, IdEvidence
from graphids.plots.window_graph import draw_window
from support.figures import pixels


def explanation(num_ids: int = 5, *, extended: bool = False, **changes: Any) -> Explanation:
    """IDs 100, 101, ... by falling suspicion, each followed by the next; without the first the log-odds are 3 less."""
    names = [f"{0x100 + i:0{8 if extended else 3}X}" for i in range(num_ids)]
    ids = tuple(
        IdEvidence(name, True, 10 + i, 1 / (1 + i), 0.8, 5.0 - (3.0 if i == 0 else 0.1)) for i, name in enumerate(names)
    )
    features = tuple(
        FeatureEvidence(names[0], "byte_0_change_rate", "1", 0.000123456, 0.9, -8.5, 2.0 / (1 + i)) for i in range(9)
    )
    edges = tuple(EdgeEvidence(a, b, 2, 1 / (1 + i)) for i, (a, b) in enumerate(pairwise(names)))
    values: dict[str, Any] = {
        "window": 41,
        "channel": "can0",
        "start_s": 12.25,
        "end_s": 12.5,
        "frames": 256,
        "score": 0.9933,
        "margin": 5.0,
        "threshold": 0.9,
        "alert": True,
        "kind": "spoof",
        "margin_without_unknown": None,
        "ids": ids,
        "features": features,
        "edges": edges,
    }
    return Explanation(**{**values, **changes})


def panels(figure: Figure) -> list[Axes]:
    """Graph, bars of IDs, bars of features."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def test_the_title_says_which_window_it_is_and_how_it_was_judged() -> None:
    figure = draw_window(explanation(), "drive.log")

    assert figure.get_suptitle() == (
        "drive.log, window 41, can0: 12.250 s to 12.500 s\nscore 0.9933, threshold 0.9000: alert, spoof"
    )
    assert draw_window(explanation(alert=False, kind="normal")).get_suptitle().endswith("0.9000: no alert")


def test_every_id_is_named_and_the_three_that_an_alert_names_stand_in_the_middle() -> None:
    graph = draw_window(explanation(12)).axes[0]
    places = {text.get_text(): np.hypot(*text.xy) for text in graph.texts}  # type: ignore[attr-defined]

    assert list(places) == [f"{0x100 + i:03X}" for i in range(12)]
    assert max(list(places.values())[:3]) < 0.5 < min(list(places.values())[3:])


def test_an_id_with_more_frames_is_a_larger_node_and_an_unknown_one_is_a_square() -> None:
    known, unknown = IdEvidence("100", True, 10, 0.6, 0.5, 0.0), IdEvidence("555", False, 30, 0.4, 0.5, 0.0)
    graph = draw_window(explanation(2, ids=(known, unknown), edges=())).axes[0]
    circle, square = [node for node in graph.collections if isinstance(node, PathCollection)]

    assert square.get_sizes()[0] > circle.get_sizes()[0]
    assert len(square.get_paths()[0].vertices) < len(circle.get_paths()[0].vertices)
    assert "square: unknown to the model (1 of 2)" in graph.get_title(loc="left")


def test_an_id_that_is_overdue_has_a_dotted_outline() -> None:
    here, overdue = IdEvidence("100", True, 10, 0.6, 0.5, 0.0), IdEvidence("200", True, 0, 0.9, 0.5, 0.0)
    graph = draw_window(explanation(2, ids=(overdue, here), edges=())).axes[0]
    dotted, solid = [node for node in graph.collections if isinstance(node, PathCollection)]

    assert dotted.get_linestyle() != solid.get_linestyle()
    assert "dotted: overdue, without a frame in the window (1)" in graph.get_title(loc="left")


def test_edges_that_get_no_attention_are_drawn_thin() -> None:
    edges = (EdgeEvidence("100", "101", 3, 0.0), EdgeEvidence("101", "100", 2, 0.0))
    graph = draw_window(explanation(2, edges=edges)).axes[0]

    assert [edge.get_linewidth() for edge in graph.patches if isinstance(edge, FancyArrowPatch)] == [0.4, 0.4]


def test_a_feature_of_an_unknown_id_has_no_usual_value() -> None:
    features = (FeatureEvidence("555", "count", "messages", 3.0, None, None, 1.0),)
    _, _, panel = panels(draw_window(explanation(features=features)))

    assert [label.get_text() for label in panel.get_yticklabels()] == ["555 count\n3 messages, of an unknown ID"]


def test_an_edge_with_more_attention_is_wider() -> None:
    graph = draw_window(explanation(5)).axes[0]
    widths = [edge.get_linewidth() for edge in graph.patches if isinstance(edge, FancyArrowPatch)]

    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 * widths[-1]


def test_bars_are_the_changes_of_the_log_odds_and_the_dashes_where_the_alert_would_end() -> None:
    _, ids, features = panels(draw_window(explanation()))

    assert [bar.get_width() for bar in ids.patches] == pytest.approx([-3.0, -0.1, -0.1, -0.1, -0.1])  # type: ignore[attr-defined]
    assert [bar.get_width() for bar in features.patches][:3] == pytest.approx([-2.0, -1.0, -2 / 3])  # type: ignore[attr-defined]
    (dashes,) = [line for line in ids.lines if line.get_linestyle() == "--"]
    assert dashes.get_xdata()[0] == pytest.approx(math.log(0.9 / 0.1) - 5.0)


@pytest.mark.parametrize("changes", [{"alert": False}, {"threshold": 0.0}, {"threshold": 1.0}])
def test_without_an_alert_that_could_end_there_are_no_dashes(changes: dict[str, Any]) -> None:
    _, ids, _ = panels(draw_window(explanation(**changes)))

    assert [line for line in ids.lines if line.get_linestyle() == "--"] == []


def test_unknown_ids_have_a_bar_together() -> None:
    unknown = tuple(IdEvidence(name, False, 1, 0.5, 0.5, 4.9) for name in ("555", "666"))
    _, ids, _ = panels(draw_window(explanation(ids=unknown, edges=(), margin_without_unknown=1.0)))

    assert [label.get_text() for label in ids.get_yticklabels()] == ["555 (1)", "666 (1)", "2 unknown (2)"]
    assert ids.patches[-1].get_width() == pytest.approx(-4.0)  # type: ignore[attr-defined]


def test_a_window_of_one_id_is_drawn_without_bars_for_what_cannot_be_removed() -> None:
    figure = draw_window(explanation(ids=(IdEvidence("100", True, 4, 0.0, None, None),), edges=()))

    assert len(panels(figure)[1].patches) == 0


@pytest.mark.parametrize(("num_ids", "extended"), [(1, False), (36, True), (100, True), (113, False)])
def test_no_text_is_cut_off(num_ids: int, extended: bool) -> None:
    figure = draw_window(explanation(num_ids, extended=extended), "a recording with a long name " * 3)
    figure.draw_without_rendering()
    graph, ids, features = panels(figure)
    texts = [*graph.texts, *(label for axes in (ids, features) for label in axes.get_yticklabels()), *figure.texts]
    titles = [axes.title for axes in (ids, features)]
    boxes = [text.get_window_extent() for text in (*texts, *titles)]

    assert len(graph.texts) == (num_ids if num_ids <= 110 else 3)
    assert max(text.get_window_extent().y1 for text in graph.texts) < graph._left_title.get_window_extent().y0
    assert min(min(box.x0, box.y0) for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    assert max(box.y1 for box in boxes) <= figure.bbox.y1


def test_the_same_window_is_the_same_picture() -> None:
    np.testing.assert_array_equal(pixels(draw_window(explanation())), pixels(draw_window(explanation())))
