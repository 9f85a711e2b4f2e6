"""The command line: the root that wires everything, and that nothing imports.

Heavy libraries load inside the commands, so that `--help` and a wrong option answer at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError
from graphids.failure import record_failure
from graphids.options import (
    OPTIONS,
    OneLineParser,
    OptionError,
    add_options,
    dotted_overrides,
    parse_option,
    project_parameters,
)

EXIT_WRONG_USE = 2
EXIT_NOT_VERIFIED = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Leaves by SystemExit: 0, 2 for wrong use or bad input, 3 for a model that does not verify, 143 after SIGTERM.
    """
    known, extra = _parser().parse_known_args(arguments)
    # torch reads it when it is loaded. Batches are small: on an idle machine a second thread saved 12 % of a run and
    # cost 41 % more CPU time; on a busy one threads that waited for each other made it many times slower. With one
    # thread figures do not depend on the number of cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        known.overrides = dotted_overrides(extra, known.option_names, allowed=known.run is _train)
        known.run(known)
    except Exception as error:
        if isinstance(error, IntegrityError):
            code = EXIT_NOT_VERIFIED
        elif isinstance(error, (OptionError, OSError, ModuleNotFoundError, *_foreign_input_errors())):
            code = EXIT_WRONG_USE
        else:
            raise
        sys.exit(_complain(known.command, error, code))


def _complain(command: str, error: Exception, code: int) -> int:
    """One line on standard error, and with the MLflow run where there is one."""
    message = f"graphids {command}: {' '.join(str(error).split())}"
    print(message, file=sys.stderr)
    run_id = os.environ.get("MLFLOW_RUN_ID")
    # Once its code is loaded the run records its own failure; a wrong option is found before that.
    if run_id and "graphids._mlflow" not in sys.modules:
        record_failure(run_id, message)
    return code


def _foreign_input_errors() -> tuple[type[Exception], ...]:
    """What bad input raises in modules too heavy to import for it: only one that is loaded can have raised."""
    known = (
        ("graphids.core.data.frames", "DataError"),
        ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
        ("mlflow.exceptions", "MlflowException"),
    )
    return tuple(getattr(sys.modules[module], name) for module, name in known if module in sys.modules)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="graphids", description="Intrusion detection on a vehicle's CAN bus.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    train = command("train", _train, "train a detector; logs an MLflow run and a verified model")
    add_options(train)
    train.add_argument("--config", type=Path, help="config.json of an earlier run: runs it again, instead of options")

    evaluate = command("evaluate", _evaluate, "measure a logged model on captures")
    _add_model(evaluate)
    evaluate.add_argument("--data", default=_default("data"), help=f"{_allowed('data')}; default simulated drives")

    retau = command("retau", _retau, "log a run's model again with another tau, from the raw head, without training")
    retau.add_argument("--run_id", required=True, help="MLflow run that trained the model")
    retau.add_argument("--tau", default=str(_default("tau")), help=_allowed("tau"))

    verify = command("verify", _verify, "check every file of a model against its anchored digest")
    verify.add_argument("model", help="model URI, such as models:/m-..., runs:/<run_id>/model, models:/name@alias")
    _add_expected_digest(verify)

    predict = command("predict", _predict, "score a capture of any size; alerts as JSON lines or csv")
    predict.add_argument("capture", type=Path)
    _add_model(predict)
    predict.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    predict.add_argument("--output", type=Path, help="file to write; default standard output")
    predict.add_argument("--all", action="store_true", help="every window, not only alerts")
    predict.add_argument("--on-bad-line", choices=("raise", "drop"), default="raise", help="what to do with a bad line")
    predict.add_argument("--threshold", type=float, help="score from which a window alerts; default the model's own")

    serve = command("serve", _serve, "verify a model, then serve that verified copy over HTTP")
    serve.add_argument("model", help="model URI")
    _add_expected_digest(serve)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=5001)

    simulate = command("simulate", _simulate, "write labelled captures of a simulated vehicle under attack")
    simulate.add_argument("folder", type=Path)
    simulate.add_argument("--seed", default=str(_default("seed")), help=_allowed("seed"))
    simulate.add_argument("--format", choices=("csv", "candump"), default="csv")
    simulate.add_argument("--gzip", action="store_true")

    for name, sub in commands.choices.items():
        names = [s.removeprefix("--") for a in sub._actions for s in a.option_strings if s.startswith("--")]
        sub.set_defaults(option_names=[n for n in names if n != "help"], command=name)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="model URI, such as models:/m-... or runs:/<run_id>/model")
    _add_expected_digest(parser)


def _add_expected_digest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expected-digest", help="graphids.digest to hold the model to; default the registry's anchor")


def _default(name: str) -> object:
    return next(option.default for option in OPTIONS if option.name == name)


def _allowed(name: str) -> str:
    return next(option.allowed for option in OPTIONS if option.name == name)


def _value(name: str, text: str) -> Any:
    return parse_option(next(option for option in OPTIONS if option.name == name), text)


def _train(arguments: argparse.Namespace) -> None:
    parameters = project_parameters(arguments)
    # --config is a run as it was; an option typed beside it would be silently without effect.
    if arguments.config is not None and (typed := [o.name for o in OPTIONS if getattr(arguments, o.name) is not None]):
        raise OptionError(f"--config holds the whole run, found --{typed[0]} beside it; override it with dotted keys.")
    from graphids.config import read_config, render_config
    from graphids.train import train

    config = render_config(parameters) if arguments.config is None else read_config(arguments.config)
    train(config, arguments.overrides)


def _evaluate(arguments: argparse.Namespace) -> None:
    _value("data", arguments.data)
    from graphids.train import evaluate
    from mlflow_graphids import load_model

    model = load_model(arguments.model, expected_digest=arguments.expected_digest)
    evaluate(model, arguments.model, arguments.data, model_id=model.model_id)


def _retau(arguments: argparse.Namespace) -> None:
    tau = _value("tau", arguments.tau)
    from graphids.train import retau
    from mlflow_graphids import load_model, log_model

    retau(arguments.run_id, tau, load_model=load_model, log_model=log_model)


def _verify(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import verify_model

    digest = verify_model(arguments.model, expected_digest=arguments.expected_digest)
    print(f"{arguments.model}: every file matches; graphids.digest {digest}")


def _predict(arguments: argparse.Namespace) -> None:
    _value("data", str(arguments.capture))
    from graphids.predict import predict
    from mlflow_graphids import load_model

    model = load_model(arguments.model, expected_digest=arguments.expected_digest)
    predict(
        model,
        arguments.capture,
        output=arguments.output,
        output_format=arguments.format,
        alerts_only=not arguments.all,
        threshold=arguments.threshold,
        on_bad_line=arguments.on_bad_line,
    )


def _serve(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import serve

    code = serve(arguments.model, expected_digest=arguments.expected_digest, host=arguments.host, port=arguments.port)
    sys.exit(code)


def _simulate(arguments: argparse.Namespace) -> None:
    seed = _value("seed", arguments.seed)
    from graphids.core.data.simulate import write_dataset

    write_dataset(arguments.folder, seed=seed, format=arguments.format, gzip=arguments.gzip)
    print(f"{arguments.folder}: captures and index.json written; train on them with --data={arguments.folder}")
