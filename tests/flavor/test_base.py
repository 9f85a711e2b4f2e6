"""The base model as it is shipped: whole, fit for the features that the code computes, and of use on an unknown car."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphids._fs import digest_file
from graphids.core.classifier import WindowClassifier
from graphids.core.evaluation import auroc
from graphids.core.graphs.features import DEVIATIONS, EDGE_FEATURES, column_names
from graphids.core.injection.inject import Injection, inject
from graphids.core.profile.profile import fit_profile
from graphids.core.simulation.simulate import simulate_vehicle
from mlflow_graphids import IncompatibleModelError, IntegrityError, base, load_base_model
from support.damage import flip_bit
from support.tampering import reseal

UNKNOWN_CAR = 1_000


@pytest.fixture(scope="module")
def model() -> WindowClassifier:
    """With the profile of a simulated car that it was not trained on."""
    drives = [simulate_vehicle(seed=seed, duration_s=12.0, vehicle_seed=UNKNOWN_CAR) for seed in range(3)]
    return replace(load_base_model(), profile=fit_profile(drives))


def test_it_fits_the_features_of_this_code() -> None:
    """If this fails, the features have changed: run `python tools/make_base_model.py` and commit what it writes."""
    model = load_base_model()
    description = json.loads((base.FOLDER / "model.json").read_text())

    assert [column["name"] for column in description["node_features"]] == column_names(DEVIATIONS)
    assert [column["name"] for column in description["edge_features"]] == column_names(EDGE_FEATURES)
    assert (model.anchored, model.digest, model.profile) == (True, base.DIGEST, None)


def test_it_is_small_and_holds_no_code() -> None:
    files = {path.name for path in base.FOLDER.iterdir()}

    assert files == {"MLmodel", "MODEL_CARD.md", "manifest.json", "model.json", "weights.safetensors"}
    assert sum(path.stat().st_size for path in base.FOLDER.iterdir()) < 500_000


def test_its_card_names_each_recording_with_a_licence_that_allows_it() -> None:
    rows = [line.split(" | ") for line in (base.FOLDER / "MODEL_CARD.md").read_text().splitlines() if "github" in line]

    assert len(rows) > 20
    assert {row[3] for row in rows} == {"MIT", "CC0"}


@pytest.mark.parametrize("file", ["weights.safetensors", "model.json", "manifest.json", "MODEL_CARD.md"])
def test_an_installation_that_was_tampered_with_is_refused(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "FOLDER", shutil.copytree(base.FOLDER, tmp_path / "base_model"))
    flip_bit(base.FOLDER / file, 100)

    with pytest.raises(IntegrityError, match=f"{file}: expected"):
        load_base_model()
    if file != "manifest.json":
        reseal(base.FOLDER)  # every digest in the folder agrees again
        with pytest.raises(IntegrityError, match=f"manifest.json: expected sha256 {base.DIGEST}"):
            load_base_model()


def test_a_deployment_that_is_pinned_to_another_model_does_not_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", "0" * 64)

    with pytest.raises(IntegrityError, match="cannot replace the deployment's digest"):
        load_base_model()


def test_one_that_was_made_for_other_features_names_the_command_that_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "FOLDER", shutil.copytree(base.FOLDER, tmp_path / "base_model"))
    description = json.loads((base.FOLDER / "model.json").read_text())
    description["node_features"] = description["node_features"][1:]
    (base.FOLDER / "model.json").write_text(json.dumps(description))
    reseal(base.FOLDER)
    monkeypatch.setattr(base, "DIGEST", digest_file(base.FOLDER / "manifest.json"))

    with pytest.raises(IncompatibleModelError, match=r"run `python tools/make_base_model\.py`"):
        load_base_model()


@pytest.mark.parametrize(("kind", "alerting"), [("fuzzy", 0.9), ("suppress", 0.0)])
def test_it_tells_attacks_on_a_car_that_nobody_trained_on(model: WindowClassifier, kind: str, alerting: float) -> None:
    drive = simulate_vehicle(seed=9, duration_s=12.0, vehicle_seed=UNKNOWN_CAR)
    injected = inject(drive, [Injection(kind, 5.0, 9.0)], seed=3)

    scores = model.score(injected.frames)
    is_attack = (scores.start_s >= 5.2) & (scores.end_s <= 9.0)
    before = scores.end_s < 5.0

    found = auroc(scores.score[is_attack | before], is_attack[is_attack | before])
    assert found is not None
    assert found > 0.95
    assert np.mean(scores.alert[is_attack]) >= alerting
    assert np.mean(scores.alert[before]) < 0.05
