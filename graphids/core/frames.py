"""Frames: the columns every reader produces and every window is cut from.

One capture is one recording of one bus. Frames keep the recorded order, which is the order the bus carried them in;
a recorder's clock may step back, wrap or be set, and the timestamps then say so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NORMAL = "normal"
UNNAMED_KIND = "attack"  # the kind of an attack that nothing names
MAX_PAYLOAD_BYTES = 8
MAX_STANDARD_ID = 0x7FF
MAX_EXTENDED_ID = 0x1FFF_FFFF
# Bit 31 of a node key: 0x123 with 11 bits and 0x123 with 29 bits are two identifiers on one bus.
EXTENDED_BIT = np.uint32(0x8000_0000)
_HEX_ID = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,8})")


# A step back beyond the jitter of buffers, which is milliseconds, and a silence that no ignition cycle has: the clock
# wrapped or was set. The shortest clock in the field counts the fraction of a second and goes back by nearly 1 s.
JUMP_BACK_S, JUMP_AHEAD_S = 0.5, 3600.0
# Year 5138. Milliseconds since 1970 lie beyond it, seconds of any recording before it.
MAX_TIMESTAMP_S = 1e11


class DataError(ValueError):
    """Captures that cannot be used as asked; the message says which, what was found and what to do."""


class LogFormatError(DataError):
    """A capture file does not hold what its format promises; the message names file, line, found and expected."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Columns of `n` frames, all of one length.

    Attributes:
        timestamp: float64 [n], seconds, as recorded (absolute or zero-based).
        arbitration_id: uint32 [n], 11 bits (`< 0x800`) or 29 bits (`< 0x2000_0000`).
        dlc: uint8 [n], payload length in bytes, 0 to 8. A remote frame carries no payload and has 0.
        payload: uint8 [n, 8], zero beyond `dlc`.
        is_extended: bool [n], True for a 29-bit identifier.
        channel: uint8 [n], index into `channels`.
        channels: Bus names as recorded; `("",)` where the file names none.
        attack: uint8 [n], 1 for an injected or altered frame; None where the capture has no labels.
        attack_kind: int16 [n], index into `kinds`; None exactly where `attack` is None. It can be non-zero where
            `attack` is 0: while a message is suppressed, the frames of the interval belong to the attack although
            none of them was injected.
        kinds: `("normal", ...)`, the attack kinds that this capture names.
    """

    timestamp: NDArray[np.float64]
    arbitration_id: NDArray[np.uint32]
    dlc: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    is_extended: NDArray[np.bool_]
    channel: NDArray[np.uint8]
    channels: tuple[str, ...] = ("",)
    attack: NDArray[np.uint8] | None = None
    attack_kind: NDArray[np.int16] | None = None
    kinds: tuple[str, ...] = (NORMAL,)

    def __len__(self) -> int:
        return len(self.timestamp)

    def take(self, rows: slice | NDArray[np.bool_] | NDArray[np.int64]) -> "Frames":
        """The chosen rows; a slice gives views, not copies."""
        columns: dict[str, Any] = {
            f.name: value[rows] for f in fields(self) if isinstance(value := getattr(self, f.name), np.ndarray)
        }
        return replace(self, **columns)

    def node_key(self) -> NDArray[np.uint32]:
        """Identity of the sender as a graph node, uint32 [n]: arbitration ID, bit 31 set for 29-bit identifiers."""
        return self.arbitration_id | (self.is_extended.astype(np.uint32) << np.uint32(31))


@dataclass(frozen=True, slots=True)
class Capture:
    """One recording of one bus.

    Attributes:
        name: Path relative to what the caller asked for, with `:channel` appended where a file holds several buses.
        frames: Its frames, all of one channel.
        source: Recording that the frames come from. Captures of one source share frames (attacks laid over the same
            drive), so a split never separates them. The capture's own name where nothing else is known.
        counts: What the reader met beside frames, by name (`error_frames`, `remote_frames`, `bad_lines`,
            `comment_lines` ...).
        path: The file; None for a capture that was simulated in memory.
    """

    name: str
    frames: Frames
    source: str
    counts: dict[str, int] = field(default_factory=dict)
    path: Path | None = None


_COLUMNS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "timestamp": (np.float64, ()),
    "arbitration_id": (np.uint32, ()),
    "dlc": (np.uint8, ()),
    "payload": (np.uint8, (MAX_PAYLOAD_BYTES,)),
    "is_extended": (np.bool_, ()),
    "channel": (np.uint8, ()),
}


def num_attacked(frames: Frames) -> int:
    """How many frames belong to an attack: injected, altered, or of an interval that an attack silenced."""
    if frames.attack is None or frames.attack_kind is None:
        return 0
    return int(((frames.attack != 0) | (frames.attack_kind != 0)).sum())


def require_valid(frames: Frames, where: str) -> None:
    """Hold frames that foreign code made to what `Frames` says of its columns, labels aside.

    Args:
        frames: As made.
        where: Where they are from, for the error.

    Raises:
        DataError: Naming the column, and the row where it is a value.
    """
    for name, (dtype, per_frame) in _COLUMNS.items():
        column = getattr(frames, name)
        expected = f"{np.dtype(dtype)} {[len(frames.timestamp), *per_frame]}"
        found = f"{column.dtype} {list(column.shape)}" if isinstance(column, np.ndarray) else type(column).__name__
        if found != expected:
            raise DataError(f"{where}: column {name!r} is {found}, expected {expected}.")
    id_limit = np.where(frames.is_extended, MAX_EXTENDED_ID, MAX_STANDARD_ID)
    beyond_dlc = np.arange(MAX_PAYLOAD_BYTES) >= frames.dlc[:, None]
    for wrong, name, rule in (
        # `not` around it: NaN compares false with everything.
        (~(np.abs(frames.timestamp) < MAX_TIMESTAMP_S), "timestamp", f"seconds, less than {MAX_TIMESTAMP_S:g}"),
        (frames.arbitration_id > id_limit, "arbitration_id", "at most 0x7FF, or 0x1FFFFFFF where is_extended"),
        (frames.dlc > MAX_PAYLOAD_BYTES, "dlc", f"at most {MAX_PAYLOAD_BYTES}"),
        ((frames.payload.astype(np.bool_) & beyond_dlc).any(axis=1), "payload", "zero beyond dlc"),
        (frames.channel >= len(frames.channels), "channel", f"an index into the channels {frames.channels!r:.80}"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(f"{where}: row {row}: {name} is {getattr(frames, name)[row]}, expected {rule}.")


def is_clock_jump(steps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the recorder's clock wrapped or was set, for steps from frame to frame in seconds, bool of that shape."""
    return (steps < -JUMP_BACK_S) | (steps > JUMP_AHEAD_S)


def unbroken_runs(timestamp: NDArray[np.float64]) -> list[slice]:
    """Rows of one bus between which its clock did not jump, in order; together they hold every row.

    >>> unbroken_runs(np.array([0.9998, 0.9999, 0.0001, 0.0002]))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    jumps = np.flatnonzero(is_clock_jump(np.diff(timestamp))) + 1
    bounds = [0, *map(int, jumps), len(timestamp)]
    return [slice(first, last) for first, last in pairwise(bounds)]


def without_clock_jumps(timestamp: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times of one bus that go on after a jump of its clock where they were before it, as if it had taken no time."""
    steps = np.diff(timestamp)
    is_jump = is_clock_jump(steps)
    return timestamp - np.concatenate(([0.0], np.cumsum(steps * is_jump))) if is_jump.any() else timestamp


def hex_node_key(text: str) -> int:
    """The node key of an arbitration ID that a table gives as hex; -1 if it is none.

    Eight digits mean 29 bits, as does any number above 7FF.

    >>> hex_node_key("1A4"), hex(hex_node_key("000001A4")), hex_node_key("0x20000000")
    (420, '0x800001a4', -1)
    """
    match = _HEX_ID.fullmatch(text)
    number = int(match[1], 16) if match else -1
    if not match or number > MAX_EXTENDED_ID:
        return -1
    return number | (int(EXTENDED_BIT) if len(match[1]) == 8 or number > MAX_STANDARD_ID else 0)


def format_arbitration_id(node_key: int) -> str:
    """Hex as `candump` prints it: three digits for 11 bits, eight for 29 bits.

    >>> format_arbitration_id(0x1A4), format_arbitration_id(0x8000_01A4)
    ('1A4', '000001A4')
    """
    extended = int(node_key) & int(EXTENDED_BIT)
    return f"{int(node_key) & ~int(EXTENDED_BIT):0{8 if extended else 3}X}"


class GrowingFrames:
    """Frames of one file, appended part by part; columns grow in place, so that no part is held twice."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}  # arrays
        self._last: Frames | None = None
        self._length = 0

    def append(self, part: Frames) -> None:
        """Append `part`, whose `channels` and `kinds` begin with those of the parts before it."""
        self._last = part
        begin, self._length = self._length, self._length + len(part)
        for f in fields(part):
            value = getattr(part, f.name)
            if not isinstance(value, np.ndarray):
                continue
            column = self._columns.setdefault(f.name, np.empty((0, *value.shape[1:]), value.dtype))
            if len(column) < self._length:
                # realloc moves pages, it does not copy them, and pages that nothing was written to take no memory.
                column.resize((max(self._length, len(column) * 5 // 4), *value.shape[1:]), refcheck=False)
            column[begin : self._length] = value

    def frames(self) -> Frames:
        """All frames; nothing can be appended afterwards."""
        if self._last is None:
            return no_frames()
        for column in self._columns.values():
            column.resize((self._length, *column.shape[1:]), refcheck=False)
        return replace(self._last, **self._columns)


def no_frames() -> Frames:
    """A recording without a frame."""
    return Frames(
        timestamp=np.empty(0, np.float64),
        arbitration_id=np.empty(0, np.uint32),
        dlc=np.empty(0, np.uint8),
        payload=np.empty((0, MAX_PAYLOAD_BYTES), np.uint8),
        is_extended=np.empty(0, np.bool_),
        channel=np.empty(0, np.uint8),
    )


def concat(parts: Sequence[Frames]) -> Frames:
    """Chunks of one capture in recorded order, joined.

    Raises:
        ValueError: If `parts` is empty, or the parts disagree on channels, kinds or on being labelled.
    """
    if not parts:
        raise ValueError("concat needs at least one part, found none.")
    first = parts[0]
    for part in parts[1:]:
        if (part.channels, part.kinds) != (first.channels, first.kinds):
            raise ValueError(
                f"Frames of one capture have to agree: channels {part.channels} and kinds {part.kinds} follow "
                f"channels {first.channels} and kinds {first.kinds}. Never join two captures: "
                "a window must not span them."
            )
        if (part.attack is None) != (first.attack is None):
            raise ValueError("Frames of one capture are either all labelled or all unlabelled, found both.")
    columns: dict[str, Any] = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])
        for f in fields(first)
        if isinstance(getattr(first, f.name), np.ndarray)
    }
    return replace(first, **columns)
