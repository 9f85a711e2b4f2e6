"""How every picture looks: one palette, one size, one way to write a name, one way to PNG."""

import io
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito, "Color Universal Design" (2008): told apart with any kind of colour vision. Their yellow is left out:
# it is too light for a line on white.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
INK: Final = "#1a1a1a"
FAINT: Final = "#808080"
GRID: Final = "#e4e4e4"
# MLflow's image grid gives a picture a square; one that is much wider than high is shown small there.
WIDTH: Final = 6.4
HEIGHT: Final = 5.2
DPI: Final = 120


def new_figure(*, width: float = WIDTH, height: float = HEIGHT) -> Figure:
    """An empty figure of `width` x `height` inches whose layout clips no text."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as PNG of 256 colours, a third of the size of one of all colours; the same figure, the same bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # once; `savefig` would lay it out twice
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    packed = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def plain(axes: Axes, *, grid: bool = True) -> Axes:
    """The axes with half of the frame, which is enough, and a grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(grid, color=GRID, linewidth=0.8)
    return axes


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend of `axes` under the figure, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if len(labels) > 1 else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def written(name: str, *, longest: int = 22) -> str:
    """A name from the data as text of a picture: on one line, not too long, nothing in it taken for a formula."""
    text = " ".join(name.split()) or "(no name)"
    if len(text) > longest:
        head = (longest - 1) * 2 // 3
        text = f"{text[:head]}…{text[head + 1 - longest :]}"
    # A legend leaves out what begins with an underscore.
    text = f" {text}" if text.startswith("_") else text
    return text.replace("$", r"\$")


def say_instead(figure: Figure, sentence: str) -> Figure:
    """The reason in place of a drawing: the compare page shows only pictures that all of its runs have."""
    figure.text(0.5, 0.5, sentence, ha="center", va="center", color=FAINT, fontsize=11, wrap=True)
    return figure
