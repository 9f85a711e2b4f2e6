"""Every file of the real captures reads as their PROVENANCE says, or fails with its documented error."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import find_captures, read_captures, stream_frames
from graphids.core.frames import Capture, Frames, LogFormatError

NO_TIMESTAMPS = r":1: .*frames without timestamps"
CAN_FD = r"a CAN FD frame"
FAILS = {
    "ciciov2024/decimal_DoS.first3000.csv.gz": NO_TIMESTAMPS,
    "ciciov2024/decimal_benign.first60000.csv.gz": NO_TIMESTAMPS,
    "ciciov2024/decimal_spoofing-GAS.first3000.csv.gz": NO_TIMESTAMPS,
    "ciciov2024/decimal_spoofing-RPM.first3000.csv.gz": NO_TIMESTAMPS,
    "ciciov2024/decimal_spoofing-SPEED.first3000.csv.gz": NO_TIMESTAMPS,
    "ciciov2024/decimal_spoofing-STEERING_WHEEL.first3000.csv.gz": NO_TIMESTAMPS,
    "formats/candump_truncated_last_line.log": r":1096: .*file ends within this line.*`\(1606770`",
    "formats/python-can-testdata/logfile.asc": r":33: " + CAN_FD,
    "formats/python-can-testdata/test_CanFdMessage.asc": r":7: " + CAN_FD,
    "formats/python-can-testdata/test_CanFdMessage.blf": r": frame 1: " + CAN_FD,
    "formats/python-can-testdata/test_CanFdMessage64.asc": r":7: " + CAN_FD,
    "formats/python-can-testdata/test_CanFdMessage64.blf": r": frame 1: " + CAN_FD,
    "formats/python-can-testdata/test_CanFdRemoteMessage.asc": r":7: " + CAN_FD,
}
# (frames, attacked frames; None where a file has no labels), over all buses of a file. Where a PROVENANCE gives no
# number, the number of lines that a reader of the file counts by eye or by the patterns of `SLOW` below.
COUNTS: dict[str, tuple[int, int | None]] = {
    "can_train_and_test/DoS-1.csv.gz": (90_169, 9_139),
    "crysys_masquerade/S-1-1-benign.log.gz": (17_935, None),
    "crysys_masquerade/S-1-1-malicious-CONST-msg-mod-0x410-0.4-0.6.log.gz": (17_935, 60),
    "crysys_masquerade/trace-48.first20000.csv.gz": (20_000, None),
    "formats/candump_t_z_29bit_short_dlc.log": (2_000, None),
    "formats/hcrl_layouts_from_semisynthetic/attack_defense_challenge_style.csv.gz": (6_000, 1_853),
    "formats/hcrl_layouts_from_semisynthetic/car_hacking_style.csv.gz": (6_000, 1_853),
    "formats/python-can-testdata/logfile_errorframes.asc": (9, None),
    "formats/python-can-testdata/test_CanErrorFrameExt.blf": (0, None),
    "formats/python-can-testdata/test_CanErrorFrames.asc": (0, None),
    "formats/python-can-testdata/test_CanMessage.blf": (2, None),
    "formats/python-can-testdata/test_CanMessage_V2_0_BUS1.trc": (11, None),
    "formats/python-can-testdata/test_CanMessage_V2_1.trc": (11, None),
    "formats/python-can-testdata/test_CanRemoteMessage.asc": (3, None),
}
BYTES = r"(?P<data>(?:[0-9A-Fa-f]{2}[ ,]?)*)"
# Slow and obvious readers, one pattern per layout, as an oracle for the compiled ones.
SLOW = {
    "candump -l": rf"\((?P<time>[\d.]+)\) \w+ (?P<id>[0-9A-F]+)#(?:R|{BYTES})",
    "candump -t z": rf" \((?P<time>[\d.]+)\)  \w+  (?P<id>[0-9A-F]+)   \[\d\] *{BYTES}",
    "pcan 1.1": rf" *\d+\) +(?P<time>[\d.]+)  [RT]x +(?P<id>[0-9A-F]+)  \d  (?:RTR|{BYTES})",
    "pcan 1.0": rf" *\d+\) +(?P<time>\d+) +(?P<id>(?!F{{8}})[0-9A-F]+)  \d  (?:RTR|{BYTES})",
    "pcan 1.3": rf" *\d+\) +(?P<time>[\d.]+) 1  [RT]x +(?P<id>[0-9A-F]+) -  \d    (?:RTR|{BYTES})",
    "gvret": rf"(?P<time>\d+),(?P<id>[0-9A-F]{{8}}),\w+,\d,\d,{BYTES}",
    "busmaster": rf"\d+:\d+:(?P<time>\d+:\d+) Rx 1 0x(?P<id>[0-9A-F]+) s \d {BYTES}",
    "peak csv": rf"\d+ (?P<time>[\d.]+) 1 Rx DT (?P<id>[0-9A-F]+) - \d {BYTES}",
    "canhacker": rf"(?P<time>\d+,\d+) (?P<id>[0-9A-F]+) +\d {BYTES}",
    "hcrl text": rf"Timestamp: (?P<time>[\d.]+) +ID: (?P<id>[0-9a-f]+) +000 +DLC: \d +{BYTES}",
    "crysys trace": rf"(?P<time>[\d.]+) +(?P<id>[0-9a-f]+) +000 +\d +{BYTES}",
    "asc": rf" +(?P<time>[\d.]+) \d  (?P<id>[0-9A-F]+)x? +[RT]x +d \d {BYTES}.*",
}
SLOW_FILES = {
    "candump -l": ["formats/candump_with_rtr.log", "normal_multi_vehicle/*.log.gz"],
    "candump -t z": ["j1939_truck/*.log.gz", "formats/candump_t_z_*.log"],
    "pcan 1.0": ["formats/python-can-testdata/*V1_0*.trc"],
    "pcan 1.1": ["normal_multi_vehicle/*.trc.gz", "formats/python-can-testdata/*V1_1.trc"],
    "pcan 1.3": ["formats/python-can-testdata/*V1_3.trc"],
    "gvret": ["formats/savvycan*.csv"],
    "busmaster": ["formats/busmaster*.log"],
    "peak csv": ["formats/peak*.csv"],
    "canhacker": ["formats/canhacker*.trc"],
    "hcrl text": ["formats/hcrl_layouts_from_semisynthetic/*.txt.gz"],
    "crysys trace": ["crysys_masquerade/trace*.gz"],
    "asc": ["formats/vector_asc*.asc", "formats/same_5000_frames/*.asc"],
}


def text_of(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def totals(captures: list[Capture]) -> tuple[int, int | None]:
    attacks = [None if c.frames.attack is None else int(c.frames.attack.sum()) for c in captures]
    return sum(len(c.frames) for c in captures), None if None in attacks else sum(a for a in attacks if a is not None)


def markdown_rows(path: Path) -> list[list[str]]:
    rows = [line.strip("|\n ").split("|") for line in path.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip().replace(",", "") for cell in row] for row in rows[2:]]


def ids_and_payloads(frames: list[Frames]) -> list[tuple[int, bytes]]:
    """Identifier and payload of every frame, sorted, so that buses which a reader split can be compared."""
    return sorted(
        (int(identifier), bytes(row[:dlc]))
        for part in frames
        for identifier, row, dlc in zip(part.arbitration_id, part.payload, part.dlc, strict=True)
    )


def test_every_file_has_an_expectation(captures_dir: Path) -> None:
    found = {name for _, name in find_captures(captures_dir)}
    slow = {
        path.relative_to(captures_dir).as_posix()
        for patterns in SLOW_FILES.values()
        for pattern in patterns
        for path in captures_dir.glob(pattern)
    }
    folders = ("semisynthetic/", "normal_drives/", "formats/same_5000_frames/")
    tables = {name for name in found if name.startswith(folders)}

    expected = FAILS.keys() | COUNTS.keys() | slow | tables

    assert found == expected


@pytest.mark.parametrize("name", FAILS)
def test_files_that_cannot_be_read_fail_with_their_documented_error(captures_dir: Path, name: str) -> None:
    with pytest.raises(LogFormatError, match=re.escape(Path(name).name) + FAILS[name]):
        read_captures(captures_dir / name)


@pytest.mark.parametrize("name", COUNTS)
def test_frames_and_labels_are_as_many_as_provenance_says(captures_dir: Path, name: str) -> None:
    assert totals(read_captures(captures_dir / name)) == COUNTS[name]


def test_the_truck_logs_match_their_table(captures_dir: Path) -> None:
    rows = markdown_rows(captures_dir / "j1939_truck" / "PROVENANCE.md")
    assert len(rows) == 5
    for file, _, num_frames, num_attacked, _ in rows:
        (capture,) = read_captures(captures_dir / "j1939_truck" / f"{file}.gz")

        assert totals([capture]) == (int(num_frames), int(num_attacked))
        assert capture.frames.is_extended.all()


def test_the_attack_free_drives_match_their_tables(captures_dir: Path) -> None:
    folder = captures_dir / "normal_drives"
    tables = {
        f"{table.parent.relative_to(folder)}/{file}.csv.gz": (int(num_frames), int(num_attacked))
        for table in folder.glob("*/PROVENANCE.md")
        for file, num_frames, num_attacked, _ in markdown_rows(table)
    }

    assert len(tables) == 26
    assert {name: totals(read_captures(folder / name)) for name in tables} == tables
    assert {path.relative_to(folder).as_posix() for path in folder.glob("*/*.csv.gz")} == tables.keys()


def test_the_semisynthetic_captures_match_their_table_by_kind(captures_dir: Path) -> None:
    folder = captures_dir / "semisynthetic"
    captures = [read_captures(path, name=name)[0] for path, name in find_captures(folder)]
    for kind, num_files, num_frames, num_attacked in markdown_rows(folder / "PROVENANCE.md"):
        kinds = ("normal",) if kind == "none" else ("normal", kind)
        chosen = [capture for capture in captures if capture.frames.kinds == kinds]

        assert (len(chosen), *totals(chosen)) == (int(num_files), int(num_frames), int(num_attacked))
    suppressed = [capture for capture in captures if capture.frames.kinds[-1] == "suppress"]
    assert all((capture.frames.attack_kind == 1).mean() > 0.2 for capture in suppressed)
    assert len({capture.source for capture in captures}) == 11  # eight recordings without attacks, three with


@pytest.mark.parametrize("layout", SLOW)
def test_the_compiled_readers_agree_with_a_slow_and_obvious_one(captures_dir: Path, layout: str) -> None:
    pattern = re.compile(SLOW[layout])
    for path in sorted(path for glob in SLOW_FILES[layout] for path in captures_dir.glob(glob)):
        matches = [match for line in text_of(path).splitlines() if (match := pattern.fullmatch(line.rstrip()))]
        payloads = [bytes.fromhex((match["data"] or "").replace(",", "")) for match in matches]

        captures = read_captures(path)

        # Of several buses the stream keeps the recorded order.
        found = [captures[0].frames] if len(captures) == 1 else list(stream_frames(path))
        assert matches
        assert np.concatenate([f.arbitration_id for f in found]).tolist() == [int(m["id"], 16) for m in matches]
        assert np.concatenate([f.dlc for f in found]).tolist() == list(map(len, payloads)), path.name
        assert b"".join(f.payload.tobytes() for f in found) == b"".join(data.ljust(8, b"\0") for data in payloads)
        assert sum(len(capture.frames) for capture in captures) == len(matches)
        if layout.startswith("candump"):
            assert captures[0].frames.timestamp.tolist() == [float(m["time"]) for m in matches]


def test_the_same_frames_in_six_formats_agree(captures_dir: Path) -> None:
    folder = captures_dir / "formats" / "same_5000_frames"
    captures = [read_captures(path) for path in sorted(folder.glob("camaro5000.*"))]
    first, *others = [capture for (capture,) in captures]
    assert len(others) == 5
    assert {totals(found) for found in captures} == {(5_000, None)}
    for other in others:
        for column in ("arbitration_id", "dlc", "payload", "is_extended"):
            assert np.array_equal(getattr(other.frames, column), getattr(first.frames, column)), other.name
        elapsed = other.frames.timestamp - other.frames.timestamp[0]
        # Two float64 unix times, each exact to 0.12 microseconds, and the writers' own rounding of 0.2.
        assert np.abs(elapsed - (first.frames.timestamp - first.frames.timestamp[0])).max() < 1e-6, other.name


def test_the_hcrl_layouts_hold_the_frames_of_one_another(captures_dir: Path) -> None:
    folder = captures_dir / "formats" / "hcrl_layouts_from_semisynthetic"
    hacking, challenge = (
        read_captures(folder / f"{name}_style.csv.gz")[0].frames for name in ("car_hacking", "attack_defense_challenge")
    )
    (normal,) = read_captures(folder / "normal_run_data_style.txt.gz")

    assert challenge.kinds == ("normal", "spoofing")
    assert np.array_equal(hacking.attack, challenge.attack)  # type: ignore[arg-type]
    assert np.array_equal(hacking.payload, challenge.payload)
    assert np.array_equal(normal.frames.payload, hacking.payload[hacking.attack == 0])


def test_what_is_not_a_data_frame_is_counted(captures_dir: Path) -> None:
    met = {
        name: read_captures(captures_dir / name)[0].counts
        for name in (
            "formats/candump_with_rtr.log",
            "formats/vector_asc_status_and_error_lines.asc",
            "normal_multi_vehicle/corvette_c6_with_one_rtr.log.gz",
            "formats/python-can-testdata/test_CanErrorFrameExt.blf",
        )
    }

    assert [counts["remote_frames"] for counts in met.values()] == [5, 0, 1, 0]
    assert [counts["error_frames"] for counts in met.values()] == [0, 8, 0, 2]


def test_the_truncated_recording_reads_without_its_last_line(captures_dir: Path) -> None:
    (capture,) = read_captures(captures_dir / "formats" / "candump_truncated_last_line.log", on_bad_line="drop")

    assert len(capture.frames) == 1_095
    assert capture.counts["bad_lines"] == 1


@pytest.mark.parametrize(
    "name", ["can_train_and_test/DoS-1.csv.gz", "formats/savvycan_gvret_two_bus_first4000lines.csv"]
)
def test_streaming_gives_the_frames_of_the_whole_file(captures_dir: Path, name: str) -> None:
    parts = list(stream_frames(captures_dir / name, chunk_bytes=1 << 16))

    assert ids_and_payloads(parts) == ids_and_payloads(
        [capture.frames for capture in read_captures(captures_dir / name)]
    )
