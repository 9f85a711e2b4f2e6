"""Kernels: deviations of windows as experts see them, smoothed over time for each arbitration ID.

As in `kernels`, no kernel uses a constant or a kernel of another module.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit

_SMOOTHED, _ALONE = 0, 1  # places in the last axis of limits and peaks
_SPREAD, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(40)
_PROBED = 8  # places at which an unknown ID may be kept
_LEARNT_S = 10.0  # of an unknown ID being there, or being away again, which makes it as new as it was
_NEWS_S = 10.0  # of new IDs that are counted together


class Windows(NamedTuple):
    """Consecutive windows of one bus: those of window g are nodes `ptr[g]:ptr[g + 1]`.

    Attributes:
        x: float32 [N, deviations].
        node_key: uint32 [N].
        ptr: int64 [G + 1].
        start_s: float64 [G].
        end_s: float64 [G].
    """

    x: NDArray[np.float32]
    node_key: NDArray[np.uint32]
    ptr: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]


class Panel(NamedTuple):
    """What the experts look at.

    Attributes:
        node_key: uint32 [V], known arbitration IDs, sorted.
        is_judged: bool [V, experts], which experts judge which ID.
        columns: int64 [experts, k], deviations of each expert, filled up with its first.
        unknown: The expert on unknown IDs; -1 for none.
        smoothing_s: Time constant of the exponential mean.
    """

    node_key: NDArray[np.uint32]
    is_judged: NDArray[np.bool_]
    columns: NDArray[np.int64]
    unknown: int
    smoothing_s: float


class Memory(NamedTuple):
    """What is remembered of a bus between windows.

    Attributes:
        mean: float64 [V, experts], smoothed deviations.
        last_s: float64 [V], end of the last window in which an ID had a node; -infinity for never.
        stranger: uint32 [places], unknown IDs, each at one of the places after that which its hash names.
        stranger_rate: float64 [places], smoothed frames a second.
        stranger_s: float64 [places], end of the last window with it; -infinity where there is none.
        present_s: float64 [places], for how long it has been there.
        news_s: float64 [k], when the last new IDs appeared, the latest first; -infinity where there were fewer.
        window_s: float64 [1], end of the last window.
        value: float64 [experts], to work in.
    """

    mean: NDArray[np.float64]
    last_s: NDArray[np.float64]
    stranger: NDArray[np.uint32]
    stranger_rate: NDArray[np.float64]
    stranger_s: NDArray[np.float64]
    present_s: NDArray[np.float64]
    news_s: NDArray[np.float64]
    window_s: NDArray[np.float64]
    value: NDArray[np.float64]


class Said(NamedTuple):
    """Columns of `Evidence`, filled: strength, node key and deviation, [G, experts] each."""

    strength: NDArray[np.float32]
    node_key: NDArray[np.uint32]
    deviation: NDArray[np.float32]


@njit(cache=True, nogil=True)
def judge(windows: Windows, panel: Panel, memory: Memory, limits: NDArray[np.float32], said: Said) -> None:
    """Tell of every window and expert the ID that lies farthest beyond its limit.

    Args:
        windows: Those that follow the ones that the memory has seen.
        panel: Of the profile.
        memory: Brought up to the last window.
        limits: float32 [V + 1, experts, 2], of the smoothed deviation and of the one of a window alone; the last row
            is that of unknown IDs.
        said: Zero; filled.
    """
    num_experts = panel.columns.shape[0]
    for g in range(len(windows.end_s)):
        for node in range(windows.ptr[g], windows.ptr[g + 1]):
            message = _place(panel.node_key, windows.node_key[node])
            if message < 0:
                if panel.unknown >= 0:
                    rate, news = _meet(windows, panel, memory, g, node)
                    limit = limits[-1, panel.unknown]
                    frames = windows.x[node, panel.columns[panel.unknown, 0]]
                    _tell(said, windows.node_key[node], g, panel.unknown, rate - limit[_SMOOTHED], frames)
                    _tell(said, windows.node_key[node], g, panel.unknown, news - limit[_ALONE], frames)
                continue
            _look(windows, panel, memory, node, message, windows.end_s[g])
            for e in range(num_experts):
                if not panel.is_judged[message, e]:
                    continue
                strength = max(
                    memory.mean[message, e] - limits[message, e, _SMOOTHED],
                    memory.value[e] - limits[message, e, _ALONE],
                )
                _tell(said, windows.node_key[node], g, e, strength, memory.value[e])
        memory.window_s[0] = windows.end_s[g]


@njit(cache=True, nogil=True)
def peak(windows: Windows, panel: Panel, memory: Memory, chunk: NDArray[np.int64], peaks: NDArray[np.float32]) -> None:
    """Keep the largest deviations that each chunk of time showed.

    Args:
        windows: As `judge` takes them.
        panel: Likewise.
        memory: Likewise.
        chunk: int64 [G], of each window.
        peaks: float32 [chunks, V + 1, experts, 2], as the limits of `judge`; raised.
    """
    num_experts = panel.columns.shape[0]
    for g in range(len(windows.end_s)):
        own = peaks[chunk[g]]
        for node in range(windows.ptr[g], windows.ptr[g + 1]):
            message = _place(panel.node_key, windows.node_key[node])
            if message < 0:
                if panel.unknown >= 0:
                    rate, news = _meet(windows, panel, memory, g, node)
                    own[-1, panel.unknown, _SMOOTHED] = max(own[-1, panel.unknown, _SMOOTHED], rate)
                    own[-1, panel.unknown, _ALONE] = max(own[-1, panel.unknown, _ALONE], news)
                continue
            _look(windows, panel, memory, node, message, windows.end_s[g])
            for e in range(num_experts):
                if panel.is_judged[message, e]:
                    own[message, e, _SMOOTHED] = max(own[message, e, _SMOOTHED], memory.mean[message, e])
                    own[message, e, _ALONE] = max(own[message, e, _ALONE], memory.value[e])
        memory.window_s[0] = windows.end_s[g]


@njit(cache=True, nogil=True)
def _look(windows: Windows, panel: Panel, memory: Memory, node: int, message: int, now_s: float) -> None:
    """Bring the means of an ID up to a window, and leave its deviations there in `Memory.value`."""
    kept = np.exp(-max(now_s - memory.last_s[message], 0.0) / panel.smoothing_s)
    memory.last_s[message] = now_s
    for e in range(panel.columns.shape[0]):
        value = 0.0
        for column in panel.columns[e]:
            value = max(value, windows.x[node, column])
        memory.value[e] = value
        memory.mean[message, e] = kept * memory.mean[message, e] + (1.0 - kept) * value


@njit(cache=True, nogil=True)
def _meet(windows: Windows, panel: Panel, memory: Memory, g: int, node: int) -> tuple[float, int]:
    """Frames a second of an unknown ID, smoothed, 0 once it is learnt; and new IDs of late, 0 where it is none."""
    key, now_s = windows.node_key[node], windows.end_s[g]
    place = _place_of_stranger(memory, key)
    news = 0
    if memory.stranger[place] != key or memory.stranger_s[place] == -np.inf:
        memory.stranger[place], memory.stranger_rate[place] = key, 0.0
        memory.stranger_s[place], memory.present_s[place] = -np.inf, 0.0
        for k in range(len(memory.news_s) - 1, 0, -1):
            memory.news_s[k] = memory.news_s[k - 1]
        memory.news_s[0] = now_s
        for appeared_s in memory.news_s:
            news += 0.0 <= now_s - appeared_s <= _NEWS_S
    duration_s = max(now_s - windows.start_s[g], 1e-3)
    elapsed_s = min(max(now_s - memory.window_s[0], 0.0), duration_s)
    silent_s = max(now_s - memory.stranger_s[place], elapsed_s)
    share = 1.0 - np.exp(-elapsed_s / panel.smoothing_s)
    frames = windows.x[node, panel.columns[panel.unknown, 0]]
    kept = np.exp(-silent_s / panel.smoothing_s) * memory.stranger_rate[place]
    if silent_s > _LEARNT_S:
        memory.present_s[place] = 0.0
    memory.stranger_rate[place] = kept + share * frames / duration_s
    memory.stranger_s[place] = now_s
    memory.present_s[place] += min(silent_s, duration_s)
    return (memory.stranger_rate[place] if memory.present_s[place] < _LEARNT_S else 0.0), news


@njit(cache=True, nogil=True)
def _place_of_stranger(memory: Memory, key: int) -> int:
    """Where an unknown ID is kept, or the place of that which was not seen for longest."""
    first = int((np.uint64(key) * _SPREAD) >> _SHIFT)
    longest = first % len(memory.stranger)
    for offset in range(_PROBED):
        place = (first + offset) % len(memory.stranger)
        if memory.stranger[place] == key and memory.stranger_s[place] > -np.inf:
            return place
        if memory.stranger_s[place] < memory.stranger_s[longest]:
            longest = place
    return longest


@njit(cache=True, nogil=True)
def _tell(said: Said, key: int, g: int, e: int, strength: float, deviation: float) -> None:
    if strength > said.strength[g, e]:
        said.strength[g, e], said.node_key[g, e], said.deviation[g, e] = strength, key, deviation


@njit(cache=True, nogil=True)
def _place(known: NDArray[np.uint32], key: int) -> int:
    """Index of a key among sorted ones; -1 where it is not among them."""
    low, high = 0, len(known)
    while low < high:
        middle = (low + high) >> 1
        if known[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(known) and known[low] == key else -1
