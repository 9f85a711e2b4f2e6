"""`graphids convert`: what is written reads back as the frames that were read, or is refused, or is said."""

import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from graphids.commands.cli import main
from graphids.commands.convert import convert
from graphids.core.captures.read import stream_frames
from graphids.core.frames import DataError, LogFormatError
from support.format_case import FormatCase, Frame, rows, text_cases

CASES = text_cases()
SAMPLES = {f"{module}: {title}": s for module, case in CASES.items() for title, s in case.samples.items()}
SUB_CLASSES = CASES["attack_defense"].samples["the sub-class names the kind"]
CSV = b"timestamp,arbitration_id,data_field,attack\n"
FRAME = b"(0000000001.500000) can0 123#1122\n"


def frames_in(path: Path) -> list[Frame]:
    return [row for part in stream_frames(path) for row in rows(part)]


def written(folder: Path, content: bytes, name: str = "drive") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def recording(case: FormatCase, num_frames: int = 90) -> bytes:
    """Seeded random frames as the slow writer of a format's case writes them."""
    random = np.random.default_rng(10)
    lines = []
    for microseconds in random.integers(0, 2**31, num_frames):
        is_extended = bool(random.integers(2))
        identifier = int(random.integers(0x800, 0x2000_0000) if is_extended else random.integers(0x800))
        data = random.bytes(int(random.integers(9)))
        lines.append(case.reference.write(int(microseconds), identifier, is_extended, data))
    return case.head + b"\n".join(lines) + b"\n"


def as_written(frame: Frame, suffix: str, *, labelled: bool) -> Frame:
    """What a format keeps of a frame."""
    if suffix == ".parquet":
        return frame
    kind = ("normal" if frame.kind == "normal" else "attack") if labelled else ""
    return frame._replace(bus=frame.bus or "can0", kind=kind) if "log" in suffix else frame._replace(bus="", kind=kind)


@pytest.mark.parametrize("suffix", [".log", ".csv", ".parquet"])
@pytest.mark.parametrize("name", [*CASES, *SAMPLES])
def test_what_is_written_reads_back_as_the_same_frames(tmp_path: Path, name: str, suffix: str) -> None:
    content = SAMPLES[name].text if name in SAMPLES else recording(CASES[name])
    source, target = written(tmp_path, content), tmp_path / f"out{suffix}"
    expected = frames_in(source)
    buses = {frame.bus for frame in expected}

    if "csv" in suffix and len(buses) > 1:
        with pytest.raises(DataError, match=r"has frames of the buses .* Convert to \.parquet"):
            convert(source, target)
        return
    if any(f.is_extended and f.identifier < 0x800 for f in expected) and "csv" in suffix:
        with pytest.raises(DataError, match="of 29 bits that would be read as one of 11"):
            convert(source, target)
        return
    if any(" " in bus for bus in buses) and "log" in suffix:
        with pytest.raises(DataError, match="a name of other than 1 to 32 printable characters"):
            convert(source, target)
        return
    convert(source, target)

    labelled = expected[0].kind != ""
    assert frames_in(target) == [as_written(frame, suffix, labelled=labelled) for frame in expected]


@pytest.mark.parametrize(
    "seconds", ["-0.5", "0.123456789", "1700000000.123456", "99999999999.5", "0.000001", "1479121434.8502021"]
)
@pytest.mark.parametrize("suffix", [".log", ".csv", ".parquet"])
def test_times_keep_every_digit(tmp_path: Path, seconds: str, suffix: str) -> None:
    source = written(tmp_path, CSV + f"{seconds},123,00,0\n".encode())

    convert(source, tmp_path / f"out{suffix}")

    assert [frame.time for frame in frames_in(tmp_path / f"out{suffix}")] == [frames_in(source)[0].time]


def test_parquet_has_the_columns_of_the_frames_with_the_names_of_buses(tmp_path: Path) -> None:
    source = written(tmp_path, FRAME + b"(0000000001.600000) vcan1 18FEF100#\n")

    convert(source, tmp_path / "out.parquet")

    table = pq.read_table(tmp_path / "out.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "timestamp": "double",
        "bus": "string",
        "arbitration_id": "uint32",
        "is_extended": "bool",
        "data": "binary",
    }
    assert table.to_pylist() == [
        {"timestamp": 1.5, "bus": "can0", "arbitration_id": 0x123, "is_extended": False, "data": b"\x11\x22"},
        {"timestamp": 1.6, "bus": "vcan1", "arbitration_id": 0x18FEF100, "is_extended": True, "data": b""},
    ]


def test_parquet_keeps_the_kinds_of_attacks(tmp_path: Path) -> None:
    convert(written(tmp_path, SUB_CLASSES.text), tmp_path / "out.parquet")

    table = pq.read_table(tmp_path / "out.parquet")
    expected = [frame.kind for frame in SUB_CLASSES.frames]
    assert table["attack_kind"].to_pylist() == expected
    assert table["attack"].to_pylist() == [kind != "normal" for kind in expected]


@pytest.mark.parametrize(
    ("content", "suffix", "says"),
    [
        (
            FRAME + b"(1.6) can0 123#R8\n(1.7) can0 20000004#0000000000000000\n",
            ".csv",
            "2 frames, 1 remote frame (written as frames without data), 1 error frame (left out), 0 bad lines; "
            "the bus can0 has no column",
        ),
        (FRAME + b"(broken\n", ".log", "1 frame, 0 remote frames, 0 error frames, 1 bad line (dropped)"),
        (
            CSV + b"1.0,123,00,0\n1.1,123,00,1\n",
            ".log",
            "2 frames, 1 of them attacked, 0 remote frames, 0 error frames, 0 bad lines; the bus, which the capture "
            "does not name, is can0; the last column is the label, 1 for an attacked frame",
        ),
    ],
)
def test_the_closing_line_counts_what_was_met_and_says_what_the_output_does_not(
    tmp_path: Path, content: bytes, suffix: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"out{suffix}"

    main(["convert", str(written(tmp_path, content)), str(target), "--on-bad-line", "drop"])

    assert capsys.readouterr().out == f"{target}: {says}\n"


def test_names_of_attacks_that_the_output_has_no_column_for_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(written(tmp_path, SUB_CLASSES.text), tmp_path / "out.csv")

    assert "the names of attacks (" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".csv", ".log", ".parquet"])
def test_labels_beside_the_capture_are_written_too(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path, FRAME * 3, "drive.log")
    written(tmp_path, b"frame_index,attack\n0,0\n1,1\n2,0\n", "drive.log.labels.csv")
    whole = stream_frames

    def in_parts(*arguments: object, **named: object) -> Iterator[object]:
        for part in whole(*arguments, **named):  # type: ignore[arg-type]
            yield from (part.take(slice(row, row + 1)) for row in range(len(part)))

    monkeypatch.setattr("graphids.commands.convert.stream_frames", in_parts)
    convert(source, tmp_path / f"out{suffix}")

    assert [frame.kind for frame in frames_in(tmp_path / f"out{suffix}")] == ["normal", "attack", "normal"]


@pytest.mark.parametrize("num_frames", [1, 3])
def test_labels_of_another_number_of_frames_are_refused(tmp_path: Path, num_frames: int) -> None:
    source = written(tmp_path, FRAME * num_frames, "drive.log")
    written(tmp_path, b"frame_index,attack\n0,0\n1,1\n", "drive.log.labels.csv")

    with pytest.raises(LogFormatError, match=f"labels 2 frames but .*drive.log has {num_frames}"):
        convert(source, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_what_only_an_index_says_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, b'[{"file": "drive.log", "kind": "suppress", "intervals": [[1, 2]]}]', "index.json")

    convert(written(tmp_path, FRAME, "drive.log"), tmp_path / "out.csv")

    assert "index.json says of the capture is not written: name out.csv there too" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (FRAME, "out.txt", r"out\.txt: names no format to write\. Expected a name that ends in \.log"),
        (FRAME, "out.parquet.gz", r"Parquet is compressed within\. Expected a name that ends in \.parquet"),
        (FRAME + FRAME.replace(b"can0", b"can1"), "out.csv", "has frames of the buses can0, can1, which out.csv"),
        (FRAME.replace(b"123#", b"00000123#"), "out.csv", "has an ID 123 of 29 bits that would be read as one of 11"),
        (b"(1.5) can0 20000004#0000000000000000\n", "out.csv", r"holds no frame \(0 frames, .* 1 error frame"),
        (FRAME + b"(broken\n", "out.csv", r"drive:2: "),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(
    tmp_path: Path, content: bytes, name: str, message: str
) -> None:
    source = written(tmp_path, content)

    with pytest.raises(DataError, match=message):
        convert(source, tmp_path / name)

    assert list(tmp_path.iterdir()) == [source]


def test_a_bus_without_a_name_beside_one_called_can0_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some recorders leave the bus out where there is only one; candump has to have a name."""
    (part,) = stream_frames(written(tmp_path, FRAME * 2))
    part.channel[1] = 1
    mixed = type(part)(*(getattr(part, f) for f in part.__slots__[:6]), channels=("", "can0"))
    monkeypatch.setattr("graphids.commands.convert.stream_frames", lambda *_, **__: iter([mixed]))

    with pytest.raises(DataError, match="has frames of the bus can0 and of one without a name"):
        convert(tmp_path / "drive", tmp_path / "out.log")


def test_an_existing_file_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path, FRAME, "drive.log")
    for target in (source, written(tmp_path, b"precious", "out.csv")):
        before = target.read_bytes()
        with pytest.raises(SystemExit, match="2"):
            main(["convert", str(source), str(target)])

        assert target.read_bytes() == before
        assert f"exists and is not replaced; remove it or name another (saving it): '{target}'" in (
            capsys.readouterr().err
        )


def test_a_compressed_file_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    source = written(tmp_path, FRAME)
    for name in ("a.log.gz", "b.log.gz"):
        convert(source, tmp_path / name)

    assert (tmp_path / "a.log.gz").read_bytes() == (tmp_path / "b.log.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.log.gz").read_bytes()) == FRAME
    assert frames_in(tmp_path / "a.log.gz") == frames_in(source)


@pytest.mark.parametrize("suffix", [".log", ".csv", ".parquet"])
def test_no_more_than_one_part_is_held(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is written before the part after the next one is read."""
    (part,) = stream_frames(written(tmp_path, FRAME * 20))
    sizes: list[int] = []

    def parts(*_: object, **__: object) -> Iterator[object]:
        for _number in range(4):
            sizes.append(max(f.stat().st_size for f in tmp_path.glob(".graphids-*.tmp")))
            yield part

    monkeypatch.setattr("graphids.commands.convert.stream_frames", parts)

    convert(tmp_path / "drive", tmp_path / f"out{suffix}")

    assert all(before < after for before, after in itertools.pairwise(sizes[1:]))


@pytest.mark.parametrize("suffix", [".log", ".parquet"])
@pytest.mark.parametrize("recording", ["asc", "blf", "csv", "log", "mf4", "trc"])
def test_one_recording_in_six_formats_comes_out_as_it_went_in(
    tmp_path: Path, captures_dir: Path, recording: str, suffix: str
) -> None:
    source = captures_dir / "formats" / "same_5000_frames" / f"camaro5000.{recording}"

    convert(source, tmp_path / f"out{suffix}")

    expected, found = frames_in(source), frames_in(tmp_path / f"out{suffix}")
    assert len(found) == 5_000
    assert [frame[1:4] for frame in found] == [frame[1:4] for frame in expected]
    assert [frame.bus for frame in found] == [frame.bus or ("can0" * (suffix == ".log")) for frame in expected]
    # Text of 17 digits is read to within one unit in the last place.
    assert [f.time for f in found] == pytest.approx([f.time for f in expected], rel=0 if suffix != ".log" else 3e-16)
