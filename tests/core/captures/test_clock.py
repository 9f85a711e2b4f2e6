"""Times that count from the frame before are told from times that count from one start."""

import numpy as np
import pytest
from numpy.typing import NDArray

from graphids.core.captures.clock import are_gaps


def gaps(number: int, seed: int = 0) -> NDArray[np.float64]:
    """What `candump -t d` writes: 0, then the gaps of a bus in operation, in microseconds."""
    drawn = np.random.default_rng(seed).exponential(0.0008, number - 1) + 0.0001
    return np.round(np.concatenate([[0.0], drawn]), 6)


@pytest.mark.parametrize("number", [20, 100, 1400])
@pytest.mark.parametrize("first", [0, 1], ids=["from the start", "from the middle"])
def test_gaps_of_a_bus_are_found(number: int, first: int) -> None:
    assert all(are_gaps(gaps(number + 1, seed)[first:]) for seed in range(50))


@pytest.mark.parametrize("number", [2, 5, 20, 100, 1400])
@pytest.mark.parametrize("start_s", [0.0, 0.25, 1.7e9])
def test_times_since_a_start_are_none(number: int, start_s: float) -> None:
    assert not any(are_gaps(start_s + np.cumsum(gaps(number, seed))) for seed in range(50))


def test_nor_are_those_of_which_a_few_are_out_of_place() -> None:
    times = np.cumsum(gaps(200))
    times[[50, 51, 120, 122]] = times[[51, 50, 122, 120]]

    assert not are_gaps(times)


@pytest.mark.parametrize("start_s", [0.0, 0.25, 1.7e9])
def test_nor_those_of_rows_that_changed_places_or_of_a_drive_written_backwards(start_s: float) -> None:
    """Whose remedy is another: they are refused as unsorted."""
    times = start_s + np.cumsum(gaps(200))
    pairs = times.reshape(-1, 2)[:, ::-1].ravel()

    assert not are_gaps(pairs)
    assert not are_gaps(times[::-1])


@pytest.mark.parametrize("start_s", [0.0, 0.25, 1.7e9])
@pytest.mark.parametrize("number", [100, 200, 1400])
@pytest.mark.parametrize("is_even", [True, False], ids=["evenly spaced", "as a bus in operation"])
def test_nor_those_of_shuffled_rows(number: int, start_s: float, is_even: bool) -> None:
    """Even 200 within 0.2 s, which are as short as gaps."""
    for seed in range(50):
        times = start_s + (np.arange(number) / 1000 if is_even else np.cumsum(gaps(number, seed)))
        np.random.default_rng(seed).shuffle(times)

        assert not are_gaps(times)


@pytest.mark.parametrize("frames_each", [3, 5, 50])
@pytest.mark.parametrize("start_s", [0.0, 59.0])
def test_nor_those_of_a_clock_that_starts_again(frames_each: int, start_s: float) -> None:
    assert not are_gaps(start_s + np.arange(200) % frames_each / frames_each)


def test_gaps_of_a_slow_bus_are_found_by_the_zero_of_its_first_frame() -> None:
    """Two senders, each once a second."""
    assert are_gaps(np.array([0.0, 0.7, 0.3, 0.7, 0.3, 0.7]))
    assert are_gaps(np.concatenate([[0.0], 2000 * gaps(200)[1:]]))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], False),
        ([0.0], False),
        ([0.0, 0.01], False),
        ([0.0, 0.01, 0.0002], True),
        ([0.0, 0.1, 0.1, 0.1], True),
        ([0.0, 0.001, 0.001, 0.002], False),
        ([0.0] * 50, False),
        ([1.0, 1.001, 1.0009], False),
        ([0.0, 0.0, 0.001, 0.001, 0.001, 0.002, 0.002, 0.003], False),
        ([0.0, -0.01, -0.02, -0.03], False),
    ],
)
def test_of_few_times_only_what_can_be_nothing_else_counts_as_gaps(times: list[float], expected: bool) -> None:
    assert are_gaps(np.array(times)) == expected
