"""Readings of a card that tests write down in MiB, and what has happened on it since."""

from collections.abc import Callable, Iterable

from graphids.core.callbacks import MemoryReading
from graphids.core.callbacks.gpu_memory import MIB


def mib(total: int, device_free: int, reserved: int, allocated: int, inactive_split: int = 0) -> MemoryReading:
    return MemoryReading(*(value * MIB for value in (total, device_free, reserved, allocated, inactive_split)))


# 10,000 MiB usable: 9,500 that nobody has and 500 of the own pool. Others have 9,000.
START = mib(total=20_000, device_free=9_500, reserved=1_500, allocated=1_000)
# 3,000 MiB less, for three reasons.
OTHERS_TOOK = mib(total=20_000, device_free=6_500, reserved=1_500, allocated=1_000)
TENSORS_GREW = mib(total=20_000, device_free=6_500, reserved=4_500, allocated=4_000)
SPLIT_UP = mib(total=20_000, device_free=6_500, reserved=4_500, allocated=1_000, inactive_split=3_000)
# The framework keeps what it got: nothing is lost.
CACHED = mib(total=20_000, device_free=6_500, reserved=4_500, allocated=1_000)


def usable_mib(value: int) -> MemoryReading:
    """A card of which this process can use so much, and others have the rest."""
    return mib(total=20_000, device_free=value, reserved=0, allocated=0)


def reader(readings: Iterable[MemoryReading]) -> Callable[[], MemoryReading]:
    """One reading after the other: when the fit starts, then after each epoch."""
    return iter(readings).__next__
