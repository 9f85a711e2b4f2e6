"""Interposition on the `os` module: every call that a save makes on files below a folder, in order.

A hook sees each call before it happens and decides: let it pass, fail it, write half of it, or die. Files that are
opened without `os` (by `open`, as MLflow does) show as one call each, and what is written into them does not.
"""

import builtins
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# By what they act on: a path, two of them, or a descriptor.
_ON_PATH = ("open", "mkdir", "rmdir", "unlink", "remove", "stat", "lstat", "readlink", "scandir", "listdir", "truncate")
_ON_TWO = ("replace", "rename", "link", "symlink")
_ON_DESCRIPTOR = (
    *("write", "pwrite", "writev", "pwritev", "ftruncate", "posix_fallocate", "fsync", "fdatasync", "close"),
    *("fstat", "read", "readv", "pread", "preadv", "readinto", "lseek"),
)
_LOOKING = frozenset({"stat", "lstat", "readlink", "scandir", "listdir", "fstat", "lseek"})
_READING = frozenset({"read", "readv", "pread", "preadv", "readinto"})


@dataclass(frozen=True, slots=True)
class Call:
    """One call, about to happen.

    Attributes:
        index: Among the calls on files below the folder.
        name: Of the function of `os`; "builtins.open" where a file is opened without it.
        paths: What it acts on, absolute; for a descriptor the path under which it was opened.
        arguments: Positional arguments.
        flags: Of `os.open`, else 0.
    """

    index: int
    name: str
    paths: tuple[str, ...]
    arguments: tuple[Any, ...]
    flags: int = 0

    @property
    def reads(self) -> bool:
        """It changes nothing on the disk."""
        opens_to_read = self.name == "open" and not self.flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
        return opens_to_read or self.name in _LOOKING | _READING

    @property
    def on_descriptor(self) -> bool:
        """It acts on an open file."""
        return self.name in _ON_DESCRIPTOR

    def __str__(self) -> str:
        """For a table's example."""
        return f"call {self.index}, {self.name}({', '.join(Path(path).name for path in self.paths)})"


Hook = Callable[[Call, Callable[..., Any]], Any]


@contextmanager
def interposed(folder: Path, hook: Hook) -> Iterator[None]:
    """Within it, `hook(call, proceed)` answers for each call on files below `folder`.

    `proceed()` makes the call as it was meant, `proceed(*arguments)` with other positional arguments.
    """
    interposition = _Interposition(folder, hook)
    patched = [(os, name) for name in (*_ON_PATH, *_ON_TWO, *_ON_DESCRIPTOR) if hasattr(os, name)]
    patched += [(io, "open"), (builtins, "open")]
    before = [(module, name, getattr(module, name)) for module, name in patched]
    try:
        for module, name, real in before:
            setattr(module, name, interposition.wrap(name if module is os else "builtins.open", real))
        yield
    finally:
        for module, name, real in before:
            setattr(module, name, real)


def record(folder: Path, save: Callable[[], object]) -> list[Call]:
    """Calls that a save makes."""
    calls: list[Call] = []

    def note(call: Call, proceed: Callable[..., Any]) -> Any:
        calls.append(call)
        return proceed()

    with interposed(folder, note):
        save()
    return calls


class _Interposition:
    """Numbers the calls, and knows under which path a descriptor was opened."""

    def __init__(self, folder: Path, hook: Hook) -> None:
        self._root = os.path.abspath(folder)  # noqa: PTH100 -- links are not to be followed
        self._hook = hook
        self._opened: dict[int, str] = {}
        self._count = 0

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            paths = self._paths(name, arguments, options)
            if not any(path == self._root or path.startswith(self._root + os.sep) for path in paths):
                return real(*arguments, **options)
            flags = options.get("flags", arguments[1] if len(arguments) > 1 else 0) if name == "open" else 0
            described = Call(self._count, name, paths, arguments, flags)
            self._count += 1
            if name == "close":  # also if the hook fails it: the number may come again, for another file
                self._opened.pop(arguments[0], None)
            result = self._hook(described, lambda *others: real(*(others or arguments), **options))
            if name == "open":
                self._opened[result] = paths[0]
            return result

        return call

    def _paths(self, name: str, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[str, ...]:
        if name in _ON_TWO:
            folders = (options.get("src_dir_fd"), options.get("dst_dir_fd", options.get("dir_fd")))
            # The target of a symbolic link is text, not a file that is touched.
            both = tuple(map(self._absolute, arguments[:2], folders))
            return both[1:] if name == "symlink" else both
        if not arguments and name != "builtins.open":
            return (self._absolute(options.get("path", "."), options.get("dir_fd")),)
        target = arguments[0] if arguments else options.get("file", "")
        return (self._absolute(target, options.get("dir_fd")),)

    def _absolute(self, target: Any, folder: int | None = None) -> str:
        if isinstance(target, int):
            return self._opened.get(target, "")
        path = os.fsdecode(target)
        base = self._opened.get(folder, "") if folder is not None else ""
        return os.path.abspath(os.path.join(base, path))  # noqa: PTH100, PTH118 -- as above
