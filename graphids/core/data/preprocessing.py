"""Preprocessing: everything that is fitted to the training windows, and how raw features become the model's input.

It is stored in a checkpoint and in a saved model; together with the weights it is enough to score raw frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphids.core.compiled import njit
from graphids.core.frames import DataError
from graphids.core.graphs.features import EDGE_FEATURES, FEATURES, column_names
from graphids.core.graphs.packed import UNLABELLED, PackedGraphs

UNK = 0
# An ID's own spread is a poor measure where it is near zero: a byte that never moved in training would turn a change
# by one into an infinite z-score. This share of the spread over all IDs is added to it, in quadrature.
SCALE_FLOOR = 0.05
# An ID needs this many training windows for statistics of its own; rarer ones are UNK.
MIN_WINDOWS = 8
# The fields of `Preprocessing` that are float32 tables.
STATISTICS = ("node_mean", "node_scale", "edge_mean", "edge_scale")


class _Scaling(NamedTuple):
    """Mean and scale of every column by token, [1 + V, F] each."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessing:
    """Vocabulary and statistics of normal training windows.

    A node feature becomes `asinh((value - mean) / scale)` with mean and scale of its own arbitration ID: it says
    "unusual for this ID", in that ID's own spreads. asinh is linear near zero and logarithmic far out, so that an
    attack's values, hundreds of spreads away, neither saturate nor drown the rest.

    Deviations from a vehicle's profile mean the same on every vehicle: they are not centred, and there is no
    vocabulary, so that the network serves any vehicle with a profile.

    Attributes:
        features: The node features, a key of `FEATURES`.
        window_size: Frames per window.
        stride: Frames between window starts in training.
        classes: `("normal", ...)`.
        vocabulary: uint32 [V], node keys of the known IDs, sorted; token `i` is `vocabulary[i - 1]`, token 0 is UNK.
        node_mean: float32 [1 + V, F], by token; row 0 holds the statistics over all IDs.
        node_scale: float32 [1 + V, F], positive.
        edge_mean: float32 [FE].
        edge_scale: float32 [FE], positive.
    """

    features: str
    window_size: int
    stride: int
    classes: tuple[str, ...]
    vocabulary: NDArray[np.uint32]
    node_mean: NDArray[np.float32]
    node_scale: NDArray[np.float32]
    edge_mean: NDArray[np.float32]
    edge_scale: NDArray[np.float32]

    @property
    def num_tokens(self) -> int:
        """Known IDs and UNK: the rows an embedding needs."""
        return 1 + len(self.vocabulary)

    @classmethod
    def fit(cls, graphs: PackedGraphs, *, window_size: int, stride: int, features: str = "raw") -> "Preprocessing":
        """Fit to training windows: to the normal ones where they are labelled, else to all.

        IDs that only attacks use stay out of the vocabulary: the network would memorize them.

        Args:
            graphs: Whose nodes carry the features.
            window_size: Frames per window.
            stride: Frames between window starts.
            features: A key of `FEATURES`.

        Raises:
            DataError: If no training window is normal.
        """
        fitted = (graphs.label == 0) | (graphs.label == UNLABELLED)
        if not fitted.any():
            raise DataError(
                f"None of the {len(graphs)} training windows is normal. Vocabulary and scaling are fitted to normal "
                "traffic: add an attack-free capture, or use a smaller window."
            )
        node = np.repeat(fitted, np.diff(graphs.node_ptr))
        edge = np.repeat(fitted, np.diff(graphs.edge_ptr))
        edge_mean, edge_spread = _moments(graphs.edge_attr, edge, np.zeros(len(edge), np.int64), 1)
        edge_statistics = {
            "edge_mean": edge_mean[0].astype(np.float32),
            "edge_scale": _scale(edge_spread[0], edge_spread[0], edge_mean[0]),
        }
        if features == "deviations":
            shape = (1, len(FEATURES[features]))
            return cls(
                features=features,
                window_size=window_size,
                stride=stride,
                classes=graphs.classes,
                vocabulary=np.empty(0, np.uint32),
                node_mean=np.zeros(shape, np.float32),
                node_scale=np.ones(shape, np.float32),
                **edge_statistics,
            )
        # An ID is one node in each window it occurs in, so nodes count windows. Where a tenth of the windows is less
        # than MIN_WINDOWS it is enough, so that a short capture has a vocabulary too.
        keys, windows = np.unique(graphs.node_key[node], return_counts=True)
        vocabulary = keys[windows >= min(MIN_WINDOWS, max(1, fitted.sum() // 10))]
        mean, spread = _moments(graphs.x, node, np.zeros(len(node), np.int64), 1)
        own_mean, own_spread = _moments(graphs.x, node, _tokens(vocabulary, graphs.node_key), 1 + len(vocabulary))
        own_mean[UNK], own_spread[UNK] = mean[0], spread[0]
        return cls(
            features=features,
            window_size=window_size,
            stride=stride,
            classes=graphs.classes,
            vocabulary=vocabulary,
            node_mean=own_mean.astype(np.float32),
            node_scale=_scale(own_spread, spread[0], own_mean),
            **edge_statistics,
        )

    def tokens(self, node_key: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Token of each node key, int64; UNK for an ID that is not in the vocabulary."""
        return _tokens(self.vocabulary, node_key)

    def nodes(self, x: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Node features for the model, float32 [N, F], from raw ones; `tokens` choose the statistics."""
        out = np.empty_like(x)
        _standardise(x, tokens, _Scaling(self.node_mean, self.node_scale), out)
        return np.arcsinh(out, out=out)

    def edges(self, edge_attr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Edge features for the model, float32 [E, FE], from raw ones."""
        z: NDArray[np.float32] = (edge_attr - self.edge_mean) / self.edge_scale
        return np.arcsinh(z, out=z)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; numbers survive the round trip bit for bit."""
        return {
            "features": self.features,
            "window_size": self.window_size,
            "stride": self.stride,
            "classes": list(self.classes),
            "node_features": column_names(FEATURES[self.features]),
            "edge_features": column_names(EDGE_FEATURES),
            **{name: getattr(self, name).tolist() for name in ("vocabulary", *STATISTICS)},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`; the statistics may also be arrays, which are not copied where they are float32.

        Raises:
            ValueError: If an entry is missing or malformed, or the features are not the ones this version computes.
        """
        wanted = {
            "features",
            "window_size",
            "stride",
            "classes",
            "node_features",
            "edge_features",
            "vocabulary",
            *STATISTICS,
        }
        if missing := sorted(wanted - stored.keys()):
            raise ValueError(f"Stored preprocessing lacks {missing}, found {sorted(stored)}.")
        if stored["features"] not in FEATURES:
            raise ValueError(f"Stored features are {stored['features']!r:.80}, expected one of {', '.join(FEATURES)}.")
        columns = FEATURES[stored["features"]]
        _check_features("node_features", stored["node_features"], column_names(columns))
        _check_features("edge_features", stored["edge_features"], column_names(EDGE_FEATURES))
        for name in ("window_size", "stride"):
            if type(stored[name]) is not int or stored[name] < 1:
                raise ValueError(f"Stored {name} is {stored[name]!r}, expected an integer of at least 1.")
        vocabulary = _array("vocabulary", stored["vocabulary"], (len(stored["vocabulary"]),), np.int64)
        if len(vocabulary) and (vocabulary[0] < 0 or vocabulary[-1] >= 2**32 or (np.diff(vocabulary) <= 0).any()):
            raise ValueError("Stored vocabulary is not a strictly increasing list of 32-bit node keys.")
        rows = 1 + len(vocabulary)
        shapes = ((rows, len(columns)),) * 2 + ((len(EDGE_FEATURES),),) * 2
        statistics = {
            name: _array(name, stored[name], shape, np.float32) for name, shape in zip(STATISTICS, shapes, strict=True)
        }
        for name in ("node_scale", "edge_scale"):
            if not (statistics[name] > 0).all():
                raise ValueError(f"Stored {name} holds values that are not positive; a scale divides.")
        return cls(
            features=stored["features"],
            window_size=stored["window_size"],
            stride=stored["stride"],
            classes=tuple(str(name) for name in stored["classes"]),
            vocabulary=vocabulary.astype(np.uint32),
            **statistics,
        )


def _tokens(vocabulary: NDArray[np.uint32], node_key: NDArray[np.uint32]) -> NDArray[np.int64]:
    if not len(vocabulary):
        return np.full(len(node_key), UNK, np.int64)
    position = np.minimum(np.searchsorted(vocabulary, node_key), len(vocabulary) - 1)
    return np.where(vocabulary[position] == node_key, position + 1, UNK).astype(np.int64)


def _scale(own: NDArray[np.float64], overall: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float32]:
    scale = np.sqrt(own**2 + (SCALE_FLOOR * overall) ** 2)
    # A column that is constant over all of training has no spread but rounding errors: leave it in its own unit.
    return np.where(scale > 1e-6 * np.abs(mean), scale, 1.0).astype(np.float32)


def _check_features(name: str, found: Any, expected: list[str]) -> None:
    if found != expected:
        different = sorted(set(found) ^ set(expected)) or "the same names in another order"
        raise ValueError(
            f"Stored {name} are not the ones that this version of graphids computes; they differ in {different}. "
            "Load the model with the version that trained it, or train again."
        )


def _array(name: str, values: ArrayLike, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.asarray(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Stored {name} is not an array of {dtype.__name__}: {error}") from error
    if array.shape != shape:
        raise ValueError(f"Stored {name} has shape {array.shape}, expected {shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"Stored {name} holds values that are not finite.")
    return array


@njit(cache=True, nogil=True)
def _moments(
    rows: NDArray[np.float32], chosen: NDArray[np.bool_], group: NDArray[np.int64], num_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and population standard deviation of the chosen rows by group, float64 [num_groups, columns] each.

    Two passes: the sum of squares less the square of the sum loses the spread of a large, nearly constant column.
    """
    count = np.zeros(num_groups, np.int64)
    mean = np.zeros((num_groups, rows.shape[1]), np.float64)
    spread = np.zeros((num_groups, rows.shape[1]), np.float64)
    for i in range(len(rows)):
        if chosen[i]:
            count[group[i]] += 1
            for column in range(rows.shape[1]):
                mean[group[i], column] += rows[i, column]
    for g in range(num_groups):
        mean[g] /= max(count[g], 1)
    for i in range(len(rows)):
        if chosen[i]:
            for column in range(rows.shape[1]):
                spread[group[i], column] += (rows[i, column] - mean[group[i], column]) ** 2
    for g in range(num_groups):
        spread[g] = np.sqrt(spread[g] / max(count[g], 1))
    return mean, spread


@njit(cache=True, nogil=True, error_model="numpy")
def _standardise(
    x: NDArray[np.float32], tokens: NDArray[np.int64], by_token: _Scaling, out: NDArray[np.float32]
) -> None:
    for i in range(len(x)):
        token = tokens[i]
        for column in range(x.shape[1]):
            out[i, column] = (x[i, column] - by_token.mean[token, column]) / by_token.scale[token, column]
