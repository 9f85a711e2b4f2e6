"""Operating point: the false alarms that were asked for, beside those that validation and test saw.

Counts are taken for Poisson's: intervals and tests are the exact ones. Windows that overlap alert together, so that
counts scatter more than that; hence tests at 1 %, not at 5 %.
"""

import math
from dataclasses import dataclass

from scipy.special import bdtr, gammaincinv, pdtr

from graphids.wording import counted, format_metric, time_words

CONFIDENCE = 0.95
# Of the tests that say whether a difference is more than chance.
LEVEL = 0.01
# Without any false alarm in 3/r hours, the rate lies below r with 95 % confidence ("rule of three").
RULE_OF_THREE = -math.log(1 - CONFIDENCE)


@dataclass(frozen=True, slots=True)
class Alarms:
    """Normal windows that alerted, and the time of normal traffic in which they did."""

    count: int
    hours: float

    @classmethod
    def at_rate(cls, per_hour: float, hours: float) -> "Alarms":
        """The count behind a rate."""
        return cls(round(per_hour * hours), hours)

    @property
    def per_hour(self) -> float:
        """The rate."""
        return self.count / self.hours if self.hours else 0.0

    def interval(self) -> tuple[float, float]:
        """Lowest and highest rate per hour that the count allows for (Garwood 1936, `CONFIDENCE`)."""
        if not self.hours:
            return 0.0, math.inf
        tail = (1 - CONFIDENCE) / 2
        low = float(gammaincinv(self.count, tail)) if self.count else 0.0
        return low / self.hours, float(gammaincinv(self.count + 1, 1 - tail)) / self.hours

    def __str__(self) -> str:
        return f"{self.count:,} in {time_words(self.hours)}"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold was chosen for, and what came of it.

    Attributes:
        asked: False alarms per hour that the threshold was chosen for.
        validation: Where it was chosen.
        test: Where it was measured.
    """

    asked: float
    validation: Alarms
    test: Alarms

    @property
    def certifies(self) -> bool:
        """Whether validation is long enough to show that a rate is not above the one asked for."""
        return self.validation.hours * self.asked >= RULE_OF_THREE

    @property
    def p_value(self) -> float:
        """Probability of a test count at least as far from the one asked for, by chance (exact Poisson test)."""
        expected = self.asked * self.test.hours
        count = self.test.count
        return _two_sided(float(pdtr(count - 1, expected)) if count else 0.0, float(pdtr(count, expected)))

    @property
    def departs(self) -> bool:
        """Whether the test split saw another rate than was asked for, by more than chance."""
        return self.p_value < LEVEL

    @property
    def splits_differ(self) -> bool:
        """Whether test and validation saw different rates by more than chance (exact conditional binomial test)."""
        test, total = self.test.count, self.test.count + self.validation.count
        hours = self.test.hours + self.validation.hours
        if not total or not hours:
            return False
        share = self.test.hours / hours
        return _two_sided(float(bdtr(test - 1, total, share)) if test else 0.0, float(bdtr(test, total, share))) < LEVEL

    def note(self) -> str:
        """One sentence where the test split saw another rate than was asked for, by more than chance; else nothing."""
        if not self.departs:
            return ""
        seen = format_metric(self.test.per_hour, 1)
        return (
            f"False alarms: {self.asked:g} an hour were asked for and the test split saw {seen} ({self.test}), "
            f"{'more' if self.test.per_hour > self.asked else 'fewer'} than chance explains (exact Poisson test, "
            f"{LEVEL * 100:g} % level); {self._cause()}."
        )

    def sentence(self) -> str:
        """The rate on validation with its uncertainty, and whether validation is long enough for the rate asked for."""
        low, high = self.validation.interval()
        certified = "" if self.certifies else f"; validation {self._too_short()}"
        return (
            f"On validation {counted(self.validation.count, 'false alarm')} in {time_words(self.validation.hours)}: "
            f"{low:.1f} to {high:.1f} an hour with {CONFIDENCE * 100:g} % confidence{certified}."
        )

    def to_dict(self) -> dict[str, object]:
        """Numbers and sentences, as fields of JSON."""
        low, high = self.validation.interval()
        return {
            "asked_per_hour": self.asked,
            "validation": {
                "false_alarms": self.validation.count,
                "hours": self.validation.hours,
                "lowest_per_hour": low,
                "highest_per_hour": high,
                "certifies_the_rate": self.certifies,
            },
            "test": {"false_alarms": self.test.count, "hours": self.test.hours, "per_hour": self.test.per_hour},
            "p_value": self.p_value,
            "level": LEVEL,
            "departs": self.departs,
            "splits_differ": self.splits_differ,
            "sentence": self.sentence(),
            "note": self.note(),
        }

    def _cause(self) -> str:
        seen = f"validation saw {self.validation} at this threshold"
        short = "" if self.certifies else f" and {self._too_short()}"
        return (
            f"{seen}{short}{', so its normal traffic is unlike that of the test split' if self.splits_differ else ''}"
        )

    def _too_short(self) -> str:
        if not self.asked:
            return "cannot certify a rate of 0, whatever its length"
        needed = time_words(RULE_OF_THREE / self.asked)
        return f"is too short to certify {self.asked:g} an hour, which takes {needed} without a false alarm"


def _two_sided(below: float, up_to: float) -> float:
    """Twice the smaller tail.

    Args:
        below: Probability of a smaller count.
        up_to: Probability of that count or a smaller one.
    """
    return min(1.0, 2 * min(up_to, 1 - below))
