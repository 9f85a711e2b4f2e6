"""Alarms: how far beyond what held-out recordings showed a deviation has to lie, so that false alarms keep a budget."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphids.core.profile.experts import ALARMING, EXPERTS

# Alarms less than so long apart are one incident.
INCIDENT_GAP_S = 10.0
# Held-out traffic is cut into chunks that are left out one by one; a short recording into so many at least.
CHUNK_S, FEWEST_CHUNKS = 120.0, 4
# Share of the budget of the experts together; the rest is the network's.
EXPERTS_SHARE = 0.75
# Each expert has two limits, which may be passed at different times.
NUM_LIMITS = 2 * sum(ALARMING)
# Share of held-out time in which the network may be above its threshold: one incident can last for all of it.
_MOST_IN_ALARM = 0.01
_EVENTS = [expert.event for expert in EXPERTS]
# Of an unknown ID: frames a second, smoothed, and new IDs within ten seconds, from which on it is an alarm, whatever
# recordings showed: one ID that a profile lacks would otherwise allow all others. They are in the places of the
# smoothed and of the unsmoothed deviation.
_UNKNOWN, _UNKNOWN_LIMITS = _EVENTS.index("unknown_id"), (5.0, 2.5)
# A limit is not extrapolated past what a deviation can be: 1 for a wrong length, 1,000 decades for others. Nor past one
# frame where frames are counted that broke what never broke.
_REACHED = np.full(len(EXPERTS), 990.0, np.float32)
_REACHED[[_EVENTS.index(event) for event in ("wrong_length", "checksum_broken", "counter_broken")]] = 0.99


@dataclass(frozen=True, slots=True)
class Alarms:
    """A vehicle's limits, chosen on attack-free recordings that its profile has not seen.

    Attributes:
        per_hour: False-alarm incidents an hour that were asked for, of experts and network together.
        hours: Of the traffic that they were chosen on.
        blocks: False where those were recordings that the profile has not seen; True where they were blocks of its
            own, each judged by the others.
        offset: float32 [V + 1, experts, 2], the largest deviation that each ID showed there, smoothed and in a window
            alone; the last row is of unknown IDs.
        margin: float32 [experts, 2], how far beyond it a deviation has to lie.
        threshold: Of the network's score, 0 to 1.
        network: Digest of the weights that the threshold is for, 64 hexadecimal digits.
        replaced: The network's own threshold, which it has again for another vehicle.
    """

    per_hour: float
    hours: float
    blocks: bool
    offset: NDArray[np.float32]
    margin: NDArray[np.float32]
    threshold: float
    network: str
    replaced: float

    def limits(self) -> NDArray[np.float32]:
        """Limits of the experts, float32 [V + 1, experts, 2]; above them they speak."""
        limits = np.maximum(self.offset, np.minimum(self.offset + self.margin, _REACHED[:, None]))
        limits[-1, _UNKNOWN] = _UNKNOWN_LIMITS
        return np.asarray(limits, np.float32)

    def renumbered(self, rows: NDArray[np.int64], num_messages: int) -> "Alarms":
        """The alarms of a profile that knows more messages, of which nothing was held out.

        Args:
            rows: int64 [V], where those that were known are now.
            num_messages: How many there are.
        """
        offset = np.zeros((num_messages + 1, *self.offset.shape[1:]), np.float32)
        offset[rows], offset[-1] = self.offset[:-1], self.offset[-1]
        return replace(self, offset=offset)


def margins(peaks: NDArray[np.float32], hours: float, per_hour: float) -> NDArray[np.float32]:
    """How far beyond what was shown each expert's limits have to lie, float32 [experts, 2].

    Every chunk is left out once: its excess is what the ID farthest beyond its largest deviation in all others shows.
    As many excesses as the budget allows may lie beyond the margin. Where that is less than one, the margin is the
    largest excess and what an exponential tail asks for beyond it: a decade for each power of ten that is missing,
    which is what deviations are calibrated to.

    Args:
        peaks: float32 [chunks, V + 1, experts, 2], the largest deviations of each chunk.
        hours: Of all chunks.
        per_hour: Incidents of all experts together.
    """
    first = peaks.argmax(axis=0)
    alone = peaks.max(axis=0)
    others = np.sort(peaks, axis=0)[-2] if len(peaks) > 1 else np.zeros_like(alone)
    excess = np.zeros((len(peaks), *alone.shape[1:]), np.float32)
    for chunk in range(len(peaks)):
        excess[chunk] = np.where(first == chunk, alone - others, 0.0).max(axis=0)
    falling = np.sort(excess, axis=0)[::-1]
    allowed = hours * per_hour / NUM_LIMITS
    if allowed >= 1.0:
        return np.asarray(falling[min(int(allowed), len(falling) - 1)])
    return np.asarray(falling[0] + beyond_decades(allowed), np.float32)


def beyond_decades(allowed: float) -> float:
    """Decades that a limit lies beyond what was shown where fewer than one incident is allowed in that time.

    Raises:
        ValueError: If none is allowed, which no limit can promise.
    """
    if not allowed > 0.0:
        raise ValueError(f"{allowed:g} false alarms are allowed, expected more than 0: no limit promises none at all.")
    return max(0.0, -float(np.log10(allowed)))


def score_margin(logits: NDArray[np.float64], spans_s: NDArray[np.float64], hours: float, per_hour: float) -> float:
    """The log-odds from which on the network alerts.

    Args:
        logits: float64 [G], log-odds of held-out windows, at least one.
        spans_s: float64 [G, 2], when each began and ended, on one clock that leaves gaps between recordings.
        hours: Of all windows.
        per_hour: Incidents of the network.
    """
    allowed = hours * per_hour
    highest = float(logits.max())
    if allowed < 1.0:
        return highest + beyond_decades(allowed) * float(np.log(10.0))
    chosen = float(np.nextafter(highest, np.inf))
    for candidate in np.unique(logits)[::-1]:
        begins, ends = spans_s[logits >= candidate].T
        in_alarm_s = float((ends - begins).sum())
        if num_incidents(ends) > allowed or in_alarm_s > _MOST_IN_ALARM * hours * 3600.0:
            break
        chosen = float(candidate)
    return chosen


def num_incidents(alarm_s: NDArray[np.float64]) -> int:
    """How many incidents alarms at these times are."""
    return int((np.diff(np.sort(alarm_s)) > INCIDENT_GAP_S).sum()) + 1 if len(alarm_s) else 0
