"""`graphids predict --profile`: the base model, or another one, with the profile of the vehicle for this call."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphids.commands.cli import main
from graphids.core.profile.profile import fit_profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.core.simulation.text_writer import candump_text
from graphids.exit_codes import EXIT_NOT_COVERED, EXIT_REFUSED
from mlflow_graphids import save_model
from mlflow_graphids.base import load_base_model
from support.tiny_model import three_ids, three_ids_profile, tiny_classifier, tiny_profile_classifier


@pytest.fixture
def capture(tmp_path: Path) -> str:
    path = tmp_path / "next.log"
    path.write_bytes(candump_text(three_ids(400, seed=1)))
    return str(path)


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "car.profile"
    path.write_bytes(profile_bytes(fit_profile([three_ids(400, seed=2), three_ids(400, seed=3)])))
    return str(path)


@pytest.mark.parametrize("source", ["file", "-"])
def test_without_a_model_the_base_model_judges_by_the_profile(
    capture: str, profile: str, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(capture).read_bytes())))
    base = replace(load_base_model(), profile=fit_profile([three_ids(400, seed=2), three_ids(400, seed=3)]))
    expected = base.score(three_ids(400, seed=1))

    main(["predict", capture if source == "file" else "-", "--profile", profile, "--all"])

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(expected) > 0
    assert {"window", "start_s", "end_s", "score"} <= rows[0].keys()
    np.testing.assert_allclose([row["score"] for row in rows], expected.score, rtol=1e-5)
    assert all(row["coverage"] == 1.0 for row in rows)


def test_a_model_of_ones_own_gets_the_profile_for_this_call(
    capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(tiny_profile_classifier(), profile=three_ids_profile(seed=5))
    digest = save_model(tiny_profile_classifier(), tmp_path / "m")
    (tmp_path / "other.profile").write_bytes(profile_bytes(three_ids_profile(seed=5)))
    pinned = ["--model", str(tmp_path / "m"), "--expected-digest", digest, "--all"]

    scores = []
    for arguments in ([capture], [capture, "--profile", str(tmp_path / "other.profile")]):
        main(["predict", *arguments, *pinned])
        scores.append([json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()])

    np.testing.assert_allclose(scores[0], tiny_profile_classifier().score(three_ids(400, seed=1)).score, rtol=1e-5)
    np.testing.assert_allclose(scores[1], other.score(three_ids(400, seed=1)).score, rtol=1e-5)
    assert not np.allclose(scores[0], scores[1])


def test_traffic_that_the_profile_does_not_know_is_not_covered(
    capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = replace(three_ids(400), arbitration_id=three_ids(400).arbitration_id + np.uint32(1))
    (tmp_path / "other car.profile").write_bytes(profile_bytes(fit_profile([stranger])))

    with pytest.raises(SystemExit, match=str(EXIT_NOT_COVERED)):
        main(["predict", capture, "--profile", str(tmp_path / "other car.profile")])

    assert "not covered: the model knows 0.0% of the frames" in capsys.readouterr().err


def test_neither_a_model_nor_a_profile_is_refused_and_so_is_a_profile_for_raw_features(
    capture: str, profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = save_model(tiny_classifier(), tmp_path / "raw")
    bare = save_model(replace(tiny_profile_classifier(), profile=None), tmp_path / "bare")
    cases = {
        (): "--model: not given; expected the URI of a model, or --profile FILE",
        ("--profile", profile, "--model", str(tmp_path / "raw"), "--expected-digest", raw): "judges raw features",
        ("--model", str(tmp_path / "bare"), "--expected-digest", bare): "no profile of a vehicle",
        ("--profile", capture): "next.log: is not a profile of graphids",
    }
    for arguments, reason in cases.items():
        with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
            main(["predict", capture, *arguments])
        assert reason in capsys.readouterr().err
