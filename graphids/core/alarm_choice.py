"""The choice of a vehicle's alarms: what attack-free recordings showed that its profile has not seen."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.classifier import WindowClassifier
from graphids.core.evaluation import attack_margin
from graphids.core.frames import DataError, Frames
from graphids.core.inference import classify, represent
from graphids.core.models.weights_digest import weights_digest
from graphids.core.profile.alarms import (
    CHUNK_S,
    EXPERTS_SHARE,
    FEWEST_CHUNKS,
    INCIDENT_GAP_S,
    Alarms,
    margins,
    score_margin,
)
from graphids.core.profile.experts import EXPERTS
from graphids.core.profile.follower import followed
from graphids.core.profile.profile import Profile
from graphids.core.profile.traffic import without_pauses
from graphids.core.wire import elapsing_times


class HeldOut(NamedTuple):
    """Attack-free recordings, and a profile that has not seen them."""

    profile: Profile
    recordings: Sequence[Frames]


class _Shown(NamedTuple):
    """What one recording showed.

    Attributes:
        peaks: float32 [chunks, V + 1, experts, 2].
        logits: float64 [G], log-odds of its windows.
        spans_s: float64 [G, 2], when each began and ended, from 0.
        seconds: Its length.
    """

    peaks: NDArray[np.float32]
    logits: NDArray[np.float64]
    spans_s: NDArray[np.float64]
    seconds: float


def choose_alarms(
    classifier: WindowClassifier, profile: Profile, held_out: Iterable[HeldOut], per_hour: float
) -> Profile:
    """A profile with alarms that keep a budget of false ones.

    Args:
        classifier: Whose score shares in the budget; its own profile is not looked at.
        profile: Of the vehicle.
        held_out: Of the same bus: other recordings, with the same profile; or parts of its own recordings, each with
            a profile of the others.
        per_hour: False-alarm incidents an hour, more than 0.

    Raises:
        ValueError: If `per_hour` is not more than 0 and finite, or the network judges raw features.
        DataError: If the recordings hold no window.
    """
    if not 0.0 < per_hour < np.inf:
        raise ValueError(f"per_hour is {per_hour}, expected a finite number of more than 0.")
    parts = list(held_out)
    lengths_s = [float(_times(frames, part.profile)[-1]) for part in parts for frames in part.recordings]
    chunk_s = min(CHUNK_S, max(sum(lengths_s), 1e-3) / FEWEST_CHUNKS)
    shown = [
        _shown(classifier.bare(part.profile), frames, profile.node_key, chunk_s)
        for part in parts
        for frames in part.recordings
    ]
    shown = [one for one in shown if len(one.logits)]
    if not shown:
        raise DataError(
            f"Alarms are chosen on windows of held-out traffic, found none in {len(lengths_s)} recordings. Expected "
            "attack-free recordings of the same bus, half an hour or more."
        )
    hours = sum(one.seconds for one in shown) / 3600.0
    peaks = np.concatenate([one.peaks for one in shown])
    begins_s = np.cumsum([0.0] + [one.seconds + 2.0 * INCIDENT_GAP_S for one in shown[:-1]])
    spans_s = np.concatenate([one.spans_s + begin for one, begin in zip(shown, begins_s, strict=True)])
    logits = np.concatenate([one.logits for one in shown])
    margin = score_margin(logits, spans_s, hours, per_hour * (1.0 - EXPERTS_SHARE))
    alarms = Alarms(
        per_hour=per_hour,
        hours=hours,
        blocks=any(part.profile is not profile for part in parts),
        offset=peaks.max(axis=0),
        margin=margins(peaks, hours, per_hour * EXPERTS_SHARE),
        threshold=float(1.0 / (1.0 + np.exp(-margin))),
        network=weights_digest(classifier.gat),
        replaced=classifier.own_threshold,
    )
    return replace(profile, alarms=alarms)


def _times(frames: Frames, profile: Profile) -> NDArray[np.float64]:
    """Seconds from the first frame on, without pauses of the bus, float64 [n]; [0] where there is no frame."""
    if not len(frames):
        return np.zeros(1)
    times_s = without_pauses(elapsing_times(frames.timestamp), profile.longest_silence_s).time_s
    return np.asarray(times_s - times_s[0])


def _shown(classifier: WindowClassifier, frames: Frames, node_key: NDArray[np.uint32], chunk_s: float) -> _Shown:
    """What a recording of one bus showed to a profile, the IDs in the order of `node_key`."""
    profile = classifier.required_profile()
    if profile is None:
        raise ValueError("The model judges raw features, expected one that judges by deviations from a profile.")
    follower = followed(profile, frames)
    times_s = _times(frames, profile)
    num_chunks = int(times_s[-1] / chunk_s) + 1
    peaks = np.zeros((num_chunks, len(profile.node_key) + 1, len(EXPERTS), 2), np.float32)
    logits, spans_s = [np.empty(0)], [np.empty((0, 2))]
    for graphs in classifier.graphs_of_bus(frames, follower):
        begin_s = times_s[graphs.first_frame]
        end_s = times_s[graphs.first_frame + classifier.preprocessing.window_size - 1]
        if follower is not None:
            follower.watch.raise_peaks(graphs.expert_windows(), (end_s / chunk_s).astype(np.int64), peaks)
        states = represent(classifier.gat, graphs, classifier.preprocessing).states
        logits.append(attack_margin(classify(classifier.gat, states)).numpy())
        spans_s.append(np.column_stack((begin_s, end_s)))
    rows = np.append(np.searchsorted(node_key, profile.node_key), len(node_key))
    in_order = np.zeros((num_chunks, len(node_key) + 1, *peaks.shape[2:]), np.float32)
    in_order[:, rows] = peaks
    return _Shown(in_order, np.concatenate(logits), np.concatenate(spans_s), float(times_s[-1]))
