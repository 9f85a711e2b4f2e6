"""The argument parser: every command with its options, their defaults and allowed values."""

import argparse
from collections.abc import Callable
from pathlib import Path

from graphids import __version__
from graphids.commands.arguments import OneLineParser, add_options
from graphids.commands.completion import SHELLS
from graphids.exit_codes import exit_code_table
from graphids.options import AUTO, BUDGET, DEFAULT_ROOT_DIR, SCORING_HOST, SCORING_PORT, SIMULATED, find_option

_Command = Callable[[str, str], argparse.ArgumentParser]


def build_parser() -> argparse.ArgumentParser:
    """The parser; its namespace has `command`, the values, and `command_options`, the options of the command."""
    parser = OneLineParser(
        prog="graphids",
        description="Intrusion detection on a vehicle's CAN bus.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=exit_code_table(),
    )
    parser.add_argument("--version", action="version", version=f"graphids {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=summary)

    _add_runs(command)
    _add_finished_runs(command)
    _add_adapt(command)
    _add_captures(command)
    _add_trust_commands(command)
    _add_files(command)
    for sub in commands.choices.values():
        names = [s.removeprefix("--") for a in sub._actions for s in a.option_strings if s.startswith("--")]
        sub.set_defaults(command_options=[name for name in names if name != "help"])
    return parser


def _add_runs(command: _Command) -> None:
    train = command("train", "train a detector; log an MLflow run and a verified model")
    add_options(train)
    train.add_argument("--config", type=Path, help="config.json of an earlier run, to repeat it; replaces the options")

    sweep = command("sweep", "train once per seed, log each training under several taus, and compare them")
    sweep.add_argument("--seeds", default="0,1,2", help="comma-separated, one training each; default %(default)s")
    sweep.add_argument(
        "--taus", default="0,0.25,0.5,0.75,1", help="comma-separated numbers, or auto; default %(default)s"
    )
    add_options(sweep, without=("seed", "tau"))

    resume = command("resume", "resume an interrupted run, as the same MLflow run")
    _add_named(resume, "run_id", "id of the interrupted MLflow run: a training or a sweep")
    resume.add_argument("--folder", type=Path, help="the run's folder, if it was moved or is not in graphids_runs")

    sync = command("sync", "send what runs could not log while MLflow was unreachable")
    sync.add_argument("places", nargs="*", metavar="FOLDER", help="outbox, folder of a run or of runs, or run id")
    sync.add_argument("--root", type=Path, default=Path(DEFAULT_ROOT_DIR), help="folder of runs; default %(default)s")


def _add_finished_runs(command: _Command) -> None:
    evaluate = command("evaluate", "measure a logged model on captures")
    _add_model(evaluate)
    allowed = find_option("data").allowed
    evaluate.add_argument("--data", default=SIMULATED, help=f"{allowed}; default %(default)s")
    _add_on_bad_line(evaluate)

    retau = command("retau", "log a run's model again under another tau, from the raw head, without training")
    _add_named(retau, "run_id", "id of the MLflow run that trained the model")
    retau.add_argument("--tau", default=AUTO, help=f"{find_option('tau').allowed}; default %(default)s")

    retune = command("retune", "log a model again with limits for another rate of false alarms, without training")
    _add_named(retune, "run_id", "id of the MLflow run that trained the model; or URI of a model that has a profile")
    retune.add_argument(
        "captures", nargs="*", metavar="CAPTURE", help="attack-free captures of its vehicle, for a model with a profile"
    )
    retune.add_argument(f"--{BUDGET.name}", required=True, help=BUDGET.allowed)
    _add_bus(retune)
    _add_on_bad_line(retune)
    _add_trust(retune)


def _add_adapt(command: _Command) -> None:
    adapt = command("adapt", "log a model's network with another vehicle's profile, as a new model, without training")
    adapt.add_argument("model", metavar="MODEL", help="model URI, or base, the model that ships with graphids")
    adapt.add_argument("captures", nargs="*", metavar="CAPTURE", help="attack-free captures, all of one vehicle")
    adapt.add_argument(
        "--profile", type=Path, help="the vehicle's profile, as `profile` writes it, instead of captures"
    )
    adapt.add_argument("--output", "-o", type=Path, help="new folder for the model; default: log it to MLflow")
    _add_bus(adapt)
    _add_on_bad_line(adapt)
    _add_trust(adapt)


def _add_captures(command: _Command) -> None:
    predict = command("predict", "score captures of any size; incidents for people or programs")
    predict.formatter_class, predict.epilog = argparse.RawDescriptionHelpFormatter, exit_code_table()
    _add_scored_capture(predict, "a capture file, a folder or a glob of them, or - for standard input")
    predict.add_argument(
        "--format", choices=("text", "jsonl", "csv", "cef"), help="default text on a terminal, else jsonl"
    )
    predict.add_argument("--output", type=Path, help="file to write; default standard output")
    predict.add_argument("--summary", type=Path, help="JSON file for windows, incidents and coverage of each capture")
    predict.add_argument("--all", action="store_true", help="write every window instead of incidents")
    predict.add_argument("--vehicle", default="", help="its name, as incidents are to have it")
    _add_dbc(predict)
    predict.add_argument("--redact", action="store_true", help="hide payloads in the frames that incidents show")
    predict.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="report fewer incidents: block=EVENT,..., every=N, aggregate_s=SECONDS, threshold=WINDOWS, rate=N an hour",
    )
    predict.add_argument("--fail-on-alert", action="store_true", help="exit code 5 if there is an incident")
    predict.add_argument(
        "--allow-uncovered", action="store_true", help="no exit code 4 where the model knows too few IDs to judge a bus"
    )

    explain = command("explain", "draw one window of a capture: its graph and what drove its score")
    _add_scored_capture(explain, "one capture file")
    which = explain.add_mutually_exclusive_group(required=True)
    which.add_argument("--window", type=int, help="its number, from 0, as in the rows of `predict --all`")
    which.add_argument("--incident", type=int, help="number of the line of `predict`, from 0, for its loudest window")
    explain.add_argument(
        "--allow-uncovered", action="store_true", help="number incidents as `predict --allow-uncovered` does"
    )
    explain.add_argument("--output", type=Path, help="PNG to write; default <capture>-window-<number>.png")
    explain.add_argument("--json", action="store_true", help="one JSON object on standard output")
    _add_dbc(explain)

    report = command("report", "write the incidents of a capture, with their evidence, as one HTML page")
    _add_scored_capture(report, "one capture file")
    report.add_argument("--output", "-o", type=Path, help="HTML to write; default <capture>-report.html")
    report.add_argument("--vehicle", default="", help="name of the vehicle, for the page")
    _add_dbc(report)
    report.add_argument(
        "--allow-uncovered", action="store_true", help="no exit code 4 where the model knows too few IDs to judge a bus"
    )


def _add_dbc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dbc", type=Path, help="names of messages and signals: a DBC, ARXML, KCD or SYM (cantools)")


def _add_scored_capture(parser: argparse.ArgumentParser, capture: str) -> None:
    parser.add_argument("capture", type=Path, help=capture)
    _add_model(parser, required=False)
    parser.add_argument(
        "--profile", type=Path, help="the vehicle's profile, to judge by; without --model, by the base model"
    )
    _add_on_bad_line(parser)
    parser.add_argument("--threshold", type=float, help="lowest score that alerts; default the model's own")
    parser.add_argument(
        "--warm-up-s",
        type=float,
        default=10.0,
        help="first seconds of a bus that enter the profile unless they alert; 0 for none; default %(default)g",
    )
    parser.add_argument("--allow-code", action="store_true", help="read the capture with the model's own reader")


def _add_trust_commands(command: _Command) -> None:
    verify = command("verify", "check every file of a model against its anchored digest")
    _add_named(verify, "model", "model URI, such as models:/m-..., runs:/<run_id>/model, models:/name@alias")
    _add_trust(verify)
    verify.add_argument("--json", action="store_true", help="one JSON object on standard output")

    sign = command("sign", "verify a model, then sign it; the signature is written next to the model, not into it")
    _add_named(sign, "model", "model URI")
    sign.add_argument("--key", type=Path, required=True, help="PEM of the private key (P-256, P-384 or P-521)")
    sign.add_argument("--output", type=Path, help="signature to write; default <folder>.sig, for other URIs model.sig")
    _add_anchor(sign)

    serve = command("serve", "verify a model, then serve the verified copy over HTTP")
    _add_named(serve, "model", "model URI")
    _add_trust(serve)
    serve.add_argument("--host", default=SCORING_HOST, help="name or address to listen on; default %(default)s")
    serve.add_argument("--port", type=int, default=SCORING_PORT, help="port to listen on; default %(default)s")
    serve.add_argument(
        "--allowed-hosts", default="", help="comma-separated names that requests may give in Host, beside localhost's"
    )
    serve.add_argument("--max-body-mib", type=int, default=16, help="largest body, above it 413; default %(default)s")
    serve.add_argument(
        "--max-waiting", type=int, default=256, help="requests in flight, above it 503; default %(default)s"
    )
    serve.add_argument("--timeout-s", type=float, default=60, help="from request head to answer; default %(default)s")


def _add_files(command: _Command) -> None:
    adopt = command("adopt", "write the missing sidecar of an old checkpoint; proves nothing about its past")
    adopt.add_argument("checkpoint", type=Path, help="file that loads with weights_only=True")

    inspect = command("inspect", "say what a capture holds: format, buses, IDs, times, load, gaps, labels")
    inspect.add_argument("capture", type=Path, help="one capture file")
    inspect.add_argument("--json", action="store_true", help="one JSON object on standard output")
    inspect.add_argument("--model", help="model URI, to say which share of IDs and frames it knows")
    _add_trust(inspect)

    convert = command("convert", "write a capture as candump log, csv or Parquet, to look at what was read")
    convert.add_argument("capture", type=Path, metavar="IN", help="one capture, in any format that is read")
    convert.add_argument("output", type=Path, metavar="OUT", help="new file: .log, .csv, .log.gz, .csv.gz or .parquet")
    _add_on_bad_line(convert)

    inject = command("inject", "lay an attack over an attack-free recording, and label it")
    inject.add_argument("capture", type=Path, metavar="IN", help="one attack-free capture")
    inject.add_argument("output", type=Path, metavar="OUT", help="new file: .log, .csv, .log.gz, .csv.gz or .parquet")
    inject.add_argument("--kind", required=True, help="what the intruder does; a wrong one lists those that there are")
    inject.add_argument("--id", help="arbitration ID to attack, hex; default: one that the seed draws")
    inject.add_argument("--start_s", type=float, help="when it begins, after the first frame; default: drawn")
    inject.add_argument("--duration_s", type=float, help="how long it lasts; default: a fifth of the recording")
    inject.add_argument("--intensity", type=float, default=1.0, help="in (0, 1]; default %(default)s")
    inject.add_argument("--bit_rate", type=int, help="of the bus, bits per second; default: 500000, or what fits")
    inject.add_argument("--seed", type=int, default=0, help="draws what is left open; default %(default)s")
    _add_bus(inject)
    _add_on_bad_line(inject)

    profile = command("profile", "fit what a vehicle normally does on attack-free captures, and show it")
    profile.add_argument("captures", nargs="+", metavar="CAPTURE", help="files, folders or globs, all of one vehicle")
    profile.add_argument("--output", "-o", type=Path, required=True, help="new file for the profile")
    profile.add_argument(
        f"--{BUDGET.name}", metavar="N", help="choose alarms that keep so many false-alarm incidents an hour"
    )
    profile.add_argument(
        "--held-out",
        nargs="+",
        default=[],
        metavar="CAPTURE",
        help="attack-free captures of other drives to choose them on; default: blocks of the profile's own, left out",
    )
    profile.add_argument("--model", help="whose score they are for; default base, the model that ships with graphids")
    _add_trust(profile)
    profile.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_bus(profile)
    _add_on_bad_line(profile)

    simulate = command("simulate", "write labelled captures of a simulated vehicle under attack")
    simulate.add_argument("folder", type=Path, help="folder to write them to")
    seed = find_option("seed")
    simulate.add_argument("--seed", default=str(seed.default), help=f"{seed.allowed}; default %(default)s")
    simulate.add_argument("--format", choices=("csv", "candump"), default="csv", help="default %(default)s")
    simulate.add_argument("--gzip", action="store_true", help="compress them")

    completion = command("completion", "print a script that completes commands and options in a shell")
    completion.add_argument("shell", choices=SHELLS)


def _add_bus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bus", help="which bus, where a capture holds several")


def _add_named(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """An argument, or the same as `--name=value`: only so does a value that begins with a dash stay a value."""
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(name, nargs="?", default=argparse.SUPPRESS, help=text)
    given.add_argument(f"--{name}", dest=name, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _add_model(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--model", required=required, help="model URI, such as models:/m-... or runs:/<run_id>/model")
    _add_trust(parser)


def _add_on_bad_line(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on-bad-line",
        choices=("raise", "drop"),
        default="raise",
        help="drop a bad line and count it, or refuse the capture; default %(default)s",
    )


def _add_anchor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expected-digest", help="graphids.digest of the model; default the registry's anchor")
    parser.add_argument("--policy", help="integrity-only, anchored (default) or signed; at least GRAPHIDS_POLICY")


def _add_trust(parser: argparse.ArgumentParser) -> None:
    _add_anchor(parser)
    parser.add_argument("--signature", type=Path, help="detached signature of the model; default <folder>.sig")
    parser.add_argument("--public-key", type=Path, help="PEM of the signer's key; default GRAPHIDS_PUBLIC_KEY's")
