"""`graphids profile`: a file that reads back, and a table that a person reads."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from graphids.commands.cli import main
from graphids.core.models.weights_digest import weights_digest
from graphids.core.profile.profile_file import profile_bytes, read_profile
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.simulation.text_writer import candump_text, csv_text
from graphids.exit_codes import EXIT_REFUSED
from mlflow_graphids.base import load_base_model


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    folder = tmp_path / "drives"
    folder.mkdir()
    for seed in (1, 2):
        (folder / f"drive-{seed}.log").write_bytes(candump_text(simulate_vehicle(seed=seed, duration_s=5.0)))
    return folder


def test_a_folder_becomes_a_file_and_a_table(drives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = drives.with_name("car.profile")

    main(["profile", str(drives), "-o", str(output)])

    content = output.read_bytes()
    profile = read_profile(content, str(output))
    lines = capsys.readouterr().out.splitlines()
    assert (profile.blocks, profile_bytes(profile)) == (2, content)
    assert len(lines) == 1 + len(profile.node_key) + 4
    assert lines[-2].endswith(f"of 2 captures; sha256 {hashlib.sha256(content).hexdigest()}")
    assert lines[-1].startswith("Less than 10 minutes")


def test_the_table_says_what_every_byte_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drive.log"
    frames = (
        f"({i / 100:010.6f}) can0 1A4#5A{(i // 40) % 8:02X}{i % 16:02X}{1000 + 3 * i + i * i % 5:04X}\n"
        f"({i / 100 + 0.001:010.6f}) can0 18FEF100#01\n"
        for i in range(300)
    )
    path.write_text("".join(frames))

    main(["profile", str(path), "-o", str(tmp_path / "car.profile")])

    _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.split() == [
        "1A4",
        "300",
        "10.0",
        "5",
        "=5A",
        "00-07",
        "count",
        "03-07>",
        "00-FF",
        ".",
        ".",
        ".",
        "counter",
    ]
    assert second.split() == ["18FEF100", "300", "10.0", "1", "=01", *"......."]


def test_json_has_the_same(drives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = drives.with_name("car.profile")

    main(["profile", str(drives / "drive-1.log"), str(drives / "drive-2.log"), "--json", "--output", str(output)])

    told = json.loads(capsys.readouterr().out)
    profile = read_profile(output.read_bytes(), "")
    assert told["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert (told["captures"], told["frames"]) == (2, profile.frames)
    assert [len(message["bytes"]) for message in told["messages"]] == [8] * len(profile.node_key)
    counters = [bool(step) for step in profile.checks["count_step"]]
    assert ["counter" in message["holds"] for message in told["messages"]] == counters


def test_an_attack_or_a_file_that_is_there_is_refused_in_one_line(
    drives: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = drives.with_name("car.profile")
    attacked = simulate_vehicle(seed=3, duration_s=5.0, attack="fuzzy")
    (drives / "attacked.csv").write_bytes(csv_text(attacked))

    def refusal(*captures: Path) -> str:
        with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
            main(["profile", *map(str, captures), "-o", str(output)])
        return capsys.readouterr().err

    error = refusal(drives)
    assert f"attacked.csv: holds {int(attacked.attack.sum()):,} attacked frames of {len(attacked):,}" in error
    assert error.count("\n") == 1
    assert not output.exists()
    assert "does not exist" in refusal(drives / "nowhere.log")
    output.write_bytes(b"mine")
    assert "car.profile exists" in refusal(drives / "drive-1.log")
    assert output.read_bytes() == b"mine"


@pytest.fixture
def other_drives(tmp_path: Path) -> Path:
    folder = tmp_path / "other"
    folder.mkdir()
    for seed in (3, 4):
        (folder / f"drive-{seed}.log").write_bytes(candump_text(simulate_vehicle(seed=seed, duration_s=4.0)))
    return folder


def test_alarms_are_chosen_on_held_out_drives_for_the_base_model(
    drives: Path, other_drives: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = drives.with_name("car.profile")

    main(["profile", str(drives), "-o", str(output), "--held-out", str(other_drives), "--false-alarms-per-hour", "6"])

    alarms = read_profile(output.read_bytes(), str(output)).alarms
    assert alarms is not None
    assert (alarms.per_hour, alarms.blocks, alarms.network) == (6.0, False, weights_digest(load_base_model().gat))
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "Alarms for 6 false-alarm incidents an hour, of experts and network together, were chosen on 8.0 seconds of "
        "recordings that the profile has not seen. The limits are extrapolated beyond what these showed. That is too "
        "short to certify 6 an hour, which takes 30.0 minutes without a false alarm" in printed
    )
    assert "--held-out" not in printed


def test_a_capture_of_the_profile_is_not_held_out_under_another_name(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.log"
    again.write_bytes(next(drives.iterdir()).read_bytes())
    words = ["-o", str(tmp_path / "car.profile"), "--held-out", str(again), "--false-alarms-per-hour", "6"]

    with pytest.raises(SystemExit):
        main(["profile", str(drives), *words])

    assert re.search(r"again.log: is held out and has the frames of drive-\d.log, which", capsys.readouterr().err)
    assert not (tmp_path / "car.profile").exists()


def test_without_held_out_drives_blocks_are_left_out_and_what_that_cannot_show_is_said(
    drives: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = drives.with_name("car.profile")

    main(["profile", str(drives), "-o", str(output), "--false-alarms-per-hour", "60", "--json"])

    alarms = read_profile(output.read_bytes(), str(output)).alarms
    assert alarms is not None
    assert alarms.blocks
    facts = json.loads(capsys.readouterr().out)["alarms"]
    assert (facts["per_hour"], facts["threshold"], facts["network"]) == (60.0, alarms.threshold, alarms.network)
    assert facts["sentence"].endswith(
        "They cannot show what another drive does differently: give attack-free recordings of other drives with "
        "--held-out."
    )


def test_alarms_that_cannot_be_chosen_are_refused_before_anything_is_fitted(
    drives: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = drives.with_name("car.profile")
    for arguments, reason in (
        (["--held-out", str(drives)], "--false-alarms-per-hour: not given; expected the false-alarm incidents an hour"),
        (["--false-alarms-per-hour", "0"], "given '0'; expected more than 0 incidents an hour: no limit promises none"),
        (["--false-alarms-per-hour", "few"], "given 'few'; allowed is a finite number >= 0"),
        (["--false-alarms-per-hour", "6", "--held-out", "nowhere.log"], "given 'nowhere.log'"),
    ):
        with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
            main(["profile", str(drives), "-o", str(output), *arguments])
        assert reason in capsys.readouterr().err
    assert not output.exists()
