"""What is measured of detectors on captures of vehicles, and the tables of it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from vehicle_detectors import Detect, Scores
from vehicle_windows import Judged

from graphids.core.graphs.packed import PackedGraphs

FALSE_ALARMS_PER_HOUR = 60.0


class Figures(NamedTuple):
    """What is measured of one detector on one capture; NaN where it is not defined."""

    auroc: float
    precision: float
    recall: float
    delay_s: float
    false_alarms: float
    named: float


@dataclass
class Table:
    """The figures of one split.

    Attributes:
        found: Of each capture and network, by kind and detector.
        share: Of attack windows in each capture, by kind.
        covered: Whether a check of the profile covers the target of each masquerade, by kind.
    """

    found: dict[tuple[str, str], list[Figures]] = field(default_factory=lambda: defaultdict(list))
    share: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    covered: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def add(
        self, detectors: dict[str, list[Detect]], captures: list[tuple[str, Judged]], kinds: Iterable[str] | None = None
    ) -> None:
        """Measure all detectors on the captures of one car.

        Args:
            detectors: By name.
            captures: By kind; the threshold comes from all of them.
            kinds: Which to count; None for all.
        """
        counted = {kind for kind, _ in captures} if kinds is None else set(kinds)
        for kind, capture in captures:
            if kind in counted:
                self.share[kind].append(float((capture.graphs.label > 0).mean()))
                if kind.startswith("masq"):
                    self.covered[kind].append(capture.is_covered)
        for name, runs in detectors.items():
            for detect in runs:
                for kind, figures in measured(detect, captures):
                    if kind in counted:
                        self.found[kind, name].append(figures)


def show(title: str, table: Table) -> None:
    """A table for each figure: a row for each kind, a column for each detector, the mean over cars and seeds."""
    names = list(dict.fromkeys(name for _, name in table.found))
    for figure in Figures._fields:
        columns = [
            name
            for name in names
            if not np.isnan([mean(table.found[kind, name], figure) for kind in table.share]).all()
        ]
        print(f"\n{title}: {figure}\n{'':48} {'share':>6} " + " ".join(f"{name:>9}" for name in columns))
        means = [
            [np.mean(share), *(mean(table.found[kind, name], figure) for name in columns)]
            for kind, share in table.share.items()
        ]
        for kind, row in zip([*table.share, "macro"], [*means, np.nanmean(means, axis=0)], strict=True):
            print(f"{kind:48} {row[0]:6.2f} " + " ".join(f"{value:9.3f}" for value in row[1:]), flush=True)
    for kind, covered in table.covered.items():
        print(f"{title}: {kind}: {sum(covered)} of {len(covered)} targets have a checksum or parity in the profile")


def mean(found: list[Figures], figure: str) -> float:
    values = [getattr(figures, figure) for figures in found]
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan


def measured(detect: Detect, captures: list[tuple[str, Judged]]) -> list[tuple[str, Figures]]:
    """Figures of each capture of one car."""
    found = [(kind, capture, *detect(capture)) for kind, capture in captures]
    quiet = [capture.graphs.end_s < capture.events.min() for _, capture, _, _ in found]
    spans = [
        (capture.graphs.end_s - capture.graphs.start_s)[rows]
        for (_, capture, _, _), rows in zip(found, quiet, strict=True)
    ]
    normal = np.concatenate([score[rows] for (_, _, score, _), rows in zip(found, quiet, strict=True)])
    allowed = int(np.concatenate(spans).sum() / 3600 * FALSE_ALARMS_PER_HOUR)
    threshold = float(np.sort(normal)[-1 - allowed]) if len(normal) > allowed else np.inf
    return [(kind, figures(capture, score, threshold, logits)) for kind, capture, score, logits in found]


def figures(capture: Judged, score: Scores, threshold: float, node_logits: NDArray[np.float32] | None) -> Figures:
    graphs, attack = capture.graphs, capture.graphs.label > 0
    alarm = attack & (score > threshold)
    delays = [
        graphs.end_s[alarm & (graphs.end_s >= first_s) & (graphs.start_s <= last_s)].min(initial=np.inf) - first_s
        for first_s, last_s in capture.events
        if (attack & (graphs.end_s >= first_s) & (graphs.start_s <= last_s)).any()
    ]
    detected = [delay for delay in delays if np.isfinite(delay)]
    return Figures(
        auroc=float(roc_auc_score(attack, score)),
        precision=float(average_precision_score(attack, score)),
        recall=len(detected) / max(len(delays), 1),
        delay_s=float(np.mean(detected)) if detected else np.nan,
        false_alarms=float((score > threshold)[~attack].mean()),
        named=np.nan if node_logits is None else named(graphs, alarm, node_logits),
    )


def named(graphs: PackedGraphs, alarm: NDArray[np.bool_], node_logits: NDArray[np.float32]) -> float:
    """Share of these windows, of those that hold an attacked node, in which it is the most suspicious."""
    window = np.repeat(np.arange(len(graphs)), graphs.num_nodes())
    first = np.lexsort((-node_logits, window))[graphs.node_ptr[:-1]]
    known = alarm & (np.maximum.reduceat(graphs.node_attacked, graphs.node_ptr[:-1]) == 1)
    return float((graphs.node_attacked[first] == 1)[known].mean()) if known.any() else np.nan
