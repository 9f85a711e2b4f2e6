"""What anyone who can write to its folder may do to a saved model: all of `tests/support/tampering.py`, at each door.

A hit is a refusal. Held to a digest from outside, every tampered model has to be refused; without one (integrity-only)
all but those whose folder agrees with itself. Nothing that was planted may run. If a door waits for ever, the shard's
time limit ends it.
"""

import mlflow

from faults import doors
from faults.crew import Shard
from faults.damage import write_files
from faults.scenes import fresh
from faults.table import Tally, Wrong
from support.tampering import INVISIBLE_WITHOUT_ANCHOR, TAMPERING, marker_of, tampered_copy


def tamper(shard: Shard) -> Tally:
    """Every way of tampering, whatever `cases` says."""
    tally, saved = Tally(), shard.subjects.old
    whole = shard.folder / "whole"
    write_files(saved.model, whole)
    for tampering in TAMPERING:
        folder = tampered_copy(whole, tampering, fresh(shard.folder / "tampered") / "model")
        answers = {
            "load_model": doors.load_model(folder, saved.digest),
            "verify": doors.verify(folder, saved.digest),
        }
        if tampering not in INVISIBLE_WITHOUT_ANCHOR:
            answers["load_model, integrity-only"] = doors.answer(
                lambda folder=folder: mlflow.graphids.load_model(str(folder), policy="integrity-only")
            )
        for door, answer in answers.items():
            wrong: Wrong | None = {"loaded": "undetected", "refused": None}.get(answer.kind, "other_errors")  # type: ignore[assignment]
            if marker_of(folder).exists():
                wrong = "undetected"
            tally.add(hit=answer.kind == "refused", wrong=wrong, example=f"{tampering}, {door}: {answer.message}")
    return tally
