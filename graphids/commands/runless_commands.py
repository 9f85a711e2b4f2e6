"""Commands that leave no MLflow run: what each was given, handed to what does the work.

Heavy libraries are loaded inside the commands, as in `cli`.
"""

import argparse
import glob
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphids._fs import IntegrityError, adopt
from graphids.commands.completion import completion_script
from graphids.commands.parser import build_parser
from graphids.commands.quick_start import load_numba
from graphids.exit_codes import EXIT_NOT_COVERED
from graphids.options import BUDGET, OptionError, find_option, parse_option
from graphids.wording import printable

if TYPE_CHECKING:
    from graphids.commands.profile import Held
    from graphids.core.frames import Frames
    from graphids.core.profile.profile import Profile


def trust_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a command was told to trust a model by."""
    return {name: getattr(arguments, name) for name in ("expected_digest", "policy", "signature", "public_key")}


def _verify(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import verification_report

    verified = verification_report(arguments.model, **trust_arguments(arguments))
    print(json.dumps(verified.as_dict()) if arguments.json else verified)
    if verified.error is not None:
        raise IntegrityError(verified.error)


def _sign(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import sign_model

    path, digest = sign_model(
        arguments.model, arguments.key, arguments.output, arguments.expected_digest, arguments.policy
    )
    print(
        printable(
            f"{path}: signature of {arguments.model}, graphids.digest {digest}; store it separately from the model"
        )
    )


def _predict(arguments: argparse.Namespace) -> None:
    require_capture(arguments.capture, "a capture file, a folder or a glob of them, or -", several=True)
    from graphids.commands.incident_options import IncidentOptions, parse_filters
    from graphids.commands.predict import predict
    from graphids.commands.vehicle_model import scoring_model
    from graphids.core.vehicle_names import read_vehicle_names

    filters = parse_filters(arguments.filter)
    trust = trust_arguments(arguments)
    model = scoring_model(arguments.model, arguments.profile, trust=trust, allow_code=arguments.allow_code)
    verdict = predict(
        model.classifier,
        arguments.capture,
        output=arguments.output,
        output_format=arguments.format,
        threshold=arguments.threshold,
        warm_up_s=arguments.warm_up_s,
        every_window=arguments.all,
        incidents=IncidentOptions(
            vehicle=arguments.vehicle,
            model_digest=model.digest,
            redacts_payloads=arguments.redact,
            filters=filters,
            names=None if arguments.dbc is None else read_vehicle_names(arguments.dbc),
            reports_uncovered=arguments.allow_uncovered,
        ),
        on_bad_line=arguments.on_bad_line,
        reader=model.reader,
        summary=arguments.summary,
    )
    code = verdict.exit_code(allow_uncovered=arguments.allow_uncovered, fail_on_alert=arguments.fail_on_alert)
    if code:
        sys.exit(code)


def _explain(arguments: argparse.Namespace) -> None:
    require_capture(arguments.capture, "one capture file")
    from graphids.commands.explain import explain_capture, window_of_incident
    from graphids.commands.vehicle_model import scoring_model

    trust = trust_arguments(arguments)
    model = scoring_model(arguments.model, arguments.profile, trust=trust, allow_code=arguments.allow_code)
    reading = {
        "threshold": arguments.threshold,
        "warm_up_s": arguments.warm_up_s,
        "on_bad_line": arguments.on_bad_line,
        "reader": model.reader,
    }
    window = arguments.window
    if window is None:
        window = window_of_incident(
            model.classifier,
            arguments.capture,
            arguments.incident,
            reports_uncovered=arguments.allow_uncovered,
            **reading,
        )
    explain_capture(
        model.classifier,
        arguments.capture,
        window,
        output=arguments.output,
        as_json=arguments.json,
        dbc=arguments.dbc,
        **reading,
    )


def _report(arguments: argparse.Namespace) -> None:
    require_capture(arguments.capture, "one capture file")
    from graphids.commands.incident_report import ReportRequest, report_capture
    from graphids.commands.vehicle_model import scoring_model
    from mlflow_graphids.base import NAME

    trust = trust_arguments(arguments)
    model = scoring_model(arguments.model, arguments.profile, trust=trust, allow_code=arguments.allow_code)
    request = ReportRequest(
        capture=arguments.capture,
        output=arguments.output,
        model=arguments.model or NAME,
        model_digest=model.digest,
        vehicle=arguments.vehicle,
        dbc=arguments.dbc,
        threshold=arguments.threshold,
        warm_up_s=arguments.warm_up_s,
        on_bad_line=arguments.on_bad_line,
        reader=model.reader,
        reports_uncovered=arguments.allow_uncovered,
    )
    if warnings := report_capture(model.classifier, request):
        for warning in warnings:
            print(printable(f"graphids report: {warning}"), file=sys.stderr)
        if not arguments.allow_uncovered:
            sys.exit(EXIT_NOT_COVERED)


def _serve(arguments: argparse.Namespace) -> None:
    from mlflow_graphids import ServerLimits, serve

    serve(
        arguments.model,
        **trust_arguments(arguments),
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
    print(printable(f"{arguments.checkpoint}: sha256 {digest} written to its sidecar"))


def _inspect(arguments: argparse.Namespace) -> None:
    require_capture(arguments.capture, "one capture file, or the folder of a Parquet table")
    if arguments.model is None:
        load_numba()
    from graphids.commands.inspect import KnownIds, inspect_capture

    known = None
    if arguments.model is not None:
        from mlflow_graphids import load_model

        known = KnownIds(arguments.model, load_model(arguments.model, **trust_arguments(arguments)).known_ids)
    inspect_capture(arguments.capture, known=known, as_json=arguments.json)


def _convert(arguments: argparse.Namespace) -> None:
    require_capture(arguments.capture, "one capture file, or the folder of a Parquet table")
    load_numba()
    from graphids.commands.convert import convert

    convert(arguments.capture, arguments.output, on_bad_line=arguments.on_bad_line)


def _inject(arguments: argparse.Namespace) -> None:
    require_capture(arguments.capture, "one capture file, or the folder of a Parquet table")
    load_numba()
    from graphids.commands.inject import AttackRequest, inject_capture
    from graphids.core.frames import hex_node_key

    target = None if arguments.id is None else hex_node_key(arguments.id)
    if target == -1:
        raise OptionError(f"--id: given {arguments.id!r}; expected an arbitration ID in hex, such as 1A4 or 18FEF100.")
    request = AttackRequest(
        kind=arguments.kind,
        target=target,
        start_s=arguments.start_s,
        duration_s=arguments.duration_s,
        intensity=arguments.intensity,
        seed=arguments.seed,
        bit_rate=arguments.bit_rate,
    )
    inject_capture(arguments.capture, arguments.output, request, bus=arguments.bus, on_bad_line=arguments.on_bad_line)


def _profile(arguments: argparse.Namespace) -> None:
    for capture in (*arguments.captures, *arguments.held_out):
        require_capture(Path(capture), "a capture file, a folder or a glob of them", several=True)
    held = _held(arguments)
    if held is None:
        load_numba()
    from graphids.commands.profile import fit_and_show

    fit_and_show(
        arguments.captures,
        arguments.output,
        held=held,
        bus=arguments.bus,
        as_json=arguments.json,
        on_bad_line=arguments.on_bad_line,
    )


def _held(arguments: argparse.Namespace) -> "Held | None":
    """The alarms that `profile` was asked to choose; none without a budget."""
    if arguments.false_alarms_per_hour is None:
        if arguments.held_out or arguments.model is not None:
            raise OptionError(
                f"--{BUDGET.name}: not given; expected the false-alarm incidents an hour that --held-out and --model "
                "are to keep."
            )
        return None
    per_hour = incidents_per_hour(arguments.false_alarms_per_hour)
    from graphids.commands.profile import Held
    from graphids.commands.vehicle_alarms import alarm_words, unknown_words, with_alarms
    from graphids.commands.vehicle_model import named_model
    from mlflow_graphids.base import NAME

    model = named_model(arguments.model or NAME, trust=trust_arguments(arguments))

    def choose(profile: "Profile", held_out: "list[Frames]", own: "list[Frames]") -> "tuple[Profile, str]":
        chosen = with_alarms(model, profile, per_hour, held_out=held_out, own=own)
        return chosen, "" if chosen.alarms is None else alarm_words(chosen.alarms) + unknown_words(profile, held_out)

    return Held(arguments.held_out, choose)


def incidents_per_hour(text: str) -> float:
    """A budget of false-alarm incidents.

    Raises:
        OptionError: If it is not a finite number of more than 0.
    """
    per_hour = float(parse_option(BUDGET, text))
    if per_hour == 0:
        raise OptionError(
            f"--{BUDGET.name}: given {text!r}; expected more than 0 incidents an hour: no limit promises none at all."
        )
    return per_hour


def _simulate(arguments: argparse.Namespace) -> None:
    seed = parse_option(find_option("seed"), arguments.seed)
    from graphids.core.simulation.simulate import write_dataset

    write_dataset(arguments.folder, seed=seed, format=arguments.format, gzip=arguments.gzip)
    written = f"{arguments.folder}: captures and index.json written; train on them with --data={arguments.folder}"
    print(printable(written))


def _completion(arguments: argparse.Namespace) -> None:
    print(completion_script(build_parser(), arguments.shell), end="")


def require_capture(path: Path, expected: str, *, several: bool = False) -> None:
    """Refuse a mistyped path before the model loads.

    Raises:
        OptionError: If nothing is there.
    """
    if not path.exists() and not (several and (str(path) == "-" or glob.glob(str(path), recursive=True))):  # noqa: PTH207
        raise OptionError(f"capture: given '{path}', but {path.absolute()} does not exist; expected {expected}.")


RUNLESS_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "predict": _predict,
    "explain": _explain,
    "report": _report,
    "verify": _verify,
    "sign": _sign,
    "serve": _serve,
    "adopt": _adopt,
    "inspect": _inspect,
    "convert": _convert,
    "inject": _inject,
    "profile": _profile,
    "simulate": _simulate,
    "completion": _completion,
}
