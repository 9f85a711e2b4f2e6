"""What a writer of its folder can do to a saved model: each attack of `tests/support/attacks.py`, at each door.

A hit is a refusal. Held to a digest from outside, every attack has to be refused; without one (integrity-only) all
but those after which the folder agrees with itself. Nothing that was planted may run. An attack that makes a door
wait for ever ends the shard at its time limit.
"""

import mlflow

from faults import doors
from faults.crew import Shard
from faults.damage import write_files
from faults.scenes import fresh
from faults.table import Tally, Wrong
from support.attacks import ATTACKS, INVISIBLE_WITHOUT_ANCHOR, attacked_copy, marker_of


def attack_list(shard: Shard) -> Tally:
    """All attacks, whatever `cases` says."""
    tally, saved = Tally(), shard.subjects.old
    whole = shard.folder / "whole"
    write_files(saved.model, whole)
    for attack in ATTACKS:
        folder = attacked_copy(whole, attack, fresh(shard.folder / "attacked") / "model")
        answers = {
            "load_model": doors.load_model(folder, saved.digest),
            "verify": doors.verify(folder, saved.digest),
        }
        if attack not in INVISIBLE_WITHOUT_ANCHOR:
            answers["load_model, integrity-only"] = doors.answer(
                lambda folder=folder: mlflow.graphids.load_model(str(folder), policy="integrity-only")
            )
        for door, answer in answers.items():
            wrong: Wrong | None = {"loaded": "undetected", "refused": None}.get(answer.kind, "other_errors")  # type: ignore[assignment]
            if marker_of(folder).exists():
                wrong = "undetected"
            tally.add(hit=answer.kind == "refused", wrong=wrong, example=f"{attack}, {door}: {answer.said}")
    return tally
