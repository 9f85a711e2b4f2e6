"""`graphids adapt`: the same network for another vehicle, as a folder or as a new LoggedModel, anchored like others."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from graphids.commands.cli import main
from graphids.core.captures.read import read_captures
from graphids.core.profile.profile import fit_profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.core.simulation.text_writer import candump_text
from graphids.exit_codes import EXIT_NOT_VERIFIED, EXIT_REFUSED
from mlflow_graphids import load_model, save_model
from support.stores import empty_store
from support.tiny_model import three_ids, three_ids_profile, tiny_classifier, tiny_profile_classifier

Model = tuple[str, str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Folder and digest of a model of one vehicle."""
    folder = tmp_path_factory.mktemp("model") / "saved"
    return str(folder), save_model(tiny_profile_classifier(), folder, model_config={"threshold": 0.25})


@pytest.fixture
def drives(tmp_path: Path) -> list[str]:
    """Attack-free captures of another vehicle."""
    paths = [tmp_path / f"drive-{seed}.log" for seed in (7, 8, 9)]
    for seed, path in enumerate(paths, start=7):
        path.write_bytes(candump_text(three_ids(50, seed=seed)))
    return [str(path) for path in paths]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(empty_store(tmp_path))
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


def profile_of(drives: list[str]) -> bytes:
    return profile_bytes(fit_profile([read_captures(path)[0].frames for path in drives]))


def test_a_folder_gets_the_same_network_bit_for_bit_and_the_profile_of_the_captures(
    model: Model, drives: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, digest = model

    main(["adapt", folder, *drives, "--expected-digest", digest, "--output", str(tmp_path / "car")])

    printed = capsys.readouterr().out
    (new,) = [line.split()[-1] for line in printed.splitlines() if line.startswith("digest ")]
    adapted, source = load_model(tmp_path / "car", expected_digest=new), load_model(folder, expected_digest=digest)
    assert new != digest
    for name, weight in source.gat.state_dict().items():
        assert torch.equal(adapted.gat.state_dict()[name], weight)
    assert adapted.profile is not None
    assert profile_bytes(adapted.profile) == profile_of(drives)
    assert adapted.preprocessing.to_dict() == source.preprocessing.to_dict()
    assert (adapted.threshold, adapted.model_config) == (source.threshold, {"threshold": 0.25})
    assert hashlib.sha256(profile_of(drives)).hexdigest() in printed


def test_what_the_threshold_costs_is_counted_on_blocks_that_the_profile_has_not_seen(
    model: Model, drives: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = [read_captures(path)[0].frames for path in drives]
    windows = alerts = 0
    for left_out in recordings:
        profile = fit_profile([other for other in recordings if other is not left_out])
        score = replace(tiny_profile_classifier(), profile=profile).score(left_out).score
        windows, alerts = windows + len(score), alerts + int((score >= 0.25).sum())
    hours = sum(float(np.ptp(frames.timestamp)) for frames in recordings) / 3600

    main(["adapt", model[0], *drives, "--expected-digest", model[1], "--output", str(tmp_path / "car")])

    printed = " ".join(capsys.readouterr().out.split())
    assert f"would alert {alerts / hours:.1f} times an hour ({alerts} of {windows} windows in" in printed


def test_a_new_logged_model_is_anchored_and_names_its_source_and_its_profile(
    model: Model, drives: list[str], store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["adapt", model[0], *drives, "--expected-digest", model[1]])

    (run,) = store.search_runs(["0"])
    (output,) = run.outputs.model_outputs
    logged = store.get_logged_model(output.model_id)
    adapted = load_model(f"models:/{output.model_id}")
    assert (run.info.status, run.info.run_name) == ("FINISHED", f"adapt {model[0]} to drive-7.log")
    assert adapted.anchored
    assert (logged.status, logged.name) == ("READY", "adapted-drive-7_log")
    assert logged.params["graphids.digest"] == adapted.digest != model[1]
    sha256 = hashlib.sha256(profile_of(drives)).hexdigest()
    for tags in (logged.tags, run.data.tags):
        assert tags["graphids.source_digest"] == model[1]
        assert tags["graphids.profile_sha256"] == sha256
    assert f"models:/{output.model_id}" in capsys.readouterr().out
    assert "times an hour" in run.data.tags["mlflow.note.content"]

    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        main(["retune", run.info.run_id, "--false-alarms-per-hour", "6"])
    assert "gave a model the profile of a vehicle and trained nothing" in capsys.readouterr().err


def test_a_profile_may_stand_for_the_captures(
    model: Model, drives: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "car.profile").write_bytes(profile_of(drives))
    pinned = ("--expected-digest", model[1])

    main(["adapt", model[0], "--profile", str(tmp_path / "car.profile"), "--output", str(tmp_path / "a"), *pinned])

    assert (tmp_path / "a" / "vehicle.profile").read_bytes() == profile_of(drives)
    assert "was not measured: give captures for that" in capsys.readouterr().out


def test_a_profile_keeps_its_alarms_and_their_threshold_replaces_that_of_the_model(
    model: Model, drives: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    car, pinned = str(tmp_path / "car.profile"), ("--expected-digest", model[1])
    asked = ("--held-out", drives[2], "--false-alarms-per-hour", "6", "--model", model[0], *pinned)
    main(["profile", *drives[:2], "-o", car, *asked])
    capsys.readouterr()

    main(["adapt", model[0], "--profile", car, "--output", str(tmp_path / "a"), *pinned])

    (digest,) = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.startswith("digest ")]
    adapted = load_model(tmp_path / "a", expected_digest=digest)
    assert (tmp_path / "a" / "vehicle.profile").read_bytes() == Path(car).read_bytes()
    assert adapted.profile is not None
    assert adapted.profile.alarms is not None
    assert adapted.has_own_alarms
    assert adapted.threshold == adapted.profile.alarms.threshold
    assert dict(adapted.model_config) == {}


def test_alarms_of_another_network_leave_the_threshold_of_the_model_and_say_so(
    model: Model, drives: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    car, long = str(tmp_path / "car.profile"), tmp_path / "long.log"
    long.write_bytes(candump_text(three_ids(300, seed=10)))
    main(["profile", *drives, "-o", car, "--held-out", str(long), "--false-alarms-per-hour", "6"])

    main(["adapt", model[0], "--profile", car, "--output", str(tmp_path / "a"), "--expected-digest", model[1]])

    assert "alarms was chosen for another network" in caplog.text
    assert load_model(tmp_path / "a", policy="integrity-only").threshold == 0.5


def test_a_model_of_a_vehicle_is_retuned_on_more_attack_free_captures(
    model: Model, drives: list[str], store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["retune", model[0], *drives, "--false-alarms-per-hour", "60", "--expected-digest", model[1]])

    (run,) = store.search_runs(["0"])
    (output,) = run.outputs.model_outputs
    retuned = load_model(f"models:/{output.model_id}")
    assert (run.info.status, run.info.run_name) == ("FINISHED", f"60 false alarms/h, retune of {model[0]}")
    assert retuned.anchored
    assert retuned.profile is not None
    assert retuned.profile.alarms is not None
    assert (retuned.profile.alarms.per_hour, retuned.profile.alarms.blocks) == (60.0, False)
    assert retuned.threshold == retuned.profile.alarms.threshold
    assert profile_bytes(replace(retuned.profile, alarms=None)) == profile_bytes(three_ids_profile())
    logged = store.get_logged_model(output.model_id)
    assert logged.tags["graphids.source_digest"] == run.data.tags["graphids.source_digest"] == model[1]
    assert f"models:/{output.model_id}" in capsys.readouterr().out


def test_a_model_without_a_profile_has_no_alarms_to_retune(
    drives: list[str], tmp_path: Path, store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = save_model(replace(tiny_profile_classifier(), profile=None), tmp_path / "bare")

    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        main(["retune", str(tmp_path / "bare"), *drives, "--false-alarms-per-hour=6", "--expected-digest", digest])

    assert "has no profile of a vehicle, and its alarms are a vehicle's" in capsys.readouterr().err
    assert store.search_runs(["0"])[0].info.status == "FAILED"


def test_what_cannot_be_adapted_is_refused_in_one_line(
    model: Model, drives: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = save_model(tiny_classifier(), tmp_path / "raw")
    (tmp_path / "bad.profile").write_bytes(b"x")
    pinned, output = ("--expected-digest", model[1]), ("--output", str(tmp_path / "new"))
    both = ("--profile", str(tmp_path / "bad.profile"))
    attacked = tmp_path / "dos-1.csv"
    attacked.write_text("timestamp,arbitration_id,data_field,attack\n0.1,1A4,00,0\n0.2,1A4,00,1\n")
    cases = {
        (model[0], *pinned, *output): "expected either attack-free captures of the vehicle, or --profile FILE",
        (model[0], *drives, *both, *pinned, *output): "expected either attack-free captures",
        (model[0], *both, *pinned, *output): "bad.profile: is not a profile of graphids",
        (model[0], "nosuch.log", *pinned, *output): "given 'nosuch.log'",
        (model[0], str(attacked), *pinned, *output): "dos-1.csv: holds 1 attacked frame of 2",
        (model[0], *drives, *pinned, "--output", str(tmp_path)): "Expected the name of a new folder",
        (str(tmp_path / "raw"), *drives, "--expected-digest", raw, *output): "judges raw features",
    }
    for arguments, reason in cases.items():
        with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
            main(["adapt", *arguments])
        assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit, match=str(EXIT_NOT_VERIFIED)):
        main(["adapt", model[0], *drives, "--expected-digest", "0" * 64, *output])
    assert not (tmp_path / "new").exists()
