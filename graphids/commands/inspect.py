"""The command `inspect`: what a capture holds, at a glance. It looks, and proves nothing about the bytes."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.captures.index_file import index_entry
from graphids.core.captures.labels import read_sidecar
from graphids.core.captures.parts import format_name
from graphids.core.captures.read import stream_frames
from graphids.core.captures.survey import BusSurvey, Survey
from graphids.core.frames import EXTENDED_BIT, DataError, LogFormatError
from graphids.wording import counted, name_text, printable, time_words, utc_text

BITS_PER_S = 500_000
_CHUNK_BYTES = 1 << 20  # stays in the cache
_COUNTS = ("remote_frames", "error_frames", "bad_lines", "comment_lines", "unterminated_last_line")
_CLOCK = ("equal_timestamps", "backward_timestamps", "negative_timestamps", "clock_jumps")


class KnownIds(NamedTuple):
    """The model that a capture is compared with: its URI, and the node keys that it knows, uint32 [n]."""

    model: str
    vocabulary: NDArray[np.uint32]


def inspect_capture(capture: Path, *, known: KnownIds | None = None, as_json: bool = False) -> None:
    """Print what a capture holds, as text or as one JSON object.

    Bad lines are counted, and the first one is shown. A capture that no command would read further than to some place,
    because its times cannot be seconds, is shown up to there before the error is raised.

    Args:
        capture: One capture, in any format that `read_captures` knows.
        known: IDs to compare it with.
        as_json: One object, whose fields are those of `inspection`.

    Raises:
        DataError: If the capture cannot be read, or not to its end.
    """
    survey, counts, problem = Survey(), dict[str, int](), None
    name = format_name(capture)
    try:
        for part in stream_frames(capture, chunk_bytes=_CHUNK_BYTES, on_bad_line="drop", counts=counts):
            survey.add(part)
    except DataError as error:
        if not survey.frames:
            raise
        problem = error
    found = inspection(capture, name, survey, counts)
    found["model"] = None if known is None else _known_share(survey, known)
    found["problem"] = None if problem is None else str(problem)
    print(json.dumps(found) if as_json else _text(found))
    if problem is not None:
        raise problem


def inspection(capture: Path, format_name: str, survey: Survey, counts: dict[str, int]) -> dict[str, Any]:
    """What was met, as fields of JSON: counts as integers, times as seconds with their ISO form where they are dates.

    `load` is the share of 500 kbit/s that the bits of the frames take, with stuffing estimated at a quarter of its
    worst case. Where no time passes, `load` and `rate_hz` are null.
    """
    return {
        "capture": name_text(capture),
        "format": format_name,
        "frames": survey.frames,
        "ids": len(survey.keys),
        "ids_of_29_bits": sum(key >= int(EXTENDED_BIT) for key in survey.keys),
        **{count: counts.get(count, 0) for count in (*_COUNTS, *_CLOCK)},
        "first_bad_line": _first_bad_line(capture) if counts.get("bad_lines") else None,
        "buses": [_bus(name, bus) for name, bus in survey.buses.items()],
        "labels": _labels(capture, survey),
    }


def _bus(name: str, bus: BusSurvey) -> dict[str, Any]:
    bits_per_s = bus.per_second(bus.bits)
    return {
        "bus": name,
        "frames": bus.frames,
        "ids": len(bus.keys),
        "start_s": bus.first_s,
        "start": utc_text(bus.first_s),
        "end_s": bus.last_s,
        "end": utc_text(bus.last_s),
        "duration_s": bus.duration_s,
        "rate_hz": bus.per_second(bus.frames),
        "load": None if bits_per_s is None else bits_per_s / BITS_PER_S,
        "largest_gap_s": bus.largest_gap_s,
        "largest_gap_at_s": bus.largest_gap_at_s,
        "clock_jumps": bus.clock_jumps,
    }


def _labels(capture: Path, survey: Survey) -> dict[str, Any]:
    """Labels by the place where they were found."""
    sidecar, entry = read_sidecar(capture), index_entry(capture)
    within = survey.attacked is not None
    return {
        "within": {"attacked_frames": survey.attacked, "kinds": dict(survey.kinds)} if within else None,
        "sidecar": sidecar and {"file": name_text(sidecar.path), "attacked_frames": int(sidecar.attack.sum())},
        "index": entry and {"file": name_text(entry.index), "kind": entry.kind, "intervals": len(entry.intervals)},
    }


def _known_share(survey: Survey, known: KnownIds) -> dict[str, Any]:
    from graphids.core.data.coverage import coverage_of_ids  # loads what the model has loaded

    keys = survey.keys
    counts = np.fromiter(keys.values(), np.int64, len(keys))
    coverage = coverage_of_ids(np.fromiter(keys, np.uint32, len(keys)), counts, known.vocabulary)
    return {
        "uri": known.model,
        "known_ids": coverage.known_ids,
        "known_id_share": coverage.id_share if survey.frames else None,
        "known_frames": coverage.known_frames,
        "known_frame_share": coverage.share if survey.frames else None,
    }


def _first_bad_line(capture: Path) -> str:
    """Where the first bad line is, and what is wrong with it."""
    try:
        for _ in stream_frames(capture):
            pass
    except LogFormatError as error:
        return str(error).split(" Expected ")[0]
    return f"{capture}: changed while it was read"


def _text(found: dict[str, Any]) -> str:
    lines = [
        ("format", found["format"]),
        ("frames", f"{found['frames']:,} of {counted(found['ids'], 'ID')}, {found['ids_of_29_bits']} of 29 bits"),
        *((f"bus {bus['bus']}".strip(), text) for bus in found["buses"] for text in _bus_text(bus)),
        ("beside", ", ".join(counted(found[name], name[:-1].replace("_", " ")) for name in _COUNTS[:3])),
        *([("bad line", found["first_bad_line"])] if found["first_bad_line"] else []),
        *([("last line", "ends without a line end: the recording may be cut off")] * found["unterminated_last_line"]),
        ("clock", ", ".join(counted(found[name], name[:-1].replace("_", " ")) for name in _CLOCK)),
        *(("labels", text) for text in _labels_text(found["labels"])),
    ]
    if found["model"]:
        model = found["model"]
        lines.append(
            ("model", f"{model['uri']} knows {model['known_ids']} of {counted(found['ids'], 'ID')}"
             f"{_percent(model['known_id_share'])} and {model['known_frames']:,} of {counted(found['frames'], 'frame')}"
             f"{_percent(model['known_frame_share'])}")
        )  # fmt: skip
    lines = [(printable(name), printable(text)) for name, text in lines]  # names of buses, files and kinds are others'
    width = max(len(name) for name, _ in lines)
    shown = [f"{'' if i and lines[i - 1][0] == name else name:{width}}  {text}" for i, (name, text) in enumerate(lines)]
    return "\n".join([printable(found["capture"]), *shown])


def _bus_text(bus: dict[str, Any]) -> list[str]:
    rate, load, gap = "no time passes", "", ""
    if bus["rate_hz"] is not None:
        rate = f"{bus['rate_hz']:,.1f} frames/s"
        load = f", load {bus['load']:.1%} of {BITS_PER_S // 1000} kbit/s (stuffing estimated)"
    if bus["largest_gap_at_s"] is not None:
        gap = f"largest gap {bus['largest_gap_s']:.6g} s after {bus['largest_gap_at_s']:.6f} s, "
    start, end = (bus[name] or f"{bus[f'{name}_s']:.6f} s" for name in ("start", "end"))
    return [
        f"{counted(bus['frames'], 'frame')} of {counted(bus['ids'], 'ID')}, {rate}{load}",
        f"{start} to {end}, {time_words(bus['duration_s'] / 3600)}",
        f"{gap}{counted(bus['clock_jumps'], 'clock jump')}",
    ]


def _labels_text(labels: dict[str, Any]) -> list[str]:
    within, sidecar, index = labels["within"], labels["sidecar"], labels["index"]
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in within["kinds"].items()) if within else ""
    return [
        *([f"{counted(within['attacked_frames'], 'attacked frame')} within ({kinds or 'none'})"] if within else []),
        *([f"{counted(sidecar['attacked_frames'], 'attacked frame')} in {sidecar['file']}"] if sidecar else []),
        *([f"kind {index['kind']}, {counted(index['intervals'], 'interval')} in {index['file']}"] if index else []),
    ] or ["none found"]


def _percent(share: float | None) -> str:
    return "" if share is None else f" ({share:.1%})"
