"""A saved model in a folder: what is in it, that it comes back whole, and that anything else is refused."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import yaml

from graphids._fs import digest_file
from graphids.core.classifier import WindowClassifier
from graphids.core.profile.profile_file import profile_bytes
from graphids.options import OptionError
from mlflow_graphids import (
    IntegrityError,
    _load_pyfunc,
    get_default_pip_requirements,
    load_model,
    save_model,
    verify_model,
)
from mlflow_graphids.environment import write_environment
from support.damage import flip_bit
from support.tampering import WHEEL, edit_mlmodel, reseal, write_manifest
from support.tiny_model import three_ids, three_ids_profile, tiny_profile_classifier

Saved = tuple[Path, str]


def test_a_model_comes_back_whole(classifier: WindowClassifier, saved: Saved) -> None:
    folder, digest = saved
    loaded = load_model(folder, expected_digest=digest)

    for name, weight in classifier.gat.state_dict().items():
        torch.testing.assert_close(loaded.gat.state_dict()[name], weight, rtol=0, atol=0)
    assert loaded.preprocessing.to_dict() == classifier.preprocessing.to_dict()
    assert loaded.threshold == classifier.threshold
    assert (loaded.digest, loaded.anchored) == (digest, True)
    assert not loaded.gat.training


def test_the_raw_head_comes_back_so_that_another_tau_can_start_from_it(
    classifier: WindowClassifier, saved: Saved
) -> None:
    record = load_model(saved[0], expected_digest=saved[1]).tau_record

    assert (record["tau"], record["key"]) == (0.5, "fc_layers.3.weight")
    torch.testing.assert_close(record["raw_head"], classifier.tau_record["raw_head"], rtol=0, atol=0)
    np.testing.assert_allclose(record["row_norms"], classifier.tau_record["row_norms"], rtol=1e-6)


def test_a_model_whose_head_is_as_trained_needs_no_tau_record(classifier: WindowClassifier, tmp_path: Path) -> None:
    digest = save_model(replace(classifier, tau_record={}), tmp_path / "m")

    assert load_model(tmp_path / "m", expected_digest=digest).tau_record == {}


def test_a_profile_comes_back_whole_and_is_listed_with_its_digest(tmp_path: Path) -> None:
    classifier = tiny_profile_classifier()
    assert classifier.profile is not None
    digest = save_model(classifier, tmp_path / "m")
    loaded = load_model(tmp_path / "m", expected_digest=digest)
    listed = {e["path"]: e["sha256"] for e in json.loads((tmp_path / "m" / "manifest.json").read_text())["files"]}

    assert loaded.profile is not None
    assert profile_bytes(loaded.profile) == profile_bytes(classifier.profile)
    assert listed["vehicle.profile"] == hashlib.sha256(profile_bytes(classifier.profile)).hexdigest()
    np.testing.assert_array_equal(loaded.score(three_ids(12)).score, classifier.score(three_ids(12)).score)
    assert loaded.score(three_ids(12)).score.std() > 0
    assert save_model(loaded, tmp_path / "again") == digest
    assert save_model(replace(classifier, profile=three_ids_profile(seed=1)), tmp_path / "other car") != digest


def test_a_model_that_waits_for_a_profile_is_saved_and_loaded_without_one(tmp_path: Path) -> None:
    digest = save_model(replace(tiny_profile_classifier(), profile=None), tmp_path / "m")
    loaded = load_model(tmp_path / "m", expected_digest=digest)

    assert not (tmp_path / "m" / "vehicle.profile").exists()
    assert loaded.profile is None
    assert "profile=None" in repr(loaded)
    with pytest.raises(ValueError, match=r"no profile of a vehicle.*`graphids adapt`"):
        loaded.score(three_ids(12))


def test_a_model_card_travels_under_the_digest_and_a_changed_one_is_refused(
    classifier: WindowClassifier, saved: Saved, tmp_path: Path
) -> None:
    folder = tmp_path / "with card"
    digest = save_model(classifier, folder, model_card="# Detects\n")
    loaded = load_model(folder, expected_digest=digest)

    assert (folder / "MODEL_CARD.md").read_text() == "# Detects\n"
    assert loaded.threshold == classifier.threshold
    assert digest != saved[1]

    (folder / "MODEL_CARD.md").write_text("# Detects everything\n")
    with pytest.raises(IntegrityError, match=r"MODEL_CARD\.md: expected 10 bytes, found 21"):
        load_model(folder, expected_digest=digest)


def test_a_model_card_that_the_manifest_does_not_name_is_refused(saved: Saved) -> None:
    (saved[0] / "MODEL_CARD.md").write_text("# Detects everything\n")

    with pytest.raises(IntegrityError, match=r"MODEL_CARD\.md: undeclared"):
        load_model(saved[0], expected_digest=saved[1])


def test_equal_models_have_equal_digests_and_a_loaded_model_saves_to_the_same_one(
    classifier: WindowClassifier, saved: Saved, tmp_path: Path
) -> None:
    folder, digest = saved

    assert save_model(classifier, tmp_path / "again") == digest
    assert save_model(load_model(folder, expected_digest=digest), tmp_path / "loaded") == digest
    assert save_model(replace(classifier, threshold=0.6), tmp_path / "other") != digest


def test_the_digest_is_that_of_a_manifest_that_lists_every_payload_file(saved: Saved) -> None:
    folder, digest = saved
    manifest = json.loads((folder / "manifest.json").read_text())

    assert digest == digest_file(folder / "manifest.json")
    assert {entry["path"]: (entry["size_bytes"], entry["sha256"]) for entry in manifest["files"]} == {
        name: ((folder / name).stat().st_size, digest_file(folder / name))
        for name in ("model.json", "weights.safetensors", WHEEL)
    }
    description = yaml.safe_load((folder / "MLmodel").read_text())
    assert description["flavors"]["graphids"]["digest"] == description["metadata"]["graphids.digest"] == digest
    assert manifest["loader_module"] == "mlflow_graphids"
    assert manifest["signature"] == description["signature"]


def test_a_model_holds_no_pickle(saved: Saved) -> None:
    payload = {path.name for path in saved[0].iterdir()}

    assert payload == {
        "MLmodel", "conda.yaml", "manifest.json", "model.json", "python_env.yaml", "requirements.txt",
        "weights.safetensors", "wheels",
    }  # fmt: skip
    safetensors.torch.load((saved[0] / "weights.safetensors").read_bytes())


def test_the_tables_of_the_preprocessing_are_stored_with_the_weights_and_not_in_json(
    classifier: WindowClassifier, saved: Saved
) -> None:
    tensors = safetensors.torch.load((saved[0] / "weights.safetensors").read_bytes())
    description = json.loads((saved[0] / "model.json").read_text())

    for name in ("node_mean", "node_scale", "edge_mean", "edge_scale"):
        np.testing.assert_array_equal(
            tensors[f"preprocessing.{name}"].numpy(), getattr(classifier.preprocessing, name), strict=True
        )
    assert description["preprocessing"].keys() == {
        "features", "window_size", "stride", "classes", "node_features", "edge_features", "vocabulary",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"node_mean": []}, "multiple values for keyword argument 'node_mean'"),
        ({"vocabulary": [1]}, r"node_mean has shape \(\d+, \d+\), expected \(2, \d+\)"),
    ],
)
def test_tables_that_do_not_fit_the_description_are_refused(
    saved: Saved, change: dict[str, object], reason: str
) -> None:
    folder, _ = saved
    description = json.loads((folder / "model.json").read_text())
    description["preprocessing"] |= change
    (folder / "model.json").write_text(json.dumps(description))
    reseal(folder)

    with pytest.raises(IntegrityError, match=rf"expected parts of one model, but they do not fit together .*{reason}"):
        load_model(folder, policy="integrity-only")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "manifest.json"])
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_one_flipped_bit_is_refused(saved: Saved, name: str, where: float) -> None:
    folder, digest = saved
    flip_bit(folder / name, int(where * (folder / name).stat().st_size))

    with pytest.raises(IntegrityError, match=rf"{name}: expected sha256 [0-9a-f]{{64}}.*found [0-9a-f]{{64}}"):
        load_model(folder, expected_digest=digest)
    with pytest.raises(IntegrityError, match=name):
        load_model(folder, policy="integrity-only")


def test_every_problem_is_listed_at_once(classifier: WindowClassifier, tmp_path: Path) -> None:
    code = tmp_path / "reader.py"
    code.write_text("x = 1\n")
    digest = save_model(classifier, tmp_path / "m", code_paths=[str(code)])
    flip_bit(tmp_path / "m" / "weights.safetensors", 100)
    (tmp_path / "m" / "model.json").write_bytes(b"{}")
    (tmp_path / "m" / "code" / "reader.py").unlink()
    (tmp_path / "m" / "extra.pkl").write_bytes(b"")

    with pytest.raises(IntegrityError) as refused:
        load_model(tmp_path / "m", expected_digest=digest)

    message = str(refused.value)
    for problem in (
        "weights.safetensors: expected sha256",
        "model.json: expected ",
        "bytes, found 2",
        "code/reader.py: missing",
        "extra.pkl: undeclared",
    ):
        assert problem in message


def test_a_link_is_refused_even_to_the_right_bytes(saved: Saved, tmp_path: Path) -> None:
    folder, digest = saved
    (folder / "weights.safetensors").rename(tmp_path / "elsewhere")
    (folder / "weights.safetensors").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(IntegrityError, match=r"weights.safetensors: not a regular file"):
        load_model(folder, expected_digest=digest)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_without_waiting_for_it(saved: Saved) -> None:
    os.mkfifo(saved[0] / "pipe")

    with pytest.raises(IntegrityError, match="pipe: not a regular file"):
        load_model(saved[0], expected_digest=saved[1])


@pytest.mark.parametrize("name", ["registered_model_meta", "input_example.json", "environment_variables.txt"])
def test_files_that_mlflow_writes_beside_the_payload_are_allowed(saved: Saved, name: str) -> None:
    (saved[0] / name).write_text("written by MLflow")

    assert verify_model(saved[0], expected_digest=saved[1]) == saved[1]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda m: m["signature"].update(params=None), "signature"),
        (lambda m: m["flavors"]["python_function"].update(loader_module="os"), "python_function.loader_module"),
        (lambda m: m["flavors"]["python_function"].update(code="code"), "python_function.code"),
        (lambda m: m["flavors"]["python_function"].update(predict_fn="score"), "python_function.predict_fn"),
        (lambda m: m["flavors"]["python_function"].update(config={"threshold": 2.0}), "python_function.config"),
        (lambda m: m["flavors"]["graphids"].update(files={}), "graphids.files"),
        (lambda m: m["flavors"].update(sklearn={}), "flavors is"),
        (lambda m: m["flavors"].pop("python_function"), "flavors is"),
    ],
)
def test_an_mlmodel_that_contradicts_the_manifest_is_refused(
    saved: Saved,
    edit: Callable[[dict], None],
    problem: str,  # type: ignore[type-arg]
) -> None:
    edit_mlmodel(saved[0], edit)

    with pytest.raises(IntegrityError, match=rf"MLmodel: .*{problem}"):
        load_model(saved[0], expected_digest=saved[1])


def test_tampering_that_repairs_every_digest_in_the_folder_passes_for_undamaged_but_not_for_the_anchor(
    saved: Saved, caplog: pytest.LogCaptureFixture
) -> None:
    folder, digest = saved
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "threshold": 2.0}))
    reseal(folder)

    assert load_model(folder, policy="integrity-only").threshold == 2.0
    assert "NOT that nobody changed them" in caplog.text
    with pytest.raises(IntegrityError, match=rf"manifest.json: expected sha256 {digest} \(from expected_digest\)"):
        load_model(folder, expected_digest=digest)


def test_a_folder_has_no_anchor_and_is_refused_without_a_digest(saved: Saved) -> None:
    message = r"Give the digest that saving it returned \(--expected-digest, in Python expected_digest=\)"
    with pytest.raises(IntegrityError, match=message):
        load_model(saved[0])


@pytest.mark.parametrize("name", ["nowhere", "saved/MLmodel"])
def test_a_path_to_nothing_is_not_taken_for_a_model_without_an_anchor(saved: Saved, name: str) -> None:
    path = saved[0].parent / name

    for expected_digest in (None, saved[1]):
        with pytest.raises(FileNotFoundError, match=rf"{name}: there is no such folder. Expected .* models:/name"):
            verify_model(path, expected_digest=expected_digest)


def test_a_folder_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(IntegrityError, match=r"MLmodel: missing\n  manifest.json: missing"):
        load_model(tmp_path / "empty", policy="integrity-only")


def test_verifying_a_folder_opens_no_tracking_store(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")

    verify_model(saved[0], policy="integrity-only")

    assert not (tmp_path / "store.db").exists()


@pytest.mark.parametrize("digest", ["", "abc", "A" * 64])
def test_a_malformed_expected_digest_is_refused(saved: Saved, digest: str) -> None:
    with pytest.raises(OptionError, match=r"expected_digest is .*, expected a sha256: 64 hex digits in lower case"):
        load_model(saved[0], expected_digest=digest)


def test_an_unknown_policy_is_refused(saved: Saved) -> None:
    with pytest.raises(OptionError, match="policy is 'none', expected one of"):
        load_model(saved[0], policy="none")  # type: ignore[arg-type]


def test_json_that_repeats_a_key_is_refused(saved: Saved) -> None:
    folder, _ = saved
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace("{", '{"threshold": 2.0,', 1))
    reseal(folder)

    with pytest.raises(IntegrityError, match=r"model.json: expected JSON without repeated keys"):
        load_model(folder, policy="integrity-only")


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(
    classifier: WindowClassifier, saved: Saved, tmp_path: Path
) -> None:
    folder, _ = saved
    weights = safetensors.torch.load((folder / "weights.safetensors").read_bytes())
    weights["input.bias"][0] = float("nan")
    (folder / "weights.safetensors").write_bytes(safetensors.torch.save(weights))
    reseal(folder)

    with pytest.raises(IntegrityError, match=r"expected finite weights, found NaN or infinity in input.bias"):
        load_model(folder, policy="integrity-only")
    raw_head = torch.full((3, 8), float("inf"))
    with pytest.raises(ValueError, match=r"not finite cannot be saved: tau_norm.raw_head"):
        save_model(replace(classifier, tau_record={"tau": 1.0, "key": "k", "raw_head": raw_head}), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_a_changed_copy_of_a_verified_model_does_not_claim_to_be_verified(saved: Saved) -> None:
    loaded = load_model(saved[0], expected_digest=saved[1])

    changed = replace(loaded, threshold=0.9)

    assert (changed.threshold, changed.digest, changed.anchored) == (0.9, "", False)


def test_later_writes_to_the_folder_do_not_reach_a_loaded_model(saved: Saved) -> None:
    folder, digest = saved
    loaded = load_model(folder, expected_digest=digest)
    before = loaded.gat.input.bias.clone()
    (folder / "weights.safetensors").write_bytes(b"\0" * (folder / "weights.safetensors").stat().st_size)

    torch.testing.assert_close(loaded.gat.input.bias, before, rtol=0, atol=0)


def test_code_that_travels_with_a_model_is_part_of_its_digest(
    classifier: WindowClassifier, saved: Saved, tmp_path: Path
) -> None:
    (tmp_path / "reader.py").write_text("x = 1\n")
    digest = save_model(classifier, tmp_path / "m", code_paths=[str(tmp_path / "reader.py")])

    assert digest != saved[1]
    assert verify_model(tmp_path / "m", expected_digest=digest) == digest
    (tmp_path / "m" / "code" / "reader.py").write_text("x = 2\n")
    with pytest.raises(IntegrityError, match=r"code/reader.py: expected sha256"):
        load_model(tmp_path / "m", expected_digest=digest)


def test_predict_takes_integer_identifiers_too_but_not_through_pyfunc(saved: Saved, table: pd.DataFrame) -> None:
    loaded = load_model(saved[0], expected_digest=saved[1])
    numbers = table.assign(arbitration_id=[int(text, 16) for text in table["arbitration_id"]])

    served = _load_pyfunc(str(saved[0]))

    pd.testing.assert_frame_equal(loaded.predict(numbers), loaded.predict(table))
    pd.testing.assert_frame_equal(served.predict(table), loaded.predict(table))
    with pytest.raises(ValueError, match=r"Row 0: arbitration_id is .*, expected a string of hex .*takes integers"):
        served.predict(numbers)


def test_predict_refuses_too_few_frames_instead_of_answering_nothing(saved: Saved, table: pd.DataFrame) -> None:
    loaded = load_model(saved[0], expected_digest=saved[1])

    with pytest.raises(ValueError, match="found 3 on bus '', but a window takes 4 consecutive frames"):
        loaded.predict(table.head(3))
    with pytest.raises(ValueError, match="found none"):
        loaded.predict(table.head(0))
    with pytest.raises(ValueError, match="found 1 on bus 'can1'"):
        loaded.predict(table.assign(channel=["can1"] + ["can0"] * (len(table) - 1)))


def test_predict_refuses_a_misspelled_param(saved: Saved, table: pd.DataFrame) -> None:
    loaded = load_model(saved[0], expected_digest=saved[1])

    with pytest.raises(ValueError, match=r"params holds \['treshold'\], expected some of"):
        loaded.predict(table, params={"treshold": 0.1})


def test_model_config_sets_the_defaults_of_the_params(
    classifier: WindowClassifier, table: pd.DataFrame, tmp_path: Path
) -> None:
    digest = save_model(classifier, tmp_path / "m", model_config={"threshold": 1.0, "stride": 4})
    loaded = load_model(tmp_path / "m", expected_digest=digest)

    assert len(loaded.predict(table)) == 3
    assert not loaded.predict(table)["alert"].any()
    assert loaded.predict(table, params={"threshold": 0.0, "stride": None})["alert"].all()
    with pytest.raises(ValueError, match="model_config holds"):
        save_model(classifier, tmp_path / "other", model_config={"window": 3})


@pytest.mark.parametrize(
    "settings", [{"stride": 0}, {"threshold": 5}, {"threshold": -1}, {"top_k": "3"}, {"stride": 2.5}]
)
def test_a_model_config_under_which_nothing_would_alert_is_neither_saved_nor_loaded(
    classifier: WindowClassifier, saved: Saved, tmp_path: Path, settings: dict[str, object]
) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} is .*, expected a"):
        save_model(classifier, tmp_path / "other", model_config=settings)

    manifest = json.loads((saved[0] / "manifest.json").read_text())
    manifest["model_config"] |= settings
    write_manifest(saved[0], json.dumps(manifest).encode())
    edit_mlmodel(saved[0], lambda description: description["flavors"]["python_function"]["config"].update(settings))
    with pytest.raises(IntegrityError, match=rf"manifest\.json: {name} is .*, expected a"):
        load_model(saved[0], expected_digest=digest_file(saved[0] / "manifest.json"))


def test_the_default_environment_is_what_mlflow_makes_of_the_default_requirements(tmp_path: Path) -> None:
    environments = []
    for name, requirements in (("default", None), ("given", get_default_pip_requirements())):
        (tmp_path / name).mkdir()
        write_environment(tmp_path / name, None, None, requirements, None)
        environments.append({path.name: path.read_text() for path in (tmp_path / name).iterdir()})

    assert environments[0] == environments[1]
    assert environments[0].keys() == {"conda.yaml", "requirements.txt", "python_env.yaml"}


def test_requirements_pin_installed_versions_that_an_index_can_serve(saved: Saved) -> None:
    own, *requirements = (saved[0] / "requirements.txt").read_text().splitlines()

    assert own.startswith("mlflow-graphids @ file:wheels/")
    assert {line.partition("==")[0] for line in requirements} >= {"mlflow", "torch", "torch-geometric"}
    assert all("==" in line and "+" not in line for line in requirements)


def test_a_loaded_model_reads_as_one_line(saved: tuple[Path, str]) -> None:
    path, digest = saved

    text = repr(load_model(path, expected_digest=digest))

    assert "\n" not in text
    assert digest in text
    assert "classes=['normal'" in text
