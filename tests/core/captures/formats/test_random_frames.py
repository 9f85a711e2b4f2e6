"""3,000 random frames in every layout of every text format: those that were drawn, and that a slow reader finds."""

from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import read_captures, stream_frames
from support.format_case import Frame, Layout, layouts, rows
from support.random_frames import drawn

NUM_FRAMES = 3_000
CHUNK_BYTES = 1 << 14  # so that chunks end within lines
LAYOUTS = layouts()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_random_frames_are_those_that_were_drawn_and_that_a_slow_reader_finds(tmp_path: Path, layout: Layout) -> None:
    frames, path, counts = drawn(layout, NUM_FRAMES), tmp_path / "drive", dict[str, int]()
    lines = [frame.line(layout.reference) for frame in frames]
    path.write_bytes(layout.head + b"\n".join([*lines, b""]))
    slow = [layout.reference.frame(line) for line in lines]

    found = [row for part in stream_frames(path, chunk_bytes=CHUNK_BYTES, counts=counts) for row in rows(part)]

    assert [row[1:] for row in found] == [row and row[1:] for row in slow]
    assert [row[1:4] for row in found] == [(f.identifier, f.is_extended, f.payload.hex()) for f in frames]
    times, tolerance_s = np.array([row.time for row in found]), 5e-7 if layout.start_s else 0.0
    expected_times = layout.start_s + np.array([f.microseconds for f in frames]) / 1e6
    np.testing.assert_allclose(times, expected_times, rtol=4e-16, atol=tolerance_s)
    np.testing.assert_allclose(times - layout.start_s, [row.time for row in slow if row], rtol=4e-16, atol=tolerance_s)
    assert counts["remote_frames"] == sum(frame.is_remote for frame in frames)
    assert (counts["bad_lines"], counts["error_frames"]) == (0, 0)
    captures = read_captures(path)
    assert sorted(len(c.frames) for c in captures) == sorted(np.unique([r.bus for r in found], return_counts=True)[1])


@pytest.mark.parametrize("name", LAYOUTS)
def test_random_lines_name_more_than_one_bus_and_kind_where_the_format_has_them(name: str) -> None:
    layout, several = LAYOUTS[name], {"bus": set[str](), "kind": set[str]()}
    for frame in drawn(layout, 50):
        read = layout.reference.frame(frame.line(layout.reference))
        assert isinstance(read, Frame)
        several["bus"].add(read.bus)
        several["kind"].add(read.kind)

    for values in several.values():
        assert values == {""} or len(values) > 1
