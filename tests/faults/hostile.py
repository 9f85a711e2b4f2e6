"""Folders that somebody else has written or arranged: outboxes, folders of runs, saved models.

Links, FIFOs, devices and huge files in the place of each file, names that lead elsewhere, other owners and modes. Every
door either refuses in one sentence or does the right thing, within its limit; a file outside stays as it was, and no
server but the configured one is spoken to. A hit is a refusal.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from faults.crew import Shard, in_child
from faults.damage import write_files
from faults.scenes import fresh
from faults.subjects import quiet
from faults.table import Tally, Wrong
from graphids._fs import IntegrityError
from graphids.commands.cli import main as graphids
from graphids.commands.config import render_config
from graphids.commands.interrupted_run import interrupted_run
from graphids.commands.run_folder import FOLDER_TAG
from graphids.exit_codes import EXIT_NOT_SENT, EXIT_NOT_VERIFIED, EXIT_OK, EXIT_REFUSED
from graphids.options import OPTIONS
from support.stores import empty_store
from support.tiny_model import three_ids

LIMIT_S = 60.0
CONTENT = b"what the run had to say"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
_HUGE = 1 << 36  # sparse: it takes no room, only whoever reads it
_REFUSALS = frozenset({EXIT_REFUSED, EXIT_NOT_VERIFIED, EXIT_NOT_SENT})
_EITHER = _REFUSALS | {EXIT_OK}
_NOBODY = 65534

Arrange = Callable[[Path, "Scene"], None]
Case = tuple[str, Callable[["Scene"], frozenset[int]], Callable[["Scene"], None]]


@dataclass(frozen=True)
class Scene:
    """Where a case plays.

    Attributes:
        folder: Of the case; it becomes the working directory.
        outside: A folder that nothing may change.
        store: URI of the configured store.
        run_id: A run in it.
        model: A saved model, of `digest`.
        digest: The model's.
        server: Where nobody may call.
    """

    folder: Path
    outside: Path
    store: str
    run_id: str
    model: Path
    digest: str
    server: socket.socket

    @property
    def victim(self) -> Path:
        """A file outside."""
        return self.outside / "victim"


def folders(shard: Shard) -> Tally:
    """`cases` of them, drawn from all."""
    tally, chance = Tally(), shard.random()
    store = empty_store(fresh(shard.folder / "store"))
    cases = _cases(chance)
    drawn = [cases[number % len(cases)] for number in range(shard.cases)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        for number, case in enumerate(drawn):
            _play(tally, shard, case, f"case {number}", store, server)
    return tally


def _play(tally: Tally, shard: Shard, case: Case, label: str, store: str, server: socket.socket) -> None:
    name, arrange, act = case
    folder = fresh(shard.folder / "case")
    (folder / "outside").mkdir()
    (folder / "work").mkdir()
    saved = shard.subjects.old
    scene = Scene(folder / "work", folder / "outside", store, "", folder / "work" / "model", saved.digest, server)
    scene.victim.write_bytes(CONTENT)
    write_files(saved.model, scene.model)
    told, arranged = folder / "told", folder / "arranged"

    def play() -> None:
        os.chdir(scene.folder)
        mlflow.set_tracking_uri(store)
        os.environ["MLFLOW_TRACKING_TOKEN"] = "a-token-of-the-victim"
        run_id = MlflowClient().create_run("0", run_name="\n").info.run_id if "model" not in name else ""
        within = Scene(**{**vars(scene), "run_id": run_id})
        allowed = sorted(arrange(within))
        arranged.write_text(json.dumps([allowed, _state(scene.outside)]))
        output = io.StringIO()
        with quiet(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = _code(act, within, output)
        told.write_text(json.dumps([code, output.getvalue()]))

    ended = in_child(play, LIMIT_S)
    wrong, why = _judged(ended, told, arranged)
    if arranged.exists() and _state(scene.outside) != json.loads(arranged.read_text())[1]:
        wrong, why = "undetected", "a file outside was changed"
    with contextlib.suppress(BlockingIOError):
        server.accept()[0].close()
        wrong, why = "undetected", "another server was called"
    hit = wrong is None and json.loads(told.read_text())[0] in _REFUSALS
    tally.add(hit=hit, wrong=wrong, example=f"{label}, {name}: {why}")


def _code(act: Callable[[Scene], None], scene: Scene, output: io.StringIO) -> int:
    try:
        act(scene)
    except SystemExit as end:
        return int(end.code or 0)
    except (IntegrityError, ValueError, OSError) as error:  # as `cli` would report them
        print(f"{error}", file=output)
        return EXIT_NOT_VERIFIED if isinstance(error, IntegrityError) else EXIT_REFUSED
    return EXIT_OK


def _judged(ended: int, told: Path, arranged: Path) -> tuple[Wrong | None, str]:
    if ended or not told.exists():
        hung = " (the limit)" if ended < 0 else ""
        return "other_errors", f"the process ended with {ended}{hung} and no answer"
    code, words = json.loads(told.read_text())
    right = json.loads(arranged.read_text())[0]
    if "Traceback" in words:
        return "other_errors", f"a traceback: {words[-300:]}"
    if code not in right:
        wrong: Wrong = "false_refusals" if right == [EXIT_OK] else "undetected" if code == EXIT_OK else "other_errors"
        return wrong, f"exit code {code}, expected one of {right}: {words[-300:]}"
    if code != EXIT_OK and not words.strip():
        return "other_errors", "refused without a word"
    return None, ""


def _state(folder: Path) -> dict[str, list[str]]:
    """Mode and bytes of every file."""
    return {
        str(path.relative_to(folder)): [oct(stat.S_IMODE(path.stat().st_mode)), path.read_bytes().hex()]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _linked(path: Path, scene: Scene) -> None:
    _gone(path)
    path.symlink_to(scene.victim)


def _hard_linked(path: Path, scene: Scene) -> None:
    if path.is_file():
        scene.victim.write_bytes(path.read_bytes())
    _gone(path)
    path.hardlink_to(scene.victim)


def _fifo(path: Path, _: Scene) -> None:
    _gone(path)
    os.mkfifo(path)


def _device(path: Path, _: Scene) -> None:
    _gone(path)
    path.symlink_to("/dev/zero")


def _folder(path: Path, _: Scene) -> None:
    _gone(path)
    path.mkdir()


def _huge(path: Path, _: Scene) -> None:
    _gone(path)
    with path.open("wb") as file:
        file.truncate(_HUGE)


def _gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


_PLACED: tuple[Arrange, ...] = (_linked, _fifo, _device, _folder, _huge)


def _cases(chance: random.Random) -> list[Case]:
    """One of each door in turn, so that a few of them are of every kind."""
    rooms = (_outbox_cases(), _run_cases(), _model_cases())
    for cases in rooms:
        chance.shuffle(cases)
    longest = max(map(len, rooms))
    return [cases[number % len(cases)] for number in range(longest) for cases in rooms]


def _sync(scene: Scene) -> None:
    graphids(["sync", str(scene.folder / "outbox")])


def _resume(scene: Scene) -> None:
    interrupted_run(scene.run_id)


def _outbox_cases() -> list[Case]:
    def placed(name: str, place: Arrange) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            _write_journal(scene, _artifact("a.txt"))
            place(scene.folder / "outbox" / name, scene)
            return _REFUSALS

        return arrange

    def entry(entry: dict[str, Any]) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            _write_journal(scene, entry)
            return _REFUSALS

        return arrange

    def elsewhere(scene: Scene) -> frozenset[int]:
        _write_journal(scene, _artifact("a.txt"), uri=f"http://127.0.0.1:{scene.server.getsockname()[1]}")
        return _REFUSALS

    def owned(scene: Scene) -> frozenset[int]:
        _write_journal(scene, _artifact("a.txt"))
        return _owned_by_another(scene.folder / "outbox")

    def open_to_all(scene: Scene) -> frozenset[int]:
        _write_journal(scene, _artifact("a.txt"))
        (scene.folder / "outbox").chmod(0o777)
        return frozenset({EXIT_OK})

    names = ["/etc/x", "../x", "a/../../x", "..", "", "a//b", "a\nb", "a\x1b[2J", "a\\..\\b", "a\0", "x" * 5000]
    digests = ["../victim", "/etc/hostname", DIGEST.upper(), "", "0" * 64]
    return [
        *(
            (f"outbox: {place.__name__} as {name}", placed(name, place), _sync)
            for name in ("journal.jsonl", "sent.jsonl", "lock", f"spool/{DIGEST}", "spool")
            for place in _PLACED
        ),
        *(
            (f"outbox: hard link as {name}", placed(name, _hard_linked), _sync)
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
            return _EITHER if name.startswith("checkpoints") else _REFUSALS

        return arrange

    def elsewhere(scene: Scene) -> frozenset[int]:
        _run_folder(scene, scene.outside)
        return _REFUSALS

    def linked(scene: Scene) -> frozenset[int]:
        folder = _run_folder(scene, scene.folder / "elsewhere")
        (scene.folder / "graphids_runs").mkdir()
        (scene.folder / "graphids_runs" / scene.run_id).symlink_to(folder)
        return _REFUSALS

    def code(class_path: str) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            folder = _run_folder(scene, scene.folder / "graphids_runs")
            config = json.loads((folder / "config.json").read_text())
            config["trainer"]["callbacks"].append({"class_path": class_path, "init_args": {"args": ["touch evil"]}})
            (folder / "config.json").write_text(json.dumps(config))
            return _REFUSALS

        return arrange

    def owned(scene: Scene) -> frozenset[int]:
        return _owned_by_another(_run_folder(scene, scene.folder / "graphids_runs"))

    def nested(scene: Scene) -> frozenset[int]:
        (_run_folder(scene, scene.folder / "graphids_runs") / "config.json").write_text("[" * 100_000)
        return _REFUSALS

    return [
        *(
            (f"run: {place.__name__} as {name}", placed(name, place), _resume)
            for name in ("config.json", ".lock", "checkpoints", "checkpoints/last.ckpt")
            for place in _PLACED
            if (name, place) not in {(".lock", _huge), ("checkpoints", _huge)}
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
        rows = [f"{t},{i:X},{bytes(p).hex()}" for t, i, p in zip(
            frames.timestamp, frames.arbitration_id, frames.payload, strict=True)]  # fmt: skip
        capture.write_text("\n".join(["timestamp,arbitration_id,data_field", *rows, ""]))
        graphids(["predict", str(capture), "--model", str(scene.model), "--expected-digest", scene.digest])

    def placed(name: str, place: Arrange) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            place(scene.model / name, scene)
            return _REFUSALS

        return arrange

    def more(name: str) -> Callable[[Scene], frozenset[int]]:
        def arrange(scene: Scene) -> frozenset[int]:
            (scene.model / name).write_bytes(CONTENT)
            return _REFUSALS

        return arrange

    def linked(scene: Scene) -> frozenset[int]:
        # A link to a whole model is a model: what is verified is what it leads to.
        scene.model.rename(scene.folder / "real")
        scene.model.symlink_to(scene.folder / "real")
        return _EITHER

    def open_to_all(scene: Scene) -> frozenset[int]:
        scene.model.chmod(0o777)
        for path in scene.model.rglob("*"):
            path.chmod(0o777)
        return frozenset({EXIT_OK})

    def owned(scene: Scene) -> frozenset[int]:
        # Whose it is does not matter: its digest is known.
        _owned_by_another(scene.model)
        return frozenset({EXIT_OK})

    doors = (verify, load, predict)
    files = ("manifest.json", "weights.safetensors", "model.json", "MLmodel", "conda.yaml")
    arranged: list[tuple[str, Callable[[Scene], frozenset[int]]]] = [
        *(
            (f"{place.__name__} as {name}", placed(name, place))
            for name in files
            for place in _PLACED
            if (name, place) != ("conda.yaml", _huge)
        ),  # fmt: skip -- nothing reads it
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


def _owned_by_another(folder: Path) -> frozenset[int]:
    """Refused where it can be arranged: only root gives folders away."""
    if os.geteuid():
        return _EITHER
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    return _REFUSALS
