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
from graphids.commands.config import root_dir_of, wire
from graphids.commands.publication import close_with
from graphids.commands.resume import CONFIG, FOLDER_TAG, PLAN, InterruptedRun, continue_as, run_folder
from graphids.core.callbacks import NOT_WATCHED_TAGS
from graphids.options import AUTO
from graphids.outbox.durable_queue import say
from graphids.outbox.outbox import EXIT_NOT_SENT, Outbox
from graphids.plots.study import draw_study
from graphids.plots.style import png
from graphids.report.pictures import log_picture

SEED_TAG = "graphids.sweep.seed"
TAU_TAG = "graphids.sweep.tau"
EXIT_INCOMPLETE = 1
_MAX_TAG_CHARACTERS = 5000


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep consists of.

    Attributes:
        seeds: One training each.
        taus: Each training is logged under each of them; the first is the training's own.
        words: Options and dotted overrides that all trainings have in common, as typed.
    """

    seeds: tuple[int, ...]
    taus: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """As the UI lists the parent."""
        return f"tau sweep: {_count(len(self.seeds), 'seed')} x {_count(len(self.taus), 'tau')}"

    def as_dict(self) -> dict[str, list[Any]]:
        """For config.json."""
        return {"seeds": list(self.seeds), "taus": list(self.taus), "words": list(self.words)}


def sweep(plan: SweepPlan, config: Mapping[str, Any], overrides: Sequence[str], *, launch: Launch = launch) -> None:
    """Train once per seed, log each training under every tau, and tell the parent run mean and spread over the seeds.

    A child that fails ends no other: the parent's figures cover those that worked, and say how many.

    Args:
        plan: What to run.
        config: Of the first training, rendered; it is checked before anything is trained.
        overrides: Dotted overrides of it.
        launch: Runs a command of this project; returns its exit code.

    Raises:
        OptionError: For a configuration that cannot be.
        SystemExit: 75 if all that is missing is what MLflow does not have yet, 1 if a child failed.
    """
    effective = wire(config, overrides, "sweep").config
    _run(plan, effective, Path(root_dir_of(config, overrides)), launch)


def resume_sweep(run: InterruptedRun, *, launch: Launch = launch) -> None:
    """Go on with a sweep: children that are FINISHED stay, the others are resumed or made again, as the same runs."""
    saved = run.config[PLAN]
    plan = SweepPlan(tuple(saved["seeds"]), tuple(saved["taus"]), tuple(saved["words"]))
    continue_as(run)
    _run(plan, run.config, run.folder.parent, launch)


def _run(plan: SweepPlan, config: Mapping[str, Any], root_dir: Path, launch: Launch) -> None:
    root_dir = root_dir.resolve()
    config = {**config, "trainer": {**config["trainer"], "default_root_dir": str(root_dir)}, PLAN: plan.as_dict()}
    with tracked_run(root_dir) as outbox, run_folder(config, outbox.run_id) as folder:
        outbox.name_run(plan.name)
        outbox.set_tags({**NOT_WATCHED_TAGS, FOLDER_TAG: folder})
        made_of = {"seeds": _listed(plan.seeds), "taus": _listed(plan.taus), "data": config["data"]["data"]}
        outbox.log_params({**made_of, **_in_common(plan)})
        outbox.log_dict(config, CONFIG)
        children = ChildRuns(outbox.run_id, outbox.experiment_id, root_dir, launch)
        results = _Results(plan)
        children.send_what_is_left()
        for seed in plan.seeds:
            _run_seed(children, results, seed, root_dir)
        results.read(children)
        _report(outbox, plan, results)
        if results.problems:
            outbox.set_tags({"graphids.error": "; ".join(results.problems)[:_MAX_TAG_CHARACTERS]})
            sys.exit(EXIT_NOT_SENT if results.only_unsent else EXIT_INCOMPLETE)


@dataclass(slots=True)
class _Results:
    """What became of the children so far: runs that are FINISHED, and sentences about the others."""

    plan: SweepPlan
    runs: dict[tuple[str, int], str] = field(default_factory=dict)
    figures: dict[tuple[str, int], Mapping[str, float]] = field(default_factory=dict)
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
        """Take each FINISHED child's figures from MLflow."""
        for (tau, seed), run_id in self.runs.items():
            try:
                self.figures[tau, seed] = children.metrics(run_id)
            except STORE_ERRORS as error:
                reason = " ".join(str(error).split())
                self.miss(
                    f"seed {seed}, tau {tau}, run {run_id}: MLflow did not give its figures ({reason})", unsent=True
                )


def _run_seed(children: ChildRuns, results: _Results, seed: int, root_dir: Path) -> None:
    plan = results.plan
    first, *others = plan.taus

    def run(tau: str, words: list[str], *, resumable: bool) -> Outcome:
        say(f"{plan.name}: seed {seed}, tau {tau}")
        outcome = children.run({SEED_TAG: str(seed), TAU_TAG: tau}, words, resumable=resumable)
        results.note(tau, seed, outcome)
        return outcome

    own = [f"--seed={seed}", f"--tau={first}", f"--trainer.default_root_dir={root_dir}"]
    trained = run(first, ["train", *plan.words, *own], resumable=True)
    if trained.reason:
        if others:
            cause = "MLflow has to have its model first" if trained.unsent else "there is no model to make them from"
            results.miss(f"seed {seed}, tau {_listed(others)}: not made, {cause}", unsent=trained.unsent)
        return
    for tau in others:
        run(tau, ["retau", f"--run_id={trained.run_id}", f"--tau={tau}"], resumable=False)


def _report(outbox: Outbox, plan: SweepPlan, results: _Results) -> None:
    # Shown by size, whichever the trainings had: `auto` is the last.
    taus = sorted(plan.taus, key=lambda tau: math.inf if tau == AUTO else float(tau))
    study = TauStudy(tuple(taus), plan.seeds, results.figures)
    # A sweep that went on may know more children than before: its step says how many the figures cover.
    outbox.log_metrics(study.metrics(), step=len(results.figures))
    outbox.log_table(study.columns(), "tau_study.json")
    if study.runs:  # empty axes read like metrics that are 0
        log_picture(outbox, "tau_study", png(draw_study(study)))
    if study.best is not None:
        outbox.set_tags({"graphids.best_tau": study.best})
    close_with(outbox, study.sentence(), closing_words(plan, study, results.problems, outbox.run_id))


def closing_words(plan: SweepPlan, study: TauStudy, problems: Sequence[str], run_id: str) -> str:
    """The table, what it decides, and what is missing."""
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
        lines += [f"to go on, once that is mended: graphids resume {run_id}"]
    return "\n".join([*lines, f"\nrun     {run_id}"])


def _in_common(plan: SweepPlan) -> dict[str, str]:
    pairs = (word.removeprefix("--").partition("=") for word in plan.words)
    return {name: value for name, _, value in pairs}


def _listed(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
