"""Bytes of a checkpoint to tensors and back; it holds nothing but tensors and plain values.

torch is imported when the first checkpoint is parsed or serialized, not before.
"""

import contextlib
import fcntl
import io
import mmap
import os
import re
from typing import Any

from graphids._fs.files import exists, private_memory

# From here on a mapping beats reading: making one costs about 0.3 ms.
_MAP_FROM_BYTES = 2 << 20
_ZIP_MAGIC = b"PK\x03\x04"


class MappableMemory:
    """Private memory that `torch.load` can map, instead of copying tensors out of it.

    On Linux, large checkpoints are read into an anonymous file, which is sealed before it is parsed.
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._descriptor: int | None = None
        self._mapping: mmap.mmap | None = None

    def allocate(self, size: int) -> memoryview:
        """Writable memory of that many bytes; it invalidates what was allocated before."""
        self._mapping = None
        if size < _MAP_FROM_BYTES or not hasattr(os, "memfd_create") or not exists("/proc/self/fd"):
            return private_memory(size)
        if self._descriptor is None:
            self._descriptor = os.memfd_create("graphids-verified", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            self._stack.callback(os.close, self._descriptor)
        os.ftruncate(self._descriptor, size)
        self._mapping = mmap.mmap(self._descriptor, size)
        return memoryview(self._mapping)

    def sealed_path(self, data: memoryview) -> str | None:
        """Path of the anonymous file that holds `data`, immutable from now on; None if `data` is not in one."""
        if self._descriptor is None or self._mapping is None or data.obj is not self._mapping:
            return None
        data.release()
        self._mapping.close()
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        return f"/proc/self/fd/{self._descriptor}"


def parse(data: memoryview, memory: MappableMemory | None = None, map_location: Any = "cpu") -> Any:
    """Load what `torch.save` wrote, with `weights_only=True`; in place if `memory` holds `data`, which it releases."""
    import torch

    is_zip = bytes(data[:4]) == _ZIP_MAGIC  # the format of torch.save since 1.6; only it can be mapped
    path = memory.sealed_path(data) if memory and is_zip else None
    if path is None:
        return torch.load(io.BytesIO(data), map_location=map_location, weights_only=True)
    return torch.load(path, map_location=map_location, weights_only=True, mmap=True)


def serialize(obj: object) -> memoryview:
    """The bytes that `torch.save` writes."""
    import torch

    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getbuffer()


def unparsable(error: Exception) -> str:
    """Why torch did not load a checkpoint, without its advice to unpickle it anyway."""
    told = re.search(r"WeightsUnpickler error: (.+)", str(error)) or re.match(r"\s*(.+?)(?:\. |\n|$)", str(error))
    return told[1].strip() if told else type(error).__name__
