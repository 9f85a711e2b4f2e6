"""Experts: single deviations, each with limits of its own for every arbitration ID, that speak beside the network.

What an expert says has words and figures, where a network has a score. Limits come from attack-free recordings that the
profile has not seen, see `alarms`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Expert(NamedTuple):
    """One kind of event, and the deviations that show it.

    Attributes:
        event: Its name, in the vocabulary of incidents.
        deviations: Columns of `DEVIATION`; the largest counts.
        raises_alarm: False where it only tells of a state that the profile has not seen: a new driving state shows the
            same.
        judges_timing: Whether it says something of cyclic IDs alone.
    """

    event: str
    deviations: tuple[str, ...]
    raises_alarm: bool = True
    judges_timing: bool = False


# In 3.5 attack-free hours of eleven vehicles, and attacks laid over them, at six false alarms an hour asked, an
# alarm for replays added 11 incidents to 17 and found 1.5 % more of the attacks, so that a replay is a state. One for
# steps added 2 and found 4 % more, and 19 % of masquerades in place of 8 %.
# `delay`, the sum of how late frames came, found no suppression more, and keeps an alarm on for 80 frames after one.
EXPERTS: tuple[Expert, ...] = (
    Expert("too_early", ("early_1", "early_2", "early_4"), judges_timing=True),
    Expert("too_frequent", ("early_8", "hurry"), judges_timing=True),
    Expert("missing", ("late",), judges_timing=True),
    Expert("unknown_id", ("unknown",)),
    Expert("wrong_length", ("dlc",)),
    Expert("checksum_broken", ("broken_check",)),
    Expert("counter_broken", ("broken_counter",)),
    Expert("implausible_step", ("step", "turn")),
    Expert("replayed_sequence", ("replay",), raises_alarm=False),
    Expert("frozen_signal", ("rest_among_moves",), raises_alarm=False),
    Expert("value_never_seen", ("novelty",), raises_alarm=False),
    Expert("out_of_range", ("range",), raises_alarm=False),
)
ALARMING = [expert.raises_alarm for expert in EXPERTS]


class Evidence(NamedTuple):
    """What the experts say of `G` windows of one bus, a column for each of `EXPERTS`.

    Attributes:
        strength: float32 [G, experts], how far the smoothed deviation of the ID that stands out most lies beyond its
            limit, decades (frames where the deviation counts them); above 0 the expert speaks.
        node_key: uint32 [G, experts], that ID.
        deviation: float32 [G, experts], the deviation of that ID in that window alone, before it was smoothed.
    """

    strength: NDArray[np.float32]
    node_key: NDArray[np.uint32]
    deviation: NDArray[np.float32]

    @property
    def speaks(self) -> NDArray[np.bool_]:
        """Which experts speak, bool [G, experts]."""
        return np.asarray(self.strength > 0)

    @property
    def alarms(self) -> NDArray[np.bool_]:
        """Windows in which an expert that raises alarms speaks, bool [G]."""
        return np.asarray(self.speaks[:, ALARMING].any(axis=1))

    def surest_ids(self) -> NDArray[np.int64]:
        """Node key of the ID of which the surest of the experts that raise alarms speaks, int64 [G]."""
        surest = np.where(ALARMING, self.strength, 0.0).argmax(axis=1)
        return np.take_along_axis(self.node_key.astype(np.int64), surest[:, None], axis=1)[:, 0]


def no_evidence(num_windows: int) -> Evidence:
    """Of windows of which no expert says anything."""
    shape = (num_windows, len(EXPERTS))
    return Evidence(np.zeros(shape, np.float32), np.zeros(shape, np.uint32), np.zeros(shape, np.float32))
