"""What the bytes of one arbitration ID do, told from what a recording shows of them."""

from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES

FEWEST_FRAMES = 20  # from which a role can be told
_COUNTS = 0.9  # share of the steps of a counter that are its usual one
_CHECKS = 0.9  # share of frames in which a checksum changes
_FEWEST_CHECKSUMS = 64  # values that a checksum takes, or a quarter of the frames
_CHECKSUM_STEP = 60.0  # mean size of its steps; those of 256 random values have 85
_CARRIES = 0.8  # share of the steps of a high byte that are carries of the low one
_WRAP = 100  # a low byte that carries steps back by more


class Role(IntEnum):
    """What a byte does; its number is what a profile stores."""

    ABSENT = 0  # beyond the DLC
    CONSTANT = 1
    VALUE = 2
    HIGH_BYTE = 3  # of a value whose low byte follows
    COUNTER = 4
    CHECKSUM = 5


class Signal(NamedTuple):
    """A number in a payload: its first byte, the most significant one, and how many bytes it has."""

    first: int
    num_bytes: int

    @property
    def limit(self) -> int:
        """The first value that it cannot hold."""
        return 1 << (8 * self.num_bytes)

    def read(self, payload: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Its values in payloads [k, 8], int64 [k]."""
        value = np.zeros(len(payload), np.int64)
        for byte in range(self.first, self.first + self.num_bytes):
            value = (value << 8) | payload[:, byte]
        return value

    def write(self, payload: NDArray[np.uint8], value: NDArray[np.int64]) -> None:
        """Puts values [k] into payloads [k, 8], saturated."""
        value = np.clip(value, 0, self.limit - 1)
        for byte in range(self.first + self.num_bytes - 1, self.first - 1, -1):
            payload[:, byte] = value & 0xFF
            value = value >> 8


def byte_roles(payload: NDArray[np.uint8], dlc: int) -> list[Role]:
    """The role of each of eight bytes.

    Of fewer than `FEWEST_FRAMES` payloads nothing is told but that a byte varies.

    Args:
        payload: uint8 [m, 8], at least one: what the ID says, in the order of time.
        dlc: Its payload length.
    """
    steps = np.diff(payload.astype(np.int64), axis=0).astype(np.int64)
    roles = [Role.ABSENT] * MAX_PAYLOAD_BYTES
    for byte in range(min(dlc, MAX_PAYLOAD_BYTES)):
        roles[byte] = _role(payload[:, byte], steps[:, byte])
    for byte, after in pairwise(range(MAX_PAYLOAD_BYTES)):
        if roles[byte] == roles[after] == Role.VALUE and _carries(steps[:, byte], steps[:, after]):
            roles[byte] = Role.HIGH_BYTE
    return roles


def signals_of(roles: list[Role]) -> tuple[Signal, ...]:
    """The numbers that a message with these roles carries, in the order of their bytes."""
    lone = [
        Signal(byte, 1)
        for byte, role in enumerate(roles)
        if role == Role.VALUE and (byte == 0 or roles[byte - 1] != Role.HIGH_BYTE)
    ]
    pairs = [Signal(byte, 2) for byte, role in enumerate(roles) if role == Role.HIGH_BYTE]
    return tuple(sorted(lone + pairs))


def _role(value: NDArray[np.uint8], step: NDArray[np.int64]) -> Role:
    if not step.any():
        return Role.CONSTANT
    if len(value) >= FEWEST_FRAMES and _counts(step):
        return Role.COUNTER
    return Role.CHECKSUM if len(value) >= FEWEST_FRAMES and _checks(value, step) else Role.VALUE


def _counts(step: NDArray[np.int64]) -> bool:
    """Whether the byte, its low or its high nibble takes the same step nearly always, and not none."""
    for scaled, modulus in ((step, 256), (step, 16), (step // 16, 16)):
        usual = np.bincount(scaled % modulus, minlength=modulus)
        if usual[1:].max() > len(step) * _COUNTS:
            return True
    return False


def _checks(value: NDArray[np.uint8], step: NDArray[np.int64]) -> bool:
    """Whether the byte changes in nearly every frame, by much, and takes very many values: nothing measured does."""
    many = min(_FEWEST_CHECKSUMS, len(value) // 4)
    changes = (step != 0).mean() > _CHECKS
    return bool(changes and len(np.unique(value)) >= many and np.abs(step).mean() > _CHECKSUM_STEP)


def _carries(high: NDArray[np.int64], low: NDArray[np.int64]) -> bool:
    """Whether the steps of one byte are carries of the next one."""
    moves = high != 0
    if len(high) < FEWEST_FRAMES or moves.sum() < 3 or moves.sum() >= (low != 0).sum():
        return False
    return bool((np.abs(high[moves]) == 1).mean() > _CARRIES and (np.abs(low[moves]) > _WRAP).mean() > _CARRIES)
