"""An `index.json` beside captures or in a folder above: what it says of one of them."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from graphids.core.captures.capture_file import open_capture
from graphids.core.captures.intervals import Intervals, parse_intervals
from graphids.core.frames import LogFormatError

NO_ATTACK = "none"  # the kind that an index gives to a recording without attacks
_MAX_INDEX_BYTES = 64 << 20
_PARENTS = 4  # how many folders above a capture are searched for an index


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What an `index.json` says of one capture.

    Attributes:
        index: The file that says so.
        kind: Attack kind, `NO_ATTACK` for a recording without one, None where it is not given.
        source: Recording that the capture was made from, None where it is not given.
        intervals: In which the attack ran.
        frames: Number of frames in the capture, None where it is not given.
        attack: Number of attacked frames among them, None where it is not given.
    """

    index: Path
    kind: str | None
    source: str | None
    intervals: Intervals
    frames: int | None
    attack: int | None


def index_entry(path: Path) -> IndexEntry | None:
    """The entry for `path` in the nearest `index.json` beside it or in a folder above that names it."""
    path = path.absolute()
    for folder in list(path.parents)[: _PARENTS + 1]:
        index = folder / "index.json"
        if not index.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        named = [entry for entry in read_index(index) if entry["file"] == name]
        if len(named) > 1:
            raise LogFormatError(f"{index}: names {name!r} {len(named)} times. Expected one entry; remove the others.")
        if named:
            return _parse_entry(index, name, named[0])
    return None


def read_index(index: Path) -> list[dict[str, object]]:
    """Entries of an index, each with a `file`; none where it is JSON of some other kind, which names no files.

    Raises:
        LogFormatError: If it is not JSON, or an entry is malformed.
    """
    with open_capture(index) as stream:
        text = stream.read(_MAX_INDEX_BYTES + 1)
    if len(text) > _MAX_INDEX_BYTES:
        raise LogFormatError(f"{index}: has more than {_MAX_INDEX_BYTES} bytes. Expected an index of captures.")
    try:
        entries = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise LogFormatError(f"{index}: not JSON ({error}). Correct the file or move it away.") from error
    if not isinstance(entries, list) or not any(isinstance(entry, dict) and "file" in entry for entry in entries):
        return []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise LogFormatError(
                f"{index}: entry {number} is {str(entry)[:120]}. Expected an object with the name of a `file`, as the "
                "others have; correct or remove it."
            )
    return entries


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    repeated = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
    if repeated:
        raise ValueError(f"the key {repeated[0]!r} occurs twice in one object")
    return dict(pairs)


def _parse_entry(index: Path, name: str, entry: dict[str, object]) -> IndexEntry:
    intervals = parse_intervals(entry.get("intervals"), entry.get("time"), f"{index}: the entry of {name!r}")
    for key, expected in (("kind", str), ("source", str), ("frames", int), ("attack", int)):
        value = entry.get(key)
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if value is not None and not (is_count if expected is int else isinstance(value, expected)):
            raise LogFormatError(
                f"{index}: {key} of {name!r} is {value!r}. Expected a {'string' if expected is str else 'count'}."
            )
    kind, source, frames, attack = (entry.get(key) for key in ("kind", "source", "frames", "attack"))
    return IndexEntry(index, kind and str(kind).lower(), source, intervals, frames, attack)  # type: ignore[arg-type]
