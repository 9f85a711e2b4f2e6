import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import find_captures, read_captures, stream_frames
from graphids.core.frames import DataError, LogFormatError, concat

CANDUMP = "(1.0) can0 123#0011\n(2.0) can0 124#AA\n(1.5) can0 123#0012\n"
TWO_BUSES = "(1.0) can1 123#00\n(2.0) can0 124#AA\n(0.5) can1 125#11\n(3.0) can0 126#R\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_one_bus_is_one_capture_named_after_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", CANDUMP)

    (capture,) = read_captures(path)

    assert (capture.name, capture.source, capture.path) == ("drive.log", "drive.log", path)
    assert capture.frames.channels == ("can0",)
    assert capture.frames.arbitration_id.tolist() == [0x123, 0x124, 0x123]


def test_a_given_name_stands_in_place_of_the_file_name(tmp_path: Path) -> None:
    (capture,) = read_captures(write(tmp_path / "drive.log", CANDUMP), name="monday/drive.log")

    assert (capture.name, capture.source) == ("monday/drive.log", "monday/drive.log")


def test_recorded_order_is_kept_and_clock_steps_are_counted(tmp_path: Path) -> None:
    (capture,) = read_captures(write(tmp_path / "drive.log", CANDUMP))

    assert capture.frames.timestamp.tolist() == [1.0, 2.0, 1.5]
    assert capture.counts["backward_timestamps"] == 1


def test_each_bus_of_a_file_is_a_capture_and_counts_add_up_over_them(tmp_path: Path) -> None:
    first, second = read_captures(write(tmp_path / "drive.log", TWO_BUSES))

    assert (first.name, second.name) == ("drive.log:can1", "drive.log:can0")
    assert first.source == second.source == "drive.log"
    assert first.frames.arbitration_id.tolist() == [0x123, 0x125]
    assert second.frames.arbitration_id.tolist() == [0x124, 0x126]
    assert first.frames.channels == ("can1",)
    assert second.frames.channel.tolist() == [0, 0]
    assert (first.counts["backward_timestamps"], second.counts["backward_timestamps"]) == (1, 0)
    assert first.counts["remote_frames"] + second.counts.get("remote_frames", 0) == 1


def test_the_format_comes_from_the_content_not_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "drive.csv"
    path.write_bytes(gzip.compress(CANDUMP.encode()))

    (capture,) = read_captures(path)

    assert len(capture.frames) == 3


def test_dropped_lines_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", CANDUMP + "(3.0) can0 12\n(4.0) can0 123#00\n")

    (capture,) = read_captures(path, on_bad_line="drop")

    assert len(capture.frames) == 4
    assert capture.counts["bad_lines"] == 1


def test_a_last_line_without_its_end_is_kept_and_counted(tmp_path: Path) -> None:
    whole, cut = write(tmp_path / "whole.log", CANDUMP), write(tmp_path / "cut.log", CANDUMP.rstrip("\n"))

    assert [read_captures(path)[0].counts["unterminated_last_line"] for path in (whole, cut)] == [0, 1]
    assert len(read_captures(cut)[0].frames) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty. Expected .*candump -l.*Vector BLF"),
        (b"a,b,c\n1,2,3\n", r"found `a,b,c`, which is not a known capture format.*Expected one of .*can_logconvert"),
    ],
    ids=["empty", "unknown"],
)
def test_a_file_of_no_known_format_names_those_that_are_known(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "drive.log"
    path.write_bytes(content)

    with pytest.raises(LogFormatError, match=rf"drive\.log.*{message}"):
        read_captures(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"timestamps,CAN_DataFrame.CAN_DataFrame.BusChannel,CAN_DataFrame.CAN_DataFrame.ID\r\n0.0,0,291\r\n",
            r"asammdf's csv .* Read the MF4 itself",
        ),
        (
            b"Time,Channel,PGN,Flags,DLC,Data0,Data1,Data2,Data3,Data4,Data5,Data6,Data7,Counter\n"
            b"0.18916,1,61444,4,8,137,152,0,0,5,0,255,255,1\n",
            r"Kvaser's csv with J1939 PGNs in place of IDs. Convert the log again without J1939",
        ),
    ],
    ids=["asammdf", "Kvaser"],
)
def test_a_format_that_is_known_and_not_read_is_named_with_a_way_around(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "drive.csv").write_bytes(content)

    with pytest.raises(LogFormatError, match=rf"drive\.csv:1: found `.*`, which is {message}"):
        read_captures(tmp_path / "drive.csv")


def test_a_csv_that_asammdf_writes_is_refused_by_name(tmp_path: Path) -> None:
    can, asammdf = pytest.importorskip("can"), pytest.importorskip("asammdf")
    with can.Logger(tmp_path / "drive.mf4") as logger:
        logger(can.Message(1.5, 0x123, is_extended_id=False, data=[1, 2], channel=0))
    with asammdf.MDF(tmp_path / "drive.mf4") as mdf:
        # Its default is the quote character, which Python 3.13 refuses.
        mdf.export("csv", filename=tmp_path / "drive.csv", escapechar="\\")

    with pytest.raises(LogFormatError, match="which is asammdf's csv of an MF4"):
        read_captures(next(tmp_path.glob("drive.ChannelGroup_0*.csv")))


def test_a_short_capture_whose_times_only_fall_is_refused(tmp_path: Path) -> None:
    head = "Time Stamp,ID,Extended,Bus,LEN,D1\n"
    falling = "".join(f"-{1000 * row},000002B0,false,0,1,01\n" for row in range(1, 21))

    with pytest.raises(DataError, match=r"time goes back at 19 of the first 20 frames.* strip the sign"):
        read_captures(write(tmp_path / "drive.csv", head + falling))


def test_a_file_whose_every_line_was_dropped_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.csv", "timestamp,arbitration_id,data_field\nx,1,00\ny,2,00\n")

    with pytest.raises(LogFormatError, match=r"holds no frame \(2 bad lines were dropped"):
        read_captures(path, on_bad_line="drop")


def test_misspelled_options_name_what_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", CANDUMP)

    with pytest.raises(ValueError, match=r"on_bad_line='skip' is not known. Expected 'raise' or 'drop'"):
        read_captures(path, on_bad_line="skip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"kinds='file' is not known. Expected one of 'auto'"):
        read_captures(path, kinds="file")  # type: ignore[arg-type]


def test_a_folder_is_searched_and_files_that_are_not_captures_are_passed_over(tmp_path: Path) -> None:
    for name in ("b/drive-2.log", "a/drive-1.csv.gz", "c.trc", "normal.txt"):
        write(tmp_path / name, CANDUMP)
    for name in ("index.json", "PROVENANCE.md", "a/drive-1.csv.labels.csv.gz", ".hidden/x.log", "README", "b/.x.log"):
        write(tmp_path / name, "no capture")

    names = [name for _, name in find_captures(tmp_path)]

    assert names == ["a/drive-1.csv.gz", "b/drive-2.log", "c.trc", "normal.txt"]


def test_a_file_and_a_glob_name_captures_relative_to_what_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "drive.log", CANDUMP)
    write(tmp_path / "b" / "drive.log", CANDUMP)
    write(tmp_path / "b" / "drive.md", CANDUMP)

    assert find_captures(path) == [(path, "drive.log")]
    assert [name for _, name in find_captures(tmp_path / "*" / "drive*")] == ["a/drive.log", "b/drive.log"]
    assert [name for _, name in find_captures(f"{tmp_path}/**/*.log")] == ["a/drive.log", "b/drive.log"]


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no capture there"):
        find_captures(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        find_captures(tmp_path / "missing")


@pytest.mark.parametrize("chunk_bytes", [1, 7, 20, 64, 1 << 20])
@pytest.mark.parametrize("suffix", [".log", ".log.gz"])
def test_streaming_in_chunks_of_any_size_gives_the_frames_of_the_whole(
    tmp_path: Path, chunk_bytes: int, suffix: str
) -> None:
    path = write(tmp_path / f"drive{suffix}", "\ufeff" + TWO_BUSES * 5 + "(9.0) can2 7FF#FF")

    parts = list(stream_frames(path, chunk_bytes=chunk_bytes))

    names = [part.channels[i] for part in parts for i in part.channel]
    assert names == ["can1", "can0"] * 10 + ["can2"]
    assert np.concatenate([part.arbitration_id for part in parts]).tolist() == [0x123, 0x124, 0x125, 0x126] * 5 + [
        0x7FF
    ]


def test_streaming_keeps_the_labels_in_the_file(tmp_path: Path) -> None:
    text = "timestamp,arbitration_id,data_field,attack\n" + "0.5,1E5,46,0\n0.6,000,00,1\n" * 4

    whole = concat(list(stream_frames(write(tmp_path / "a.csv", text), chunk_bytes=30)))

    assert whole.attack is not None
    assert whole.attack.tolist() == [0, 1] * 4


def test_streaming_names_the_line_of_an_error_after_the_first_chunk(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", "\n" + CANDUMP * 10 + "(3.0) can0 12\n")

    with pytest.raises(LogFormatError, match=r"drive\.log:32: "):
        list(stream_frames(path, chunk_bytes=50))


def test_streaming_can_drop_bad_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", CANDUMP + "(3.0) can0 12\n" + CANDUMP)

    assert sum(map(len, stream_frames(path, chunk_bytes=30, on_bad_line="drop"))) == 6


def test_a_chunk_of_no_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="chunk_bytes=0"):
        stream_frames(tmp_path / "drive.log", chunk_bytes=0)


def test_importing_the_readers_loads_no_framework() -> None:
    code = (
        "import sys, graphids.core.captures.read;"
        "print(*{'torch', 'lightning', 'mlflow', 'pandas', 'can', 'asammdf'} & {*sys.modules})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
