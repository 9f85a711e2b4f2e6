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
    """

    event: str
    deviations: tuple[str, ...]
    raises_alarm: bool = True


EXPERTS: tuple[Expert, ...] = (
    Expert("too_early", ("early_1", "early_2", "early_4")),
    Expert("too_frequent", ("early_8", "hurry")),
    Expert("missing", ("late", "delay")),
    Expert("unknown_id", ("unknown",)),
    Expert("wrong_length", ("dlc",)),
    Expert("checksum_broken", ("broken_check",)),
    Expert("counter_broken", ("broken_counter",)),
    Expert("replayed_sequence", ("replay",)),
    Expert("frozen_signal", ("rest_among_moves",), raises_alarm=False),
    Expert("value_never_seen", ("novelty",), raises_alarm=False),
    Expert("out_of_range", ("range",), raises_alarm=False),
    Expert("implausible_step", ("step", "turn"), raises_alarm=False),
)
_RAISES_ALARM = [expert.raises_alarm for expert in EXPERTS]


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
        return np.asarray(self.speaks[:, _RAISES_ALARM].any(axis=1))


def no_evidence(num_windows: int) -> Evidence:
    """Of windows of which no expert says anything."""
    shape = (num_windows, len(EXPERTS))
    return Evidence(np.zeros(shape, np.float32), np.zeros(shape, np.uint32), np.zeros(shape, np.float32))
