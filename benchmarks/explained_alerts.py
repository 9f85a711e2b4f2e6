"""Do explanations point at the planted attack? Windows that alerted in simulated drives the model has not seen.

    python benchmarks/explained_alerts.py models:/m-...

The model comes from `mlflow run . -P tau=0.5`. An arbitration ID is planted if any of its frames in the window was
injected or altered; where several are, the one whose removal lowers the log-odds most is meant.
"""

import argparse
import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, as `graphids` does it

import numpy as np

from graphids.core.classifier import WindowClassifier, format_arbitration_id
from graphids.core.explanation import Explanation, explain_window
from graphids.core.graphs.window_stream import Window
from graphids.core.graphs.windows import window_starts
from graphids.core.simulation.simulate import simulate
from mlflow_graphids import load_model

KINDS = ("dos", "spoof", "masquerade", "replay", "fuzzy")
FIRST_SEED, DURATION_S = 9000, 20.0  # seeds that neither the default run nor `-e evaluate` draws


def alerts(model: WindowClassifier, kind: str, drives: int) -> Iterator[tuple[Explanation, set[str]]]:
    """Explanations of windows that alert and contain an attacked frame, with the IDs of such frames."""
    fitted = model.preprocessing
    for seed in range(FIRST_SEED, FIRST_SEED + drives):
        frames = simulate(seed, DURATION_S, kind).frames
        alert, keys, followers = model.score(frames, top_k=0).alert, frames.node_key(), model.followers()
        list(followers.passing([frames]))
        for number, start in enumerate(window_starts(len(frames), fitted.window_size, fitted.stride)):
            span = slice(start, start + fitted.window_size)
            planted = {format_arbitration_id(key) for key in np.unique(keys[span][frames.attack[span] == 1])}
            if planted and alert[number]:
                window = Window(number, "", frames.take(span), first=start)
                yield explain_window(model, window, follower=followers.of("")), planted


def row(model: WindowClassifier, kind: str, drives: int, most: int) -> str:
    """One line of the table of docs/explain.md."""
    first, falls, largest, silent, changes = [], [], [], [], []
    for explanation, planted in alerts(model, kind, drives):
        if len(explanation.ids) == 1:
            continue  # without its only ID nothing is left of the window
        lowest = min(explanation.ids, key=lambda i: i.margin_without)
        suspect = min((i for i in explanation.ids if i.arbitration_id in planted), key=lambda i: i.margin_without)
        first.append(explanation.ids[0].arbitration_id in planted)
        falls.append(suspect.margin_without < explanation.margin)
        largest.append(lowest.arbitration_id in planted)
        silent.append(suspect.score_without < model.threshold)
        changes.append(suspect.margin_without - explanation.margin)
        if len(first) == most:
            break
    shares = " | ".join(f"{np.mean(share):.2f}" for share in (first, falls, largest))
    return f"| {kind} | {len(first)} | {shares} | {np.median(changes):.1f} | {np.mean(silent):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="URI of a model trained on the simulated vehicle")
    parser.add_argument("--drives", type=int, default=6, help="simulated drives per kind")
    parser.add_argument("--most", type=int, default=400, help="windows per kind")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    print("| kind | windows | planted first | score falls | changes most | median change | alert gone |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        print(row(model, kind, arguments.drives, arguments.most), flush=True)


if __name__ == "__main__":
    main()
