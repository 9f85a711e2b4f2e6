"""A recorded message as an intruder sees it: bytes that vary, of which some count and some check."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphids.core.byte_roles import Signal
from graphids.core.frames import MAX_PAYLOAD_BYTES
from graphids.core.injection.bus import MS, TICKS_PER_S
from graphids.core.injection.sender import Spoken

_FAST_PERIOD = 25 * MS
# Of a lie, until it differs from the truth: a signal can rest for the whole of an attack, whatever is said of it.
_DRAWS = 16


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """One arbitration ID of a recording; a `Sender`.

    Attributes:
        node_key: Arbitration ID, bit 31 set for a 29-bit identifier.
        dlc: The payload length that it usually has.
        period: Ticks between two of its frames, the median.
        signals: What it carries; see `byte_roles`.
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

        A replay is of what was said before the lie began, in half of the cases of whole payloads, counters and
        checksums included. A lie that says nothing but the truth is drawn again: no detector could tell it.

        Raises:
            ValueError: If there is no signal, or `manner` is unknown.
        """
        if not self.signals:
            raise ValueError(f"Message {self.ecu} carries no signal that could be altered.")
        for _ in range(_DRAWS):
            payload = self._drawn(rng, spoken, manner)
            if (payload != spoken.payload[spoken.is_forged]).any():
                break
        return payload

    def _drawn(self, rng: np.random.Generator, spoken: Spoken, manner: str) -> NDArray[np.uint8]:
        """One lie, perhaps the truth."""
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
        elif manner == "replay" and rng.random() < 0.5 and earlier is not truth:
            return _said_before(rng, spoken, len(true))
        elif manner == "replay":
            start = int(rng.integers(0, max(len(earlier) - len(true), 1)))
            lie = np.resize(earlier[start : start + len(true)], len(true))
        elif manner == "noise":
            lie = true + np.rint(rng.normal(0.0, spread * (0.05 + 0.25 * rng.random()), len(true))).astype(np.int64)
        else:
            raise ValueError(f"A recorded message cannot lie in the manner {manner!r}.")
        payload = spoken.payload[spoken.is_forged].copy()
        signal.write(payload, true + np.rint((lie - true) * spoken.intensity).astype(np.int64))
        return payload


def _said_before(rng: np.random.Generator, spoken: Spoken, count: int) -> NDArray[np.uint8]:
    """Payloads that followed one another before the intruder began, from the first again where there are too few."""
    said = spoken.payload[spoken.release < spoken.first]
    start = int(rng.integers(0, max(len(said) - count, 1)))
    return np.resize(said[start : start + count], (count, MAX_PAYLOAD_BYTES))
