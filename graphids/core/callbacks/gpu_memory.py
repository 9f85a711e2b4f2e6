"""GPU memory as a process can use it: a reading, and how the memory has changed since an earlier one."""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch

MIB = 2**20


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Memory of one device as one process sees it, in bytes.

    Attributes:
        total: Memory of the card.
        device_free: What the driver can still give to any process.
        reserved: This process's pool: torch keeps freed blocks in it instead of giving them back.
        allocated: The part of the pool that live tensors occupy.
        inactive_split: Unused parts of blocks of which another part is in use. They cannot go back to the driver, and
            a tensor larger than such a part does not fit into it.
    """

    total: int
    device_free: int
    reserved: int
    allocated: int
    inactive_split: int = 0

    @property
    def usable(self) -> int:
        """What this process can still use: the driver's free memory and its own cached pool.

        The pool is not free to others, but torch serves the next tensors from it: without it the framework's cache
        would be mistaken for a leak.
        """
        return self.device_free + self.reserved - self.allocated

    @property
    def other(self) -> int:
        """What is used on the card outside this process's pool: other processes, and this one's CUDA context.

        The context takes some 0.5 GiB and grows by a little while the first epoch loads kernels.
        """
        return self.total - self.device_free - self.reserved

    @property
    def unsplit(self) -> int:
        """The part of the usable memory that can also hold large tensors."""
        return self.usable - self.inactive_split


MemoryReader = Callable[[], MemoryReading]


def read_memory(device: torch.device) -> MemoryReading:
    """The reading of a CUDA device, now."""
    device_free, total = torch.cuda.mem_get_info(device)
    stats = torch.cuda.memory_stats(device)
    return MemoryReading(
        total=total,
        device_free=device_free,
        reserved=torch.cuda.memory_reserved(device),
        allocated=torch.cuda.memory_allocated(device),
        # The backend cudaMallocAsync splits no blocks.
        inactive_split=stats.get("inactive_split_bytes.all.current", 0),
    )


@dataclass(frozen=True, slots=True)
class MemoryDrift:
    """How a device's usable memory has changed since its baseline.

    `usable = total - other - allocated`: what is lost equals, to the byte, what `other` and `allocated` grew by.
    """

    baseline: MemoryReading
    now: MemoryReading

    @property
    def share(self) -> float:
        """Share of the baseline's usable memory that is gone; negative for a gain, 0 where there was none to lose."""
        return _share_lost(self.baseline.usable, self.now.usable)

    def is_beyond(self, threshold: float) -> bool:
        """Whether more than the threshold is gone, of usable memory or of its part that can hold large tensors."""
        return self.share > threshold or _share_lost(self.baseline.unsplit, self.now.unsplit) > threshold

    def cause(self, threshold: float) -> str:
        """The likely cause of a drift beyond the threshold, with its numbers, and what to do about it.

        The largest part of the loss is named: of usable memory what `other` and `allocated` grew by; where that is
        within the threshold, of the part that can hold large tensors, which `inactive_split` reduces as well.
        """
        then, now = self.baseline, self.now
        other, allocated = now.other - then.other, now.allocated - then.allocated
        split = now.inactive_split - then.inactive_split
        numbers = (
            f"memory used by others {other / MIB:+,.0f} MiB, live tensors of this process {allocated / MIB:+,.0f} MiB, "
            f"unused parts of split blocks {split / MIB:+,.0f} MiB"
        )
        fragmentation = split if self.share <= threshold else 0
        if other >= max(allocated, fragmentation):
            return (
                f"mostly another process on the card: {numbers}; `nvidia-smi` names it, and the scheduler can give the "
                "whole card to one job; in a fit's first epoch this process's own kernels count here too"
            )
        if allocated >= fragmentation:
            return (
                f"mostly growth of live tensors: {numbers}; look for tensors that are kept over steps, such as a list "
                "of losses that were not detached"
            )
        return (
            f"mostly fragmentation of this process's own pool: {numbers}; these serve no large tensor, and "
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True lets torch join them"
        )


def _share_lost(before: int, now: int) -> float:
    return (before - now) / before if before > 0 else 0.0


NUM_FIELDS = len(MemoryReading.__slots__)


def to_numbers(reading: MemoryReading) -> list[int]:
    """The reading as plain numbers, for other ranks; `MemoryReading(*numbers)` is the inverse."""
    return list(astuple(reading))
