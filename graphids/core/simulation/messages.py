"""Messages: how signals are coded into the payload of one arbitration ID.

A message packs its signals from byte 0 on (16-bit ones high byte first), then constant bytes, then one byte whose low
nibble is a counter that every transmission advances, then a checksum over the bytes before it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphids.core.injection.bus import MS, TICKS_PER_S
from graphids.core.injection.sender import Spoken

FAST_PERIOD_MS = 25
CREEP_PER_S = 20  # raw units


@dataclass(frozen=True, slots=True)
class Coding:
    """How a physical signal becomes an integer: `raw = (value - offset) / scale`, plus sensor noise.

    Attributes:
        signal: Its name in `Drive.signals`.
        scale: Physical units per least significant bit.
        offset: Physical value of raw 0.
        num_bytes: 1 or 2.
        noise_lsb: The noise is the sum of two uniform integers of at most this magnitude. A raw 0 (a wheel at rest, a
            released pedal) is sent without noise.
    """

    signal: str
    scale: float
    offset: float = 0.0
    num_bytes: int = 2
    noise_lsb: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One arbitration ID.

    Attributes:
        name: What it reports.
        ecu: Its sender.
        period_ms: Time between two transmissions.
        codings: Its signals in the order of the payload.
        dlc: Payload length in bytes.
        checksum: "crc8" (SAE J1850), "xor", or "" for a message with neither counter nor checksum.
        arbitration_id: 11-bit identifier, given by `build_vehicle`.
        filler: The constant bytes, given by `build_vehicle`.
    """

    name: str
    ecu: str
    period_ms: int
    codings: tuple[Coding, ...] = ()
    dlc: int = 8
    checksum: str = "crc8"
    arbitration_id: int = -1
    filler: bytes = b""

    @property
    def signal_bytes(self) -> int:
        """Bytes that the signals take."""
        return sum(c.num_bytes for c in self.codings)

    @property
    def trailer_bytes(self) -> int:
        """Bytes that counter and checksum take."""
        return 2 if self.checksum else 0

    @property
    def node_key(self) -> int:
        """Its arbitration ID, which has 11 bits."""
        return self.arbitration_id

    @property
    def period(self) -> float:
        """Ticks between two transmissions."""
        return self.period_ms * MS

    @property
    def is_fast(self) -> bool:
        """True where a window holds enough frames of it for an attacker to care."""
        return self.period_ms <= FAST_PERIOD_MS

    @property
    def is_victim(self) -> bool:
        """Whether it is fast and carries a noisy sensor in at least three bytes of signals."""
        is_noisy = any(coding.noise_lsb for coding in self.codings)
        return self.is_fast and bool(self.checksum) and self.signal_bytes >= 3 and is_noisy

    def forge(self, rng: np.random.Generator, said: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
        """Constants from the range that the drive covers, with valid counter and checksum."""
        raw = decode(self, said)
        forged = np.tile(rng.integers(raw.min(axis=0), raw.max(axis=0) + 1), (count, 1))
        return encode(self, forged, np.arange(count))

    def lie(self, rng: np.random.Generator, spoken: Spoken, manner: str) -> NDArray[np.uint8]:
        """What the message said last, or a value that creeps away from it, with valid counter and checksum.

        Raises:
            ValueError: If `manner` is not "either".
        """
        if manner != "either":
            raise ValueError(f"A simulated message lies in the manner 'either', found {manner!r}.")
        truth, forged = decode(self, spoken.payload), spoken.is_forged
        said = truth[spoken.release < spoken.first][-1]
        creep = int(rng.integers(-1, 2)) * CREEP_PER_S
        lie = said + (spoken.release[forged] - spoken.first)[:, None] * creep // TICKS_PER_S
        lie = np.clip(lie, truth.min(axis=0), truth.max(axis=0))
        told = truth[forged] + ((lie - truth[forged]) * spoken.intensity).astype(np.int64)
        return encode(self, told, spoken.payload[forged, self.dlc - 2].astype(np.int64))


def encode(message: Message, raw: NDArray[np.int64], counter: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Payloads with valid counter and checksum.

    Args:
        message: Says where each signal goes.
        raw: int64 [k, number of signals], 0 to 255 or 65535; beyond that they saturate, as sensors do.
        counter: int64 [k]; its lowest four bits are sent.

    Returns:
        uint8 [k, 8], zero beyond the DLC.
    """
    payload = np.zeros((len(raw), 8), np.uint8)
    byte = 0
    for column, coding in enumerate(message.codings):
        value = np.clip(raw[:, column], 0, 256**coding.num_bytes - 1)
        if coding.num_bytes == 2:
            payload[:, byte] = value >> 8
            byte += 1
        payload[:, byte] = value & 0xFF
        byte += 1
    payload[:, byte : byte + len(message.filler)] = np.frombuffer(message.filler, np.uint8)
    if message.checksum:
        payload[:, message.dlc - 2] = counter & 0xF
        payload[:, message.dlc - 1] = checksum(message, payload)
    return payload


def decode(message: Message, payload: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Raw signals of payloads, int64 [k, number of signals]: the inverse of `encode` within the signals' ranges."""
    columns, byte = [], 0
    for coding in message.codings:
        value = payload[:, byte].astype(np.int64)
        if coding.num_bytes == 2:
            value = (value << 8) | payload[:, byte + 1]
        columns.append(value)
        byte += coding.num_bytes
    return np.stack(columns, axis=1) if columns else np.zeros((len(payload), 0), np.int64)


def checksum(message: Message, payload: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Checksum over the bytes before the last one of uint8 [k, 8] payloads, salted with the arbitration ID."""
    covered = payload[:, : message.dlc - 1]
    salt = np.full(len(payload), message.arbitration_id & 0xFF, np.uint8)
    if message.checksum == "xor":
        return np.asarray(np.bitwise_xor.reduce(covered, axis=1) ^ salt)
    crc = _CRC8[salt ^ np.uint8(0xFF)]
    for byte in covered.T:
        crc = _CRC8[crc ^ byte]
    return np.asarray(crc ^ np.uint8(0xFF))


def _crc8_table(polynomial: int = 0x1D) -> NDArray[np.uint8]:
    """CRC-8 of every byte, most significant bit first; 0x1D is the polynomial of SAE J1850."""
    table = np.arange(256)
    for _ in range(8):
        table = np.where(table & 0x80, (table << 1) ^ polynomial, table << 1) & 0xFF
    return table.astype(np.uint8)


_CRC8 = _crc8_table()
