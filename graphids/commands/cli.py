"""The command line: the root that wires everything together, and that nothing imports.

Heavy libraries are loaded inside the commands, so that `--help` and a wrong option are answered at once.
"""

import argparse
import glob
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError, adopt
from graphids.commands.parser import build_parser
from graphids.commands.quick_start import load_numba
from graphids.exit_codes import EXIT_NOT_VERIFIED, EXIT_REFUSED
from graphids.failure import record_failure
from graphids.options import (
    AUTO,
    OPTIONS,
    OptionError,
    dotted_overrides,
    find_option,
    parse_option,
    project_parameters,
)
from graphids.secrets import guarded_streams
from graphids.wording import printable

# Commands with a configuration that dotted overrides can change.
_OVERRIDABLE = ("train", "sweep")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Raises:
        SystemExit: With one of `graphids.exit_codes`, unless the command returns.
    """
    with guarded_streams():
        _run(arguments)


def _run(arguments: Sequence[str] | None) -> None:
    known, extra = build_parser().parse_known_args(arguments)
    # torch reads it when it is loaded. Batches are small: on an idle machine a second thread saved 12 % of a run's time
    # and cost 41 % more CPU time; on a busy one, threads that waited for each other made it many times slower. With
    # one thread, results do not depend on the number of cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        known.overrides = dotted_overrides(extra, known.option_names, allowed=known.command in _OVERRIDABLE)
        _COMMANDS[known.command](known)
    except Exception as error:
        if isinstance(error, IntegrityError):
            code = EXIT_NOT_VERIFIED
        elif isinstance(error, (OptionError, OSError, ModuleNotFoundError, *_loaded_input_errors())):
            code = EXIT_REFUSED
        else:
            raise
        sys.exit(_report(known.command, error, code))


def _report(command: str, error: Exception, code: int) -> int:
    """Print the error as one line on standard error, and record it in the MLflow run if there is one."""
    message = printable(f"graphids {command}: {' '.join(str(error).split())}{_queried_mlflow(error)}")
    print(message, file=sys.stderr)
    run_id = os.environ.get("MLFLOW_RUN_ID")
    # Once tracked_run is loaded, the run records its own failure; a wrong option is found before that.
    if run_id and "graphids._mlflow.tracked_run" not in sys.modules:
        record_failure(run_id, message)
    return code


def _queried_mlflow(error: Exception) -> str:
    """Which MLflow gave this answer: without a server, each working directory has a store of its own."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None or not isinstance(error, mlflow.exceptions.MlflowException):
        return ""
    return f" Queried MLflow at {mlflow.get_tracking_uri()}; set MLFLOW_TRACKING_URI to query another."


def _loaded_input_errors() -> tuple[type[Exception], ...]:
    """Errors of bad input from modules too heavy to import just for them: only a loaded module can have raised."""
    known = (
        ("graphids.core.frames", "DataError"),
        ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
        ("mlflow_graphids.artifacts", "IncompatibleModelError"),
        ("mlflow_graphids.reader", "IncompatibleReaderError"),
        ("mlflow.exceptions", "MlflowException"),
    )
    return tuple(getattr(sys.modules[module], name) for module, name in known if module in sys.modules)


def _trust(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("expected_digest", "policy", "signature", "public_key")}


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


def _require_capture(path: Path, expected: str, *, several: bool = False) -> None:
    """Before the model loads: a mistyped path is answered at once."""
    if not path.exists() and not (several and (str(path) == "-" or glob.glob(str(path), recursive=True))):  # noqa: PTH207
        raise OptionError(f"capture: given '{path}', but {path.absolute()} does not exist; expected {expected}.")


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

    model = load_model(arguments.model, **_trust(arguments))
    evaluate(model, arguments.model, arguments.data, on_bad_line=arguments.on_bad_line, model_id=model.model_id)


def _retau(arguments: argparse.Namespace) -> None:
    tau = _value("tau", arguments.tau)
    from graphids.commands.retau import retau
    from mlflow_graphids import load_model, save_model

    retau(arguments.run_id, tau, load_model=load_model, save_model=save_model)


def _verify(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import verification_report

    report = verification_report(arguments.model, **_trust(arguments))
    print(json.dumps(report.as_dict()) if arguments.json else report)
    if report.error is not None:
        raise IntegrityError(report.error)


def _sign(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import sign_model

    path, digest = sign_model(
        arguments.model, arguments.key, arguments.output, arguments.expected_digest, arguments.policy
    )
    print(f"{path}: signature of {arguments.model}, graphids.digest {digest}; store it separately from the model")


def _predict(arguments: argparse.Namespace) -> None:
    _require_capture(arguments.capture, "a capture file, a folder or a glob of them, or -", several=True)
    from graphids.commands.predict import predict
    from mlflow_graphids import load_model

    model = load_model(arguments.model, **_trust(arguments), allow_code=arguments.allow_code)
    verdict = predict(
        model,
        arguments.capture,
        output=arguments.output,
        output_format=arguments.format,
        alerts_only=not arguments.all,
        threshold=arguments.threshold,
        on_bad_line=arguments.on_bad_line,
        reader=model.capture_reader,
        summary=arguments.summary,
    )
    code = verdict.exit_code(allow_uncovered=arguments.allow_uncovered, fail_on_alert=arguments.fail_on_alert)
    if code:
        sys.exit(code)


def _explain(arguments: argparse.Namespace) -> None:
    _require_capture(arguments.capture, "one capture file")
    from graphids.commands.explain import explain_capture
    from mlflow_graphids import load_model

    model = load_model(arguments.model, **_trust(arguments), allow_code=arguments.allow_code)
    explain_capture(
        model,
        arguments.capture,
        arguments.window,
        output=arguments.output,
        as_json=arguments.json,
        threshold=arguments.threshold,
        on_bad_line=arguments.on_bad_line,
        reader=model.capture_reader,
    )


def _serve(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import ServerLimits, serve

    serve(
        arguments.model,
        **_trust(arguments),
        host=arguments.host,
        port=arguments.port,
        allowed_hosts=[host for part in arguments.allowed_hosts.split(",") if (host := part.strip())],
        limits=ServerLimits(
            max_body_bytes=arguments.max_body_mib * 2**20,
            max_waiting=arguments.max_waiting,
            timeout_s=arguments.timeout_s,
        ),
    )


def _adopt(arguments: argparse.Namespace) -> None:
    digest = adopt(arguments.checkpoint)
    print(f"{arguments.checkpoint}: sha256 {digest} written to its sidecar")


def _inspect(arguments: argparse.Namespace) -> None:
    _require_capture(arguments.capture, "one capture file, or the folder of a Parquet table")
    if arguments.model is None:
        load_numba()
    from graphids.commands.inspect import KnownIds, inspect_capture

    known = None
    if arguments.model is not None:
        from mlflow_graphids import load_model

        known = KnownIds(arguments.model, load_model(arguments.model, **_trust(arguments)).preprocessing.vocabulary)
    inspect_capture(arguments.capture, known=known, as_json=arguments.json)


def _convert(arguments: argparse.Namespace) -> None:
    _require_capture(arguments.capture, "one capture file, or the folder of a Parquet table")
    load_numba()
    from graphids.commands.convert import convert

    convert(arguments.capture, arguments.output, on_bad_line=arguments.on_bad_line)


def _simulate(arguments: argparse.Namespace) -> None:
    seed = _value("seed", arguments.seed)
    from graphids.core.simulation.simulate import write_dataset

    write_dataset(arguments.folder, seed=seed, format=arguments.format, gzip=arguments.gzip)
    print(f"{arguments.folder}: captures and index.json written; train on them with --data={arguments.folder}")


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": _train,
    "sweep": _sweep,
    "resume": _resume,
    "sync": _sync,
    "evaluate": _evaluate,
    "retau": _retau,
    "predict": _predict,
    "explain": _explain,
    "verify": _verify,
    "sign": _sign,
    "serve": _serve,
    "adopt": _adopt,
    "inspect": _inspect,
    "convert": _convert,
    "simulate": _simulate,
}
