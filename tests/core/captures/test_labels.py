import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import read_captures
from graphids.core.frames import Capture, Frames, LogFormatError

CANDUMP = "(1.0) can0 123#0011\n(2.0) can0 124#AA\n(3.0) can0 123#0012\n"
LABELLED = "timestamp,arbitration_id,data_field,attack\n1.0,1E5,46,0\n2.0,000,00,1\n3.0,1E5,47,0\n"
CLEAN = LABELLED.replace(",1\n", ",0\n")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path: Path, **options: str) -> Capture:
    (capture,) = read_captures(path, **options)  # type: ignore[arg-type]
    return capture


def labels(frames: Frames) -> tuple[list[int], list[str]]:
    assert frames.attack is not None
    assert frames.attack_kind is not None
    return frames.attack.tolist(), [frames.kinds[kind] for kind in frames.attack_kind]


def test_a_file_without_any_label_is_unlabelled(tmp_path: Path) -> None:
    frames = read(write(tmp_path / "drive-1.log", CANDUMP)).frames

    assert frames.attack is None
    assert frames.attack_kind is None
    assert frames.kinds == ("normal",)


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("DoS-1.csv.gz", {}, "dos"),
        ("gear-spoof-12.csv", {}, "gear-spoof"),
        ("drive.csv", {}, "attack"),
        ("S-1-1-malicious-0.4-0.6.csv", {}, "attack"),
        ("Fuzzy_dataset.csv", {"kinds": "filename"}, "fuzzy_dataset"),
        ("DoS-1.csv.gz", {"kinds": "filename"}, "dos-1"),
        ("DoS-1.csv.gz", {"kinds": "none"}, "attack"),
    ],
)
def test_the_file_name_names_the_kind(tmp_path: Path, name: str, options: dict[str, str], kind: str) -> None:
    frames = read(write(tmp_path / name, LABELLED), **options).frames

    assert labels(frames) == ([0, 1, 0], ["normal", kind, "normal"])


def test_a_capture_without_an_attacked_frame_names_no_kind(tmp_path: Path) -> None:
    frames = read(write(tmp_path / "attack-free-1.csv", CLEAN)).frames

    assert labels(frames) == ([0, 0, 0], ["normal"] * 3)
    assert frames.kinds == ("normal",)


def test_kinds_in_the_file_win_over_its_name(tmp_path: Path) -> None:
    text = "Timestamp,Arbitration_ID,DLC,Data,Class,SubClass\n1.0,153,1,20,Normal,Normal\n2.0,0,1,FF,Attack,Flooding\n"

    assert labels(read(write(tmp_path / "DoS-1.csv", text)).frames) == ([0, 1], ["normal", "flooding"])
    assert labels(read(tmp_path / "DoS-1.csv", kinds="none").frames) == ([0, 1], ["normal", "attack"])


@pytest.mark.parametrize("sidecar", ["drive.log.labels.csv", "drive.log.labels.csv.gz", "drive.log.gz.labels.csv"])
def test_a_sidecar_labels_frame_by_frame(tmp_path: Path, sidecar: str) -> None:
    path = write(tmp_path / "drive.log.gz", CANDUMP)
    write(tmp_path / sidecar, "frame_index,attack\n0,0\n1,1\n2,0\n")

    assert labels(read(path).frames) == ([0, 1, 0], ["normal", "attack", "normal"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame_index,attack\n0,0\n1,1\n", "labels 2 frames but .*drive.log has 3"),
        ("index,label\n0,0\n1,1\n2,0\n", ":1: found `index,label`. Expected the header"),
        ("0,0\n1,1\n2,0\n", ":1: found `0,0`. Expected the header"),
        ("0,0\nframe_index,attack\n1,1\n2,0\n", ":1: found `0,0`. Expected the header"),
        (2 * "frame_index,attack\n" + "0,0\n1,1\n2,0\n", ":2: found `frame_index,attack`"),
        ("frame_index,attack\n0,0\n1,1\n2,0\nframe_index,attack\n", ":5: found `frame_index,attack`"),
        ("frame_index,attack\n0,0\n2,1\n1,0\n", ":3: found `2,1`"),
        ("frame_index,attack\n0,0\n1,2\n2,0\n", ":3: found `1,2`"),
        ("frame_index,attack\n0,0\n1,1\n1,1\n", ":4: found `1,1`"),
        ("frame_index,attack\n0,0\n1,1 2,0\n", ":3: found `1,1 2,0`"),
        ("frame_index,attack\n0,0\n\xff,1\n", ":3: found `"),
        ("frame_index,attack\n" + "0" * 1000, ":2: found `000"),
        ("", ":1: found ``"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "drive.log", CANDUMP)
    write(tmp_path / "drive.log.labels.csv", text)

    with pytest.raises(LogFormatError, match=message):
        read(path)


def index(folder: Path, **entry: object) -> None:
    write(folder / "index.json", json.dumps([{"file": "other.csv", "kind": "fuzzy"}, entry]))


def test_the_index_of_a_parent_folder_gives_kind_and_source(tmp_path: Path) -> None:
    index(tmp_path, file="car/x-1.csv", kind="Replay", source="monday.log", frames=3, attack=1)

    capture = read(write(tmp_path / "car" / "x-1.csv", LABELLED))

    assert capture.source == "monday.log"
    assert labels(capture.frames) == ([0, 1, 0], ["normal", "replay", "normal"])


def test_a_suppressed_message_is_labelled_by_interval_while_no_frame_is_attacked(tmp_path: Path) -> None:
    index(tmp_path, file="x.csv", kind="suppress", intervals=[[1.5, 2.5], [3.0, 9.0]])

    frames = read(write(tmp_path / "x.csv", CLEAN)).frames

    assert labels(frames) == ([0, 0, 0], ["normal", "suppress", "suppress"])


def test_an_interval_labels_a_file_that_has_no_labels_itself(tmp_path: Path) -> None:
    index(tmp_path, file="x.log", kind="suppress", intervals=[[1.5, 2.5]])

    frames = read(write(tmp_path / "x.log", CANDUMP)).frames

    assert labels(frames) == ([0, 0, 0], ["normal", "suppress", "normal"])


EPOCH = "".join(f"({1_110_000_000 + i}.0) can0 123#0011\n" for i in range(40))


def test_intervals_can_count_from_the_first_frame(tmp_path: Path) -> None:
    index(tmp_path, file="x.log", kind="fuzzing", intervals=[[4.2, 6.4], [39, 90]], time="elapsed")

    frames = read(write(tmp_path / "x.log", EPOCH)).frames

    assert np.flatnonzero(frames.attack_kind).tolist() == [5, 6, 39]  # type: ignore[arg-type]
    assert frames.kinds == ("normal", "fuzzing")


def test_intervals_are_on_the_clock_of_the_capture_where_nothing_else_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "x.log", EPOCH)
    for time in ({}, {"time": "absolute"}):
        index(tmp_path, file="x.log", kind="fuzzing", intervals=[[1110000004.2, 1110000006.4]], **time)

        assert np.flatnonzero(read(path).frames.attack_kind).tolist() == [5, 6]  # type: ignore[arg-type]


SPAN = r"meets no frame: the capture's clock runs from 1110000000\.0 to 1110000039\.0 s"
BELONGS = "Expected at least one frame in every interval; correct it, or move it to the capture that it belongs to"


@pytest.mark.parametrize(
    ("intervals", "time", "message"),
    [
        (
            [[4.2, 16.4]],
            None,
            rf'interval 1, \[4\.2, 16\.4\], {SPAN}\. .*first frame, give the entry `"time": "elapsed"`',
        ),
        ([[1110000004, 1110000006], [4.2, 16.4]], None, rf"interval 2, \[4\.2, 16\.4\], {SPAN}"),
        ([[1110000040, 1110000050]], None, rf"interval 1, .*{SPAN}\. {BELONGS}"),
        ([[1110000039.5, 1110000040]], None, rf"{SPAN}\. {BELONGS}"),
        ([[1110000004.2, 1110000004.4]], None, rf"{SPAN}\. {BELONGS}"),
        (
            [[1110000004200, 1110000006400]],
            None,
            rf"{SPAN}\. Expected seconds; if these are milliseconds, .* by 1000\.",
        ),
        ([[1110000004.2e6, 1110000006.4e6]], None, rf"{SPAN}\. .*microseconds, divide them by 1000000\."),
        ([[1110000004.2e9, 1110000006.4e9]], None, rf"{SPAN}\. .*nanoseconds, divide them by 1000000000\."),
        ([[4200, 6400]], None, rf"{SPAN}\. .*milliseconds, divide them by 1000 and give the entry `.time.: .elapsed.`"),
        (
            [[4200, 6400]],
            "elapsed",
            rf"{SPAN}, the first frame is at 1110000000\.0\. .*if these are milliseconds, .* 1000\.",
        ),
        ([[40, 50]], "elapsed", rf"{SPAN}, the first frame is at 1110000000\.0\. {BELONGS}"),
        (
            [[1110000004, 1110000006]],
            "elapsed",
            "If it counts from the epoch, give the entry no `time`, for seconds on",
        ),
    ],
)
def test_an_interval_that_meets_no_frame_is_an_error_that_says_what_the_clock_spans(
    tmp_path: Path, intervals: list[list[float]], time: str | None, message: str
) -> None:
    path = write(tmp_path / "x.log", EPOCH)
    index(tmp_path, file="x.log", kind="fuzzing", intervals=intervals, time=time)

    with pytest.raises(LogFormatError, match=rf"index\.json: the entry of 'x\.log': .*{message}"):
        read(path)


def test_an_interval_of_a_capture_without_attacks_or_frames_is_not_looked_at(tmp_path: Path) -> None:
    index(tmp_path, file="x.log", kind="none", intervals=[[4.2, 16.4]])
    assert read(write(tmp_path / "x.log", EPOCH)).frames.kinds == ("normal",)

    index(tmp_path, file="x.log", kind="fuzzing", intervals=[[4.2, 16.4]])
    assert len(read(write(tmp_path / "x.log", "(1.0) can0 20000004#0000000000000000\n")).frames) == 0


def test_an_interval_adds_nothing_where_frames_are_marked(tmp_path: Path) -> None:
    index(tmp_path, file="x.csv", kind="dos", intervals=[[0.0, 9.0]])

    frames = read(write(tmp_path / "x.csv", LABELLED)).frames

    assert labels(frames) == ([0, 1, 0], ["normal", "dos", "normal"])


def test_a_capture_that_the_index_calls_free_of_attacks_is_all_normal(tmp_path: Path) -> None:
    index(tmp_path, file="x.log", kind="none")

    frames = read(write(tmp_path / "x.log", CANDUMP)).frames

    assert labels(frames) == ([0, 0, 0], ["normal"] * 3)


def test_an_index_that_does_not_name_the_capture_leaves_it_alone(tmp_path: Path) -> None:
    index(tmp_path, file="other/x.log", kind="none")

    assert read(write(tmp_path / "x.log", CANDUMP)).frames.attack is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"frames": 4}, "says that .* has 4 frames, but it has 3"),
        ({"attack": 2}, "has 2 attacked frames, but it has 1"),
        ({"kind": "none"}, "holds no attack, but 1 of its frames are marked"),
        ({"kind": 3}, "kind of 'x.csv' is 3. Expected a str"),
        ({"kind": "dos", "intervals": [["a", 2]]}, "Expected a list of .begin, end. in seconds"),
        ({"kind": "dos", "intervals": [["1", "2"]]}, "intervals are .*'1', '2'.*Expected a list of"),
        ({"kind": "dos", "intervals": [[1, 2, 3], [4, 5, 6]]}, "Expected a list of .begin, end. in seconds"),
        ({"kind": "dos", "intervals": [1, 2]}, "Expected a list of .begin, end. in seconds"),
        ({"kind": "dos", "intervals": [[1, 10**400]]}, "Expected a list of .begin, end. in seconds"),
        ({"kind": "dos", "intervals": [[True, 2]]}, "Expected a list of .begin, end. in seconds"),
        ({"kind": "dos", "intervals": {"begin": 1}}, "Expected a list of .begin, end. in seconds"),
        ({"kind": "dos", "time": "relative"}, 'time is \'relative\'. Expected "absolute", .*or "elapsed"'),
    ],
)
def test_an_index_that_contradicts_the_file_is_an_error(tmp_path: Path, entry: dict[str, object], message: str) -> None:
    index(tmp_path, file="x.csv", **entry)

    with pytest.raises(LogFormatError, match=f"index.json: .*{message}"):
        read(write(tmp_path / "x.csv", LABELLED))


def test_dropped_lines_do_not_contradict_the_index(tmp_path: Path) -> None:
    index(tmp_path, file="x.csv", kind="dos", frames=4, attack=1)

    capture = read(write(tmp_path / "x.csv", LABELLED + "broken\n"), on_bad_line="drop")

    assert len(capture.frames) == 3


def test_an_index_that_is_not_json_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "index.json", "[{")

    with pytest.raises(LogFormatError, match=r"index\.json: not JSON"):
        read(write(tmp_path / "x.log", CANDUMP))


def test_every_bus_of_a_file_gets_its_own_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", "(1.0) can0 1AA#00\n(2.0) can1 2AA#00\n(3.0) can0 3AA#00\n")
    write(tmp_path / "drive.log.labels.csv", "frame_index,attack\n0,0\n1,1\n2,1\n")

    first, second = read_captures(path)

    assert labels(first.frames)[0] == [0, 1]
    assert labels(second.frames)[0] == [1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("rpm+gear(x)-1.csv", "rpm_gear_x_"), ("Über-1.csv", "_ber"), ("a:b-1.csv", "a_b"), ("..-1.csv", "__")],
)
def test_what_no_metric_name_can_hold_becomes_an_underscore(tmp_path: Path, name: str, kind: str) -> None:
    assert read(write(tmp_path / name, LABELLED)).frames.kinds == ("normal", kind)


def test_a_slash_in_the_index_does_not_cut_the_kinds_name_in_two(tmp_path: Path) -> None:
    index(tmp_path, file="x.csv", kind="spoof/rpm")

    assert read(write(tmp_path / "x.csv", LABELLED)).frames.kinds == ("normal", "spoof_rpm")


CHALLENGE = "Timestamp,Arbitration_ID,DLC,Data,Class,SubClass\n1.0,153,1,20,Normal,Normal\n"


def test_sub_classes_that_share_a_usable_name_become_one_kind(tmp_path: Path) -> None:
    text = CHALLENGE + "2.0,0,1,FF,Attack,Spoof(RPM)\n3.0,0,1,FF,Attack,Replay\n4.0,0,1,FF,Attack,Spoof[RPM]\n"

    found = labels(read(write(tmp_path / "x.csv", text)).frames)

    assert found == ([0, 1, 1, 1], ["normal", "spoof_rpm_", "replay", "spoof_rpm_"])


@pytest.mark.parametrize("kind", ["normal", "all", "macro"])
def test_an_attack_named_like_a_metric_over_all_kinds_is_refused_with_the_place_of_its_name(
    tmp_path: Path, kind: str
) -> None:
    path = write(tmp_path / f"{kind}-1.csv", LABELLED)
    with pytest.raises(LogFormatError, match=rf"{kind}-1\.csv: the file's name names an attack kind '{kind}'.*index"):
        read(path)

    path = write(tmp_path / "x.csv", LABELLED)
    index(tmp_path, file="x.csv", kind=kind)
    with pytest.raises(LogFormatError, match=rf"index\.json: the entry of 'x\.csv' names an attack kind '{kind}'"):
        read(path)
    assert read(path, kinds="none").frames.kinds == ("normal", "attack")


def test_a_sub_class_named_like_a_metric_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"{CHALLENGE}2.0,0,1,FF,Attack,Macro\n")

    with pytest.raises(LogFormatError, match=r"x\.csv: the sub-class of a frame names an attack kind 'macro'"):
        read(path)


def test_a_file_without_attacks_may_be_called_normal(tmp_path: Path) -> None:
    assert read(write(tmp_path / "normal-1.csv", CLEAN)).frames.kinds == ("normal",)


def test_two_sidecars_of_one_capture_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", CANDUMP)
    for suffix in (".labels.csv", ".labels.csv.gz"):
        write(tmp_path / f"drive.log{suffix}", "frame_index,attack\n0,0\n1,1\n2,0\n")

    with pytest.raises(LogFormatError, match=r"labelled by drive\.log\.labels\.csv and by .*\.gz\. Expected one"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"file": "drive.log"}, {"file": "drive.log"}]', "names 'drive.log' 2 times"),
        ('[{"file": "drive.log", "kind": "a", "kind": "b"}]', "not JSON .the key 'kind' occurs twice"),
        (
            '[{"file": "other.log"}, {"files": "drive.log"}]',
            "entry 2 is .*Expected an object with the name of a `file`",
        ),
        (
            '[{"file": "drive.log", "intervals": [[0, 1], [3, 2]]}]',
            r"the entry of 'drive.log': interval 2 is \[3.0, 2.0\]",
        ),
        ('[{"file": "drive.log", "intervals": [[0, NaN]]}]', r"the entry of 'drive.log': interval 1 is \[0.0, nan\]"),
        ('[{"file": "drive.log", "frames": true}]', "frames of 'drive.log' is True. Expected a count"),
        ('[{"file": "drive.log", "attack": -1}]', "attack of 'drive.log' is -1. Expected a count"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_malformed_index_names_the_entry(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "drive.log", CANDUMP)
    write(tmp_path / "index.json", text)

    with pytest.raises(LogFormatError, match=f"index.json: {message}"):
        read(path)


def test_json_that_names_no_files_is_not_an_index(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.log", CANDUMP)
    write(tmp_path / "index.json", '[{"name": "somebody else"}]')

    assert read(path).frames.attack is None
