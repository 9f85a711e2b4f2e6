"""The command line: the root that wires everything together, and that nothing imports.

The commands with an MLflow run are here, the others in `runless_commands`.

Heavy libraries are loaded inside the commands, so that `--help` and a wrong option are answered at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from graphids.commands.arguments import ArgumentsRefused, dotted_overrides, project_parameters
from graphids.commands.console import Reader, quiet_libraries, watched_reader
from graphids.commands.launcher import require_numbers
from graphids.commands.parser import build_parser
from graphids.commands.refusals import record_arguments, refusal_code, report
from graphids.commands.runless_commands import (
    RUNLESS_COMMANDS,
    incidents_per_hour,
    require_capture,
    trust_arguments,
)
from graphids.options import AUTO, BUDGET, OPTIONS, OptionError, find_option, parse_option
from graphids.secrets import guarded_streams

# Commands with a configuration that dotted overrides can change.
_OVERRIDABLE = ("train", "sweep")
# Commands that are nothing without a reader; the others leave a run, a file or a server.
_READ = ("predict", "explain", "verify", "inspect", "completion")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Raises:
        SystemExit: With one of `graphids.exit_codes`, unless the command returns.
    """
    with watched_reader() as reader, guarded_streams(), quiet_libraries():
        _run(arguments, reader)


def _run(arguments: Sequence[str] | None, reader: Reader) -> None:
    # torch reads it when it is loaded. Batches are small: on an idle machine a second thread saved 12 % of a run's time
    # and cost 41 % more CPU time; on a busy one, threads that waited for each other made it many times slower. With
    # one thread, results do not depend on the number of cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        known, extra = build_parser().parse_known_args(arguments)
    except ArgumentsRefused as refused:
        record_arguments(refused)
        raise
    reader.is_needed = known.command in _READ
    try:
        known.overrides = dotted_overrides(extra, known.command_options, allowed=known.command in _OVERRIDABLE)
        if known.command not in RUNLESS_COMMANDS:  # the others load Lightning
            require_numbers(os.environ)
        _COMMANDS[known.command](known)
    except Exception as error:
        code = refusal_code(error)
        if code is None:
            raise
        report(known.command, error)
        sys.exit(code)


def _value(name: str, text: str, *, typed_as: str | None = None) -> Any:
    return parse_option(find_option(name), text, typed_as=typed_as)


def _values(name: str, text: str) -> list[Any]:
    """The values of a comma-separated option, `0,0.5,1`."""
    values = [_value(name, item.strip(), typed_as=f"--{name}s={text}") for item in text.split(",")]
    if repeated := [value for value in values if values.count(value) > 1]:
        raise OptionError(
            f"--{name}s: given {text!r}, which contains {repeated[0]} more than once; expected each value once."
        )
    return values


def _train(arguments: argparse.Namespace) -> None:
    parameters = project_parameters(arguments)
    # --config repeats a run as it was: an option typed with it would silently have no effect.
    if arguments.config is not None and (typed := [o.name for o in OPTIONS if getattr(arguments, o.name) is not None]):
        raise OptionError(
            f"--config holds the whole run, found --{typed[0]} as well; use dotted overrides (--trainer.X) instead."
        )
    from graphids.commands.config import read_config, render_config
    from graphids.commands.train import train

    config = render_config(parameters) if arguments.config is None else read_config(arguments.config)
    train(config, arguments.overrides)


def _resume(arguments: argparse.Namespace) -> None:
    from graphids.commands.interrupted_run import interrupted_run
    from graphids.commands.run_folder import PLAN

    with interrupted_run(arguments.run_id, arguments.folder) as run:
        if PLAN in run.config:
            from graphids.commands.sweep import resume_sweep

            resume_sweep(run)
        else:
            from graphids.commands.train import resume

            resume(run)


def _sweep(arguments: argparse.Namespace) -> None:
    parameters = project_parameters(arguments)
    seeds, taus = (_values(name, getattr(arguments, f"{name}s")) for name in ("seed", "tau"))
    typed = [f"--{o.name}={getattr(arguments, o.name)}" for o in OPTIONS if getattr(arguments, o.name) is not None]
    from graphids.commands.config import render_config
    from graphids.commands.sweep import SweepPlan, sweep

    shown_taus = tuple(tau if tau == AUTO else f"{tau:.12g}" for tau in taus)
    plan = SweepPlan(tuple(seeds), shown_taus, (*typed, *arguments.overrides))
    config = render_config({**parameters, "seed": seeds[0], "tau": taus[0]})
    sweep(plan, config, arguments.overrides)


def _sync(arguments: argparse.Namespace) -> None:
    from graphids.commands.sync import sync

    sys.exit(sync(arguments.places, arguments.root))


def _evaluate(arguments: argparse.Namespace) -> None:
    _value("data", arguments.data)
    from graphids.commands.evaluate import evaluate
    from mlflow_graphids import load_model

    model = load_model(arguments.model, **trust_arguments(arguments))
    evaluate(model, arguments.model, arguments.data, on_bad_line=arguments.on_bad_line, model_id=model.model_id)


def _retau(arguments: argparse.Namespace) -> None:
    tau = _value("tau", arguments.tau)
    from graphids.commands.retau import retau
    from mlflow_graphids import load_model, save_model

    retau(arguments.run_id, tau, load_model=load_model, save_model=save_model)


def _retune(arguments: argparse.Namespace) -> None:
    if arguments.captures:
        _retune_vehicle(arguments)
        return
    false_alarms_per_hour = parse_option(BUDGET, arguments.false_alarms_per_hour)
    from graphids.commands.retune import retune
    from mlflow_graphids import load_model, save_model

    retune(arguments.run_id, false_alarms_per_hour, load_model=load_model, save_model=save_model)


def _retune_vehicle(arguments: argparse.Namespace) -> None:
    per_hour = incidents_per_hour(arguments.false_alarms_per_hour)
    for capture in arguments.captures:
        require_capture(Path(capture), "a capture file, a folder or a glob of them", several=True)
    from graphids.commands.adapt import VehicleData
    from graphids.commands.retune_vehicle import retune_vehicle
    from graphids.commands.vehicle_model import named_model
    from mlflow_graphids import save_model

    held_out = VehicleData(arguments.captures, None, arguments.bus, arguments.on_bad_line)
    load = partial(named_model, trust=trust_arguments(arguments))
    retune_vehicle(arguments.run_id, held_out, per_hour, load=load, save_model=save_model)


def _adapt(arguments: argparse.Namespace) -> None:
    for capture in arguments.captures:
        require_capture(Path(capture), "a capture file, a folder or a glob of them", several=True)
    from graphids.commands.adapt import VehicleData, adapt
    from graphids.commands.vehicle_model import named_model
    from mlflow_graphids import save_model

    data = VehicleData(arguments.captures, arguments.profile, arguments.bus, arguments.on_bad_line)
    load = partial(named_model, trust=trust_arguments(arguments))
    adapt(arguments.model, data, arguments.output, load=load, save_model=save_model)


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": _train,
    "sweep": _sweep,
    "resume": _resume,
    "sync": _sync,
    "evaluate": _evaluate,
    "retau": _retau,
    "retune": _retune,
    "adapt": _adapt,
    **RUNLESS_COMMANDS,
}
