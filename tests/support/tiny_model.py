"""A tiny untrained model and readable frames for it; training is not what these tests are about."""

from dataclasses import replace

import numpy as np
import torch

from graphids.core.classifier import WindowClassifier
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.frames import Frames
from graphids.core.graphs.features import EDGE_FEATURES, FEATURES
from graphids.core.graphs.packed import PackedGraphs, build_graphs
from graphids.core.models.gat import GAT
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile, fit_profile

WINDOW, STRIDE = 4, 2
CLASSES = ("normal", "dos", "spoof")


def three_ids(num_frames: int, *, seed: int = 0) -> Frames:
    """Three identifiers, one of them with 29 bits, in turn every millisecond, with seeded payloads."""
    generator = np.random.default_rng(seed)
    ids = np.array([0x1A4, 0x2B0, 0x18FEF100], np.uint32)[generator.integers(0, 3, num_frames)]
    return Frames(
        timestamp=np.arange(num_frames) * 1e-3,
        arbitration_id=ids,
        dlc=np.full(num_frames, 8, np.uint8),
        payload=generator.integers(0, 256, (num_frames, 8), dtype=np.uint8),
        is_extended=ids > 0x7FF,
        channel=np.zeros(num_frames, np.uint8),
    )


def three_ids_profile(seed: int = 0) -> Profile:
    return fit_profile([three_ids(64, seed=seed)])


def three_ids_deviations() -> PackedGraphs:
    follower = Follower(three_ids_profile())
    follower.follow(three_ids(64))
    return build_graphs(three_ids(64), WINDOW, STRIDE, follower)


def tiny_classifier(seed: int = 0) -> WindowClassifier:
    return _untrained(build_graphs(three_ids(64), WINDOW, STRIDE), "raw", seed)


def tiny_profile_classifier(seed: int = 0) -> WindowClassifier:
    """Judges deviations from a profile, which it has."""
    return replace(_untrained(three_ids_deviations(), "deviations", seed), profile=three_ids_profile())


def _untrained(graphs: PackedGraphs, features: str, seed: int) -> WindowClassifier:
    torch.manual_seed(seed)
    fitted = Preprocessing.fit(graphs, window_size=WINDOW, stride=STRIDE, features=features)
    preprocessing = Preprocessing.from_dict({**fitted.to_dict(), "classes": list(CLASSES)})
    gat = GAT(
        num_tokens=preprocessing.num_tokens,
        num_node_features=len(FEATURES[features]),
        num_edge_features=len(EDGE_FEATURES),
        num_classes=len(CLASSES),
        hidden=8,
        layers=1,
        heads=2,
    )
    head = gat.state_dict()["fc_layers.3.weight"]
    record = {"tau": 0.5, "key": "fc_layers.3.weight", "raw_head": head * 2, "row_norms": (head * 2).norm(dim=1)}
    return WindowClassifier(gat, preprocessing, threshold=0.5, tau_record=record)
