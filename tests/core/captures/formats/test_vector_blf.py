"""Vector BLF: every object of a CAN type is a frame or counted, whatever python-can makes of it."""

import struct
import zlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import read_captures, stream_frames
from graphids.core.frames import LogFormatError
from support.format_case import Frame, rows

can = pytest.importorskip("can", reason="needs python-can: pip install -c constraints.txt -e '.[can]'")

CAN_MESSAGE, CAN_ERROR, CAN_ERROR_EXT, CAN_FD_ERROR_64, CAN_STATISTIC = 1, 2, 73, 104, 4


def blf_object(kind: int, body: bytes, timestamp_ns: int = 0) -> bytes:
    header = struct.pack("<4sHHLLLHHQ", b"LOBJ", 32, 1, 32 + len(body), kind, 2, 0, 0, timestamp_ns)
    return header + body + bytes(len(body) % 4)


def frame(identifier: int = 0x123, timestamp_ns: int = 0) -> bytes:
    return blf_object(CAN_MESSAGE, struct.pack("<HBBL8s", 1, 0, 2, identifier, b"\x11\x22"), timestamp_ns)


def blf(path: Path, *objects: bytes) -> Path:
    """A file of one container for each of `objects`."""
    path.write_bytes(struct.pack("<4sL", b"LOGG", 144).ljust(144, b"\0"))
    for content in objects:
        body = struct.pack("<H6xL4x", 2, len(content)) + zlib.compress(content)
        with path.open("ab") as stream:
            stream.write(struct.pack("<4sHHLL", b"LOBJ", 16, 1, 16 + len(body), 10) + body + bytes(len(body) % 4))
    return path


def objects_in(path: Path) -> list[int]:
    """Types of all objects, found by their signature alone in what the containers hold."""
    raw, content = path.read_bytes(), b""
    at = raw.find(b"LOBJ")
    while at >= 0:
        _, _, _, size, kind = struct.unpack_from("<4sHHLL", raw, at)
        method = struct.unpack_from("<H", raw, at + 16)[0] if kind == 10 else None
        body = raw[at + 32 : at + size]
        content += b"" if method is None else zlib.decompress(body) if method == 2 else body
        at = raw.find(b"LOBJ", at + size)
    return [struct.unpack_from("<L", part, 8)[0] for part in content.split(b"LOBJ")[1:]]


ERRORS = {CAN_ERROR: bytes(4), CAN_ERROR_EXT: bytes(32), CAN_FD_ERROR_64: bytes(44)}


def test_error_frames_of_every_type_are_counted(tmp_path: Path) -> None:
    path = blf(tmp_path / "a.blf", frame() + b"".join(blf_object(kind, body) for kind, body in ERRORS.items()))

    (capture,) = read_captures(path)

    assert len(capture.frames) == 1
    assert capture.counts["error_frames"] == 3
    counts: dict[str, int] = {}
    list(stream_frames(path, counts=counts))
    assert counts["error_frames"] == 3


@pytest.mark.parametrize("kind", ERRORS)
def test_a_recording_of_one_type_of_error_frames_only_is_a_capture_without_frames(tmp_path: Path, kind: int) -> None:
    (capture,) = read_captures(blf(tmp_path / "a.blf", blf_object(kind, ERRORS[kind]) * 2))

    assert (len(capture.frames), capture.counts["error_frames"]) == (0, 2)


def test_a_frame_that_continues_in_the_next_container_is_read_and_statistics_are_not_frames(tmp_path: Path) -> None:
    content = frame(0x123) + blf_object(CAN_STATISTIC, bytes(32)) + frame(0x124, 1000)

    (capture,) = read_captures(blf(tmp_path / "a.blf", content[:70], content[70:130], content[130:]))

    assert capture.frames.arbitration_id.tolist() == [0x123, 0x124]
    assert capture.counts["error_frames"] == 0


def test_an_identifier_beyond_11_bits_is_extended_marked_or_not(tmp_path: Path) -> None:
    marked = 1 << 31
    path = blf(tmp_path / "a.blf", frame(0x7FF) + frame(0x7FF | marked) + frame(0x800) + frame(0x800 | marked))

    (capture,) = read_captures(path)

    assert [(row.identifier, row.is_extended) for row in rows(capture.frames)] == [
        (0x7FF, False),
        (0x7FF, True),
        (0x800, True),
        (0x800, True),
    ]


def orders(number: int) -> list[list[int]]:
    """The numbers below `number` with one dropped, one said again at any place, or two swapped."""
    whole = list(range(number))
    dropped = [whole[:i] + whole[i + 1 :] for i in whole]
    doubled = [[*whole[:place], i, *whole[place:]] for i in whole for place in range(number + 1)]
    swapped = [[j if n == i else i if n == j else n for n in whole] for i, j in combinations(whole, 2)]
    return [*dropped, *doubled, *swapped]


def test_a_container_dropped_is_an_error_and_one_doubled_or_moved_is_a_time_that_goes_back(tmp_path: Path) -> None:
    containers = [b"".join(frame(0x100 + i, 10**6 * (9 * i + j)) for j in range(9)) for i in range(4)]
    size = blf(tmp_path / "a.blf", *containers).stat().st_size

    for order in orders(4):
        path = blf(tmp_path / "a.blf", *(containers[i] for i in order))
        raw = bytearray(path.read_bytes())
        raw[16:24] = struct.pack("<Q", size)
        path.write_bytes(raw)
        if len(order) < 4:
            with pytest.raises(
                LogFormatError, match=f"damaged or cut off: its header says {size} bytes, found {len(raw)}"
            ):
                read_captures(path)
            continue
        (capture,) = read_captures(path)
        assert capture.counts["backward_timestamps"] > 0, order


@pytest.mark.parametrize("found", [1, 3])
def test_frames_that_python_can_loses_or_invents_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: int
) -> None:
    path = blf(tmp_path / "a.blf", frame() * 2)
    messages = (list(can.BLFReader(path)) * 2)[:found]
    monkeypatch.setattr(can, "BLFReader", lambda _: messages)

    with pytest.raises(
        LogFormatError, match=rf"a\.blf: python-can reads {found} of the 2 CAN frames in this Vector BLF"
    ):
        read_captures(path)


def test_3000_random_frames_are_those_that_python_can_reads(tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    path = tmp_path / "drive.blf"
    with can.Logger(path) as logger:
        for i in range(3_000):
            is_extended, is_remote = bool(random.integers(2)), not random.integers(9)
            logger(
                can.Message(
                    timestamp=1.7e9 + i / 1000,
                    arbitration_id=int(random.integers(1 << (29 if is_extended else 11))),
                    is_extended_id=is_extended,
                    is_remote_frame=is_remote,
                    is_error_frame=not random.integers(9),
                    data=b"" if is_remote else random.bytes(int(random.integers(9))),
                    channel=int(random.integers(3)),
                )
            )
    written = list(can.BLFReader(path))
    counts: dict[str, int] = {}

    found = [row for part in stream_frames(path, counts=counts) for row in rows(part)]

    assert found == [
        Frame(m.timestamp, m.arbitration_id, m.is_extended_id, m.data.hex(), f"{m.channel + 1}")
        for m in written
        if not m.is_error_frame
    ]
    assert counts["error_frames"] == 3_000 - len(found) > 200
    assert counts["remote_frames"] == sum(m.is_remote_frame and not m.is_error_frame for m in written) > 200


def test_every_recording_has_as_many_frames_as_objects_of_can_types(captures_dir: Path) -> None:
    found = sorted(captures_dir.rglob("*.blf"))
    for path in found:
        counts: dict[str, int] = {}
        num_frames = sum(map(len, stream_frames(path, on_bad_line="drop", counts=counts)))

        expected = sum(kind in (1, 2, 73, 86, 100, 101, 104) for kind in objects_in(path))
        assert num_frames + counts["error_frames"] + counts["bad_lines"] == expected > 0, path.name
    assert len(found) == 5
