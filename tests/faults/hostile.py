"""Folders that somebody else has written or arranged: outboxes, folders of runs, saved models.

Links, FIFOs, devices and huge files in the place of each file, names that lead elsewhere, other owners and modes. Every
door either refuses in one sentence or does the right thing, within its limit; a file outside stays as it was, and no
server but the configured one is spoken to. A hit is a refusal.
"""

import contextlib
import io
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from faults.crew import Shard, in_child
from faults.damage import write_files
from faults.hostile_cases import all_cases
from faults.hostile_places import CONTENT, REFUSALS, Case, Scene
from faults.scenes import fresh
from faults.subjects import quiet
from faults.table import Tally, Wrong
from graphids._fs import IntegrityError
from graphids.exit_codes import EXIT_NOT_VERIFIED, EXIT_OK, EXIT_REFUSED
from support.stores import empty_store

LIMIT_S = 60.0


def folders(shard: Shard) -> Tally:
    """`cases` of them, drawn from all."""
    tally, chance = Tally(), shard.random()
    store = empty_store(fresh(shard.folder / "store"))
    cases = all_cases(chance)
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
    hit = wrong is None and json.loads(told.read_text())[0] in REFUSALS
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
