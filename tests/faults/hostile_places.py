"""What a hostile folder may hold: files replaced by links, FIFOs, devices and huge files, other owners, other names."""

import hashlib
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphids.exit_codes import EXIT_NOT_SENT, EXIT_NOT_VERIFIED, EXIT_OK, EXIT_REFUSED

CONTENT = b"what the run had to say"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
_HUGE = 1 << 36  # sparse: it takes no room, only whoever reads it
REFUSALS = frozenset({EXIT_REFUSED, EXIT_NOT_VERIFIED, EXIT_NOT_SENT})
EITHER = REFUSALS | {EXIT_OK}
_NOBODY = 65534

Arrange = Callable[[Path, "Scene"], None]
Case = tuple[str, Callable[["Scene"], frozenset[int]], Callable[["Scene"], None]]


@dataclass(frozen=True)
class Scene:
    """Where a case plays.

    Attributes:
        folder: Of the case; it becomes the working directory.
        outside: A folder that nothing may change.
        store: URI of the configured store.
        run_id: A run in it.
        model: A saved model, of `digest`.
        digest: The model's.
        server: Where nobody may call.
    """

    folder: Path
    outside: Path
    store: str
    run_id: str
    model: Path
    digest: str
    server: socket.socket

    @property
    def victim(self) -> Path:
        """A file outside."""
        return self.outside / "victim"


def _linked(path: Path, scene: Scene) -> None:
    _gone(path)
    path.symlink_to(scene.victim)


def hard_linked(path: Path, scene: Scene) -> None:
    if path.is_file():
        scene.victim.write_bytes(path.read_bytes())
    _gone(path)
    path.hardlink_to(scene.victim)


def _fifo(path: Path, _: Scene) -> None:
    _gone(path)
    os.mkfifo(path)


def _device(path: Path, _: Scene) -> None:
    _gone(path)
    path.symlink_to("/dev/zero")


def _folder(path: Path, _: Scene) -> None:
    _gone(path)
    path.mkdir()


def huge(path: Path, _: Scene) -> None:
    _gone(path)
    with path.open("wb") as file:
        file.truncate(_HUGE)


def _gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


PLACED: tuple[Arrange, ...] = (_linked, _fifo, _device, _folder, huge)


def owned_by_another(folder: Path) -> frozenset[int]:
    """Refused where it can be arranged: only root gives folders away."""
    if os.geteuid():
        return EITHER
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    return REFUSALS
