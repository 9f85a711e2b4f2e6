"""SIGTERM in the middle of a training, as a scheduler sends it, and a resume.

A real run of the program, with a tracking store: it gets the signal in one of its training steps, ends, and `graphids
resume` finishes it. Weights of the best and the last checkpoint, the logged model's digest and every point of every
metric have to equal those of the uninterrupted run. A hit is a run that the signal ended.
"""

from signal import SIGTERM

# MLflow imports its stores on first use: here once, and not in each of a hundred children.
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from faults.crew import Shard
from faults.table import Tally, Wrong
from graphids.exit_codes import EXIT_TERMINATED
from support.resumed_run import PARAMETERS, Result, TinyRuns, at_step, send

_STRIDE = 5  # shares no factor with the 42 steps of the run


def interruptions(shard: Shard) -> Tally:
    """Each shard takes steps of its own: a few lie in every epoch, as many as there are steps are each of them once."""
    tally = Tally()
    runs = TinyRuns(shard.folder)
    run_id, code = runs.train()
    if code:
        tally.add(hit=False, wrong="other_errors", example=f"the run without a signal ended with {code}: {runs.log()}")
        return tally
    truth = runs.result(run_id)
    steps = runs.steps_per_epoch() * PARAMETERS["max_epochs"]
    for case in range(shard.cases):
        step = (shard.seed + _STRIDE * (shard.number * shard.cases + case)) % steps
        run_id, code = runs.train(at_step(step, send(SIGTERM)))
        wrong, why = _resumed(runs, run_id, truth)
        tally.add(hit=code == EXIT_TERMINATED, wrong=wrong, example=f"SIGTERM in step {step}: {why}")
    return tally


def _resumed(runs: TinyRuns, run_id: str, truth: Result) -> tuple[Wrong | None, str]:
    if code := runs.resume(run_id):
        return "lost", f"resume ended with {code}: {runs.log()}"
    found = runs.result(run_id)
    if (found.weights, found.models) != (truth.weights, truth.models):
        return "undetected", "the finished weights differ"
    if found != truth:
        return "other_errors", "status, params or metrics of the run differ"
    return None, ""
