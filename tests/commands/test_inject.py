"""`graphids inject`: what is written reads back with the labels of the attack, in every format."""

import json
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from graphids.commands.cli import main
from graphids.core.captures.read import read_captures
from graphids.core.frames import Frames
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.simulation.text_writer import candump_text
from graphids.exit_codes import EXIT_REFUSED


@pytest.fixture(scope="module")
def drive() -> Frames:
    return simulate_vehicle(seed=2, duration_s=6.0)


@pytest.fixture
def recording(drive: Frames, tmp_path: Path) -> Path:
    path = tmp_path / "drive.log"
    path.write_bytes(candump_text(drive))
    return path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        main(["inject", *map(str, arguments)])
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.csv", "out.log", "out.csv.gz", "out.parquet"])
@pytest.mark.parametrize("kind", ["suppress", "flam", "masquerade_constant"])
def test_every_format_reads_back_with_kind_and_interval(
    kind: str, name: str, recording: Path, drive: Frames, capsys: pytest.CaptureFixture[str]
) -> None:
    target = recording.with_name(name)

    main(["inject", str(recording), str(target), "--kind", kind, "--start-s", "2", "--duration_s", "1.5"])

    (entry,) = json.loads(target.with_name("index.json").read_text())
    (capture,) = read_captures(target)
    frames = capture.frames
    since = frames.timestamp - frames.timestamp[0]
    affected = frames.attack_kind != 0
    assert (frames.kinds, capture.source) == (("normal", kind), "drive.log")
    assert (entry["file"], entry["kind"], entry["intervals"]) == (name, kind, [[2.0, 3.5]])
    assert (entry["frames"], entry["attack"]) == (len(frames), int(frames.attack.sum()))
    assert 2.0 <= since[affected].min() <= since[affected].max() < 3.6
    if kind == "suppress":
        assert_array_equal(affected, (since >= 2.0) & (since <= 3.5))
        assert len(frames) < len(drive)
    assert f"{kind} on {entry['targets'][0]} from 2.000 to 3.500 s, named in index.json" in capsys.readouterr().out


def test_the_id_that_is_named_is_attacked_and_the_seed_draws_the_rest(recording: Path, drive: Frames) -> None:
    target = f"{drive.arbitration_id[5]:03X}"
    texts = []
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2)):
        out = recording.with_name(name)
        main(["inject", str(recording), str(out), "--kind", "spoof_fast", "--id", target, "--seed", str(seed)])
        texts.append(out.read_bytes())

    entries = json.loads(recording.with_name("index.json").read_text())
    assert [entry["file"] for entry in entries] == ["a.csv", "b.csv", "c.csv"]
    assert all(entry["targets"] == [target] for entry in entries)
    assert texts[0] == texts[1] != texts[2]


def test_one_of_several_buses_is_attacked_once_it_is_named(
    drive: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = tmp_path / "two.log"
    lines = candump_text(drive, "can0").splitlines(keepends=True)
    two.write_bytes(b"".join(line.replace(b" can0 ", b" can1 ") if i % 3 else line for i, line in enumerate(lines)))
    out = tmp_path / "out.log"

    message = refusal(capsys, two, out, "--kind", "fuzzy")
    assert "holds the buses 'can0', 'can1', but one is needed. Name one of them with --bus." in message
    assert "but bus 'can7' was asked for" in refusal(capsys, two, out, "--kind", "fuzzy", "--bus", "can7")

    main(["inject", str(two), str(out), "--kind", "fuzzy", "--bus", "can1"])
    (capture,) = read_captures(out)
    assert capture.frames.channels == ("can1",)
    assert (capture.frames.attack == 0).sum() == sum(i % 3 > 0 for i in range(len(lines)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "spoofing"], "There is no attack 'spoofing'. Expected one of dos, fuzzy"),
        (["--kind", "suppress", "--id", "XYZ"], "--id: given 'XYZ'; expected an arbitration ID in hex"),
        (["--kind", "suppress", "--id", "7FF"], "cannot target 7FF: the recording holds no such ID"),
        (["--kind", "dos", "--start_s", "99"], "dos runs from 99 to"),
        (["--kind", "dos", "--intensity", "2"], "intensity 2.0. Expected more than 0 and at most 1"),
        (["--kin", "dos"], "--kin"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    words: list[str], message: str, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = recording.with_name("out.csv")

    error = refusal(capsys, recording, target, *words)

    assert message in error
    assert error.count("\n") == 1
    assert not target.exists()
    assert not target.with_name("index.json").exists()


def test_an_index_of_something_else_and_a_name_that_is_taken_are_left_alone(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, target = recording.with_name("index.json"), recording.with_name("out.csv")
    index.write_text('{"pages": 3}')
    assert "is not an index of captures" in refusal(capsys, recording, target, "--kind", "dos")
    assert index.read_text() == '{"pages": 3}'

    index.unlink()
    main(["inject", str(recording), str(target), "--kind", "dos"])
    written = target.read_bytes()
    assert "names out.csv already" in refusal(capsys, recording, target, "--kind", "fuzzy")
    index.unlink()
    assert "exists" in refusal(capsys, recording, target, "--kind", "fuzzy")
    assert target.read_bytes() == written


def test_a_recording_whose_clock_jumps_is_refused(
    drive: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = tmp_path / "twice.log"
    twice.write_bytes(candump_text(drive) * 2)

    message = refusal(capsys, twice, tmp_path / "out.csv", "--kind", "dos")

    assert "twice.log: its clock jumps 1 time, so that no interval of index.json could say when" in message
