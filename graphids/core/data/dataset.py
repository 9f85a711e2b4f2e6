"""The data set: labelled captures, their windows, and what each split holds of them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphids.core.captures.labels import Kinds
from graphids.core.captures.read import OnBadLine, find_captures, read_captures
from graphids.core.data.splits import SPLITS, Split
from graphids.core.frames import NORMAL, Capture, DataError, unbroken_runs
from graphids.core.graphs.packed import PackedGraphs, build_graphs, concat_graphs
from graphids.core.graphs.windows import dropped_tails
from graphids.core.profile.follower import followed
from graphids.core.profile.profile import Profile
from graphids.core.simulation.fleet import simulated_fleet
from graphids.core.simulation.simulate import CAPTURES_PER_KIND, DURATION_S, simulated_captures
from graphids.options import FLEET, SIMULATED, is_text
from graphids.wording import printable


def load_captures(
    data: str,
    *,
    kinds: Kinds = "auto",
    on_bad_line: OnBadLine = "raise",
    data_seed: int = 0,
    duration_s: float = DURATION_S,
    captures_per_kind: int = CAPTURES_PER_KIND,
) -> list[Capture]:
    """Captures of a file, a folder or a glob; for "simulated", drives of a simulated vehicle; for "fleet", of several.

    Args:
        data: What to load.
        kinds: How attack kinds are named; see `read_captures`.
        on_bad_line: "raise" or "drop"; see `read_captures`.
        data_seed: Of simulated drives.
        duration_s: Of each simulated drive.
        captures_per_kind: Simulated drives of the one vehicle under each attack.

    Raises:
        LogFormatError: If a file cannot be read.
        DataError: If the name of a file is not UTF-8.
    """
    if data == FLEET:
        return simulated_fleet(seed=data_seed, duration_s=duration_s)
    if data == SIMULATED:
        return simulated_captures(seed=data_seed, duration_s=duration_s, captures_per_kind=captures_per_kind)
    found = find_captures(data)
    if nameless := next((str(path) for path, _ in found if not is_text(str(path))), None):
        raise DataError(
            f"{printable(nameless)}: its name is not UTF-8, and MLflow stores nothing else of a run's captures; rename "
            "it."
        )
    return [
        capture
        for path, name in found
        for capture in read_captures(path, name=name, on_bad_line=on_bad_line, kinds=kinds)
    ]


def dataset_digest(captures: Sequence[Capture], made_of_them: Mapping[str, Any] | None = None) -> str:
    """Hex sha256 of the captures' names, sources, frames and labels, in order.

    Args:
        captures: As read.
        made_of_them: Settings of what was made of them before the split, such as injected attacks; JSON-able.
    """
    digest = hashlib.sha256(json.dumps(made_of_them, sort_keys=True).encode() if made_of_them else b"")
    for capture in captures:
        frames = capture.frames
        header = (capture.name, capture.source, len(frames), frames.channels, frames.kinds, frames.attack is None)
        digest.update(repr(header).encode())
        for name in (
            "timestamp",
            "arbitration_id",
            "dlc",
            "payload",
            "is_extended",
            "channel",
            "attack",
            "attack_kind",
        ):
            column = getattr(frames, name)
            if column is not None:
                digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def require_labels(captures: Sequence[Capture]) -> None:
    """Refuse captures without labels.

    Raises:
        DataError: Naming them and saying how to label them.
    """
    # A recording of error frames and status lines alone gives a capture without frames; it has nothing to label.
    unlabelled = [c.name for c in captures if len(c.frames) and c.frames.attack_kind is None]
    if unlabelled:
        raise DataError(
            f"Training and evaluation need labels, found none in {len(unlabelled)} of {len(captures)} captures: "
            f"{', '.join(unlabelled[:5])}{' ...' if len(unlabelled) > 5 else ''}. Put a NAME.labels.csv beside the "
            "capture, name its attacks in the folder's index.json, or leave it out. Training by injection needs no "
            "labels, but captures of which none has any attack."
        )


def labelled_windows(
    captures: Sequence[Capture], window_size: int, stride: int, profile: Profile | None = None
) -> PackedGraphs:
    """The graphs of whole captures with their labels, for measuring a finished model.

    Args:
        captures: All labelled.
        window_size: Frames per window, the model's.
        stride: Frames between window starts, the model's.
        profile: Of the vehicle, where nodes carry deviations from it; each capture is followed from its beginning.

    Raises:
        DataError: If a capture has no labels, none holds a full window, or no time passes over normal windows: false
            alarms per hour would then be undefined.
    """
    require_labels(captures)
    graphs = [
        build_graphs(c.frames, window_size, stride, followed(profile, c.frames), capture_name=c.name) for c in captures
    ]
    if not any(map(len, graphs)):
        raise DataError(
            f"No capture holds a full window: the longest of {len(captures)} captures has {_longest(captures)} frames "
            f"without a jump of its clock, and the model's windows have {window_size}. Give it longer captures."
        )
    whole = concat_graphs(graphs)
    if not (whole.label == 0).any():
        raise DataError(
            f"None of the {len(whole)} windows is normal, and detections are measured against normal traffic. Add an "
            "attack-free capture, or a recording that starts before the attack or ends after it."
        )
    _require_time(whole, "captures")
    return whole


def split_windows(captures: Sequence[Capture], split: Split, window_size: int, stride: int) -> dict[str, PackedGraphs]:
    """The graphs of train, val and test, with the same `classes`, after every check that needs no training.

    Args:
        captures: All labelled.
        split: Of these captures.
        window_size: Frames per window.
        stride: Frames between window starts.

    Raises:
        DataError: If a split has no full window, training or validation lacks normal or attack windows, the test split
            lacks normal ones, or no time passes over a split's normal windows.
    """
    require_long_enough(captures, window_size, stride)
    parts = {
        name: [
            build_graphs(
                captures[index].frames.take(rows),
                window_size,
                stride,
                capture_name=captures[index].name,
                frame_offset=rows.start,
            )
            for index, rows in split.parts[name]
        ]
        for name in SPLITS
    }
    return joined(captures, split, parts, window_size, stride)


def joined(
    captures: Sequence[Capture],
    split: Split,
    parts: Mapping[str, Sequence[PackedGraphs]],
    window_size: int,
    stride: int,
) -> dict[str, PackedGraphs]:
    """The graphs of each split as one, with the same `classes`, after every check that needs no training.

    Args:
        captures: Of the split.
        split: Of these captures.
        parts: Graphs by split.
        window_size: Frames per window.
        stride: Frames between window starts.

    Raises:
        DataError: As `split_windows`.
    """
    for name in SPLITS:
        if not any(map(len, parts[name])):
            times = [captures[index].frames.timestamp[rows] for index, rows in split.parts[name]]
            frames, pieces = sum(map(len, times)), sum(len(unbroken_runs(piece)) for piece in times)
            raise DataError(
                f"The {name} split has no full window: {frames} frames in {pieces} pieces, windows of {window_size} "
                f"frames. {split.reason} Use a smaller window or gap_s, or add captures."
            )
    present = {kind for graphs in parts.values() for part in graphs for kind in part.present_classes()}
    classes = (NORMAL, *sorted(present - {NORMAL}))
    if len(classes) == 1:
        windows = sum(len(part) for members in parts.values() for part in members)
        skipped = (
            f" A stride of {stride} skips frames between windows of {window_size}." if stride > window_size else ""
        )
        raise DataError(
            f"Training needs windows of at least one attack, found only normal ones among {windows}.{skipped} "
            f"{split.reason} Add labelled attacks, or use a smaller data.gap_s or stride if there are some."
        )
    graphs = {name: concat_graphs(members, classes=classes) for name, members in parts.items()}
    _require_both(graphs, split, stride)
    for name in SPLITS:
        _require_time(graphs[name], f"{name} split")
    return graphs


def _longest(captures: Sequence[Capture]) -> int:
    """Most frames in a row that a window could lie in."""
    runs = (run for capture in captures for run in unbroken_runs(capture.frames.timestamp))
    return max((run.stop - run.start for run in runs), default=0)


def require_long_enough(captures: Sequence[Capture], window_size: int, stride: int) -> None:
    """Refuse windows and strides that no capture is long enough for.

    Raises:
        DataError: Saying how long the longest is.
    """
    longest = _longest(captures)
    for name, frames, then in (
        ("window_size", window_size, "no capture holds a window"),
        ("stride", stride, "each capture gives one window at most"),
    ):
        if frames > longest:
            raise DataError(
                f"data.{name} is {frames} frames, but the longest of {len(captures)} captures has {longest} without a "
                f"jump of its clock: {then}. "
                f"Use a smaller {name.removesuffix('_size')}, a few hundred frames, or longer captures."
            )
    if not any(np.ptp(capture.frames.timestamp) > 0 for capture in captures if len(capture.frames)):
        raise DataError(_no_time("captures"))


def _require_both(graphs: Mapping[str, PackedGraphs], split: Split, stride: int) -> None:
    """Refuse splits that lack a class they need: early stopping would end the run too, but only after an epoch."""
    normal = {name: int((graphs[name].label == 0).sum()) for name in SPLITS}
    attacks = {name: int((graphs[name].label > 0).sum()) for name in SPLITS}
    lacking = [f"{name} has no normal window" for name in SPLITS if not normal[name]]
    lacking += [f"{name} has no attack window" for name in ("train", "val") if not attacks[name]]
    if lacking:
        held = ", ".join(f"{name} {normal[name]} normal and {attacks[name]} attack" for name in SPLITS)
        other = "capture" if split.mode == "time" else "time"
        raise DataError(
            f"Training and validation need normal and attack windows, and the test normal ones, but "
            f"{' and '.join(lacking)}: {held}. {split.reason} Use another data.split ({other}) or data.split_seed, a "
            f"smaller data.gap_s, window or stride (now {stride}), or add captures."
        )


def _require_time(graphs: PackedGraphs, what: str) -> None:
    duration_s = (graphs.end_s - graphs.start_s)[graphs.label == 0]
    if not (duration_s > 0).any():
        raise DataError(_no_time(what))


def _no_time(what: str) -> str:
    return (
        f"Timestamps do not advance over the normal windows of the {what}: rates, gaps and false alarms per hour need "
        "them. Expected seconds that rise from frame to frame; export the recording again with its timestamps."
    )


def summarise(
    captures: Sequence[Capture], split: Split, graphs: Mapping[str, PackedGraphs], window_size: int, stride: int
) -> dict[str, Any]:
    """Counts of what was read and how it was split, JSON-able."""

    def summary_of(name: str) -> dict[str, Any]:
        pieces = [captures[index].frames.timestamp[rows] for index, rows in split.parts[name]]
        windows = np.bincount(graphs[name].label, minlength=len(graphs[name].classes)).tolist()
        return {
            "frames": sum(len(piece) for piece in pieces),
            "seconds": round(sum(float(max(piece[-1] - piece[0], 0.0)) for piece in pieces if len(piece)), 3),
            "dropped_tail_frames": sum(dropped_tails(piece, window_size, stride) for piece in pieces),
            "captures": len({index for index, _ in split.parts[name]}),
            "windows": dict(zip(graphs[name].classes, windows, strict=True)),
        }

    counts = sum((Counter(capture.counts) for capture in captures), Counter())
    return {
        "captures": len(captures),
        "frames": sum(len(capture.frames) for capture in captures),
        "reader": dict(sorted(counts.items())),
        "split": split.mode,
        "split_reason": split.reason,
        **{name: summary_of(name) for name in SPLITS},
    }
