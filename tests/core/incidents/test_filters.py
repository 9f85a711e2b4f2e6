"""Filters: each keeps back what its name says, in their order, and none does by default."""

from dataclasses import replace

import pytest

from graphids.core.frames import DataError
from graphids.core.incidents.detection import Subject, incidents_of
from graphids.core.incidents.filters import FilteredIncidents, Filters
from graphids.core.incidents.incident import Incident
from support.scripted_drive import WINDOW, Says, drive

(PATTERN,) = incidents_of([drive(30.0, Says("too_early", 0x1A4, 5.0, 7.0))], Subject(WINDOW))


def at(start_s: float, event: str = "too_early", windows: int = 4) -> Incident:
    return replace(PATTERN, start_s=start_s, end_s=start_s + 2.0, event=event, windows=windows)


def passed(filters: Filters, *incidents: Incident) -> list[tuple[float, int, int]]:
    return [(each.start_s, each.windows, each.suppressed) for each in FilteredIncidents(filters).passing(incidents)]


FOUR = [at(start_s) for start_s in (0.0, 30.0, 90.0, 4000.0)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), [0.0, 30.0, 90.0, 4000.0]),
        (Filters(block=("too_early",)), []),
        (Filters(block=("missing",)), [0.0, 30.0, 90.0, 4000.0]),
        (Filters(every=3), [0.0, 4000.0]),
        (Filters(aggregate_s=60.0), [0.0, 90.0, 4000.0]),
        (Filters(threshold=5), []),
        (Filters(threshold=4), [0.0, 30.0, 90.0, 4000.0]),
        (Filters(rate=2), [0.0, 30.0, 4000.0]),
        (Filters(every=2, rate=1), [0.0]),
    ],
    ids=str,
)
def test_what_is_reported(filters: Filters, expected: list[float]) -> None:
    assert [start_s for start_s, _, _ in passed(filters, *FOUR)] == expected


def test_windows_that_were_aggregated_are_counted_in_the_next_that_is_reported() -> None:
    assert passed(Filters(aggregate_s=60.0), *FOUR) == [(0.0, 4, 0), (90.0, 8, 4), (4000.0, 4, 0)]


@pytest.mark.parametrize("filters", [Filters(rate=1), Filters(aggregate_s=60.0)], ids=str)
def test_incidents_are_near_each_other_by_when_they_end_as_that_is_when_they_come(filters: Filters) -> None:
    """Each of them begins before the one that ended before it; the last one ends a little earlier, quiet for longer."""
    spans = [(50.0, 60.0), (0.0, 100.0), (-9000.0, 118.0), (51.0, 117.0)]
    incidents = [replace(at(start_s), end_s=end_s) for start_s, end_s in spans]

    assert [start_s for start_s, _, _ in passed(filters, *incidents)] == [50.0]


def test_that_a_bus_is_not_covered_is_always_reported_and_what_is_kept_back_is_counted() -> None:
    filtered = FilteredIncidents(Filters(threshold=100))

    reported = list(filtered.passing([at(0.0), at(1.0, "not_covered", windows=0)]))

    assert ([each.event for each in reported], filtered.kept_back) == (["not_covered"], 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"block": ("to_early",)}, "block is 'to_early', expected some of unknown_id, "),
        ({"every": 0}, "every is 0, expected a number of at least 1"),
        ({"aggregate_s": float("nan")}, "aggregate_s is nan, expected a number of at least 0"),
        ({"rate": -1}, "rate is -1, expected a number of at least 0"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Filters(**values)  # type: ignore[arg-type]
