"""`graphids profile`: a file that reads back, and a table that a person reads."""

import hashlib
import json
from pathlib import Path

import pytest

from graphids.commands.cli import main
from graphids.core.profile.profile_file import profile_bytes, read_profile
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.simulation.text_writer import candump_text, csv_text
from graphids.exit_codes import EXIT_REFUSED


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
