"""The rule baseline: what a few bands per arbitration ID detect; every learned score is compared with it.

These are the classic rules of a CAN gateway: an unknown ID, a message that comes too often, too seldom or not at all,
payload bytes outside their known values, a bus that is busier or quieter than it ever was in training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES, DataError
from graphids.core.graphs.features import DEVIATIONS, NODE_FEATURES, column_names
from graphids.core.graphs.packed import PackedGraphs

# Columns that have to stay in a band, and the step of each that counts as one whole violation where training saw no
# spread at all: one message, one unit of a byte, one millisecond.
RESOLUTION: dict[str, float] = {
    "count": 1.0,
    "gap_mean_s": 1e-3,
    "gap_min_s": 1e-3,
    "gap_max_s": 1e-3,
    "dlc_mean": 1.0,
    **{f"byte_{byte}_{statistic}": 1.0 for statistic in ("mean", "range") for byte in range(MAX_PAYLOAD_BYTES)},
}
DURATION_RESOLUTION_S = 1e-3
# An unknown ID has no band to leave; it outweighs whatever known IDs do.
UNKNOWN_ID = 1e6
_COLUMNS = [column_names(NODE_FEATURES).index(name) for name in RESOLUTION]
_STEPS = np.array(list(RESOLUTION.values()))
_CALIBRATED = [index for index, name in enumerate(column_names(DEVIATIONS)) if name != "surprise"]
_COUNT = list(RESOLUTION).index("count")


@dataclass(frozen=True, slots=True)
class RuleBaseline:
    """Bands from smallest to largest value over the training windows.

    Attributes:
        node_key: uint32 [V], known IDs, sorted.
        low: float64 [V, R], smallest value of each column of `RESOLUTION`; a count of 0 for an ID that some training
            window lacks.
        high: float64 [V, R], largest value.
        duration_s: Shortest and longest training window.
    """

    node_key: NDArray[np.uint32]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    duration_s: tuple[float, float]

    @classmethod
    def fit(cls, graphs: PackedGraphs) -> "RuleBaseline":
        """Bands of the windows that are not labelled as attacks.

        Raises:
            DataError: If there are none.
        """
        normal = graphs.take(np.flatnonzero(graphs.label <= 0))
        if not len(normal):
            raise DataError(
                f"The rule baseline needs normal training windows, found none among {len(graphs)}. "
                "Give it attack-free captures, or longer ones."
            )
        node_key, row = np.unique(normal.node_key, return_inverse=True)
        order = np.argsort(row, kind="stable")
        first = np.flatnonzero(np.diff(row[order], prepend=-1))
        values = normal.x[order][:, _COLUMNS].astype(np.float64)
        low, high = np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
        windows_with = np.diff(np.append(first, len(row)))
        low[windows_with < len(normal), _COUNT] = 0.0
        duration = normal.end_s - normal.start_s
        return cls(node_key, low, high, (float(duration.min()), float(duration.max())))

    def score(self, graphs: PackedGraphs) -> NDArray[np.float64]:
        """Worst violation in each window, float64 [G]: 0 within all bands, 1 a whole width of the band outside."""
        if not len(graphs):
            return np.zeros(0)
        row = np.minimum(np.searchsorted(self.node_key, graphs.node_key), len(self.node_key) - 1)
        known = self.node_key[row] == graphs.node_key
        outside = _violation(graphs.x[:, _COLUMNS], self.low[row], self.high[row], _STEPS).max(axis=1)
        of_nodes = np.maximum.reduceat(np.where(known, outside, UNKNOWN_ID), graphs.node_ptr[:-1])
        duration = _violation(graphs.end_s - graphs.start_s, *self.duration_s, DURATION_RESOLUTION_S)
        return np.asarray(np.maximum.reduce([of_nodes, duration, self._missing(graphs, row, known)]))

    def _missing(self, graphs: PackedGraphs, row: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Violation of the count by IDs that should be in a window and are not, float64 [G]."""
        low, high = self.low[:, _COUNT], self.high[:, _COUNT]
        present = np.zeros((len(graphs), len(self.node_key)), np.bool_)
        graph = np.repeat(np.arange(len(graphs)), graphs.num_nodes())
        present[graph[known], row[known]] = True
        absence = _violation(0.0, low, high, _STEPS[_COUNT])  # [V]
        return np.asarray(np.where(present, 0.0, absence).max(axis=1))


def largest_deviation(graphs: PackedGraphs) -> NDArray[np.float64]:
    """The baseline where nodes carry deviations: the largest one in each window, float64 [G], which learns nothing.

    The order of IDs is left out: it always surprises a little.
    """
    if not len(graphs):
        return np.zeros(0)
    of_nodes = graphs.x[:, _CALIBRATED].max(axis=1)
    return np.maximum.reduceat(of_nodes, graphs.node_ptr[:-1]).astype(np.float64)


def _violation(value: ArrayLike, low: ArrayLike, high: ArrayLike, step: ArrayLike) -> NDArray[np.float64]:
    """How far values lie outside [low, high], in widths of the band plus `step`; arguments broadcast."""
    value, low, high = (np.asarray(array, dtype=np.float64) for array in (value, low, high))
    return np.asarray(np.maximum(np.maximum(low - value, value - high), 0.0) / (high - low + np.asarray(step)))
