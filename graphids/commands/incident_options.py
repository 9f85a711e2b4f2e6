"""What a command was told about incidents: whose they are, what lines of context show, and which are reported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from graphids.core.classifier import WindowClassifier
from graphids.core.incidents.detection import Subject
from graphids.core.incidents.filters import NO_FILTERS, Filters
from graphids.core.vehicle_names import VehicleNames
from graphids.options import OptionError


@dataclass(frozen=True, slots=True)
class IncidentOptions:
    """How incidents are told.

    Attributes:
        vehicle: As in `Incident`.
        model_digest: As in `Incident`.
        redacts_payloads: Whether lines of context hide payloads.
        filters: Which are reported.
        names: Of the vehicle's messages and signals, for people; None for none.
        reports_uncovered: Whether a bus that the model cannot judge has incidents beside the one that says so.
    """

    vehicle: str = ""
    model_digest: str = ""
    redacts_payloads: bool = False
    filters: Filters = NO_FILTERS
    names: VehicleNames | None = None
    reports_uncovered: bool = False

    def subject(self, classifier: WindowClassifier) -> Subject:
        """What the incidents are told of that a classifier finds."""
        subject = Subject.of(classifier, vehicle=self.vehicle, model_digest=self.model_digest)
        return replace(subject, redacts_payloads=self.redacts_payloads, mutes_uncovered=not self.reports_uncovered)


def parse_filters(words: Sequence[str]) -> Filters:
    """Filters as they are typed, `threshold=3` or `block=missing,too_early`.

    Raises:
        OptionError: If one is unknown, has no value or one of another type.
        DataError: As `Filters`.

    >>> parse_filters(["block=missing,too_early", "rate=6"])
    Filters(block=('missing', 'too_early'), every=1, aggregate_s=0.0, threshold=1, rate=6)
    """
    values: dict[str, object] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in _READERS or not value:
            expected = ", ".join(f"{each}=VALUE" for each in _READERS)
            raise OptionError(f"--filter: given {word!r}; expected one of {expected}.")
        try:
            values[name] = _READERS[name](value)
        except ValueError as error:
            raise OptionError(f"--filter: given {word!r}; expected a number after {name}=.") from error
    return Filters(**values)  # type: ignore[arg-type]


_READERS: dict[str, Callable[[str], object]] = {
    "block": lambda value: tuple(value.split(",")),
    "every": int,
    "aggregate_s": float,
    "threshold": int,
    "rate": int,
}
