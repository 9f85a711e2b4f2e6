"""Classifier: everything between raw frames and alerts, and thereby all that a saved model has to hold."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphids.core.data.coverage import CoverageCount, window_coverage
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.evaluation import attack_margin
from graphids.core.frames import NORMAL, DataError, Frames
from graphids.core.graphs.followers import WARM_UP_S, Followers
from graphids.core.graphs.packed import PackedGraphs, build_graphs
from graphids.core.graphs.window_stream import Stretch, split_buses, stretches
from graphids.core.graphs.windows import unbroken_window_starts
from graphids.core.inference import classify, represent, suspects
from graphids.core.models.gat import GAT
from graphids.core.models.isolation import isolated
from graphids.core.models.weights_digest import weights_digest
from graphids.core.profile.experts import no_evidence
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile
from graphids.core.window_scores import ScoredCapture, ScoredChunk, WindowScores, join_scores

# Bounds the memory of graphs: with stride 1 and an ID for every frame, 8,192 windows of 256 frames took 1.3 GiB.
FRAMES_IN_WINDOWS = 1 << 17
DEFAULT_TOP_K = 3


@dataclass(frozen=True, slots=True, eq=False)
class WindowClassifier:
    """A trained GAT and everything else that was fitted. The GAT is put into eval mode and must not be trained further.

    Attributes:
        gat: Maps batches of graphs to logits [B, len(classes)]; class 0 is normal.
        preprocessing: Window, stride, classes, vocabulary and scaling of the training split.
        threshold: A window alerts if its score reaches it. Chosen on validation; see `for_vehicle`.
        tau_record: Empty, or what tau-normalization did to the head: `tau` (float), `key` (name of the head's weight
            in the GAT's state dict), `raw_head` (float tensor, the weight before) and `row_norms` (its row norms).
        profile: Of the vehicle, for a network whose node features are deviations; without it nothing can be scored.
            Where it has alarms, its experts raise them beside the network.

    Raises:
        ValueError: If the threshold is not a finite number >= 0, the GAT has another number of classes, or there is a
            profile and the features are raw.
    """

    gat: GAT
    preprocessing: Preprocessing
    threshold: float
    tau_record: Mapping[str, Any] = field(default_factory=dict)
    profile: Profile | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.threshold) and self.threshold >= 0):
            raise ValueError(f"threshold is {self.threshold}, expected a finite number of at least 0.")
        outputs, classes = self.gat.architecture()["num_classes"], self.preprocessing.classes
        if outputs != len(classes):
            raise ValueError(f"The GAT has {outputs} classes, but preprocessing names {len(classes)}: {classes}.")
        if self.profile is not None and self.preprocessing.features == "raw":
            raise ValueError(
                "The model judges raw features and has no use for a profile of a vehicle, found one. Expected a model "
                "that judges by deviations, such as the base model."
            )
        self.gat.eval()

    @property
    def known_ids(self) -> NDArray[np.uint32]:
        """Node keys that the model can judge, uint32 [V], sorted: of its profile, or of its training."""
        return self.preprocessing.vocabulary if self.profile is None else self.profile.node_key

    def required_profile(self) -> Profile | None:
        """The profile that scoring needs; None where the features are raw.

        Raises:
            DataError: If there is none and it is needed.
        """
        if self.preprocessing.features == "raw":
            return None
        if self.profile is None:
            raise DataError(
                "The model has no profile of a vehicle, and judges by deviations from one. Fit one to attack-free "
                "captures with `graphids profile`, and give the model to the vehicle with `graphids adapt`."
            )
        return self.profile

    def for_vehicle(self, profile: Profile) -> "WindowClassifier":
        """The same network for the vehicle of a profile, with the threshold of its alarms if they are for this network.

        Otherwise with the network's own, not the one that the alarms of another vehicle chose.

        Raises:
            ValueError: If the features are raw.
        """
        classifier = WindowClassifier(self.gat, self.preprocessing, self.own_threshold, self.tau_record, profile)
        if profile.alarms is None or not classifier.has_own_alarms:
            return classifier
        return replace(classifier, threshold=profile.alarms.threshold)

    @property
    def own_threshold(self) -> float:
        """The threshold that the network has without a vehicle's alarms."""
        alarms = None if self.profile is None else self.profile.alarms
        return alarms.replaced if alarms is not None and self.has_own_alarms else self.threshold

    @property
    def has_own_alarms(self) -> bool:
        """Whether the profile has alarms that were chosen for this network."""
        alarms = None if self.profile is None else self.profile.alarms
        return alarms is not None and alarms.network == weights_digest(self.gat)

    def bare(self, profile: Profile) -> "WindowClassifier":
        """The same network for the vehicle of a profile, the threshold as it is and no alarms."""
        return replace(self, profile=replace(profile, alarms=None))

    def score(
        self,
        frames: Frames,
        *,
        stride: int | None = None,
        threshold: float | None = None,
        top_k: int = DEFAULT_TOP_K,
        warm_up_s: float = WARM_UP_S,
    ) -> WindowScores:
        """Score every full window of a capture; a window spans neither two buses nor a jump of the clock.

        Args:
            frames: One capture; its labels, if any, are ignored. Fewer frames than a window give no rows; they
                are counted in `unscored_frames`.
            stride: Frames between window starts; the trained stride by default.
            threshold: The model's own by default.
            top_k: Arbitration IDs named per alert, at most.
            warm_up_s: Seconds at the beginning of each bus that enter the profile for the rest of it, unless one of
                their windows alerts; 0 for none.

        Raises:
            ValueError: If a timestamp is not finite, or a setting is out of range.
            DataError: If a score would not be finite; it is a ValueError.
        """
        settings = self._settings(stride, threshold, top_k, warm_up_s)
        # Without the frames of the chunks, which `score_buses` keeps.
        return join_scores([chunk.scores for chunk in self._score_buses(frames, settings)])

    def score_buses(
        self,
        frames: Frames,
        *,
        stride: int | None = None,
        threshold: float | None = None,
        top_k: int = DEFAULT_TOP_K,
        warm_up_s: float = WARM_UP_S,
    ) -> ScoredCapture:
        """As `score`, with the frames of the windows."""
        chunks = list(self._score_buses(frames, self._settings(stride, threshold, top_k, warm_up_s)))
        return ScoredCapture(join_scores([chunk.scores for chunk in chunks]), chunks)

    def _score_buses(self, frames: Frames, settings: "_Settings") -> Iterator[ScoredChunk]:
        for bus in split_buses(frames).values():
            yield from self._score_chunks([bus], settings)

    def score_stream(
        self,
        chunks: Iterable[Frames],
        *,
        stride: int | None = None,
        threshold: float | None = None,
        top_k: int = DEFAULT_TOP_K,
        warm_up_s: float = WARM_UP_S,
    ) -> Iterator[WindowScores]:
        """Score one capture that arrives in chunks, in memory bounded by a chunk.

        There is a result for each chunk, and one more where the warm-up of a bus ends within it.

        The windows are those of `score` on the whole capture, because the frames that a later window needs are
        carried over for each bus. `unscored_frames` and `bus_coverage` count all chunks so far.

        Raises:
            ValueError: As `score`; settings are checked before the first chunk is read.
        """
        scored = self.score_chunks(chunks, stride=stride, threshold=threshold, top_k=top_k, warm_up_s=warm_up_s)
        return (chunk.scores for chunk in scored)

    def score_chunks(
        self,
        chunks: Iterable[Frames],
        *,
        stride: int | None = None,
        threshold: float | None = None,
        top_k: int = DEFAULT_TOP_K,
        warm_up_s: float = WARM_UP_S,
    ) -> Iterator[ScoredChunk]:
        """As `score_stream`, with the frames of the windows."""
        return self._score_chunks(chunks, self._settings(stride, threshold, top_k, warm_up_s))

    def _score_chunks(self, chunks: Iterable[Frames], settings: "_Settings") -> Iterator[ScoredChunk]:
        known, followers = CoverageCount(self.known_ids), self.followers(settings.warm_up_s)
        for parts in stretches(
            followers.passing(known.passing(chunks)), self.preprocessing.window_size, settings.stride
        ):
            joined = join_scores([self._score_stretch(part, settings, followers) for part in parts])
            scores = replace(joined, bus_coverage=known.by_bus(), warmed_up=followers.warmed_up())
            yield ScoredChunk(scores, parts)

    def _score_stretch(self, part: Stretch, settings: "_Settings", followers: Followers) -> WindowScores:
        """Scores of a stretch; an alert keeps the warm-up of its bus out of the profile."""
        found = self._score_bus(part.frames, part.channel, settings, followers.of(part.channel), first=part.first)
        if followers.is_warming_up(part.channel) and found.alert.any():
            followers.keep_out(part.channel)
        followers.forget(part)
        return replace(found, unscored_frames={part.channel: part.left_over})

    def pass_by(self, part: Stretch, followers: Followers, *, threshold: float | None = None) -> None:
        """Let a stretch pass that is not to be scored, as if it had been: experts and warm-up see its windows."""
        follower = followers.of(part.channel)
        if follower is not None and (followers.is_warming_up(part.channel) or follower.profile.alarms is not None):
            self._score_stretch(part, self._settings(None, threshold, 0), followers)
        else:
            followers.forget(part)

    def score_graphs(
        self,
        graphs: PackedGraphs,
        *,
        channel: str = "",
        threshold: float | None = None,
        top_k: int = DEFAULT_TOP_K,
        follower: Follower | None = None,
    ) -> WindowScores:
        """Scores of windows of one bus whose graphs are at hand, at least one; settings and errors as in `score`.

        Without the follower whose experts have seen the windows before, the experts say nothing.
        """
        return self._score_graphs(graphs, channel, self._settings(None, threshold, top_k), follower)

    def followers(self, warm_up_s: float = WARM_UP_S) -> Followers:
        """What follows the buses of a capture, for a model that judges by deviations.

        Raises:
            DataError: If it does and has no profile.
        """
        return Followers(self.required_profile(), warm_up_s)

    def _settings(self, stride: int | None, threshold: float | None, top_k: int, warm_up_s: float = 0.0) -> "_Settings":
        settings = _Settings(
            stride=self.preprocessing.stride if stride is None else int(stride),
            threshold=self.threshold if threshold is None else float(threshold),
            top_k=int(top_k),
            warm_up_s=float(warm_up_s),
        )
        if settings.stride < 1:
            raise ValueError(f"stride is {stride}, expected at least 1 frame.")
        if not settings.threshold >= 0:
            raise ValueError(f"threshold is {threshold}, expected a number of at least 0; scores lie between 0 and 1.")
        if settings.top_k < 0:
            raise ValueError(f"top_k is {top_k}, expected at least 0 arbitration IDs per alert.")
        if not 0 <= settings.warm_up_s < np.inf:
            raise ValueError(f"warm_up_s is {warm_up_s}, expected a finite number of seconds of at least 0.")
        return settings

    @isolated()
    def _score_bus(
        self, bus: Frames, channel: str, settings: "_Settings", follower: Follower | None, *, first: int = 0
    ) -> WindowScores:
        """Scores of frames of one bus, the first of which is the follower's number `first`."""
        groups = self.graphs_of_bus(bus, follower, stride=settings.stride, first=first)
        return join_scores([self._score_graphs(graphs, channel, settings, follower) for graphs in groups])

    def graphs_of_bus(
        self, bus: Frames, follower: Follower | None, *, stride: int | None = None, first: int = 0
    ) -> Iterator[PackedGraphs]:
        """Graphs of all windows of one bus, as many at a time as fit into memory.

        Args:
            bus: Its frames.
            follower: Which has followed them; None for a model that judges raw features.
            stride: The trained stride by default.
            first: The follower's number of the first of the frames.

        Raises:
            ValueError: If a timestamp is not finite.
        """
        require_finite_timestamps(bus)
        window_size, stride = self.preprocessing.window_size, stride or self.preprocessing.stride
        starts = unbroken_window_starts(bus.timestamp, window_size, stride)
        at_once = max(FRAMES_IN_WINDOWS // window_size, 1)
        for index in range(0, len(starts), at_once):
            begin, end = int(starts[index]), int(starts[index : index + at_once][-1]) + window_size
            frames = bus.take(slice(begin, end))
            yield build_graphs(frames, window_size, stride, follower, frame_offset=first + begin)

    def _score_graphs(
        self, graphs: PackedGraphs, channel: str, settings: "_Settings", follower: Follower | None
    ) -> WindowScores:
        """Scores of graphs that fit into memory together, at least one; they follow those that the follower judged."""
        represented = represent(self.gat, graphs, self.preprocessing)
        logits = classify(self.gat, represented.states)  # [G, C]
        score = attack_margin(logits).sigmoid().numpy()  # [G]
        _require_finite_scores(score, graphs)
        evidence = no_evidence(len(graphs)) if follower is None else follower.watch.evidence(graphs.expert_windows())
        by_network = score >= settings.threshold
        alarms = evidence.alarms & ~by_network
        alert = by_network | alarms
        likeliest = np.array(self.preprocessing.classes[1:])[logits[:, 1:].argmax(dim=1).numpy()]
        coverage, id_coverage = window_coverage(graphs, self.known_ids)
        lead = np.where(alarms, evidence.surest_ids(), -1)
        arbitration_ids, suspicion = suspects(graphs, represented.node_logits, alert, settings.top_k, lead)
        return WindowScores(
            start_s=graphs.start_s,
            end_s=graphs.end_s,
            score=score,
            alert=alert,
            by_network=by_network,
            kind=np.where(alert, likeliest, NORMAL),
            arbitration_ids=arbitration_ids,
            suspicion=suspicion,
            channel=np.full(len(graphs), channel),
            coverage=coverage,
            id_coverage=id_coverage,
            evidence=evidence,
        )


@dataclass(frozen=True, slots=True)
class _Settings:
    stride: int
    threshold: float
    top_k: int
    warm_up_s: float


def require_finite_timestamps(frames: Frames) -> None:
    """Raise ValueError if a timestamp is not finite; the message names the first."""
    if not np.isfinite(frames.timestamp).all():
        row = int(np.flatnonzero(~np.isfinite(frames.timestamp))[0])
        raise ValueError(
            f"Row {row} has timestamp {frames.timestamp[row]}, expected a finite number of seconds: "
            "inter-arrival times come from it."
        )


def _require_finite_scores(score: NDArray[np.float64], graphs: PackedGraphs) -> None:
    """NaN compares below every threshold, so a window without a score would read as normal."""
    if (bad := np.flatnonzero(~np.isfinite(score))).size:
        first = int(bad[0])
        raise DataError(
            f"{len(bad)} of {len(graphs)} windows have no finite score, the first from {graphs.start_s[first]} s to "
            f"{graphs.end_s[first]} s: found {score[first]}, expected 0 to 1. The training of this model may have "
            "diverged: train it again."
        )
