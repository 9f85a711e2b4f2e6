"""Compiles the kernels that many tests need into numba's cache: `python tests/support/compile_kernels.py`.

Workers that start together would each compile them.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from graphids.core.alarm_choice import HeldOut, choose_alarms
from graphids.core.captures.read import stream_frames
from graphids.core.injection.inject import Injection, inject
from graphids.core.models.attention import GraphAttention, incoming_edges
from graphids.core.profile.follower import window_deviations
from graphids.core.profile.profile import fit_profile
from graphids.core.simulation.simulate import simulate_vehicle
from support.format_case import text_cases
from support.tiny_model import three_ids, three_ids_profile, tiny_classifier, tiny_profile_classifier


def compile_kernels() -> None:
    drive = simulate_vehicle(seed=0, duration_s=2.0)
    inject(drive, [Injection("dos", 0.5, 1.0)], seed=0)
    window_deviations(fit_profile([drive]), drive, np.arange(3), 100)
    tiny_classifier().score(three_ids(64))
    tiny_profile_classifier().score(three_ids(64))
    judging = tiny_profile_classifier()
    profile = three_ids_profile()
    judging.for_vehicle(choose_alarms(judging, profile, [HeldOut(profile, [three_ids(64)])], 6.0)).score(three_ids(64))
    layer, nothing = GraphAttention(4, 2, 1), torch.empty(2, 0, dtype=torch.int64)
    layer(torch.ones(1, 4), incoming_edges(nothing, torch.empty(0, 1), 1))[0].sum().backward()
    with tempfile.TemporaryDirectory() as folder:
        for name, case in text_cases().items():
            path = Path(folder, name)
            path.write_bytes(next(iter(case.samples.values())).text)
            for _ in stream_frames(path):
                pass


if __name__ == "__main__":
    compile_kernels()
