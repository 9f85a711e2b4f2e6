"""Parquet: tables of ours and of others, one file or a folder of parts, and what is refused."""

import datetime
import decimal
import gzip
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphids.core.captures.read import find_captures, read_captures, stream_frames
from graphids.core.frames import DataError, LogFormatError
from support.format_case import Frame, rows

OURS: dict[str, Any] = {
    "timestamp": pa.array([1.5, 1.6], pa.float64()),
    "bus": ["can0", "vcan 1"],
    "arbitration_id": pa.array([0x123, 0x123], pa.uint32()),
    "is_extended": [False, True],
    "data": [b"\x11\x22", b""],
}
TWO = [Frame(1.5, 0x123, False, "1122", "can0"), Frame(1.6, 0x123, True, "", "vcan 1")]
MINIMAL: dict[str, Any] = {"timestamp": [1.5, 1.6], "arbitration_id": [0x123, 0x124], "data": [b"\x11", b"\x22"]}
EPOCH_US = 1_700_000_000_123_456


def table(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def frames_in(path: Path) -> list[Frame]:
    return [row for part in stream_frames(path) for row in rows(part)]


def read_with(tmp_path: Path, **columns: Any) -> list[Frame]:
    return frames_in(table(tmp_path / "drive.parquet", {**MINIMAL, **columns}))


def refusal(tmp_path: Path, **columns: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_with(tmp_path, **columns)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'drive.parquet'}: ")
    return message


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"timestamp": "time", "bus": "channel", "arbitration_id": "can_id", "is_extended": "ide", "data": "payload"},
        {"timestamp": "Ts", "bus": "BUS", "arbitration_id": "Id", "is_extended": "Extended", "data": "Data_Field"},
    ],
)
@pytest.mark.parametrize("row_group_size", [1, 100])
def test_columns_are_found_by_their_names_in_any_case(
    tmp_path: Path, names: dict[str, str], row_group_size: int
) -> None:
    columns = {names.get(name, name): values for name, values in OURS.items()}

    assert frames_in(table(tmp_path / "any.name", columns, row_group_size=row_group_size)) == TWO


def test_a_compressed_file_is_read_too(tmp_path: Path) -> None:
    path = table(tmp_path / "drive.parquet", OURS)
    path.write_bytes(gzip.compress(path.read_bytes()))

    assert frames_in(path) == TWO


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
def test_random_frames_in_many_row_groups_are_those_that_pyarrow_alone_reads(tmp_path: Path, compression: str) -> None:
    random = np.random.default_rng(10)
    is_extended = random.integers(2, size=3_000).astype(bool)
    columns = {
        "timestamp": 1.7e9 + np.arange(3_000) / 1000,
        "arbitration_id": np.where(is_extended, random.integers(0, 1 << 29, 3_000), random.integers(0, 0x800, 3_000)),
        "is_extended": is_extended,
        "data": [random.bytes(int(random.integers(9))) for _ in range(3_000)],
        "bus": pa.array([f"can{bus}" for bus in random.integers(3, size=3_000)]).dictionary_encode(),
    }
    path = table(tmp_path / "drive.parquet", columns, row_group_size=700, compression=compression)

    expected = [
        Frame(r["timestamp"], r["arbitration_id"], r["is_extended"], r["data"].hex(), r["bus"])
        for r in pq.read_table(path).to_pylist()
    ]
    assert frames_in(path) == expected


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()])
def test_integers_of_any_width_are_identifiers(tmp_path: Path, kind: pa.DataType) -> None:
    found = read_with(tmp_path, arbitration_id=pa.array([0x12, 0x13], kind))

    assert [frame.identifier for frame in found] == [0x12, 0x13]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0x7FF, 0x800], [(0x7FF, False), (0x800, True)]),
        (["123", "00000123"], [(0x123, False), (0x123, True)]),
        (["0x18FEF100", "0X7ff"], [(0x18FEF100, True), (0x7FF, False)]),
        (pa.array(["1A", "1B"]).dictionary_encode(), [(0x1A, False), (0x1B, False)]),
        (pa.array(["1A", "1B"], pa.large_string()), [(0x1A, False), (0x1B, False)]),
    ],
)
def test_identifiers_say_how_long_they_are_as_in_text(
    tmp_path: Path, values: Any, expected: list[tuple[int, bool]]
) -> None:
    assert [(f.identifier, f.is_extended) for f in read_with(tmp_path, arbitration_id=values)] == expected


@pytest.mark.parametrize(
    "data",
    [
        ["0aFf", "00"],
        pa.array([b"\x0a\xff", b"\x00"], pa.large_binary()),
        pa.array(["0AFF", "00"], pa.large_string()),
        pa.array([b"\x0a\xff", b"\x00"]).dictionary_encode(),
    ],
)
def test_data_are_bytes_or_hex(tmp_path: Path, data: Any) -> None:
    assert [frame.payload for frame in read_with(tmp_path, data=data)] == ["0aff", "00"]


def test_data_of_fixed_width_are_as_long_as_dlc_says(tmp_path: Path) -> None:
    data = pa.array([b"\x01\0\0\0\0\0\0\0", b"\x01\x02\x03\x04\x05\x06\x07\x08"], pa.binary(8))

    assert [f.payload for f in read_with(tmp_path, data=data, dlc=[2, 15])] == ["0100", "0102030405060708"]
    assert "row 0, counted from 0: dlc is 0. Expected as many bytes" in refusal(tmp_path, data=data, dlc=[0, 8])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("is_duration", [False, True])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_of_arrow_say_their_unit(tmp_path: Path, unit: str, is_duration: bool, zone: str | None) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    values = [EPOCH_US * per_second // 10**6 + 1, -per_second // 2 - 1]
    kind = pa.duration(unit) if is_duration else pa.timestamp(unit, zone)

    found = read_with(tmp_path, timestamp=pa.array(values, pa.int64()).cast(kind))

    # Python divides integers exactly and rounds once.
    assert [frame.time for frame in found] == pytest.approx([value / per_second for value in values], rel=2.3e-16)


def test_times_of_arrow_in_microseconds_are_exact(tmp_path: Path) -> None:
    moment = datetime.datetime(2023, 11, 14, 22, 13, 20, 123456, datetime.UTC)

    assert read_with(tmp_path, timestamp=[moment, moment])[0].time == 1700000000.123456


def test_decimals_are_seconds(tmp_path: Path) -> None:
    found = read_with(tmp_path, timestamp=[decimal.Decimal("1700000000.123456"), decimal.Decimal("1700000000.25")])

    assert [frame.time for frame in found] == [1700000000.123456, 1700000000.25]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (pa.array([EPOCH_US, EPOCH_US], pa.int64()), "us since 1970. .* cast the column to timestamp\\[us\\]"),
        (pa.array([EPOCH_US * 1000] * 2, pa.int64()), "ns since 1970. .* timestamp\\[ns\\] .* by 1,000,000,000"),
        (pa.array([EPOCH_US // 1000] * 2, pa.uint64()), "ms since 1970. .* timestamp\\[ms\\] .* by 1,000\\."),
        (pa.array([1, 2], pa.int32()), "is int32, which does not say its unit\\. Expected float64 seconds"),
        (["1.5", "1.6"], "is string\\. Expected float64 seconds, or a type of Arrow that says the unit"),
    ],
)
def test_times_without_a_unit_are_refused_with_the_remedy(tmp_path: Path, values: Any, says: str) -> None:
    assert re.search(says, refusal(tmp_path, timestamp=values))


def test_times_of_float32_are_refused_with_their_type_and_step(tmp_path: Path) -> None:
    times = 1.7e9 + np.arange(200) / 100
    others = {"arbitration_id": [1] * 200, "data": [b""] * 200}

    assert "column 'timestamp' is float32: at 1700000000 s its step is 128 s" in refusal(
        tmp_path, timestamp=times.astype(np.float32), **others
    )
    assert "float64 that holds values of float32" in refusal(
        tmp_path, timestamp=(1e6 + np.arange(200) / 7).astype(np.float32).astype(np.float64), **others
    )


def test_labels_come_with_and_without_the_kind(tmp_path: Path) -> None:
    def kinds(**columns: Any) -> list[str]:
        return [frame.kind for frame in read_with(tmp_path, **columns)]

    assert kinds() == ["", ""]
    assert kinds(attack=[False, True]) == ["normal", "attack"]
    assert kinds(label=pa.array([1, 0], pa.int8())) == ["attack", "normal"]
    assert kinds(attack_kind=["dos", "normal"]) == ["dos", "normal"]
    assert kinds(attack=[True, False], attack_kind=["dos", "spoof"]) == ["dos", "spoof"]  # suppressed: none injected
    assert "attack_kind is 'normal'. Expected the kind" in refusal(
        tmp_path, attack=[True, False], attack_kind=["normal", "normal"]
    )


def test_kinds_come_from_the_name_of_the_file_as_for_every_format(tmp_path: Path) -> None:
    path = table(tmp_path / "DoS-1.parquet", {**MINIMAL, "attack": [0, 1]})

    assert read_captures(path)[0].frames.kinds == ("normal", "dos")


def test_remote_and_error_frames_are_counted_as_in_every_format(tmp_path: Path) -> None:
    columns = {
        "timestamp": [1.0, 1.1, None],
        "arbitration_id": pa.array([0x123, 0x124, 0x20000004], pa.int64()),
        "data": [b"\x11", b"", b"123456789"],
        "dlc": pa.array([1, 8, 8], pa.int64()),
        "is_remote_frame": [False, True, False],
        "is_error_frame": [False, False, True],
    }
    counts: dict[str, int] = {}

    found = [r for f in stream_frames(table(tmp_path / "x", columns), counts=counts) for r in rows(f)]

    assert found == [Frame(1.0, 0x123, False, "11"), Frame(1.1, 0x124, False, "")]
    assert (counts["remote_frames"], counts["error_frames"], counts["bad_lines"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"timestamp": [1.5, None]}, "timestamp is null. Expected seconds"),
        ({"timestamp": [1.5, float("nan")]}, "timestamp is nan. Expected seconds"),
        ({"timestamp": [1.5, 1.7e12]}, "timestamp is 1700000000000.0. Expected seconds, less than 1e+11"),
        ({"arbitration_id": [1, None]}, "arbitration_id is null. Expected an integer, or hex"),
        ({"arbitration_id": [1, -1]}, "arbitration_id is -1. Expected"),
        ({"arbitration_id": [1, 1 << 29]}, "arbitration_id is 536870912. Expected"),
        ({"arbitration_id": pa.array([1, (1 << 64) - 1], pa.uint64())}, "arbitration_id is 18446744073709551615"),
        ({"arbitration_id": ["1", "1G"]}, "arbitration_id is '1G'"),
        ({"arbitration_id": ["1", ""]}, "arbitration_id is ''"),
        ({"arbitration_id": ["1", "123456789"]}, "arbitration_id is '123456789'"),
        ({"arbitration_id": [1, 0x800], "is_extended": [0, 0]}, "arbitration_id is 2048. Expected at most 7FF"),
        ({"is_extended": [False, None]}, "is_extended is null. Expected true or false"),
        ({"is_extended": [0, 2]}, "is_extended is 2. Expected true or false, or 0 or 1"),
        ({"data": [b"", None]}, "data is null. Expected at most 8 bytes"),
        ({"data": [b"", b"123456789"]}, "data is b'123456789'. Expected at most 8 bytes"),
        ({"data": ["", "123"]}, "data is '123'. Expected at most 8 bytes, as classic CAN has them, two hex digits"),
        ({"data": ["", "1G"]}, "data is '1G'"),
        ({"data": ["", "11" * 9]}, "data is '111111111111111111'"),
        ({"data": [b"", b"1"], "is_remote": [False, True]}, "data is b'1'. Expected no bytes in a remote frame"),
        ({"bus": ["can0", None]}, "bus is null. Expected a name of at most 64 printable characters"),
        ({"bus": ["can0", "a\nb"]}, "bus is 'a\\nb'. Expected a name"),
        ({"bus": ["can0", "x" * 65]}, "bus is 'xxx"),
        ({"dlc": [1, 2]}, "dlc is 2. Expected as many bytes as there are data"),
        ({"dlc": [1, 16]}, "dlc is 16. Expected an integer from 0 to 15"),
        ({"is_fd": [False, True]}, "is_fd is True. Expected classic CAN, not a CAN FD frame"),
        ({"attack": [0, 2]}, "attack is 2. Expected true or false"),
        ({"attack_kind": ["normal", ""]}, "attack_kind is ''. Expected a name"),
    ],
)
def test_a_bad_row_is_named_with_its_column_or_dropped_and_counted(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    said = refusal(tmp_path, **columns)
    assert f"row 1, counted from 0: {message}" in said
    assert "--on-bad-line drop" in said
    counts: dict[str, int] = {}

    parts = list(stream_frames(tmp_path / "drive.parquet", on_bad_line="drop", counts=counts))

    assert (sum(map(len, parts)), counts["bad_lines"]) == (1, 1)


def test_rows_are_counted_over_row_groups_and_the_first_bad_one_is_named(tmp_path: Path) -> None:
    many = {"timestamp": np.arange(70_000) / 1000, "arbitration_id": [1] * 70_000}
    data = [b""] * 69_000 + [None] + [b""] * 999
    times = many["timestamp"].tolist()
    times[69_500] = None

    assert "row 69000, counted from 0: data is null" in refusal(tmp_path, **{**many, "timestamp": times, "data": data})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"arbitration_id": [1.5, 2.5]}, "column 'arbitration_id' is double. Expected an integer, or hex"),
        ({"data": [[1], [2]]}, "column 'data' is list<element: int64>. Expected binary, or strings of hex"),
        ({"is_extended": ["a", "b"]}, "column 'is_extended' is string. Expected booleans"),
        ({"bus": [1.5, 2.5]}, "column 'bus' is double. Expected names as strings, or integers"),
        ({"dlc": ["1", "1"]}, "column 'dlc' is string. Expected integers"),
        ({"Data": [b"", b""]}, "has the columns 'data' and 'Data'. Expected one of that name"),
    ],
)
def test_a_column_of_another_type_is_refused_also_where_bad_rows_are_dropped(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    assert message in refusal(tmp_path, **columns)
    with pytest.raises(LogFormatError):
        list(stream_frames(tmp_path / "drive.parquet", on_bad_line="drop"))


def test_a_missing_column_is_named_with_its_other_names(tmp_path: Path) -> None:
    path = table(tmp_path / "drive.parquet", {"when": [1.5], "can_id": [1], "data": [b""]})

    with pytest.raises(LogFormatError, match=r"has the columns when, can_id, data and lacks timestamp \(or time, ts\)"):
        frames_in(path)


def test_columns_that_are_not_read_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table(tmp_path / "drive.parquet", {**MINIMAL, "id": [7, 8], "speed": [1.0, 2.0]}, row_group_size=1)

    frames_in(tmp_path / "drive.parquet")

    (record,) = caplog.records
    assert record.getMessage().endswith(
        "drive.parquet: columns that are not read: id, speed; read are timestamp, arbitration_id, data."
    )


def test_more_buses_than_a_file_may_name_are_refused(tmp_path: Path) -> None:
    columns = {"timestamp": np.arange(257) / 1000, "arbitration_id": [1] * 257, "data": [b""] * 257}

    assert "row 256, counted from 0: bus is 256" in refusal(tmp_path, **columns, bus=np.arange(257))


@pytest.mark.parametrize("keep", [0.3, 0.99])
@pytest.mark.parametrize("on_bad_line", ["raise", "drop"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, keep: float, on_bad_line: Any) -> None:
    path = table(tmp_path / "drive.parquet", OURS)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])

    with pytest.raises(LogFormatError, match=r"pyarrow cannot read this as Parquet \(.*Expected a whole file"):
        list(stream_frames(path, on_bad_line=on_bad_line))


def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    columns = {
        "timestamp": np.arange(5_000) / 1000,
        "arbitration_id": random.integers(0, 0x800, 5_000),
        "data": [random.bytes(8) for _ in range(5_000)],
    }
    path = table(tmp_path / "drive.parquet", columns, compression="snappy")
    raw = bytearray(path.read_bytes())
    raw[4:2_000] = bytes(1_996)
    path.write_bytes(raw)

    with pytest.raises(LogFormatError, match=r"drive\.parquet: after row 0: pyarrow cannot read this as Parquet"):
        frames_in(path)


def spark_table(folder: Path, *starts: float, name: str = "drive.parquet") -> Path:
    path = folder / name
    path.mkdir()
    (path / "_SUCCESS").touch()
    (path / ".part-00000.parquet.crc").write_bytes(b"crc")
    for number, start in enumerate(starts):
        table(path / f"part-{number:05}-c000.snappy.parquet", {**MINIMAL, "timestamp": [start, start + 0.1]})
    return path


@pytest.mark.parametrize("name", ["drive.parquet", "drive"])
def test_a_folder_of_parts_is_one_capture(tmp_path: Path, name: str) -> None:
    path = spark_table(tmp_path, 1.0, 2.0, 3.0, name=name)
    (tmp_path / "other.log").write_bytes(b"(1.0) can0 123#00\n")

    (capture,) = read_captures(path)

    assert capture.frames.timestamp.tolist() == [1.0, 1.1, 2.0, 2.1, 3.0, 3.1]
    assert find_captures(path) == [(path, name)]
    assert [found for _, found in find_captures(tmp_path)] == [name, "other.log"]
    assert [found for _, found in find_captures(tmp_path / "dr*")] == [name]


def test_parts_that_are_not_in_the_order_of_time_are_refused(tmp_path: Path) -> None:
    path = spark_table(tmp_path, 1.0, 9.0, 5.0)

    with pytest.raises(LogFormatError, match=r"part-00002.*begins at 5\.0 s, before .*part-00001.* ends at 9\.1 s"):
        read_captures(path)


def test_parts_with_other_columns_are_refused(tmp_path: Path) -> None:
    path = spark_table(tmp_path, 1.0)
    table(path / "part-9.parquet", {**MINIMAL, "timestamp": [2.0, 2.1], "bus": ["can0", "can1"]})

    with pytest.raises(LogFormatError, match=r"part-9\.parquet: has the columns .*bus.* Expected the same in every"):
        read_captures(path)


def test_a_partitioned_table_is_refused(tmp_path: Path) -> None:
    path = spark_table(tmp_path, 1.0)
    (path / "bus=can0").mkdir()

    with pytest.raises(LogFormatError, match=r"a table partitioned by bus\. .* write it without partitionBy"):
        find_captures(path)


def test_files_of_a_folder_that_is_no_table_are_captures_each(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        table(tmp_path / name, MINIMAL)

    assert [name for _, name in find_captures(tmp_path)] == ["a.parquet", "b.parquet"]
    assert [name for _, name in find_captures(tmp_path / "*.parquet")] == ["a.parquet", "b.parquet"]


def test_who_reads_text_does_not_load_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "drive.log").write_bytes(b"(1.0) can0 123#00\n")
    program = (
        "import sys; from graphids.core.captures.read import read_captures; read_captures(sys.argv[1]);"
        "print('pyarrow' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program, tmp_path / "drive.log"], capture_output=True, check=True)

    assert done.stdout == b"False\n"
