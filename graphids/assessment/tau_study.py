"""A tau study: trainings of several seeds, each under several taus; mean and spread over the seeds.

One training says nothing about what another seed would have done: a difference between two taus counts only if it is
larger than the difference between two seeds.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from graphids.options import AUTO
from graphids.wording import counted

# The metric that tau is chosen by, here as by `tau=auto`. Test metrics are shown and choose nothing.
CRITERION = "val_after_tau/macro_f1"
# Metrics of a run that the study follows, and what a reader sees them called.
METRICS = {
    CRITERION: "validation macro-F1",
    "val_after_tau/balanced_accuracy": "validation balanced accuracy",
    "test/macro/auroc": "test macro AUROC",
    "test/all/recall": "test recall",
    "test/false_alarms_per_hour": "test false alarms/h",
}
_ROUNDING = 1e-12  # of a mean of shares


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean over `n` seeds; `std` is the standard deviation of a sample (n - 1), None of a single seed."""

    mean: float
    std: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {'-' if self.std is None else f'{self.std:.3f}'} ({self.n})"


@dataclass(frozen=True, slots=True)
class TauStudy:
    """Metrics of runs by seed and by the tau they were asked for.

    Attributes:
        taus: As text, in the order in which they are shown; `auto` lets each seed's validation split choose.
        seeds: One training each.
        runs: Metrics of each run that has any, by tau and seed.
    """

    taus: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: Mapping[tuple[str, int], Mapping[str, float]]

    def values(self, tau: str, metric: str) -> dict[int, float]:
        """A metric by seed, where it is known and defined."""
        runs = {seed: self.runs.get((tau, seed), {}) for seed in self.seeds}
        return {seed: run[metric] for seed, run in runs.items() if metric in run}

    def spread(self, tau: str, metric: str) -> Spread | None:
        """Mean and spread over the seeds; None where no run has the metric."""
        values = list(self.values(tau, metric).values())
        return spread(values) if values else None

    @property
    def compared(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Taus with a known validation metric, and the seeds that have it under each of them.

        Means over different seeds would compare seeds. `auto` is not a tau of its own: it picks one for each seed.
        """
        known = {tau: set(self.values(tau, CRITERION)) for tau in self.taus if tau != AUTO}
        taus = tuple(tau for tau in self.taus if known.get(tau))
        return taus, tuple(seed for seed in self.seeds if taus and all(seed in known[tau] for tau in taus))

    @property
    def best(self) -> str | None:
        """The tau with the highest mean of the criterion over the seeds of every tau; at a tie the nearest to 0."""
        means = self._means()
        highest = max(means.values(), default=0.0)
        return min((tau for tau in means if highest - means[tau] < _ROUNDING), key=float, default=None)

    def sentence(self) -> str:
        """What the study decides, and whether taus differ more than seeds do."""
        means, (taus, seeds) = self._means(), self.compared
        if self.best is None:
            return f"No seed has {METRICS[CRITERION]} under every tau: nothing is chosen."
        best, worst = self.best, min(means, key=means.__getitem__)
        among = "" if AUTO not in self.taus else " of the fixed taus"
        chosen = f"tau={best} has the best mean of {METRICS[CRITERION]}{among}, {means[best]:.4f} over "
        chosen += counted(len(seeds), "seed")
        gap = means[best] - means[worst]
        if len(taus) == 1:
            return f"{chosen}; there is no other tau to compare it with."
        if gap < _ROUNDING:
            same = all(len({self.values(tau, CRITERION)[seed] for tau in taus}) == 1 for seed in seeds)
            why = "tau changes no decision here" if same else "seeds differ, but not on average"
            return f"{chosen}; every other tau has the same, and it is the nearest to 0: {why}."
        against = f"{chosen}, {gap:.4f} above tau={worst}, the worst"
        if len(seeds) == 1:
            return f"{against}. With one seed its spread over seeds is unknown."
        by_seed = self.values(best, CRITERION)
        deviation = statistics.stdev(by_seed[seed] for seed in seeds)
        others = self.values(worst, CRITERION)
        wins = sum(by_seed[seed] > others[seed] for seed in seeds)
        verdict = "more than" if gap > deviation else "not more than"
        return (
            f"{against}: {verdict} its standard deviation over seeds, {deviation:.4f}. "
            f"Seed by seed tau={best} is above tau={worst} in {wins} of {len(seeds)}."
        )

    def spreads(self) -> dict[tuple[str, str], Spread]:
        """By tau and metric, those that are known."""
        pairs = ((tau, metric) for tau in self.taus for metric in METRICS)
        return {pair: known for pair in pairs if (known := self.spread(*pair)) is not None}

    def columns(self) -> dict[str, list[str | float | None]]:
        """A table with one row per tau and known metric."""
        known = self.spreads()
        return {
            "tau": [tau for tau, _ in known],
            "metric": [metric for _, metric in known],
            "mean": [spread.mean for spread in known.values()],
            "std": [spread.std for spread in known.values()],
            "n": [spread.n for spread in known.values()],
        }

    def metrics(self) -> dict[str, float]:
        """`tau_<tau>/<metric>/mean`, `std` (of two seeds or more) and `n`."""
        return {
            f"tau_{tau}/{metric}/{name}": value
            for (tau, metric), spread in self.spreads().items()
            for name, value in (("mean", spread.mean), ("std", spread.std), ("n", spread.n))
            if value is not None
        }

    def table(self) -> str:
        """Mean ± standard deviation (n) per tau, `-` where a metric is unknown."""
        lines = [["tau", *METRICS.values()]]
        for tau in self.taus:
            lines.append([tau, *(str(self.spread(tau, metric) or "-") for metric in METRICS)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines)

    def _means(self) -> dict[str, float]:
        taus, seeds = self.compared
        if not seeds:
            return {}
        return {tau: statistics.fmean(self.values(tau, CRITERION)[seed] for seed in seeds) for tau in taus}


def spread(values: list[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))
