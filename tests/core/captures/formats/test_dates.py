"""Dates of lines against those of the standard library."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from graphids.core.captures.formats.dates import date_time


def seconds_of(text: str) -> float:
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    seconds, after = date_time(data, 0, len(data))
    return seconds if after == len(data) else np.nan


def test_every_day_of_four_centuries_is_the_one_that_python_counts() -> None:
    start = datetime(1900, 1, 1, 23, 59, 58, tzinfo=UTC)
    days = [start + timedelta(days=number) for number in range(0, 146_097 + 365, 7)]

    assert all(seconds_of(day.strftime("%Y-%m-%d %H:%M:%S")) == day.timestamp() for day in days)


@pytest.mark.parametrize("day", ["2000-02-29", "2024-02-29", "2024-12-31", "2023-02-28", "1970-01-01", "1969-12-31"])
def test_a_fraction_is_rounded_once(day: str) -> None:
    text = f"{day}T11:21:13.123456"

    assert seconds_of(text) == datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        *("2023-02-29 00:00:00", "1900-02-29 00:00:00", "2023-04-31 00:00:00", "2023-00-01 00:00:00"),
        *("2023-13-01 00:00:00", "2023-01-00 00:00:00", "0000-01-01 00:00:00", "2023-1-01 00:00:00"),
        *("2023-01-01 24:00:00", "2023-01-01 00:60:00", "2023-01-01 00:00:60", "2023-01-01 00:00"),
        *("2023-01-01 00:00:00.", "2023-01-01 00:00:00.0123456789", "23-01-01 00:00:00", "2023-01-01", "2023", ""),
    ],
)
def test_what_is_not_a_date_and_time_is_nan(text: str) -> None:
    assert np.isnan(seconds_of(text))
