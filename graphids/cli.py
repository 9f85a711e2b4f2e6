"""The command line: the root that wires everything, and that nothing imports.

Heavy libraries load inside the commands, so that `--help` and a wrong option answer at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graphids._fs import IntegrityError, adopt
from graphids.failure import record_failure, without_passwords
from graphids.options import (
    AUTO,
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

    Leaves by SystemExit: 0, 2 for wrong use or bad input, 3 for a model that does not verify, 75 for
    work that is done while MLflow does not have all of it yet, 143 after SIGTERM.
    """
    known, extra = _parser().parse_known_args(arguments)
    # torch reads it when it is loaded. Batches are small: on an idle machine a second thread saved 12 % of a run and
    # cost 41 % more CPU time; on a busy one threads that waited for each other made it many times slower. With one
    # thread figures do not depend on the number of cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        known.overrides = dotted_overrides(extra, known.option_names, allowed=known.run in (_train, _sweep))
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
    message = without_passwords(f"graphids {command}: {' '.join(str(error).split())}{_where_mlflow_is(error)}")
    print(message, file=sys.stderr)
    run_id = os.environ.get("MLFLOW_RUN_ID")
    # Once its code is loaded the run records its own failure; a wrong option is found before that.
    if run_id and "graphids.tracked_run" not in sys.modules:
        record_failure(run_id, message)
    return code


def _where_mlflow_is(error: Exception) -> str:
    """Which MLflow gave this answer: without a server each working folder has a store of its own."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None or not isinstance(error, mlflow.exceptions.MlflowException):
        return ""
    return f" Asked was MLflow at {mlflow.get_tracking_uri()}; MLFLOW_TRACKING_URI names another."


def _foreign_input_errors() -> tuple[type[Exception], ...]:
    """What bad input raises in modules too heavy to import for it: only one that is loaded can have raised."""
    known = (
        ("graphids.core.data.frames", "DataError"),
        ("lightning.fabric.utilities.exceptions", "MisconfigurationException"),
        ("mlflow_graphids.artifacts", "IncompatibleModelError"),
        ("mlflow_graphids.reader", "IncompatibleReaderError"),
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

    sweep = command("sweep", _sweep, "train with several seeds, log each training under several taus, compare them")
    sweep.add_argument("--seeds", default="0,1,2", help="one training each; default %(default)s")
    sweep.add_argument("--taus", default="0,0.25,0.5,0.75,1", help="numbers, and auto; default %(default)s")
    add_options(sweep, without=("seed", "tau"))

    resume = command("resume", _resume, "go on with a run that was interrupted, as the same MLflow run")
    resume.add_argument("run_id", help="MLflow run that was interrupted: a training or a sweep")
    resume.add_argument("--folder", type=Path, help="the run's folder, if it was moved; default where the run left it")

    sync = command("sync", _sync, "send what runs could not tell MLflow while it was away")
    sync.add_argument("places", nargs="*", metavar="FOLDER", help="outbox, folder of a run or of runs, or run id")
    sync.add_argument("--root", type=Path, default=Path("graphids_runs"), help="folder of runs; default %(default)s")

    evaluate = command("evaluate", _evaluate, "measure a logged model on captures")
    _add_model(evaluate)
    evaluate.add_argument("--data", default=_default("data"), help=f"{_allowed('data')}; default simulated drives")
    _add_on_bad_line(evaluate)

    retau = command("retau", _retau, "log a run's model again with another tau, from the raw head, without training")
    retau.add_argument("--run_id", required=True, help="MLflow run that trained the model")
    retau.add_argument("--tau", default=AUTO, help=f"{_allowed('tau')}; default auto")

    verify = command("verify", _verify, "check every file of a model against its anchored digest")
    verify.add_argument("model", help="model URI, such as models:/m-..., runs:/<run_id>/model, models:/name@alias")
    _add_trust(verify)
    verify.add_argument("--json", action="store_true", help="one JSON object on standard output")

    sign = command("sign", _sign, "verify a model, then sign it; the signature lies beside it, not in it")
    sign.add_argument("model", help="model URI")
    sign.add_argument("--key", type=Path, required=True, help="PEM of the private key (P-256, P-384 or P-521)")
    sign.add_argument("--output", type=Path, help="signature to write; default <folder>.sig, for other URIs model.sig")
    _add_anchor(sign)

    predict = command("predict", _predict, "score a capture of any size; alerts as JSON lines or csv")
    predict.add_argument("capture", type=Path)
    _add_model(predict)
    predict.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    predict.add_argument("--output", type=Path, help="file to write; default standard output")
    predict.add_argument("--all", action="store_true", help="every window, not only alerts")
    _add_on_bad_line(predict)
    predict.add_argument("--threshold", type=float, help="score from which a window alerts; default the model's own")
    predict.add_argument("--allow-code", action="store_true", help="read the capture by the model's own reader")

    explain = command("explain", _explain, "draw one window of a capture: its graph, and what drove its score")
    explain.add_argument("capture", type=Path)
    explain.add_argument("--window", type=int, required=True, help="its number, from 0, as in the rows of `predict`")
    _add_model(explain)
    explain.add_argument("--output", type=Path, help="PNG to write; default <capture>-window-<number>.png")
    explain.add_argument("--json", action="store_true", help="one JSON object on standard output")
    _add_on_bad_line(explain)
    explain.add_argument("--threshold", type=float, help="score from which a window alerts; default the model's own")
    explain.add_argument("--allow-code", action="store_true", help="read the capture by the model's own reader")

    serve = command("serve", _serve, "verify a model, then serve that verified copy over HTTP")
    serve.add_argument("model", help="model URI")
    _add_trust(serve)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=5001)
    serve.add_argument("--max-body-mib", type=int, default=16, help="largest body of a request; beyond it 413")
    serve.add_argument("--max-waiting", type=int, default=256, help="requests in flight; beyond them 503")
    serve.add_argument("--timeout-s", type=float, default=60, help="time from a request's head to its answer")

    adopted = command("adopt", _adopt, "give an old checkpoint without a sidecar one; proves nothing about its past")
    adopted.add_argument("checkpoint", type=Path, help="file that loads with weights_only=True")

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
    _add_trust(parser)


def _add_on_bad_line(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--on-bad-line", choices=("raise", "drop"), default="raise", help="what to do with a bad line")


def _add_anchor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expected-digest", help="graphids.digest to hold the model to; default the registry's anchor")
    parser.add_argument("--policy", help="integrity-only, anchored (default), signed; at least GRAPHIDS_POLICY")


def _add_trust(parser: argparse.ArgumentParser) -> None:
    _add_anchor(parser)
    parser.add_argument("--signature", type=Path, help="detached signature of the model; default <folder>.sig")
    parser.add_argument("--public-key", type=Path, help="PEM of the signer's key; default GRAPHIDS_PUBLIC_KEY's")


def _trust(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("expected_digest", "policy", "signature", "public_key")}


def _default(name: str) -> object:
    return next(option.default for option in OPTIONS if option.name == name)


def _allowed(name: str) -> str:
    return next(option.allowed for option in OPTIONS if option.name == name)


def _value(name: str, text: str, *, typed_as: str | None = None) -> Any:
    return parse_option(next(option for option in OPTIONS if option.name == name), text, typed_as=typed_as)


def _values(name: str, text: str) -> list[Any]:
    """The values of an option in a list, `0,0.5,1`."""
    values = [_value(name, word.strip(), typed_as=f"--{name}s={text}") for word in text.split(",")]
    if repeated := [value for value in values if values.count(value) > 1]:
        raise OptionError(f"--{name}s: given {text!r}, which has {repeated[0]} more than once; expected each once.")
    return values


def _require_capture(path: Path) -> None:
    """Before the model loads: a path with a typing error is answered at once."""
    if not path.exists():
        raise OptionError(f"capture: given '{path}', nothing lies at {path.absolute()}; expected one capture file.")


def _train(arguments: argparse.Namespace) -> None:
    parameters = project_parameters(arguments)
    # --config is a run as it was; an option typed beside it would be silently without effect.
    if arguments.config is not None and (typed := [o.name for o in OPTIONS if getattr(arguments, o.name) is not None]):
        raise OptionError(f"--config holds the whole run, found --{typed[0]} beside it; override it with dotted keys.")
    from graphids.config import read_config, render_config
    from graphids.train import train

    config = render_config(parameters) if arguments.config is None else read_config(arguments.config)
    train(config, arguments.overrides)


def _resume(arguments: argparse.Namespace) -> None:
    from graphids.resume import PLAN, interrupted_run

    run = interrupted_run(arguments.run_id, arguments.folder)
    if PLAN in run.config:
        from graphids.sweep import resume_sweep

        resume_sweep(run)
    else:
        from graphids.train import resume

        resume(run)


def _sweep(arguments: argparse.Namespace) -> None:
    parameters = project_parameters(arguments)
    seeds, taus = (_values(name, getattr(arguments, f"{name}s")) for name in ("seed", "tau"))
    typed = [f"--{o.name}={getattr(arguments, o.name)}" for o in OPTIONS if getattr(arguments, o.name) is not None]
    from graphids.config import render_config
    from graphids.sweep import SweepPlan, sweep

    words = tuple(tau if tau == AUTO else f"{tau:.12g}" for tau in taus)
    plan = SweepPlan(tuple(seeds), words, (*typed, *arguments.overrides))
    config = render_config({**parameters, "seed": seeds[0], "tau": taus[0]})
    sweep(plan, config, arguments.overrides)


def _sync(arguments: argparse.Namespace) -> None:
    from graphids.sync import sync

    sys.exit(sync(arguments.places, arguments.root))


def _evaluate(arguments: argparse.Namespace) -> None:
    _value("data", arguments.data)
    from graphids.evaluate import evaluate
    from mlflow_graphids import load_model

    model = load_model(arguments.model, **_trust(arguments))
    evaluate(model, arguments.model, arguments.data, on_bad_line=arguments.on_bad_line, model_id=model.model_id)


def _retau(arguments: argparse.Namespace) -> None:
    tau = _value("tau", arguments.tau)
    from graphids.retau import retau
    from mlflow_graphids import load_model, save_model

    retau(arguments.run_id, tau, load_model=load_model, save_model=save_model)


def _verify(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import examine_model

    examination = examine_model(arguments.model, **_trust(arguments))
    print(json.dumps(examination.as_dict()) if arguments.json else examination)
    if examination.error is not None:
        raise IntegrityError(examination.error)


def _sign(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import sign_model

    path, digest = sign_model(
        arguments.model, arguments.key, arguments.output, arguments.expected_digest, arguments.policy
    )
    print(f"{path}: signature of {arguments.model}, graphids.digest {digest}; keep it apart from the model")


def _predict(arguments: argparse.Namespace) -> None:
    _require_capture(arguments.capture)
    from graphids.predict import predict
    from mlflow_graphids import load_model

    model = load_model(arguments.model, **_trust(arguments), allow_code=arguments.allow_code)
    predict(
        model,
        arguments.capture,
        output=arguments.output,
        output_format=arguments.format,
        alerts_only=not arguments.all,
        threshold=arguments.threshold,
        on_bad_line=arguments.on_bad_line,
        reader=model.capture_reader,
    )


def _explain(arguments: argparse.Namespace) -> None:
    _require_capture(arguments.capture)
    from graphids.explain import explain_capture
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
        limits=ServerLimits(
            max_body_bytes=arguments.max_body_mib * 2**20,
            max_waiting=arguments.max_waiting,
            timeout_s=arguments.timeout_s,
        ),
    )


def _adopt(arguments: argparse.Namespace) -> None:
    digest = adopt(arguments.checkpoint)
    print(f"{arguments.checkpoint}: sha256 {digest} written beside it")


def _simulate(arguments: argparse.Namespace) -> None:
    seed = _value("seed", arguments.seed)
    from graphids.core.data.simulate import write_dataset

    write_dataset(arguments.folder, seed=seed, format=arguments.format, gzip=arguments.gzip)
    print(f"{arguments.folder}: captures and index.json written; train on them with --data={arguments.folder}")
