"""Watches windows of one bus with the experts, chunk after chunk."""

import numpy as np
from numpy.typing import NDArray

from graphids.core.profile.expert_kernels import Memory, Panel, Said, Windows, judge, peak
from graphids.core.profile.experts import EXPERTS, Evidence, no_evidence
from graphids.core.profile.profile import Profile
from graphids.core.profile.records import deviation_names

_SMOOTHING_S = 0.5
# Timing is judged only of IDs that are cyclic and of which the profile has seen so many frames.
_FEWEST_FRAMES = 200
_STRANGERS = 4096  # unknown IDs that are remembered
_NEWS = 8  # new IDs that are counted together, at most
_UNKNOWN = [expert.event for expert in EXPERTS].index("unknown_id")
_MOST_COLUMNS = max(len(expert.deviations) for expert in EXPERTS)


class Watch:
    """What the experts remember of a bus. Cut into chunks anywhere, the same windows give the same evidence.

    Args:
        profile: Of the vehicle.
    """

    def __init__(self, profile: Profile) -> None:
        size, num_experts = len(profile.node_key), len(EXPERTS)
        self._panel = Panel(profile.node_key, _judged(profile), _columns(), _UNKNOWN, _SMOOTHING_S)
        self._limits = None if profile.alarms is None else profile.alarms.limits()
        self._memory = Memory(
            mean=np.zeros((size, num_experts)),
            last_s=np.full(size, -np.inf),
            stranger=np.zeros(_STRANGERS, np.uint32),
            stranger_rate=np.zeros(_STRANGERS),
            stranger_s=np.full(_STRANGERS, -np.inf),
            present_s=np.zeros(_STRANGERS),
            news_s=np.full(_NEWS, -np.inf),
            window_s=np.full(1, -np.inf),
            value=np.zeros(num_experts),
        )

    def renumbered(self, place: NDArray[np.int32], profile: Profile) -> "Watch":
        """A watch that goes on with what this one remembers, for a profile that knows more messages.

        Args:
            place: int32 [V], where those that were known are now.
            profile: The other one.
        """
        watch = Watch(profile)
        watch._memory.mean[place], watch._memory.last_s[place] = self._memory.mean, self._memory.last_s
        watch._memory = self._memory._replace(mean=watch._memory.mean, last_s=watch._memory.last_s)
        return watch

    def evidence(self, windows: Windows) -> Evidence:
        """What the experts say of the next windows of the bus; nothing without alarms."""
        said = no_evidence(len(windows.end_s))
        if self._limits is not None:
            judge(windows, self._panel, self._memory, self._limits, Said(*said))
        return said

    def raise_peaks(self, windows: Windows, chunk: NDArray[np.int64], peaks: NDArray[np.float32]) -> None:
        """Raise the largest deviations of chunks of time by the next windows of the bus.

        Args:
            windows: They.
            chunk: int64 [G], of each.
            peaks: float32 [chunks, V + 1, experts, 2]; see `Alarms.offset`.
        """
        peak(windows, self._panel, self._memory, chunk, peaks)


def _judged(profile: Profile) -> NDArray[np.bool_]:
    """Which experts judge which ID, bool [V, experts]."""
    judged = np.ones((len(profile.node_key), len(EXPERTS)), np.bool_)
    timed = profile.is_cyclic & (profile.vehicle.habits["frames"] >= _FEWEST_FRAMES)
    for index, expert in enumerate(EXPERTS):
        if expert.judges_timing:
            judged[:, index] = timed
    judged[:, _UNKNOWN] = False
    return judged


def _columns() -> NDArray[np.int64]:
    """The deviations of each expert, int64 [experts, k], filled up with its first."""
    names = deviation_names()
    columns = np.empty((len(EXPERTS), _MOST_COLUMNS), np.int64)
    for row, expert in zip(columns, EXPERTS, strict=True):
        row[:] = names.index(expert.deviations[0])
        row[: len(expert.deviations)] = [names.index(name) for name in expert.deviations]
    return columns
