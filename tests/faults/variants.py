"""Deliberately broken variants of the code under test, and the faults that have to find each of them.

A suite that is green proves something only if it turns red when a protection is taken away.
"""

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from faults import forgery, kills, power_loss, races
from faults.crew import Shard
from faults.table import Tally
from graphids import _fs
from graphids._fs import files, publish
from graphids.core.callbacks import checkpoint
from mlflow_graphids.verification import uri


@dataclass(frozen=True, slots=True)
class Probe:
    """A fault in a small form: `cases` of one shard of it, again with other numbers up to `rounds` times."""

    run: Callable[[Shard], Tally]
    cases: int
    number: int = 0
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Variant:
    """One protection taken away.

    Attributes:
        name: What is broken.
        broken: Breaks it, within the context.
        probes: Faults by name; each of them alone has to find it.
    """

    name: str
    broken: Callable[[], AbstractContextManager[object]]
    probes: dict[str, Probe]


class _OsWithoutFsync:
    """The `os` module, whose `fsync` does nothing; everything else is looked up when it is called."""

    @staticmethod
    def fsync(descriptor: int) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _without_fsync() -> AbstractContextManager[object]:
    return patch.object(publish, "os", _OsWithoutFsync())


def _hash_then_reopen() -> AbstractContextManager[object]:
    """The bytes that are parsed come from opening the path a second time."""
    read = files.OpenedFile.read

    def read_again(self: files.OpenedFile, *arguments: Any) -> tuple[memoryview, str]:
        _, digest = read(self)
        with files.opened(self.path) as file:
            return read(file, *arguments)[0], digest

    return patch.object(files.OpenedFile, "read", read_again)


@contextmanager
def _sidecar_after_rename() -> Iterator[None]:
    """The checkpoint is renamed into place first, then its sidecar."""

    def save(obj: object, path: str | os.PathLike[str]) -> str:
        path, data = Path(path), obj if isinstance(obj, bytes) else _serialized(obj)
        digest = files.digest_bytes(data)
        publish.publish_bytes(path, data)
        publish.publish_bytes(f"{path}.sha256", f"{digest}  {path.name}\n".encode())
        return digest

    with patch.object(_fs, "atomic_save", save), patch.object(checkpoint, "atomic_save", save):
        yield


def _serialized(obj: object) -> bytes:
    buffer = BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def _mapped() -> AbstractContextManager[object]:
    """The file itself is hashed and parsed in place: a later write to it changes the weights."""

    def read(self: files.OpenedFile, *_: Any) -> tuple[memoryview, str]:
        data = memoryview(mmap.mmap(self.descriptor, self.size, access=mmap.ACCESS_COPY))
        return data, files.digest_bytes(data)

    return patch.object(files.OpenedFile, "read", read)


def _digest_only_in_the_folder() -> AbstractContextManager[object]:
    """The model is held to the digest in its own folder, whatever the caller or the registry says."""
    verify = uri.verify_folder

    def verify_against_itself(folder: Path, _: str | None, origin: str, **options: Any) -> Any:
        return verify(folder, None, origin, **options)

    return patch.object(uri, "verify_folder", verify_against_itself)


# As few cases as find a variant in one round or two; more rounds follow where it is a matter of luck.
_SWAPPED_MODEL = Probe(races.swaps, cases=60, number=0, rounds=15)
_SWAPPED_CHECKPOINT = Probe(races.swaps, cases=45, number=1, rounds=20)
_POWER_LOSS = Probe(power_loss.power_loss, cases=40, number=1)
_KILLS = Probe(kills.kills, cases=10, rounds=10)
_READERS = Probe(races.readers, cases=2, rounds=6)
_FORGERIES = Probe(forgery.forgeries, cases=4)
VARIANTS = (
    Variant("no fsync", _without_fsync, {"power loss": _POWER_LOSS}),
    Variant(
        "hash, then reopen",
        _hash_then_reopen,
        {"swapped model": _SWAPPED_MODEL, "swapped checkpoint": _SWAPPED_CHECKPOINT},
    ),
    Variant("sidecar after rename", _sidecar_after_rename, {"kills": _KILLS, "readers": _READERS}),
    Variant("mapped load", _mapped, {"swapped model": _SWAPPED_MODEL}),
    Variant("digest only in the folder", _digest_only_in_the_folder, {"forged models": _FORGERIES}),
)
INTACT = Variant(
    "nothing broken",
    nullcontext,
    {fault: probe for variant in VARIANTS for fault, probe in variant.probes.items()},
)
