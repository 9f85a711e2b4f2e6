"""Features: the columns of a window's nodes and edges, and the records in which compiled code reaches them by name.

The names are a contract: a model stores the names of the columns that it was trained on, and they are compared when
it is loaded. A column that changes its meaning gets a new name.

A frame's bytes beyond its DLC count as zero. Only steps forward of the recorder's clock count as time; a step back
counts as 0 s. Gaps are as the recorder saw them, bursts of a USB adapter included.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES
from graphids.core.profile.records import deviation_columns


class Column(NamedTuple):
    """One feature column: its name, its unit ("1" for a plain number) and its meaning."""

    name: str
    unit: str
    meaning: str


_PER_BYTE = (
    Column("byte_{}_mean", "1", "mean of payload byte {} over the ID's messages, 0 to 255"),
    Column("byte_{}_spread", "1", "population standard deviation of payload byte {}"),
    Column("byte_{}_range", "1", "largest less smallest value of payload byte {}"),
    Column("byte_{}_change_rate", "1", "share of the ID's consecutive messages in which byte {} changed; 0 for one"),
)
_PER_NODE = (
    Column("count", "messages", "messages of the ID in the window"),
    Column("rate_hz", "1/s", "count over the window's duration; 0 where the duration is 0"),
    Column("gap_mean_s", "s", "mean gap; the window's duration, a lower bound, for an ID seen once"),
    Column("gap_spread_s", "s", "population standard deviation of the gaps; 0 for an ID seen once"),
    Column("gap_min_s", "s", "shortest gap; the window's duration for an ID seen once"),
    Column("gap_max_s", "s", "longest gap; the window's duration for an ID seen once"),
    Column("payload_change_rate", "1", "share of consecutive messages whose payload or DLC differ; 0 for one"),
    Column("dlc_mean", "bytes", "mean payload length"),
    Column("in_degree", "IDs", "distinct other IDs that a message of this one directly followed"),
    Column("out_degree", "IDs", "distinct other IDs that directly followed a message of this one"),
    Column("self_transitions", "messages", "times that the ID directly followed itself; such pairs make no edge"),
    Column("window_duration_s", "s", "time that passed from the window's first to its last frame"),
)
# One node per arbitration ID in the window. "Gap" is the time from one message of the ID to its next.
NODE_FEATURES: tuple[Column, ...] = (
    *(
        Column(name.format(byte), unit, meaning.format(byte))
        for name, unit, meaning in _PER_BYTE
        for byte in range(MAX_PAYLOAD_BYTES)
    ),
    *_PER_NODE,
)
# One edge per ordered pair of different IDs of which the second directly followed the first at least once. "Gap" is
# the time between the two frames.
EDGE_FEATURES: tuple[Column, ...] = (
    Column("count", "frames", "times that the target's ID directly followed the source's"),
    Column("share", "1", "count over the messages of the source: how likely this successor is"),
    Column("gap_mean_s", "s", "mean gap"),
    Column("gap_spread_s", "s", "population standard deviation of the gaps"),
    Column("gap_min_s", "s", "shortest gap"),
)

# What nodes carry instead where graphs are built against a vehicle's profile; see `profile.records`.
DEVIATIONS: tuple[Column, ...] = tuple(Column(*column) for column in deviation_columns())
# The node features by the name under which a model is trained on them.
FEATURES = {"raw": NODE_FEATURES, "deviations": DEVIATIONS}

# A row of `PackedGraphs.x` and of `edge_attr`, one field a column; the columns of a per-byte feature are one field.
# Kernels take arrays of these records, so that the place of a column is part of their argument's type, which is part
# of the key of numba's cache: a kernel compiled with columns that have since moved is never loaded.
NODE_ROW = np.dtype(
    [
        *((column.name.replace("_{}", ""), np.float32, (MAX_PAYLOAD_BYTES,)) for column in _PER_BYTE),
        *((column.name, np.float32) for column in _PER_NODE),
    ],
    align=True,
)
EDGE_ROW = np.dtype([(column.name, np.float32) for column in EDGE_FEATURES], align=True)


class NodeRow(Protocol):
    """A record of `NODE_ROW` as compiled code sees it."""

    byte_mean: NDArray[np.float32]
    byte_spread: NDArray[np.float32]
    byte_range: NDArray[np.float32]
    byte_change_rate: NDArray[np.float32]
    count: float
    rate_hz: float
    gap_mean_s: float
    gap_spread_s: float
    gap_min_s: float
    gap_max_s: float
    payload_change_rate: float
    dlc_mean: float
    in_degree: float
    out_degree: float
    self_transitions: float
    window_duration_s: float


class EdgeRow(Protocol):
    """A record of `EDGE_ROW` as compiled code sees it."""

    count: float
    share: float
    gap_mean_s: float
    gap_spread_s: float
    gap_min_s: float


def column_names(columns: tuple[Column, ...]) -> list[str]:
    """The columns' names, in order: what a model stores and compares."""
    return [column.name for column in columns]
