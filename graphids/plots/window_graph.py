"""The picture of an explained window: its graph, the IDs and features that drove the score, and how much each did.

The IDs that the model points at are in the middle, the others around them by falling suspicion: with 10 to 100
nodes a ring stays readable where a force layout becomes a ball, and the same window always gives the same picture.
"""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from graphids.core.classifier import DEFAULT_TOP_K
from graphids.core.explanation import Explanation, FeatureEvidence, IdEvidence
from graphids.plots.style import COLOURS, FAINT, INK, WIDTH, new_figure, plain, written

_MARK = COLOURS[4]
_OTHER = COLOURS[5]
# One hue from light to dark: read with any colour vision, and in grey.
_SUSPICION = LinearSegmentedColormap.from_list("suspicion", ["#fbeee4", _MARK])
_INNER = 0.34  # radius of the middle, of a ring of 1
_UPRIGHT = 44  # so many IDs can be labelled upright around the ring; more are labelled along its radius
_NAMED = 110  # of more, even that does not fit: then only the IDs in the middle are named
_ID_BARS = 8
_FEATURE_BARS = 6
_Point = tuple[float, float]


def draw_window(explanation: Explanation, capture: str = "") -> Figure:
    """Graph of the window above what its IDs and features did to the log-odds of an attack.

    Args:
        explanation: Of any window, with an alert or without.
        capture: Name for the title.
    """
    figure = new_figure(width=WIDTH, height=8.0)
    rows = figure.add_gridspec(2, 2, height_ratios=(5.2, 3.0), width_ratios=(2, 3))
    figure.suptitle(_title(explanation, capture), fontsize=11)
    _draw_graph(figure.add_subplot(rows[0, :]), explanation)
    _draw_ids(figure.add_subplot(rows[1, 0]), explanation)
    _draw_features(figure.add_subplot(rows[1, 1]), explanation)
    return figure


def _title(e: Explanation, capture: str) -> str:
    names = ", ".join(
        name
        for name in (
            written(capture, longest=40) if capture else "",
            f"window {e.window}",
            written(e.channel) if e.channel else "",
        )
        if name
    )
    verdict = f"alert, {e.kind}" if e.alert else "no alert"
    return f"{names}: {e.start_s:.3f} s to {e.end_s:.3f} s\nscore {e.score:.4f}, threshold {e.threshold:.4f}: {verdict}"


def _draw_graph(axes: Axes, e: Explanation) -> None:
    places = _places(e.ids)
    marked = {i.arbitration_id for i in e.ids[:DEFAULT_TOP_K]}
    _draw_edges(axes, e, places, marked)
    sizes = _sizes(e.ids)
    colours = Normalize(0, 1)
    for i in e.ids:
        axes.scatter(
            *places[i.arbitration_id],
            s=sizes[i.arbitration_id] ** 2,
            color=_SUSPICION(colours(i.suspicion)),
            marker="o" if i.is_known else "s",
            edgecolor=INK if i.arbitration_id in marked else FAINT,
            linewidth=2 if i.arbitration_id in marked else 0.8,
            linestyle="-" if i.frames else ":",
            zorder=3,
        )
    _label(axes, e.ids, places, sizes)
    limit = 1.2 if max(len(i.arbitration_id) for i in e.ids) <= 3 else 1.5
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axes.axis("off")
    bar = axes.figure.colorbar(ScalarMappable(colours, _SUSPICION), ax=axes, fraction=0.03, pad=0.01)
    bar.set_label("suspicion (how likely the ID is attacked)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    axes.set_title(_legend(e), fontsize=8.5, color=INK, loc="left")


def _legend(e: Explanation) -> str:
    unknown, overdue = sum(not i.is_known for i in e.ids), sum(not i.frames for i in e.ids)
    shape = f"\nsquare: unknown to the model ({unknown} of {len(e.ids)})" if unknown else ""
    shape += f"\ndotted: overdue, without a frame in the window ({overdue})" if overdue else ""
    return (
        f"node: arbitration ID, larger with more frames{shape}\n"
        "edge: to the ID of the next frame, wider with more attention\n"
        "in the middle: the IDs that an alert names"
    )


def _places(ids: Sequence[IdEvidence]) -> dict[str, _Point]:
    """The most suspicious IDs in the middle, the others on a ring, clockwise from the top."""
    inner, outer = ids[:DEFAULT_TOP_K], ids[DEFAULT_TOP_K:]
    places = {}
    for radius, group in ((_INNER, inner), (1.0, outer)):
        for index, i in enumerate(group):
            angle = math.pi / 2 - 2 * math.pi * index / len(group)
            places[i.arbitration_id] = (radius * math.cos(angle), radius * math.sin(angle))
    return places


def _sizes(ids: Sequence[IdEvidence]) -> dict[str, float]:
    """Diameters in points; a node's area grows with its frames. Nodes of a crowded ring are smaller."""
    most, room = max(i.frames for i in ids), min(1.0, _UPRIGHT / len(ids))
    return {i.arbitration_id: math.sqrt(room * (40 + 360 * i.frames / most)) for i in ids}


def _draw_edges(axes: Axes, e: Explanation, places: dict[str, _Point], marked: set[str]) -> None:
    """Edges of the marked IDs as arrows on top of the others; the less attention, the fainter."""
    # A network without edges attends to none.
    most, room = max((edge.attention for edge in e.edges), default=0.0) or 1.0, min(1.0, _UPRIGHT / len(e.ids))
    for edge in e.edges:
        share = edge.attention / most
        is_marked = bool(marked & {edge.source, edge.target})
        axes.add_patch(
            FancyArrowPatch(
                places[edge.source],
                places[edge.target],
                arrowstyle="-|>" if is_marked else "-",
                mutation_scale=5 + 6 * share,
                connectionstyle="arc3,rad=0.12",  # there and back are two lines
                shrinkA=6,
                shrinkB=8,
                linewidth=0.4 + 2.6 * room * share,
                color=_MARK if is_marked else FAINT,
                alpha=0.12 + 0.68 * share if is_marked else room * (0.08 + 0.4 * share),
                zorder=2 if is_marked else 1,
            )
        )


def _label(axes: Axes, ids: Sequence[IdEvidence], places: dict[str, _Point], sizes: dict[str, float]) -> None:
    """Names, next to their nodes."""
    for rank, i in enumerate(ids if len(ids) <= _NAMED else ids[:DEFAULT_TOP_K]):
        x, y = places[i.arbitration_id]
        is_marked = rank < DEFAULT_TOP_K
        is_upright = is_marked or len(ids) <= _UPRIGHT
        size = 11.0 if is_marked else 8.0 if is_upright else 6.5
        half_length = 0.31 * size * len(i.arbitration_id)  # points, along the text
        across = abs(x) / math.hypot(x, y) if is_upright else 1.0
        away = sizes[i.arbitration_id] / 2 + 4 + across * half_length + (1 - across) * size / 2
        axes.annotate(
            i.arbitration_id,
            (x, y),
            xytext=(away * x / math.hypot(x, y), away * y / math.hypot(x, y)),
            textcoords="offset points",
            ha="center",
            va="center",
            rotation=0 if is_upright else math.degrees(math.atan(y / x)) if x else 90,
            fontsize=size,
            fontweight="bold" if is_marked else "normal",
            zorder=4,
        )


def _draw_ids(axes: Axes, e: Explanation) -> None:
    tried = [
        (f"{i.arbitration_id} ({i.frames})", i.margin_without, rank < DEFAULT_TOP_K)
        for rank, i in enumerate(e.ids[:_ID_BARS])
    ]
    unknown = [i.frames for i in e.ids if not i.is_known]
    if len(unknown) > 1:
        tried.append((f"{len(unknown)} unknown ({sum(unknown)})", e.margin_without_unknown, True))
    bars = [(name, margin - e.margin, mark) for name, margin, mark in tried if margin is not None]
    _bars(axes, *zip(*bars, strict=True) if bars else ([], [], []))
    axes.set_ylabel("ID (frames)", fontsize=9)
    axes.set_title("without the ID", fontsize=10)
    _mark_threshold(axes, e)


def _draw_features(axes: Axes, e: Explanation) -> None:
    shown = e.features[:_FEATURE_BARS]
    _bars(axes, [_feature_name(f) for f in shown], [-f.margin_change for f in shown], [True] * len(shown))
    axes.set_title("with one feature as usual for the ID", fontsize=10)


def _feature_name(feature: FeatureEvidence) -> str:
    unit = "" if feature.unit == "1" else f" {feature.unit}"
    usual = "of an unknown ID" if feature.usual is None else f"usually {feature.usual:.4g}"
    return f"{feature.arbitration_id} {feature.feature}\n{feature.value:.4g}{unit}, {usual}"


def _bars(axes: Axes, names: Sequence[str], changes: Sequence[float], marked: Sequence[bool]) -> None:
    plain(axes).barh(range(len(names)), changes, color=[_MARK if mark else _OTHER for mark in marked])
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("change of the log-odds (nats)", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)


def _mark_threshold(axes: Axes, e: Explanation) -> None:
    """Where the alert would end, if there is one that can."""
    if e.alert and 0 < e.threshold < 1:
        end = math.log(e.threshold / (1 - e.threshold)) - e.margin
        axes.axvline(end, color=INK, linestyle="--", linewidth=1)
        axes.set_title("without the ID\n(no alert left of the dashes)", fontsize=10)
