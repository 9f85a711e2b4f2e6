"""Six attacks on a simulated bus: what an intruder adds to, takes from or changes in the frames that the ECUs send.

Every attack works on frames before arbitration, so that what it injects delays what the ECUs send.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphids.core.simulation.bus import BITS_PER_S, Transmissions, join
from graphids.core.simulation.messages import Message, decode, encode
from graphids.core.simulation.vehicle import triangular

MS = BITS_PER_S // 1000


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of time in which the intruder does one thing to one victim.

    Attributes:
        vehicle: The car's messages; message `i` waits in mailbox `i`.
        first: Bit time at which it begins.
        last: Bit time at which it ends.
        target: Index of the message that is attacked (spoof), or whose ECU is (suppress, masquerade).
        intensity: In (0, 1]. The rate of injection relative to the full one (dos, fuzzy, spoof, replay), the share of
            frames that vanish (suppress), the weight of the lie against the true value (masquerade).
        rng: Draws all that varies between two attacks of one kind.
    """

    vehicle: tuple[Message, ...]
    first: int
    last: int
    target: int
    intensity: float
    rng: np.random.Generator

    @property
    def message(self) -> Message:
        """The message that is attacked."""
        return self.vehicle[self.target]

    def ticks(self, period: float) -> NDArray[np.int64]:
        """Bit times, int64, at which an intruder acts every `period` bit times at full intensity, with some jitter."""
        spacing = max(1, int(period / self.intensity))
        times = np.arange(self.first, self.last, spacing)
        return np.sort(times + self.rng.integers(0, spacing // 10 + 1, size=len(times)))

    def covers(self, sent: Transmissions) -> NDArray[np.bool_]:
        """Which of the frames are due within the episode, bool [n]."""
        return (sent.release >= self.first) & (sent.release <= self.last)

    def chosen(self, num_frames: int) -> NDArray[np.bool_]:
        """A random share of `intensity` of the frames, bool [num_frames]."""
        return self.rng.random(num_frames) < self.intensity

    def injected(
        self, release: NDArray[np.int64], arbitration_id: NDArray[np.uint32], payload: NDArray[np.uint8], dlc: int = 8
    ) -> Transmissions:
        """Frames of the intruder's own node, which has one transmit buffer."""
        return Transmissions(
            release=release,
            mailbox=np.full(len(release), len(self.vehicle), np.int64),
            arbitration_id=arbitration_id,
            dlc=np.full(len(release), dlc, np.uint8),
            payload=payload,
            attack=np.ones(len(release), np.uint8),
        )


def dos(sent: Transmissions, episode: Episode) -> Transmissions:
    """Floods the bus with an ID that beats all others, every 0.3 to 1 ms; the ECUs' frames wait or are overwritten."""
    rng = episode.rng
    release = episode.ticks(MS * (0.3 + 0.7 * rng.random()))
    arbitration_id = 0 if rng.random() < 0.5 else int(rng.integers(1, episode.vehicle[0].arbitration_id))
    payload = np.full((len(release), 8), (0x00, 0xFF)[int(rng.integers(0, 2))], np.uint8)
    return join(sent, episode.injected(release, np.full(len(release), arbitration_id, np.uint32), payload))


def fuzzy(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends random payloads under random IDs, every 1 to 4 ms."""
    rng = episode.rng
    release = episode.ticks(MS * (1.0 + 3.0 * rng.random()))
    arbitration_id = rng.integers(0, 0x800, size=len(release), dtype=np.uint32)
    payload = rng.integers(0, 256, size=(len(release), 8), dtype=np.uint8)
    return join(sent, episode.injected(release, arbitration_id, payload))


def spoof(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends forged values under the target's ID beside its ECU, which keeps sending.

    Either two to four forged frames for every real one, or one right after each, so that the receiver's last value
    is a forged one. Counter and checksum are valid, the values constants from the range that the drive covers.
    """
    rng, message = episode.rng, episode.message
    mine = sent.take((sent.mailbox == episode.target) & (sent.attack == 0))
    if rng.random() < 0.5:
        release = episode.ticks(message.period_ms * MS / int(rng.integers(2, 5)))
    else:
        real = mine.release[episode.covers(mine)]
        release = (real + MS // 2 + rng.integers(0, MS // 4, size=len(real)))[episode.chosen(len(real))]
    raw = decode(message, mine.payload)
    forged = np.tile(rng.integers(raw.min(axis=0), raw.max(axis=0) + 1), (len(release), 1))
    payload = encode(message, forged, np.arange(len(release)))
    arbitration_id = np.full(len(release), message.arbitration_id, np.uint32)
    return join(sent, episode.injected(release, arbitration_id, payload, message.dlc))


def replay(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends frames of four to eight fast IDs, recorded earlier in the drive, once more beside the real ones."""
    rng, length = episode.rng, episode.last - episode.first
    fast = [i for i, message in enumerate(episode.vehicle) if message.is_fast]
    replayed = rng.choice(fast, size=int(rng.integers(4, 9)), replace=False)
    start = int(rng.integers(0, episode.first - length))
    recorded = np.isin(sent.mailbox, replayed) & (sent.attack == 0)
    recorded &= (sent.release >= start) & (sent.release < start + length)
    recording = sent.take(recorded & episode.chosen(len(sent)))
    again = replace(
        recording,
        release=recording.release + episode.first - start,
        # A buffer of the intruder's own for every ID: a single one would lose most of a burst.
        mailbox=recording.mailbox + len(episode.vehicle),
        attack=np.ones(len(recording), np.uint8),
    )
    return join(sent, again)


def suppress(sent: Transmissions, episode: Episode) -> Transmissions:
    """Silences the ECU that sends the target (driven to bus-off): its messages vanish and no frame is left to mark."""
    silenced = [i for i, message in enumerate(episode.vehicle) if message.ecu == episode.message.ecu]
    vanish = np.isin(sent.mailbox, silenced) & episode.covers(sent) & episode.chosen(len(sent))
    return sent.take(~vanish)


def masquerade(sent: Transmissions, episode: Episode) -> Transmissions:
    """Silences the ECU that sends the target and speaks in its place: same IDs, periods, counters and checksums.

    Its fast messages lie: they hold what the ECU said last, or creep away from it by 20 units per second. No value
    jumps and none is new to the vehicle, but the sensors' noise is gone and the values soon contradict those of the
    other ECUs.
    """
    for mailbox in victims(episode.vehicle):
        if episode.vehicle[mailbox].ecu == episode.message.ecu:
            sent = _lie(sent, replace(episode, target=mailbox))
    return sent


def _lie(sent: Transmissions, episode: Episode) -> Transmissions:
    rng, message = episode.rng, episode.message
    mine = np.flatnonzero(sent.mailbox == episode.target)
    forged = episode.covers(sent)[mine]
    rows = mine[forged]
    truth = decode(message, sent.payload[mine])
    said = truth[sent.release[mine] < episode.first][-1]
    creep = int(rng.integers(-1, 2)) * 20
    lie = said + (sent.release[rows] - episode.first)[:, None] * creep // BITS_PER_S
    lie = np.clip(lie, truth.min(axis=0), truth.max(axis=0))
    told = truth[forged] + ((lie - truth[forged]) * episode.intensity).astype(np.int64)
    payload, release, attack = sent.payload.copy(), sent.release.copy(), sent.attack.copy()
    payload[rows] = encode(message, told, sent.payload[rows, message.dlc - 2].astype(np.int64))
    release[rows] += triangular(rng, message.period_ms * MS // 400, len(rows))
    attack[rows] = 1
    return replace(sent, release=release, payload=payload, attack=attack)


ATTACKS: dict[str, Callable[[Transmissions, Episode], Transmissions]] = {
    "dos": dos,
    "fuzzy": fuzzy,
    "spoof": spoof,
    "replay": replay,
    "suppress": suppress,
    "masquerade": masquerade,
}
# Kinds that attack one message, or the ECU that sends it.
TARGETED = ("spoof", "suppress", "masquerade")


def victims(vehicle: tuple[Message, ...]) -> tuple[int, ...]:
    """Messages worth forging: fast ones that carry a noisy sensor in at least three bytes of signals."""
    return tuple(
        i
        for i, message in enumerate(vehicle)
        if message.is_fast
        and message.checksum
        and message.signal_bytes >= 3
        and any(coding.noise_lsb for coding in message.codings)
    )
