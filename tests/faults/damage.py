"""Damage to bytes at rest: flipped bits, cut files, pages and tails of zeros.

Models media errors, torn writes of a parallel filesystem and interrupted copies. Each case damages one file in
place, tries a door, and undoes the damage. A hit is a refusal; what was not refused (a flip in a part of MLmodel that
nothing uses) has to be equal in everything that the load used.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from faults import doors
from faults.crew import Shard
from faults.subjects import Saved, mlmodel_parts
from faults.table import Tally, Wrong
from graphids import __version__
from mlflow_graphids.verification.manifest import wheel_file

PAGE_BYTES = 4096
CHECKPOINT = "x.ckpt"
SIDECAR = "x.ckpt.sha256"
# Percent of the cases. By size alone a sidecar would get 3 of 10,000 flips; so each file has a share, and within it
# the place is uniform over its bytes. Small files cannot lose a 4 KiB page, yet all of their tail.
SHARES = {
    CHECKPOINT: 40,
    SIDECAR: 6,
    "weights.safetensors": 30,
    "model.json": 8,
    "manifest.json": 8,
    "MLmodel": 8,
    wheel_file(__version__): 4,
}
_VERIFY_EVERY = 3  # of the cases of a model, one goes through `graphids verify`, the others through `load_model`

Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit, anywhere."""
    position = chance.randrange(len(data) * 8)
    damaged = bytearray(data)
    damaged[position // 8] ^= 1 << position % 8
    return bytes(damaged)


def truncate(data: bytes, chance: random.Random) -> bytes:
    """Any shorter length, down to an empty file."""
    return data[: chance.randrange(len(data))]


def zero_page(data: bytes, chance: random.Random) -> bytes:
    """One aligned page, as a lost write leaves it."""
    page = chance.randrange((len(data) + PAGE_BYTES - 1) // PAGE_BYTES) * PAGE_BYTES
    length = len(data[page : page + PAGE_BYTES])
    return data[:page] + bytes(length) + data[page + length :]


def zero_tail(data: bytes, chance: random.Random) -> bytes:
    """The right length, but only zeros from some byte on: allocated, and never written."""
    start = chance.randrange(len(data))
    return data[:start] + bytes(len(data) - start)


def lengthen(data: bytes, chance: random.Random) -> bytes:
    """Bytes after the end, as two copies into one file leave them."""
    return data + data[: chance.randrange(1, min(len(data), PAGE_BYTES) + 1)]


def flips(shard: Shard) -> Tally:
    """Single-bit flips."""
    return _inject(shard, (flip,))


def cuts(shard: Shard) -> Tally:
    """Truncations, zeroed pages and tails, and bytes after the end."""
    return _inject(shard, (truncate, zero_page, zero_tail, lengthen))


def write_subject(saved: Saved, folder: Path) -> None:
    """Checkpoint with sidecar, and the model's folder `model`."""
    from graphids._fs import atomic_save

    atomic_save(saved.checkpoint, folder / CHECKPOINT)
    write_files(saved.model, folder / "model")


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Files by relative path."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _inject(shard: Shard, damages: tuple[Damage, ...]) -> Tally:
    tally, chance, saved = Tally(), shard.random(), shard.subjects.old
    write_subject(saved, shard.folder)
    names, shares = zip(*SHARES.items(), strict=True)
    for case in range(shard.cases):
        name, damage = chance.choices(names, shares)[0], chance.choice(damages)
        path = shard.folder / name if name in (CHECKPOINT, SIDECAR) else shard.folder / "model" / name
        whole = path.read_bytes()
        damaged = damage(whole, chance)
        with _damaged(path, whole, damaged):
            hit, wrong, answer = _ask(shard, name, damaged, case)
        if damaged == whole:  # a page that was zero before
            hit, wrong = False, "false_refusals" if hit else wrong
        tally.add(hit=hit, wrong=wrong, example=f"{damage.__name__} of {name}, case {case}: {answer}")
    return tally


@contextmanager
def _damaged(path: Path, whole: bytes, damaged: bytes) -> Iterator[None]:
    path.write_bytes(damaged)
    try:
        yield
    finally:
        path.write_bytes(whole)


def _ask(shard: Shard, name: str, damaged: bytes, case: int) -> tuple[bool, Wrong | None, str]:
    """Whether a door refused, and what was wrong with its answer."""
    saved, folder = shard.subjects.old, shard.folder
    if name in (CHECKPOINT, SIDECAR):
        answer = doors.resume(folder / CHECKPOINT)
        equal = answer.kind == "loaded" and shard.subjects.checkpoint_of(answer.used) is saved
    elif case % _VERIFY_EVERY == 0:
        # `verify` uses nothing, so everything that a load would use has to be as saved.
        answer = doors.verify(folder / "model", saved.digest)
        equal = answer.kind == "loaded" and name == "MLmodel" and mlmodel_parts(damaged) == saved.described
    else:
        answer = doors.load_model(folder / "model", saved.digest)
        equal = answer.kind == "loaded" and shard.subjects.model_of(answer.used) is saved
    if answer.kind == "loaded":
        return False, None if equal else "undetected", "loaded"
    return answer.kind == "refused", None if answer.kind == "refused" else "other_errors", answer.message
