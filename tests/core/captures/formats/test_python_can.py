import importlib.util
import sys
from pathlib import Path

import pytest

from graphids.core.captures.formats.bridged.bridge import BridgedFormat
from graphids.core.captures.formats.registry import BRIDGED_FORMATS
from graphids.core.captures.read import read_captures

can = pytest.importorskip("can", reason="needs python-can: pip install -c constraints.txt -e '.[can]'")


def messages() -> list["can.Message"]:
    return [
        can.Message(1.5, 0x123, is_extended_id=False, data=[1, 2, 3], channel=0),
        can.Message(1.6, 0x18FEF100, is_extended_id=True, data=[], channel=0),
        can.Message(1.7, 0x7FF, is_extended_id=False, data=range(8), channel=0),
    ]


SUFFIXES = {"Vector BLF": ".blf", "ASAM MF4": ".mf4", "python-can sqlite log": ".db"}


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


def test_without_python_can_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.blf"
    with can.Logger(path) as logger:
        logger(messages()[0])
    monkeypatch.setitem(sys.modules, "can", None)

    with pytest.raises(
        ModuleNotFoundError,
        match=r"Vector BLF is read through python-can.* pip install -c constraints\.txt -e '\.\[can\]'",
    ):
        read_captures(path)


def test_without_asammdf_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mf4"
    path.write_bytes(b"MDF     4.10    " + bytes(100))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "asammdf" else found(name))

    with pytest.raises(
        ModuleNotFoundError, match=r"ASAM MF4 needs asammdf.* pip install -c constraints\.txt -e '\.\[can\]'"
    ):
        read_captures(path)
