"""The command `sweep`: one training per seed, each logged under every tau, as child runs of one parent."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphids._mlflow.tracked_run import STORE_ERRORS, tracked_run
from graphids.assessment.tau_study import TauStudy
from graphids.commands.child_runs import ChildRuns, Launch, Outcome, launch
from graphids.commands.config import root_dir_of
from graphids.commands.interrupted_run import InterruptedRun, attach_to
from graphids.commands.processes import settle_rank
from graphids.commands.publication import close_with
from graphids.commands.run_folder import CONFIG, FOLDER_TAG, PLAN, resume_command, run_folder
from graphids.commands.wiring import wire
from graphids.core.callbacks import NOT_WATCHED_TAGS
from graphids.exit_codes import EXIT_FAILED, EXIT_NOT_SENT
from graphids.failure import ERROR_TAG, MAX_TAG_CHARACTERS
from graphids.options import AUTO
from graphids.outbox.durable_queue import say
from graphids.outbox.outbox import Outbox
from graphids.plots.study import draw_study
from graphids.plots.style import png
from graphids.report.pictures import log_picture
from graphids.wording import counted

SEED_TAG = "graphids.sweep.seed"
TAU_TAG = "graphids.sweep.tau"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The trainings of a sweep.

    Attributes:
        seeds: One training each.
        taus: Each training is logged under each of them; the first is the training's own.
        shared: Options and dotted overrides that all trainings have in common, as typed.
    """

    seeds: tuple[int, ...]
    taus: tuple[str, ...]
    shared: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the parent run in the UI."""
        return f"tau sweep: {counted(len(self.seeds), 'seed')} x {counted(len(self.taus), 'tau')}"

    def as_dict(self) -> dict[str, list[Any]]:
        """For config.json."""
        return {"seeds": list(self.seeds), "taus": list(self.taus), "shared": list(self.shared)}


def sweep(plan: SweepPlan, config: Mapping[str, Any], overrides: Sequence[str], *, launch: Launch = launch) -> None:
    """Train once per seed, log each training under every tau, and log mean and spread over the seeds to the parent run.

    A child that fails does not stop the others: the parent's metrics cover those that finished, and say how many.

    Args:
        plan: What to run.
        config: Of the first training, rendered; it is checked before anything is trained.
        overrides: Dotted overrides of it.
        launch: Runs a command of this project; returns its exit code.

    Raises:
        OptionError: If the configuration is invalid.
        SystemExit: EXIT_NOT_SENT if what is missing is done but not sent yet, EXIT_FAILED if a child failed.
    """
    effective = wire(config, overrides, "sweep").config
    _run(plan, effective, Path(root_dir_of(config, overrides)), launch)


def resume_sweep(run: InterruptedRun, *, launch: Launch = launch) -> None:
    """Resume a sweep: FINISHED children are kept, the others are resumed or run again, as the same runs."""
    saved = run.config[PLAN]
    plan = SweepPlan(tuple(saved["seeds"]), tuple(saved["taus"]), tuple(saved["shared"]))
    attach_to(run)
    _run(plan, run.config, run.folder.parent, launch)


def _run(plan: SweepPlan, config: Mapping[str, Any], root_dir: Path, launch: Launch) -> None:
    root_dir = root_dir.resolve()
    config = {**config, "trainer": {**config["trainer"], "default_root_dir": str(root_dir)}, PLAN: plan.as_dict()}
    settle_rank()
    with tracked_run(root_dir) as outbox, run_folder(config, outbox.run_id) as folder:
        outbox.name_run(plan.name)
        outbox.set_tags({**NOT_WATCHED_TAGS, FOLDER_TAG: folder})
        composition = {"seeds": _listed(plan.seeds), "taus": _listed(plan.taus), "data": config["data"]["data"]}
        outbox.log_params({**composition, **_shared_parameters(plan)})
        outbox.log_dict(config, CONFIG)
        children = ChildRuns(outbox.run_id, outbox.experiment_id, root_dir, launch)
        results = _Results(plan)
        children.send_unsent()
        for seed in plan.seeds:
            _run_seed(children, results, seed, root_dir)
        results.read(children)
        _report(outbox, plan, results, folder)
        if results.problems:
            outbox.set_tags({ERROR_TAG: "; ".join(results.problems)[:MAX_TAG_CHARACTERS]})
            sys.exit(EXIT_NOT_SENT if results.only_unsent else EXIT_FAILED)


@dataclass(slots=True)
class _Results:
    """The state of the children so far: runs that are FINISHED, and a sentence about each other one."""

    plan: SweepPlan
    runs: dict[tuple[str, int], str] = field(default_factory=dict)
    metrics: dict[tuple[str, int], Mapping[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    only_unsent: bool = True

    def note(self, tau: str, seed: int, outcome: Outcome) -> bool:
        """Whether the child is FINISHED."""
        if not outcome.reason:
            self.runs[tau, seed] = outcome.run_id
            return True
        run = f", run {outcome.run_id}" if outcome.run_id else ""
        self.miss(f"seed {seed}, tau {tau}{run}: {outcome.reason}", unsent=outcome.unsent)
        return False

    def miss(self, sentence: str, *, unsent: bool) -> None:
        say(sentence)
        self.problems.append(sentence)
        self.only_unsent &= unsent

    def read(self, children: ChildRuns) -> None:
        """Read each FINISHED child's metrics from MLflow."""
        for (tau, seed), run_id in self.runs.items():
            try:
                self.metrics[tau, seed] = children.metrics(run_id)
            except STORE_ERRORS as error:
                reason = " ".join(str(error).split())
                self.miss(
                    f"seed {seed}, tau {tau}, run {run_id}: MLflow did not return its metrics ({reason})",
                    unsent=True,
                )


def _run_seed(children: ChildRuns, results: _Results, seed: int, root_dir: Path) -> None:
    plan = results.plan
    first, *others = plan.taus

    def run(tau: str, arguments: list[str], *, resumable: bool) -> Outcome:
        say(f"{plan.name}: seed {seed}, tau {tau}")
        outcome = children.run({SEED_TAG: str(seed), TAU_TAG: tau}, arguments, resumable=resumable)
        results.note(tau, seed, outcome)
        return outcome

    own = [f"--seed={seed}", f"--tau={first}", f"--trainer.default_root_dir={root_dir}"]
    trained = run(first, ["train", *plan.shared, *own], resumable=True)
    if trained.reason:
        if others:
            cause = "MLflow needs its model first" if trained.unsent else "there is no model to derive them from"
            results.miss(f"seed {seed}, tau {_listed(others)}: not run, {cause}", unsent=trained.unsent)
        return
    for tau in others:
        run(tau, ["retau", f"--run_id={trained.run_id}", f"--tau={tau}"], resumable=False)


def _report(outbox: Outbox, plan: SweepPlan, results: _Results, folder: Path) -> None:
    # In ascending order, `auto` last, whichever the trainings had.
    taus = sorted(plan.taus, key=lambda tau: math.inf if tau == AUTO else float(tau))
    study = TauStudy(tuple(taus), plan.seeds, results.metrics)
    # A resumed sweep may have more finished children than before: the step says how many runs the metrics cover.
    outbox.log_metrics(study.metrics(), step=len(results.metrics))
    outbox.log_table(study.columns(), "tau_study.json")
    if study.runs:  # empty axes would read as zeros
        log_picture(outbox, "tau_study", png(draw_study(study)))
    if study.best is not None:
        outbox.set_tags({"graphids.best_tau": study.best})
    close_with(outbox, study.sentence(), closing_words(plan, study, results.problems, folder))


def closing_words(plan: SweepPlan, study: TauStudy, problems: Sequence[str], folder: Path) -> str:
    """The table, the conclusion, and what is missing."""
    total = len(plan.seeds) * len(plan.taus)
    lines = [
        f"\n{plan.name}; {len(study.runs)} of {total} runs have metrics",
        "\nmean ± standard deviation over seeds (number of seeds)",
        study.table(),
        f"\n{study.sentence()}",
    ]
    if by_auto := study.values(AUTO, "tau"):
        lines += ["auto chose " + ", ".join(f"{tau:g} (seed {seed})" for seed, tau in by_auto.items())]
    if problems:
        lines += ["\nmissing:", *(f"  {problem}" for problem in problems)]
        lines += [f"to continue once that is fixed: {resume_command(folder)}"]
    return "\n".join([*lines, f"\nrun     {folder.name}"])


def _shared_parameters(plan: SweepPlan) -> dict[str, str]:
    pairs = (argument.removeprefix("--").partition("=") for argument in plan.shared)
    return {name: value for name, _, value in pairs}


def _listed(values: Sequence[object]) -> str:
    return ",".join(map(str, values))
