"""The cases of hostile folders: how each is arranged, which exit codes are right, and the door that it is given to."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from faults.hostile_places import (
    CONTENT,
    DIGEST,
    EITHER,
    PLACED,
    REFUSALS,
    Arrange,
    Case,
    Scene,
    hard_linked,
    huge,
    owned_by_another,
)
from graphids.commands.cli import main as graphids
from graphids.commands.config import render_config
from graphids.commands.interrupted_run import interrupted_run
from graphids.commands.run_folder import FOLDER_TAG
from graphids.exit_codes import EXIT_OK
from graphids.options import OPTIONS
from support.tiny_model import three_ids


def all_cases(chance: random.Random) -> list[Case]:
    """One of each door in turn, so that a few of them are of every kind."""
    rooms = (_outbox_cases(), _run_cases(), _model_cases())
    for cases in rooms:
        chance.shuffle(cases)
    longest = max(map(len, rooms))
    return [cases[number % len(cases)] for number in range(longest) for cases in rooms]


def _sync(scene: Scene) -> None:
    graphids(["sync", str(scene.folder / "outbox")])


def _resume(scene: Scene) -> None:
    with interrupted_run(scene.run_id):
        pass


def _outbox_cases() -> list[Case]:
    def placed(name: str, place: Arrange) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            _write_journal(scene, _artifact("a.txt"))
            place(scene.folder / "outbox" / name, scene)
            return REFUSALS

        return arrange

    def entry(entry: dict[str, Any]) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            _write_journal(scene, entry)
            return REFUSALS

        return arrange

    def elsewhere(scene: Scene) -> frozenset[int]:
        _write_journal(scene, _artifact("a.txt"), uri=f"http://127.0.0.1:{scene.server.getsockname()[1]}")
        return REFUSALS

    def owned(scene: Scene) -> frozenset[int]:
        _write_journal(scene, _artifact("a.txt"))
        return owned_by_another(scene.folder / "outbox")

    def open_to_all(scene: Scene) -> frozenset[int]:
        _write_journal(scene, _artifact("a.txt"))
        (scene.folder / "outbox").chmod(0o777)
        return frozenset({EXIT_OK})

    names = ["/etc/x", "../x", "a/../../x", "..", "", "a//b", "a\nb", "a\x1b[2J", "a\\..\\b", "a\0", "x" * 5000]
    digests = ["../victim", "/etc/hostname", DIGEST.upper(), "", "0" * 64]
    return [
        *(
            (f"outbox: {place.__name__.strip('_')} as {name}", placed(name, place), _sync)
            for name in ("journal.jsonl", "sent.jsonl", "lock", f"spool/{DIGEST}", "spool")
            for place in PLACED
        ),
        *(
            (f"outbox: hard link as {name}", placed(name, hard_linked), _sync)
            for name in ("journal.jsonl", "sent.jsonl", "lock")
        ),
        *((f"outbox: a file {name[:20]!r}", entry(_artifact(name)), _sync) for name in names),
        *((f"outbox: bytes of {digest[:20]!r}", entry(_artifact("a.txt", digest)), _sync) for digest in digests),
        ("outbox: of another server", elsewhere, _sync),
        ("outbox: of another user", owned, _sync),
        ("outbox: open to all", open_to_all, _sync),
    ]


def _run_cases() -> list[Case]:
    def placed(name: str, place: Arrange) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            folder = _run_folder(scene, scene.folder / "graphids_runs")
            (folder / name).parent.mkdir(exist_ok=True)
            place(folder / name, scene)
            # A checkpoint that is not one is skipped with a warning, an empty folder of them holds none.
            return EITHER if name.startswith("checkpoints") else REFUSALS

        return arrange

    def elsewhere(scene: Scene) -> frozenset[int]:
        _run_folder(scene, scene.outside)
        return REFUSALS

    def linked(scene: Scene) -> frozenset[int]:
        folder = _run_folder(scene, scene.folder / "elsewhere")
        (scene.folder / "graphids_runs").mkdir()
        (scene.folder / "graphids_runs" / scene.run_id).symlink_to(folder)
        return REFUSALS

    def code(class_path: str) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            folder = _run_folder(scene, scene.folder / "graphids_runs")
            config = json.loads((folder / "config.json").read_text())
            config["trainer"]["callbacks"].append({"class_path": class_path, "init_args": {"args": ["touch evil"]}})
            (folder / "config.json").write_text(json.dumps(config))
            return REFUSALS

        return arrange

    def owned(scene: Scene) -> frozenset[int]:
        return owned_by_another(_run_folder(scene, scene.folder / "graphids_runs"))

    def nested(scene: Scene) -> frozenset[int]:
        (_run_folder(scene, scene.folder / "graphids_runs") / "config.json").write_text("[" * 100_000)
        return REFUSALS

    return [
        *(
            (f"run: {place.__name__.strip('_')} as {name}", placed(name, place), _resume)
            for name in ("config.json", ".lock", "checkpoints", "checkpoints/last.ckpt")
            for place in PLACED
            if (name, place) not in {(".lock", huge), ("checkpoints", huge)}
        ),
        *((f"run: names {path}", code(path), _resume) for path in ("subprocess.Popen", "os.system", "evil\n.Callback")),
        ("run: a tag that leads outside", elsewhere, _resume),
        ("run: a link to its folder", linked, _resume),
        ("run: of another user", owned, _resume),
        ("run: a configuration without end", nested, _resume),
    ]


def _model_cases() -> list[Case]:
    def verify(scene: Scene) -> None:
        graphids(["verify", str(scene.model), "--expected-digest", scene.digest])

    def load(scene: Scene) -> None:
        mlflow.graphids.load_model(str(scene.model), expected_digest=scene.digest)

    def predict(scene: Scene) -> None:
        frames, capture = three_ids(64), scene.folder / "drive.csv"
        rows = [
            f"{t},{i:X},{bytes(p).hex()}"
            for t, i, p in zip(frames.timestamp, frames.arbitration_id, frames.payload, strict=True)
        ]
        capture.write_text("\n".join(["timestamp,arbitration_id,data_field", *rows, ""]))
        graphids(["predict", str(capture), "--model", str(scene.model), "--expected-digest", scene.digest])

    def placed(name: str, place: Arrange) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            place(scene.model / name, scene)
            return REFUSALS

        return arrange

    def more(name: str) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            (scene.model / name).write_bytes(CONTENT)
            return REFUSALS

        return arrange

    def linked(scene: Scene) -> frozenset[int]:
        # A link to a whole model is a model: what is verified is what it leads to.
        scene.model.rename(scene.folder / "real")
        scene.model.symlink_to(scene.folder / "real")
        return EITHER

    def open_to_all(scene: Scene) -> frozenset[int]:
        scene.model.chmod(0o777)
        for path in scene.model.rglob("*"):
            path.chmod(0o777)
        return frozenset({EXIT_OK})

    def owned(scene: Scene) -> frozenset[int]:
        # Whose it is does not matter: its digest is known.
        owned_by_another(scene.model)
        return frozenset({EXIT_OK})

    doors = (verify, load, predict)
    files = ("manifest.json", "weights.safetensors", "model.json", "MLmodel", "conda.yaml")
    arranged: list[tuple[str, Callable[[Scene], frozenset[int]]]] = [
        *(
            (f"{place.__name__.strip('_')} as {name}", placed(name, place))
            for name in files
            for place in PLACED
            if (name, place) != ("conda.yaml", huge)
        ),  # nothing reads it
        *((f"also {name!r}", more(name)) for name in ("a\nb", "\x1b[2J", "-rf", "x.pkl")),
        ("a link to it", linked),
        ("open to all", open_to_all),
        ("of another user", owned),
    ]
    return [(f"model: {what}, {door.__name__}", arrange, door) for what, arrange in arranged for door in doors]


def _run_folder(scene: Scene, root: Path) -> Path:
    folder = root / scene.run_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(render_config({option.name: option.default for option in OPTIONS})))
    MlflowClient().set_tag(scene.run_id, FOLDER_TAG, str(folder))
    return folder


def _artifact(name: str, digest: str = DIGEST) -> dict[str, Any]:
    return {"op": "artifact", "name": name, "sha256": digest}


def _write_journal(scene: Scene, entry: dict[str, Any], uri: str | None = None) -> None:
    """An outbox with one entry, and the right checksums."""
    outbox = scene.folder / "outbox"
    (outbox / "spool").mkdir(parents=True)
    (outbox / "spool" / DIGEST).write_bytes(CONTENT)
    start = {"op": "run", "run_id": scene.run_id, "tracking_uri": uri or scene.store}
    lines = [json.dumps({"n": number, "at_ms": 0, **line}).encode() for number, line in enumerate((start, entry), 1)]
    text = b"".join(b"%s %s\n" % (hashlib.sha256(line).hexdigest()[:16].encode(), line) for line in lines)
    (outbox / "journal.jsonl").write_bytes(text)
