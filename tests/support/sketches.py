"""A stand-in for the PNG of a figure: what the figure shows, without drawing it.

Drawing its pictures takes half of the time of a tiny run. Tests that compare runs need what the pictures show; that the
same figure gives the same PNG has a test of its own (tests/plots).
"""

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from PIL import Image


def sketch(figure: Figure) -> bytes:
    """A PNG whose 32 pixels are the sha256 of the data and the texts in the figure."""
    digest = hashlib.sha256()
    for axes in figure.axes:
        axis_texts = (axes.title, axes.xaxis.label, axes.yaxis.label)
        for artist in (*axes.lines, *axes.patches, *axes.collections, *axes.images, *axes.texts, *axis_texts):
            for part in _shown(artist):
                digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part, float).tobytes())
    pixels = io.BytesIO()
    Image.frombytes("L", (digest.digest_size, 1), digest.digest()).save(pixels, "PNG")
    return pixels.getvalue()


def _shown(artist: Artist) -> Iterator[Any]:
    if isinstance(artist, Line2D):
        yield artist.get_xydata()
    elif isinstance(artist, Text):
        yield artist.get_text()
    elif isinstance(artist, AxesImage):
        yield np.ma.filled(artist.get_array(), np.nan)
    elif isinstance(artist, Patch):
        yield artist.get_patch_transform().transform_path(artist.get_path()).vertices
    elif isinstance(artist, Collection):
        yield artist.get_offsets()
        yield from (path.vertices for path in artist.get_paths())
    else:
        raise TypeError(f"sketch: found {type(artist).__name__}; expected an artist whose data it knows.")
