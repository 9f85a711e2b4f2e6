import importlib.util
import sys
from pathlib import Path

import pytest

from graphids.core.captures.formats.bridged.bridge import BridgedFormat
from graphids.core.captures.formats.registry import BRIDGED_FORMATS
from graphids.core.captures.read import read_captures, stream_frames
from graphids.core.frames import LogFormatError

can = pytest.importorskip("can", reason="needs python-can: pip install 'graphids[can]'")

ASC_HEADER = """date Mon Jan 1 00:00:00.000 2024
base hex  timestamps absolute
internal events logged
Begin Triggerblock Mon Jan 1 00:00:00.000 2024
   0.000000 Start of measurement
"""


def asc(path: Path, *lines: str) -> Path:
    path.write_text(ASC_HEADER + "\n".join([*lines, "End TriggerBlock", ""]))
    return path


def messages() -> list["can.Message"]:
    return [
        can.Message(1.5, 0x123, is_extended_id=False, data=[1, 2, 3], channel=0),
        can.Message(1.6, 0x18FEF100, is_extended_id=True, data=[], channel=0),
        can.Message(1.7, 0x7FF, is_extended_id=False, data=range(8), channel=0),
    ]


SUFFIXES = {"Vector ASC": ".asc", "Vector BLF": ".blf", "ASAM MF4": ".mf4"}


@pytest.mark.parametrize("bridged", BRIDGED_FORMATS, ids=lambda bridged: bridged.name)
def test_what_python_can_wrote_reads_back(tmp_path: Path, bridged: BridgedFormat) -> None:
    assert bridged.name in SUFFIXES, "say by which suffix python-can writes the format"
    path = tmp_path / f"drive{SUFFIXES[bridged.name]}"
    with can.Logger(path) as logger:
        for message in messages():
            logger(message)

    (capture,) = read_captures(path)

    frames = capture.frames
    assert frames.arbitration_id.tolist() == [0x123, 0x18FEF100, 0x7FF]
    assert frames.is_extended.tolist() == [False, True, False]
    assert frames.dlc.tolist() == [3, 0, 8]
    assert frames.payload[0].tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
    assert (frames.timestamp - frames.timestamp[0]).tolist() == pytest.approx([0.0, 0.1, 0.2], abs=1e-6)


def test_an_asc_file_gives_one_capture_per_channel_and_counts_the_rest(tmp_path: Path) -> None:
    path = asc(
        tmp_path / "drive.txt",
        "   2.5 1  6F9             Rx   d 2 05 0C  Length = 240015 BitCount = 124 ID = 1785",
        "   2.6 2  18EBFF00x       Rx   d 1 01",
        "   2.7 1 ErrorFrame",
        "   2.8 1  100             Rx   r",
        "   2.9 CAN 1 Status:chip status error active",
    )

    first, second = read_captures(path)

    assert (first.name, second.name) == ("drive.txt:1", "drive.txt:2")
    assert first.frames.arbitration_id.tolist() == [0x6F9, 0x100]
    assert first.frames.dlc.tolist() == [2, 0]
    assert second.frames.is_extended.tolist() == [True]
    assert (first.counts["error_frames"], first.counts["remote_frames"]) == (1, 1)


def test_a_request_to_transmit_is_not_a_frame_on_the_bus(tmp_path: Path) -> None:
    path = asc(tmp_path / "a.asc", "   2.5 1  400   TxRq d 1 0C", "   2.6 1  400   Tx   d 1 0C")

    (capture,) = read_captures(path)

    assert capture.frames.timestamp.tolist() == [2.6]


def test_a_recording_of_error_frames_only_is_a_capture_without_frames(tmp_path: Path) -> None:
    (capture,) = read_captures(asc(tmp_path / "a.asc", "   2.5 1 ErrorFrame"))

    assert len(capture.frames) == 0
    assert capture.counts["error_frames"] == 1


FD_LINE = (
    "  30.0 CANFD   1 Rx        300                  1 0 1  1 11   102203  133   303000 e0006659 46500250 4b140250"
)


@pytest.mark.parametrize("line", ["\v  2.5 1  400   Rx   d 1 0C", "   2.5 1  400   Rx   d 2 0C\x1c0D"])
def test_a_control_character_that_python_can_takes_for_a_blank_makes_an_asc_line_bad(tmp_path: Path, line: str) -> None:
    with pytest.raises(LogFormatError, match=r"a\.asc:6: a control character: found"):
        read_captures(asc(tmp_path / "a.asc", line))


def test_a_can_fd_frame_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    path = asc(tmp_path / "a.asc", "   2.5 1  400   Rx   d 1 0C", FD_LINE)

    with pytest.raises(LogFormatError, match=r"a\.asc:7: a CAN FD frame. Expected classic CAN.*on_bad_line='drop'"):
        read_captures(path)


def test_can_fd_frames_can_be_dropped_and_are_counted(tmp_path: Path) -> None:
    path = asc(tmp_path / "a.asc", "   2.5 1  400   Rx   d 1 0C", FD_LINE)

    (capture,) = read_captures(path, on_bad_line="drop")

    assert len(capture.frames) == 1
    assert capture.counts["bad_lines"] == 1


def test_an_asc_line_whose_bytes_are_not_hexadecimal_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = asc(tmp_path / "a.asc", "   2.5 1  400   Rx   d 1 0C", "   2.6 1  400   Rx   d 2 0C 0Z")

    with pytest.raises(LogFormatError, match=r"a\.asc:7: a malformed frame: found `2\.6 1  400"):
        read_captures(path)


def test_streaming_gives_the_same_frames_in_batches(tmp_path: Path) -> None:
    path = asc(tmp_path / "a.asc", *(f"   2.{i} 1  40{i}   Rx   d 1 0C" for i in range(9)))

    assert [i for part in stream_frames(path) for i in part.arbitration_id] == list(range(0x400, 0x409))


def test_without_python_can_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = asc(tmp_path / "a.asc", "   2.5 1  400   Rx   d 1 0C")
    monkeypatch.setitem(sys.modules, "can", None)

    with pytest.raises(ModuleNotFoundError, match=r"Vector ASC .* pip install 'graphids\[can\]'"):
        read_captures(path)


def test_without_asammdf_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mf4"
    path.write_bytes(b"MDF     4.10    " + bytes(100))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "asammdf" else found(name))

    with pytest.raises(ModuleNotFoundError, match=r"ASAM MF4 needs asammdf.* pip install 'graphids\[can\]'"):
        read_captures(path)
