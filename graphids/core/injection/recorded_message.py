"""A recorded message as an intruder sees it: bytes that vary, of which some count and some check."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import MAX_PAYLOAD_BYTES
from graphids.core.injection.bus import MS, TICKS_PER_S
from graphids.core.injection.sender import Spoken

_FAST_PERIOD = 25 * MS
_FEWEST_FRAMES = 20  # of which bytes can be told to count or to vary
_COUNTS = 0.9  # share of steps of a counter that are its usual one
_CHECKS = 0.9  # share of frames in which a checksum changes
_FEWEST_CHECKSUMS = 64  # values that a checksum takes, or a quarter of the frames
_CARRIES = 0.8  # share of the steps of a high byte that are carries of the low one


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


def find_signals(payload: NDArray[np.uint8], dlc: int) -> tuple[Signal, ...]:
    """The numbers that a message carries: bytes that vary and neither count nor check, neighbours that carry merged.

    Args:
        payload: uint8 [m, 8], what the message says, in the order of time.
        dlc: Its payload length.
    """
    if len(payload) < _FEWEST_FRAMES:
        return ()
    steps = np.diff(payload.astype(np.int64), axis=0)
    varies = [
        byte
        for byte in range(min(dlc, MAX_PAYLOAD_BYTES))
        if steps[:, byte].any() and not _counts(steps[:, byte]) and not _checks(payload[:, byte], steps[:, byte])
    ]
    signals: list[Signal] = []
    while varies:
        byte = varies.pop(0)
        if byte + 1 in varies and _carries(steps[:, byte], steps[:, byte + 1]):
            varies.remove(byte + 1)
            signals.append(Signal(byte, 2))
        else:
            signals.append(Signal(byte, 1))
    return tuple(signals)


def _counts(step: NDArray[np.int64]) -> bool:
    """Whether the low or the high nibble, or the byte, takes the same step nearly always, and not none."""
    for scaled, modulus in ((step, 256), (step, 16), (step // 16, 16)):
        usual = np.bincount(scaled % modulus, minlength=modulus)
        if usual[0] < len(step) * (1 - _COUNTS) and usual.max() > len(step) * _COUNTS:
            return True
    return False


def _checks(value: NDArray[np.uint8], step: NDArray[np.int64]) -> bool:
    """Whether the byte changes in nearly every frame and takes very many values: nothing that is measured does."""
    many = min(_FEWEST_CHECKSUMS, len(value) // 4)
    return bool((step != 0).mean() > _CHECKS and len(np.unique(value)) >= many and np.abs(step).mean() > 30)


def _carries(high: NDArray[np.int64], low: NDArray[np.int64]) -> bool:
    moves = high != 0
    if moves.sum() < 3 or moves.sum() >= (low != 0).sum():
        return False
    return bool((np.abs(high[moves]) == 1).mean() > _CARRIES and (np.abs(low[moves]) > 100).mean() > _CARRIES)


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One arbitration ID of a recording; a `Sender`.

    Attributes:
        node_key: Arbitration ID, bit 31 set for a 29-bit identifier.
        dlc: The payload length that it usually has.
        period: Ticks between two of its frames, the median.
        signals: What it carries; see `find_signals`.
    """

    node_key: int
    dlc: int
    period: float
    signals: tuple[Signal, ...]

    @property
    def ecu(self) -> str:
        """Unknown for a recording: each message stands for an ECU of its own."""
        return f"{self.node_key:X}"

    @property
    def is_fast(self) -> bool:
        """Whether a window holds several of its frames."""
        return self.period <= _FAST_PERIOD

    @property
    def is_victim(self) -> bool:
        """Whether it carries a signal."""
        return bool(self.signals)

    def forge(self, rng: np.random.Generator, said: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        """One payload that was recorded, in half of the cases with a signal at a value that nothing binds."""
        forged = np.tile(said[int(rng.integers(0, len(said)))], (count, 1))
        if self.signals and rng.random() < 0.5:
            signal = self.signals[int(rng.integers(0, len(self.signals)))]
            signal.write(forged, np.full(count, int(rng.integers(0, signal.limit))))
        return forged

    def lie(self, rng: np.random.Generator, spoken: Spoken, manner: str) -> NDArray[np.uint8]:
        """The payloads with one signal altered; counters go on, checksums stay what they were for the true value.

        Raises:
            ValueError: If there is no signal, or `manner` is unknown.
        """
        if not self.signals:
            raise ValueError(f"Message {self.ecu} carries no signal that could be altered.")
        signal = self.signals[int(rng.integers(0, len(self.signals)))]
        truth = signal.read(spoken.payload)
        earlier = truth[spoken.release < spoken.first] if spoken.first > spoken.release[0] else truth
        true = truth[spoken.is_forged]
        elapsed_s = (spoken.release[spoken.is_forged] - spoken.first) / TICKS_PER_S
        spread = max(int(np.ptp(truth)), 1)
        if manner == "constant":
            lie = np.full(len(true), int(earlier[-1] if rng.random() < 0.5 else rng.choice(earlier)))
        elif manner == "drift":
            creep = spread * float(rng.choice([-1, 1])) * (0.05 + 0.3 * rng.random())
            lie = earlier[-1] + np.rint(elapsed_s * creep).astype(np.int64)
        elif manner == "replay":
            start = int(rng.integers(0, max(len(truth) - len(true), 1)))
            lie = np.resize(truth[start : start + len(true)], len(true))
        elif manner == "noise":
            lie = true + np.rint(rng.normal(0.0, spread * (0.05 + 0.25 * rng.random()), len(true))).astype(np.int64)
        else:
            raise ValueError(f"A recorded message cannot lie in the manner {manner!r}.")
        payload = spoken.payload[spoken.is_forged].copy()
        signal.write(payload, true + np.rint((lie - true) * spoken.intensity).astype(np.int64))
        return payload
