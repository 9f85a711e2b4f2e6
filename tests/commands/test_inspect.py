"""`graphids inspect`: what a capture holds at a glance, on files made by hand and on every real one."""

import gzip
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from graphids.commands.cli import main
from graphids.commands.inspect import inspect_capture
from graphids.core.captures.read import find_captures, stream_frames
from graphids.core.frames import LogFormatError
from graphids.core.simulation.text_writer import candump_text
from mlflow_graphids import save_model
from support.tiny_model import three_ids, tiny_classifier

EPOCH = b"(1700000000.000000) can0 123#1122\n(1700000000.250000) can0 00000123#\n(1700000000.500000) can1 7FF#R\n"


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    path = tmp_path / "drive.log"
    path.write_bytes(EPOCH)
    return path


def as_json(path: Path, capsys: pytest.CaptureFixture[str], **named: Any) -> dict[str, Any]:
    inspect_capture(path, as_json=True, **named)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_text_answers_what_a_person_asks_first(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", str(drive)])

    assert (
        capsys.readouterr().out
        == f"""{drive}
format    candump -l
frames    3 of 3 IDs, 1 of 29 bits
bus can0  2 frames of 2 IDs, 8.0 frames/s, load 0.1% of 500 kbit/s (stuffing estimated)
          2023-11-14T22:13:20.000000Z to 2023-11-14T22:13:20.250000Z, 0.2 seconds
          largest gap 0.25 s after 1700000000.000000 s, 0 clock jumps
bus can1  1 frame of 1 ID, no time passes
          2023-11-14T22:13:20.500000Z to 2023-11-14T22:13:20.500000Z, 0.0 seconds
          0 clock jumps
beside    1 remote frame, 0 error frames, 0 bad lines
clock     0 equal timestamps, 0 backward timestamps, 0 negative timestamps, 0 clock jumps
labels    none found
"""
    )


def test_the_fields_of_json_say_the_same(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", str(drive), "--json"])

    found = json.loads(capsys.readouterr().out)
    can0, can1 = found.pop("buses")
    assert found == {
        "capture": str(drive),
        "format": "candump -l",
        "frames": 3,
        "ids": 3,
        "ids_of_29_bits": 1,
        "remote_frames": 1,
        "error_frames": 0,
        "bad_lines": 0,
        "comment_lines": 0,
        "unterminated_last_line": 0,
        "equal_timestamps": 0,
        "backward_timestamps": 0,
        "negative_timestamps": 0,
        "clock_jumps": 0,
        "first_bad_line": None,
        "labels": {"within": None, "sidecar": None, "index": None},
        "model": None,
        "problem": None,
    }
    assert (can0["start"], can0["start_s"], can0["rate_hz"]) == ("2023-11-14T22:13:20.000000Z", 1.7e9, 8.0)
    assert can0["load"] == pytest.approx((47 + 16 + 49 // 16 + 67 + 53 // 16) / 0.25 / 500_000)
    assert (can1["rate_hz"], can1["load"], can1["largest_gap_at_s"]) == (None, None, None)


def test_bad_lines_are_counted_and_the_first_is_shown(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drive.write_bytes(EPOCH + b"(1700000000.6) can0 123#1\n(broken\n(1700000000.7) can0 20000004#0000000000000000\n")

    found = as_json(drive, capsys)

    assert (found["frames"], found["bad_lines"], found["error_frames"]) == (3, 2, 1)
    assert found["first_bad_line"].startswith(f"{drive}:4: the payload is not whole bytes")
    inspect_capture(drive)
    assert "bad line  " in (shown := capsys.readouterr().out)
    assert found["first_bad_line"] in shown


def test_a_file_of_bad_lines_alone_is_shown_with_its_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fd.log"
    path.write_bytes(b"(1.0) can0 123##1001122\n")

    inspect_capture(path)

    shown = capsys.readouterr().out
    assert "frames    0 of 0 IDs" in shown
    assert "a CAN FD frame" in shown


def test_times_that_are_no_dates_are_shown_as_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drive.log"
    path.write_bytes(b"(-0.500000) can0 123#\n(86400.250000) can0 123#\n(86400.000000) can0 123#")

    inspect_capture(path)

    shown = capsys.readouterr().out
    assert "-0.500000 s to 86400.000000 s, 0.0 seconds" in shown
    assert "1 backward timestamp, 1 negative timestamp, 1 clock jump" in shown
    assert "the recording may be cut off" in shown


def test_a_clock_that_cannot_be_is_shown_up_to_there_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drive.log"
    fine = b"".join(b"(%d.%03d) can0 123#00\n" % divmod(ms, 1000) for ms in range(60_000))
    shuffled = b"".join(b"(%d.0) can0 123#00\n" % (60 + i % 2) for i in range(90_000))
    path.write_bytes(fine + shuffled)

    with pytest.raises(SystemExit, match="2"):
        main(["inspect", str(path), "--json"])

    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["frames"] > 0
    assert "time goes back at" in found["problem"]
    assert f"graphids inspect: {found['problem']}" in said.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello\n", "not a known capture format"),
        (b"ID,DATA_0,DATA_1\n", "frames without timestamps"),
    ],
)
def test_what_is_not_a_capture_is_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_bytes(content)

    with pytest.raises(SystemExit, match="2"):
        main(["inspect", str(tmp_path / "x")])

    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_labels_are_named_with_the_place_where_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drive.csv"
    path.write_bytes(b"timestamp,arbitration_id,data_field,attack\n1.0,123,00,1\n1.1,123,00,1\n1.2,123,00,0\n")
    (tmp_path / "drive.csv.labels.csv").write_bytes(b"frame_index,attack\n0,1\n1,0\n2,0\n")
    (tmp_path / "index.json").write_text('[{"file": "drive.csv", "kind": "DoS", "intervals": [[1, 1.1]]}]')

    labels = as_json(path, capsys)["labels"]

    assert labels == {
        "within": {"attacked_frames": 2, "kinds": {"attack": 2}},
        "sidecar": {"file": f"{path}.labels.csv", "attacked_frames": 1},
        "index": {"file": str(tmp_path / "index.json"), "kind": "dos", "intervals": 1},
    }
    inspect_capture(path)
    shown = capsys.readouterr().out
    assert "labels  2 attacked frames within (attack 2)\n" in shown
    assert f"        1 attacked frame in {path}.labels.csv\n" in shown
    assert f"        kind dos, 1 interval in {tmp_path / 'index.json'}\n" in shown


def test_a_model_says_which_share_of_ids_and_frames_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = save_model(tiny_classifier(), tmp_path / "model")
    path = tmp_path / "drive.log"
    path.write_bytes(candump_text(three_ids(60)) + 20 * b"(1.0) can0 555#00\n")
    words = ["inspect", str(path), "--model", str(tmp_path / "model"), "--expected-digest"]

    main([*words, digest])
    shown = capsys.readouterr().out
    main([*words, digest, "--json"])
    found = json.loads(capsys.readouterr().out)["model"]
    with pytest.raises(SystemExit, match="3"):
        main([*words, "0" * 64])

    assert f"{tmp_path / 'model'} knows 3 of 4 IDs (75.0%) and 60 of 80 frames (75.0%)\n" in shown
    assert (found["known_ids"], found["known_id_share"], found["known_frame_share"]) == (3, 0.75, 0.75)


def real_captures() -> list[str]:
    folder = os.environ.get("GRAPHIDS_TEST_DATA")
    return [name for _, name in find_captures(folder)] if folder else ["no $GRAPHIDS_TEST_DATA"]


@pytest.mark.parametrize("name", real_captures())
def test_every_real_capture_is_inspected_but_those_without_times(
    captures_dir: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, counts = captures_dir / name, dict[str, int]()
    if name.startswith("ciciov2024/"):
        with pytest.raises(LogFormatError, match="frames without timestamps"):
            inspect_capture(path)
        return
    parts = list(stream_frames(path, on_bad_line="drop", counts=counts))

    found = as_json(path, capsys)
    inspect_capture(path)

    assert found["frames"] == sum(map(len, parts)) == sum(bus["frames"] for bus in found["buses"])
    assert found["bad_lines"] == counts["bad_lines"]
    assert found["ids"] == len({key for part in parts for key in part.node_key().tolist()})
    for bus in found["buses"]:
        times = [t for p in parts for t, c in zip(p.timestamp, p.channel, strict=True) if p.channels[c] == bus["bus"]]
        assert (bus["start_s"], bus["end_s"]) == (times[0], times[-1])
        assert bus["load"] is None or 0 < bus["load"] < 1.05
        if not bus["clock_jumps"]:
            assert bus["largest_gap_s"] == pytest.approx(max([0.0, *(later - time for time, later in pairwise(times))]))
    assert "\nformat  " in (shown := capsys.readouterr().out)
    assert f"{found['frames']:,} of " in shown


def test_a_compressed_and_a_plain_copy_look_the_same(drive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = as_json(drive, capsys)
    compressed = drive.with_name("drive.log.gz")
    compressed.write_bytes(gzip.compress(drive.read_bytes()))

    assert {**as_json(compressed, capsys), "capture": str(drive)} == plain
