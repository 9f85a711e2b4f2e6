"""A reading of GPU memory, and what is said of the difference between two."""

import random

import pytest
import torch

from graphids.core.callbacks import MemoryDrift, MemoryReading, read_memory
from graphids.core.callbacks.gpu_memory import MIB
from support.memory_readers import CACHED, OTHERS_TOOK, SPLIT_UP, START, TENSORS_GREW, mib


def test_usable_memory_includes_this_process_own_cached_pool() -> None:
    assert START.usable == 10_000 * MIB
    assert CACHED.usable == START.usable
    assert MemoryDrift(START, CACHED).share == 0
    assert not MemoryDrift(START, CACHED).is_beyond(0.01)


def test_what_others_use_is_the_card_without_its_free_memory_and_the_own_pool() -> None:
    assert START.other == 9_000 * MIB
    assert OTHERS_TOOK.other == 12_000 * MIB
    assert TENSORS_GREW.other == START.other


def test_what_was_lost_is_to_the_byte_what_others_and_live_tensors_grew_by() -> None:
    numbers = random.Random(0)
    for _ in range(100):
        then, now = (MemoryReading(80_000, *(numbers.randrange(40_000) for _ in range(3))) for _ in range(2))

        assert then.usable - now.usable == (now.other - then.other) + (now.allocated - then.allocated)


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        (
            OTHERS_TOOK,
            "mostly another process on the card: memory used by others +3,000 MiB, live tensors of this process +0 "
            "MiB, unused parts of split blocks +0 MiB; `nvidia-smi` names it, and the scheduler can give the whole "
            "card to one job; in a fit's first epoch this process's own kernels count here too",
        ),
        (
            TENSORS_GREW,
            "mostly growth of live tensors: memory used by others +0 MiB, live tensors of this process +3,000 MiB, "
            "unused parts of split blocks +0 MiB; look for tensors that are kept over steps, such as a list of losses "
            "that were not detached",
        ),
        (
            SPLIT_UP,
            "mostly fragmentation of this process's own pool: memory used by others +0 MiB, live tensors of this "
            "process +0 MiB, unused parts of split blocks +3,000 MiB; these serve no large tensor, and "
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True lets torch join them",
        ),
    ],
)
def test_the_cause_is_named_with_its_figures(now: MemoryReading, cause: str) -> None:
    assert MemoryDrift(START, now).is_beyond(0.2)
    assert MemoryDrift(START, now).cause(0.2) == cause


@pytest.mark.parametrize(
    ("others_mib", "tensors_mib", "named"),
    [(2_000, 1_000, "another process"), (1_000, 2_000, "live tensors"), (4_000, -1_000, "another process")],
)
def test_of_two_causes_the_larger_is_named_and_both_are_told(others_mib: int, tensors_mib: int, named: str) -> None:
    now = mib(20_000, 9_500 - others_mib - tensors_mib, 1_500 + tensors_mib, 1_000 + tensors_mib)
    cause = MemoryDrift(START, now).cause(0.2)

    assert cause.split(":")[0].endswith(named) or cause.split(":")[0].endswith(f"{named} on the card")
    assert f"others {others_mib:+,} MiB, live tensors of this process {tensors_mib:+,} MiB" in cause


def test_of_what_no_longer_serves_large_tensors_the_largest_part_is_the_cause() -> None:
    """Others took 1,900 of 10,000 MiB, below the threshold; 200 MiB of splinters exceed it and are not to blame."""
    others = MemoryDrift(START, mib(20_000, 7_600, 1_500, 1_000, inactive_split=200))
    splinters = MemoryDrift(START, mib(20_000, 6_000, 4_500, 1_000, inactive_split=3_000))
    both = MemoryDrift(START, mib(20_000, 4_000, 4_500, 1_000, inactive_split=3_000))

    assert not others.share > 0.2
    assert others.is_beyond(0.2)
    assert others.cause(0.2).startswith("mostly another process on the card: memory used by others +1,900 MiB")
    assert splinters.cause(0.2).startswith("mostly fragmentation of this process's own pool: ")
    # A quarter of the usable memory is gone, and splinters are usable.
    assert both.cause(0.2).startswith("mostly another process on the card: memory used by others +2,500 MiB")


def test_a_drift_at_the_threshold_is_not_beyond_it_and_one_byte_more_is() -> None:
    then = MemoryReading(total=10_000, device_free=1_000, reserved=0, allocated=0)

    def now(device_free: int, inactive_split: int = 0) -> MemoryDrift:
        return MemoryDrift(then, MemoryReading(10_000, device_free, 0, 0, inactive_split))

    assert now(700).share == 0.3
    assert not now(700).is_beyond(0.3)
    assert now(699).is_beyond(0.3)
    assert not now(1_000, inactive_split=300).is_beyond(0.3)
    assert now(1_000, inactive_split=301).is_beyond(0.3)


def test_a_gain_is_a_negative_drift_and_of_a_full_card_nothing_can_be_lost() -> None:
    full = MemoryReading(total=10_000, device_free=0, reserved=500, allocated=500)

    assert MemoryDrift(OTHERS_TOOK, START).share == pytest.approx(-3 / 7)
    assert MemoryDrift(full, START).share == 0.0


def test_a_reading_is_what_the_driver_and_torch_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda _: {"inactive_split_bytes.all.current": 7})

    reading = read_memory(torch.device("cuda:0"))

    assert reading == MemoryReading(total=1000, device_free=100, reserved=50, allocated=20, inactive_split=7)
    assert (reading.usable, reading.other) == (130, 850)
