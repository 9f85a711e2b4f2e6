"""The tau sweep: what every tau would do to a trained head, on validation and without training again.

The head's input does not depend on tau, so that a tau costs one matrix product over the validation split.
"""

import copy
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from graphids.assessment.assess import validate
from graphids.assessment.scored_split import ScoredSplit, score_split
from graphids.core.callbacks import apply_tau_norm
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector
from graphids.core.models.gat import GAT

# 0, 0.05, ... 1: beyond 1 a rare class's row would get the larger norm.
TAUS = tuple(step / 20 for step in range(21))
CRITERION = "macro_f1"
# Equal confusion matrices give equal sums; those of different ones may differ in the last bits alone: a tie too.
TIE = 1e-12
_METRICS = {
    "macro_f1": "macro_f1",
    "balanced_accuracy": "balanced_accuracy",
    "accuracy": "accuracy",
    "macro_auroc": "macro/auroc",
    "all_recall": "all/recall",
}
# Metrics that depend on the order of the scores alone.
_RANKING = {"macro_auroc": "macro AUROC", "all_recall": "recall at the false-alarm budget"}
# Rows whose norms differ by no more than this share of the larger count as alike: tau hardly tells them apart.
ALIKE = 0.2


@dataclass(frozen=True, slots=True)
class TauSweep:
    """Validation metrics of one trained head under every tau.

    Attributes:
        taus: Ascending, from 0 (the head as trained).
        metrics: One value per tau: `macro_f1`, `balanced_accuracy`, `accuracy`, `macro_auroc`, and `all_recall` at the
            threshold that this tau would get. Metrics that are undefined on validation are absent.
        best: The tau with the highest macro-F1; at a tie the nearest to 0, so that a tau that changes nothing is not
            applied.
        moved: Per tau the number of labelled windows whose likeliest class is not the one at tau=0.
        windows: Labelled validation windows.
        row_norms: Norm of each class's row of the head as trained.
        absent: Classes without a validation window; means over classes leave them out.
    """

    taus: tuple[float, ...]
    metrics: dict[str, tuple[float, ...]]
    best: float
    moved: tuple[int, ...]
    windows: int
    row_norms: tuple[float, ...]
    absent: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What tau changes on validation, or that it changes nothing, and why."""
        return " ".join(filter(None, (self._effect(), self._reason(), self._left_out())))

    def to_dict(self) -> dict[str, list[float]]:
        """Columns of a table with one row per tau: `tau`, the metrics, `moved`."""
        columns = {"tau": self.taus, **self.metrics, "moved": self.moved}
        return {name: list(values) for name, values in columns.items()}

    def _effect(self) -> str:
        grid = f"Of {len(self.taus)} values of tau from {self.taus[0]:g} to {self.taus[-1]:g}"
        windows = f"{self.windows:,} validation windows"
        if not max(self.moved):
            changed = [words for name, words in _RANKING.items() if self._spread(name) > TIE]
            also = f", though {' and '.join(changed)} change" if changed else ""
            return f"{grid} none changes the class of any of the {windows}{also}."
        f1 = dict(zip(self.taus, self.metrics[CRITERION], strict=True))
        if self.best == 0:
            worst = min(f1, key=f1.__getitem__)
            return (
                f"{grid} none classifies better than the head as trained: macro-F1 {f1[0]:.4f}, at worst "
                f"{f1[worst]:.4f} at tau={worst:g}; at most {max(self.moved):,} of {windows} change class."
            )
        moved = self.moved[self.taus.index(self.best)]
        return (
            f"{grid} the best is {self.best:g}: macro-F1 {f1[self.best]:.4f}, with the head as trained {f1[0]:.4f}; "
            f"{moved:,} of {windows} change{'s' if moved == 1 else ''} class."
        )

    def _reason(self) -> str:
        """Why there is little to change, where the rows of the head show it."""
        low, high = min(self.row_norms), max(self.row_norms)
        if high - low > ALIKE * high:
            apart = f"The rows' norms differ ({low:.3g} to {high:.3g}), but by less than what separates the classes."
            return "" if max(self.moved) else apart
        within = f"within {100 * (high - low) / high:.0f} % of each other" if high else "all 0"
        if len(self.row_norms) > 2:
            return f"The norms of the head's rows lie {within}, so tau divides all rows by almost the same number."
        return (
            f"Two logits get opposite gradients, so the norms of the head's two rows stay close ({within}). Dividing "
            "both by almost the same number almost keeps the order of the scores, and with it AUROC and recall at the "
            "false-alarm budget; what changes is the weight of the bias, which is not divided."
        )

    def _left_out(self) -> str:
        names = ", ".join(self.absent)
        return f"Left out of macro-F1, without a validation window: {names}." if names else ""

    def _spread(self, name: str) -> float:
        values = self.metrics.get(name, (0.0,))
        return max(values) - min(values)


def sweep_tau(gat: GAT, raw: ScoredSplit, raw_head: Tensor, false_alarms_per_hour: float) -> TauSweep:
    """Put a validation split under the head of every tau.

    Args:
        gat: Network that computed `raw.states`; the bias of its head is used, the weight is not.
        raw: Validation under the head as trained.
        raw_head: float [C, hidden], the head's weight as trained.
        false_alarms_per_hour: Budget for the threshold that each tau would get.

    Raises:
        ValueError: If no window of the split is normal, as in `choose_threshold`.
    """
    known = raw.label >= 0
    trained = raw.logits.argmax(dim=1).numpy()[known]
    rows: list[dict[str, float]] = []
    moved: list[int] = []
    for tau in TAUS:
        scored = raw.under(gat, apply_tau_norm(raw_head.detach().clone(), tau))
        rows.append(validate(scored, false_alarms_per_hour)[1])
        moved.append(int((scored.logits.argmax(dim=1).numpy()[known] != trained).sum()))
    metrics = {name: tuple(row[key] for row in rows) for name, key in _METRICS.items() if key in rows[0]}
    criterion = np.array(metrics[CRITERION])
    return TauSweep(
        taus=TAUS,
        metrics=metrics,
        best=TAUS[int(np.flatnonzero(criterion >= criterion.max() - TIE)[0])],
        moved=tuple(moved),
        windows=int(known.sum()),
        row_norms=tuple(raw_head.detach().double().norm(dim=1).tolist()),
        absent=tuple(name for i, name in enumerate(raw.classes) if not (raw.label == i).any()),
    )


def best_tau(gat: GAT, raw_head: Tensor, datamodule: CANDataModule, false_alarms_per_hour: float) -> float:
    """The tau that validation prefers; arguments as in `sweep_tau`, the data module set up."""
    val = score_split(gat, datamodule.graphs["val"], datamodule.preprocessing)
    return sweep_tau(gat, val.under(gat, raw_head), raw_head, false_alarms_per_hour).best


def choose_tau(detector: Detector, datamodule: CANDataModule | None) -> float:
    """The tau that validation prefers for a detector whose head is as trained; for `TauNormCallback`.

    Args:
        detector: Left as it is, on its device and in its mode.
        datamodule: Set up.

    Raises:
        ValueError: If the fit had no `CANDataModule`.
    """
    if not isinstance(datamodule, CANDataModule):
        raise ValueError(
            "tau='auto' is chosen on the validation split of the fit's CANDataModule, "
            f"found {type(datamodule).__name__}. Fit with datamodule=CANDataModule(...), or give tau as a number."
        )
    # On the CPU, as the sweep that the run logs: the two then agree to the last bit.
    gat = copy.deepcopy(detector.gat).cpu()
    return best_tau(gat, gat.head.weight, datamodule, detector.hparams["false_alarms_per_hour"])
