"""Anyone who can write to the artifact store changes a model and every digest beside it.

The folder then agrees with itself; only a digest kept elsewhere tells: the caller's, or the LoggedModel's param in the
tracking store. A hit is a refusal. A checkpoint's only digest is its sidecar, so it has no such case (see
docs/integrity.md).
"""

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

import mlflow
import numpy as np
import safetensors.numpy

from faults import doors
from faults.crew import Shard
from faults.damage import flip, write_files
from faults.subjects import Saved
from faults.table import Tally
from graphids._fs import digest_bytes

WEIGHTS, DESCRIPTION, MANIFEST, MLMODEL = "weights.safetensors", "model.json", "manifest.json", "MLmodel"


def forgeries(shard: Shard) -> Tally:
    """Forged models, held to a digest given by the caller."""
    tally, chance, saved = Tally(), shard.random(), shard.subjects.old
    folder = shard.folder / "model"
    for case in range(shard.cases):
        write_files(forge(saved, chance), folder)
        door = doors.verify if case % 2 else doors.load_model
        _count(tally, door(folder, saved.digest), f"forgery {case} with expected_digest")
    return tally


def anchored(shard: Shard) -> Tally:
    """Forged and damaged models in a store whose LoggedModel anchors the digest."""
    tally, chance, saved = Tally(), shard.random(), shard.subjects.old
    uris, folder = _logged(saved, shard.folder)
    whole = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for case in range(shard.cases):
        uri, door = uris[case % len(uris)], doors.verify if case % 5 == 0 else doors.load_model
        if case % 10 == 0:
            answer = door(uri)
            example = f"case {case}, nothing changed: {answer.message}"
            tally.add(hit=False, wrong=None if answer.kind == "loaded" else "false_refusals", example=example)
        changed = dict(whole)
        if case % 2:
            name = chance.choice((WEIGHTS, DESCRIPTION, MANIFEST))
            changed[name] = flip(changed[name], chance)
        else:
            changed |= forge(Saved(b"", whole, saved.digest), chance)
        write_files(changed, folder)
        _count(tally, door(uri), f"case {case}, {uri}")
        write_files(whole, folder)
    return tally


def forge(saved: Saved, chance: random.Random) -> dict[str, bytes]:
    """The model with another weight or threshold, and a manifest and an MLmodel that agree with it."""
    files = dict(saved.model)
    if chance.random() < 0.5:
        tensors = safetensors.numpy.load(files[WEIGHTS])
        tensor = tensors[chance.choice(sorted(tensors))]
        tensor.reshape(-1)[chance.randrange(tensor.size)] += np.float32(1 + chance.random())
        name, data = WEIGHTS, safetensors.numpy.save(tensors)
    else:
        description = json.loads(files[DESCRIPTION])
        name, data = DESCRIPTION, _json({**description, "threshold": chance.random()})
    manifest = json.loads(files[MANIFEST])
    replaced = {digest_bytes(files[name]): digest_bytes(data)}
    for entry in manifest["files"]:
        if entry["path"] == name:
            entry["sha256"], entry["size_bytes"] = digest_bytes(data), len(data)
    files |= {name: data, MANIFEST: _json(manifest)}
    replaced[digest_bytes(saved.model[MANIFEST])] = digest_bytes(files[MANIFEST])
    mlmodel = files[MLMODEL].decode()
    for old, new in replaced.items():
        mlmodel = mlmodel.replace(old, new)
    return files | {MLMODEL: mlmodel.encode()}


def _count(tally: Tally, answer: doors.Answer, case: str) -> None:
    wrong = {"loaded": "undetected", "refused": None}.get(answer.kind, "other_errors")
    tally.add(hit=answer.kind == "refused", wrong=wrong, example=f"{case}: {answer.message}")  # type: ignore[arg-type]


def _logged(saved: Saved, folder: Path) -> tuple[list[str], Path]:
    """Log the model to a new sqlite store: its URIs, by LoggedModel, run, version and alias, and its folder."""
    write_files(saved.model, folder / "source")
    classifier = mlflow.graphids.load_model(str(folder / "source"), expected_digest=saved.digest)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    experiment = mlflow.create_experiment("faults", artifact_location=(folder / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment) as run:
        info = mlflow.graphids.log_model(classifier, "model", registered_model_name="faults")
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("faults", "champion", "1")
    location = client.get_logged_model(info.model_id).artifact_location
    uris = [info.model_uri, f"runs:/{run.info.run_id}/model", "models:/faults/1", "models:/faults@champion"]
    return uris, Path(location.removeprefix("file://"))


def _json(value: Mapping[str, object]) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()
